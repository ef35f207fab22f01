"""Embedding, a stack of layers, read-out: a transformer as GPT-NeoX.

The stack takes any layer (x [B, L, D], state) → (x, state): transformer blocks
here, LSTM and Mamba layers in files of their own.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from reasoning_depth import settings
from reasoning_depth.models import base, decoding, dense, halting, hooks, layers


class Embedding(nn.Module):
  """Token embedding, with learned positions where the config has them."""

  config: layers.StackConfig
  vocab_size: int

  @nn.compact
  def __call__(self, tokens: jax.Array, position: Any = 0) -> jax.Array:
    """Embeds tokens.

    Args:
      tokens: int32 [..., L], or float [..., L, V] weights over the vocabulary.
      position: index of the first token in the sequence.

    Returns:
      [..., L, D].
    """
    c = self.config
    init = nn.initializers.normal(layers.EMBED_STD)
    embed = nn.Embed(
      self.vocab_size, c.width, embedding_init=init, name='tokens'
    )
    if jnp.issubdtype(tokens.dtype, jnp.floating):
      return (tokens @ embed.embedding).astype(c.dtype)
    x = embed(tokens)
    if c.positions == 'learned':
      length = c.max_length or tokens.shape[-1]
      table = self.param('positions', init, (length, c.width))
      x = x + jax.lax.dynamic_slice_in_dim(table, position, tokens.shape[-1])
    return x.astype(c.dtype)

  def table(self) -> jax.Array | None:
    """Embedding table [V, D] for a tied read-out; None if not tied.

    Call it after embedding tokens.
    """
    if not self.config.tied:
      return None
    return self.get_variable('params', 'tokens')['embedding']


class ReadOut(nn.Module):
  """Final norm and projection to logits.

  Attributes:
    vocab_size: V.
    norm: 'layer', 'rms', or 'none' for normalised hidden states.
    epsilon: of the norm.
  """

  vocab_size: int
  norm: str = 'layer'
  epsilon: float = dense.NORM_EPSILON

  @nn.compact
  def __call__(self, x: jax.Array, table: jax.Array | None = None) -> jax.Array:
    """[..., L, D] to [..., L, V], at least float32.

    Args:
      x: hidden states.
      table: [V, D] of tied embeddings, or None for a projection of its own.
    """
    shape = x.shape
    x = x.reshape(-1, shape[-1])
    if self.norm != 'none':
      x = dense.make_norm(self.norm, self.epsilon, 'norm')(x)
    if table is None:
      x = dense.Dense(self.vocab_size, use_bias=False, name='logits')(x)
    else:
      x = x @ table.T.astype(x.dtype)
    x = x.reshape(*shape[:-1], -1)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


class Stack(nn.Module):
  """Layers of one kind, one after another.

  Attributes:
    config: its number of layers, remat and unroll.
    layer: makes a layer, by name.
    adaptive: settings of halting.
    has_hooks: whether the layers have hooks; see `hooks`.
  """

  config: layers.StackConfig
  layer: Callable[..., nn.Module]
  adaptive: halting.Halting = halting.Halting()
  has_hooks: bool = True

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    states: Any = None,
    num_steps: int | None = None,
    stride: jax.Array | None = None,
  ) -> tuple[jax.Array, Any, halting.Usage]:
    """Runs all layers.

    Args:
      x: [B, L, D].
      states: of the layers, stacked along axis 0, to decode step by step.
      num_steps: maximum number of repetitions; None for the config's.
      stride: as of `layers.Block`, for layers that take it.

    Returns:
      [B, L, D], the new states, and the usage, averaged over layers.
    """
    c = self.config
    # As for layers, except where inference sets the number of repetitions.
    unroll = c.unroll > 1 and not num_steps
    num_steps = num_steps or self.adaptive.max_steps
    if self.adaptive.kind == 'model':
      body = functools.partial(_Whole, c, self.layer)
      x, _, usage = halting.Adaptive(
        body, self.adaptive, num_steps, unroll, name='adaptive'
      )(x, None)
      return x, None, usage
    x, (states, usage) = nn.scan(
      layers.remat(_Layer, c.remat),
      variable_axes={'params': 0, **(hooks.AXES if self.has_hooks else {})},
      split_rngs={'params': True},
      in_axes=(0, nn.broadcast),
      length=c.num_layers,
      unroll=max(c.unroll, 1),
    )(
      self.layer, self.adaptive, num_steps, unroll, name='layers'
    )(x, states, stride)
    return x, states, halting.average(usage)


class _Whole(nn.Module):
  """A stack as the body of `halting.Adaptive`."""

  config: layers.StackConfig
  layer: Callable[..., nn.Module]

  @nn.compact
  def __call__(self, x):
    return Stack(self.config, self.layer, name='stack')(x)[0], None


class _Layer(nn.Module):
  """A layer; the body of `nn.scan`."""

  layer: Callable[..., nn.Module]
  adaptive: halting.Halting
  num_steps: int
  unroll: bool

  @nn.compact
  def __call__(self, x, state, stride):
    if self.adaptive.kind != 'layer':
      more = () if stride is None else (stride,)
      x, state = self.layer(name='block')(x, state, *more)
      x = hooks.hook(self, 'residual', x)
      return x, (state, halting.single_pass(x.shape[:2]))
    x, _, usage = halting.Adaptive(
      self.layer,
      self.adaptive,
      self.num_steps,
      self.unroll,
      name='adaptive',
    )(x, None)
    return hooks.hook(self, 'residual', x), (None, usage)


class HaltingModel(base.Model):
  """A model that may have halting units.

  A subclass has the fields `config`, `vocab_size` and `adaptive`, the settings
  of halting.
  """

  def trained_depth(self) -> int:
    """See `base.Model`."""
    return self.adaptive.trained_depth

  def with_halting(self, **fields: Any) -> 'HaltingModel':
    """See `base.Model`."""
    return self.clone(adaptive=dataclasses.replace(self.adaptive, **fields))

  def stops_early(self) -> str:
    """See `base.Model`."""
    return self.adaptive.why_not_early

  def lens_read_out(self, params: Any, x: jax.Array) -> jax.Array:
    """See `base.Model`."""
    return read_out(self.config, self.vocab_size, params, x)


class Transformer(HaltingModel):
  """A model of one stack.

  Attributes:
    config: shape of the stack.
    vocab_size: V.
    layer: makes a layer, by name.
    adaptive: settings of halting.
  """

  config: layers.StackConfig
  vocab_size: int
  layer: Callable[..., nn.Module]
  adaptive: halting.Halting = halting.Halting()

  def __call__(
    self,
    tokens: jax.Array,
    *,
    depth: int | None = None,
    deterministic: bool = True,
  ) -> base.Output:
    """int32 [B, L] to logits.

    Args:
      tokens: the sequence.
      depth: maximum number of repetitions; None for the config's.
      deterministic: has no effect.
    """
    del deterministic
    return self._run(tokens, None, depth)[0]

  def decoder(self) -> decoding.Decoder:
    """See `base.Model`; with halting there is no cache."""
    if self.adaptive.kind == 'none':
      return decoding.LayerStates(self)
    return super().decoder()

  def lens_states(self, seen: dict[str, Any], length: int) -> jax.Array | None:
    """See `base.Model`."""
    return residual_states(seen)

  def decode(self, tokens: jax.Array, state: Any) -> tuple[jax.Array, Any]:
    """Logits [B, n, V] of n new tokens, and the new state.

    Args:
      tokens: int32 [B, n].
      state: from `init_state`, or as returned by the call before.

    Raises:
      ValueError: for a model with halting.
    """
    if self.adaptive.kind != 'none':
      raise ValueError('decode: not for models with halting')
    output, state = self._run(tokens, state, None)
    return output.logits, state

  def init_state(self, batch_size: int, length: int) -> Any:
    """State before the first token, for sequences of up to `length` tokens."""
    one = self.layer(parent=None).init_state(batch_size, length)
    stacked = jax.tree.map(
      lambda s: jnp.stack([s] * self.config.num_layers), one
    )
    return jnp.zeros((), jnp.int32), stacked

  @nn.compact
  def _run(self, tokens, state, depth):
    c = self.config
    position, states = (0, None) if state is None else state
    embedding = Embedding(c, self.vocab_size, name='embedding')
    x = embedding(tokens, position)
    x = hooks.hook(self, 'input', x)
    x, states, usage = Stack(c, self.layer, self.adaptive, name='stack')(
      x, states, depth
    )
    read_out = ReadOut(self.vocab_size, c.norm, c.norm_epsilon, name='read_out')
    logits = read_out(x, embedding.table())
    state = None if state is None else (position + tokens.shape[1], states)
    return output(logits, self.adaptive, usage), state


def output(
  logits: jax.Array, config: halting.Halting, usage: halting.Usage
) -> base.Output:
  """Output of a model with logits after the last step only."""
  return base.Output(
    logits=logits,
    depth_logits=None,
    halting=None,
    ponder=usage.steps,
    executed=usage.executed,
    penalty=config.cost * usage.cost.mean(),
  )


def residual_states(seen: dict[str, Any]) -> jax.Array | None:
  """Hidden states after each layer, [loops, layers, B, L, D].

  Args:
    seen: activations by hook; the residual is [..., layers, B, L, D].
  """
  x = seen.get('residual')
  return None if x is None else x.reshape(-1, *x.shape[-4:])


def read_out(
  config: layers.StackConfig,
  vocab_size: int,
  params: Any,
  x: jax.Array,
  norm: str = '',
) -> jax.Array:
  """Logits [B, L, V] of hidden states [B, L, D] by a model's own read-out.

  Args:
    config: of the model.
    vocab_size: V.
    params: of the model, with `read_out` and `embedding`.
    x: hidden states.
    norm: replaces the config's norm, such as 'none'.
  """
  table = params['embedding']['tokens']['embedding'] if config.tied else None
  kind, epsilon = norm or config.norm, config.norm_epsilon
  module = ReadOut(vocab_size, kind, epsilon, parent=None)
  return module.apply({'params': params.get('read_out', {})}, x, table)


@dataclasses.dataclass(frozen=True)
class Settings(layers.TransformerConfig):
  """Settings of `model.name=transformer`."""

  halting: 'halting.Halting' = settings.group(halting.Halting)

  def build(self, task: Any) -> Transformer:
    """The model for a task."""
    config = self.for_task(task)
    block = functools.partial(layers.Block, config, task.causal)
    return Transformer(config, task.vocab_size, block, self.halting)
