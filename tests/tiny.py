"""Small models and runs that tests share.

The same shapes everywhere, so that what one test compiled the next one finds.
A test that needs another shape passes the fields that differ.
"""

import dataclasses
import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.experimental
import jax.numpy as jnp
import ml_collections

from configs import common
from reasoning_depth.models import (
  armt,
  base,
  layers,
  looped,
  looping,
  lstm,
  mamba,
  memory,
  recall,
  rmt,
  transformer,
  trm,
)
from reasoning_depth.runtime import configuration
from reasoning_depth.training import experiment as experiments

# A context in which JAX computes in float64: before jax 0.8 it was here.
float64: Callable[[bool], AbstractContextManager] = (
  jax.enable_x64 if hasattr(jax, 'enable_x64') else jax.experimental.enable_x64
)
B, L, V = 2, 12, 7
SEGMENT = 4  # tokens of a segment, so that a sequence has three
CONFIG = layers.TransformerConfig(
  num_layers=2, width=16, num_heads=2, mlp_width=32
)
MEMORY = memory.MemoryConfig(num_tokens=2, key_width=4)
# What the tiny recursive model's paper changes in a block.
TRM = {
  'norm': 'rms', 'norm_place': 'post', 'mlp': 'swiglu',
  'parallel_residual': False,
}  # fmt: skip


def config(**fields: Any) -> layers.TransformerConfig:
  """The small backbone with other fields."""
  return dataclasses.replace(CONFIG, **fields)


@functools.cache
def tokens(length: int = L, batch_size: int = B) -> jax.Array:
  """Random tokens, int32 [B, L]."""
  # Of this type also where a test computes in float64.
  shape = batch_size, length
  return jax.random.randint(jax.random.key(0), shape, 0, V, jnp.int32)


@functools.cache
def model(
  name: str,
  config: layers.TransformerConfig | None = None,
  vocab_size: int = V,
  causal: bool = True,
  **fields: Any,
) -> base.Model:
  """A small model.

  Args:
    name: as in `config.model.name`.
    config: the backbone; `CONFIG`, for trm with the fields of `TRM`.
    vocab_size: V.
    causal: whether attention is; trm's never is.
    **fields: attributes of the model; for looped and trm fields of
      `looping.Recurrence` and `trm.TinyRecursion`.
  """
  if config is None:
    config = dataclasses.replace(CONFIG, **TRM if name == 'trm' else {})
  block = functools.partial(layers.Block, config, causal and name != 'trm')
  if name in ('rmt', 'armt'):
    fields = {'segment_length': SEGMENT, 'stride': SEGMENT} | fields
  match name:
    case 'transformer':
      return transformer.Transformer(config, vocab_size, block, **fields)
    case 'lstm':
      layer = functools.partial(lstm.LSTMLayer, config)
      return transformer.Transformer(config, vocab_size, layer, **fields)
    case 'mamba':
      layer = functools.partial(mamba.MambaLayer, config, 4)
      return transformer.Transformer(config, vocab_size, layer, **fields)
    case 'rmt':
      fields = {'num_tokens': MEMORY.num_tokens} | fields
      return rmt.RMT(
        config=config, vocab_size=vocab_size, layer=block, **fields
      )
    case 'armt':
      fields = {'memory': MEMORY, 'causal': causal} | fields
      return armt.ARMT(config=config, vocab_size=vocab_size, **fields)
    case 'looped':
      return looped.Looped(
        config, vocab_size, block, looping.Recurrence(**fields)
      )
    case 'recall':
      config = dataclasses.replace(config, positions='relative')
      parts = {'answer_rows': 1, 'steps': 3} | fields
      return recall.Recall(config, vocab_size, **parts)
    case 'trm':
      return trm.TRM(config, vocab_size, block, trm.TinyRecursion(**fields))
  raise KeyError(name)


@functools.cache
def _init(model: base.Model, length: int, noise: float) -> Any:
  fresh = jax.jit(model.init)(jax.random.key(1), tokens(length))
  assert fresh.keys() == {'params'}
  leaves, tree = jax.tree.flatten(fresh['params'])
  keys = jax.random.split(jax.random.key(2), len(leaves))
  return tree.unflatten(
    [
      x + noise * jax.random.normal(key, x.shape, x.dtype) if noise else x
      for x, key in zip(leaves, keys, strict=True)
    ]
  )


def init(model: base.Model, length: int = L, noise: float = 0.0) -> Any:
  """Parameters, the caller's own to change.

  Args:
    model: what they are of.
    length: of the sequences, which learned positions depend on.
    noise: standard deviation of what is added to every parameter. At the
      start associative memory writes zeros and memory tokens say little; with
      0.2 an answer depends on what is remembered.
  """
  return jax.tree.map(lambda x: x, _init(model, length, noise))


def run_config(
  name: str, words: str = 'smoke', **groups: dict[str, Any]
) -> ml_collections.ConfigDict:
  """A config's smoke form cut to seconds, on one device.

  Args:
    name: of a file in configs/.
    words: after the colon.
    **groups: fields to change, `train={'num_steps': 8}`, last of all.
  """
  c = configuration.load(f'configs/{name}.py:{words}')
  c.mesh.data = 1
  common.put(c.task, width=5, num_states=3, radius=1)
  common.put(c.model, num_layers=1, width=8, mlp_width=8, unroll=1)
  if 'memory' in c.model:
    common.put(c.model.memory, num_tokens=2, key_width=2, unroll=1)
  c.train.update(
    num_steps=4, warmup_steps=2, steps_per_dispatch=2, batch_size=4
  )
  c.eval.update(every=2, validation_samples=8, test_samples=8, batch_size=4)
  c.checkpoint.every = 2
  c.update(groups)
  return c


def experiment(
  name: str, words: str = 'smoke', **groups: dict[str, Any]
) -> experiments.Experiment:
  """The run of such a config; see `run_config`."""
  return experiments.build(run_config(name, words, **groups))
