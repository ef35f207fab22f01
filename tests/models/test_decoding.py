import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth.models import (
  armt,
  decoding,
  halting,
  layers,
  looped,
  lstm,
  mamba,
  memory,
  rmt,
  transformer,
)

B, V, LENGTH = 3, 7, 18
BACKBONE = layers.TransformerConfig(
  num_layers=2, width=16, num_heads=2, mlp_width=32
)
BLOCK = functools.partial(layers.Block, BACKBONE, True)
SEGMENTS = {'config': BACKBONE, 'vocab_size': V, 'segment_length': 6}
MODELS = {
  'transformer': transformer.Transformer(BACKBONE, V, BLOCK),
  'lstm': transformer.Transformer(
    BACKBONE, V, functools.partial(lstm.LSTMLayer, BACKBONE)
  ),
  'mamba': transformer.Transformer(
    BACKBONE, V, functools.partial(mamba.MambaLayer, BACKBONE, 4)
  ),
  'adaptive': transformer.Transformer(
    BACKBONE, V, BLOCK, halting.Halting('layer', max_steps=2)
  ),
  'looped': looped.Looped(BACKBONE, V, BLOCK, looped.Recurrence(mean_loops=2)),
  'rmt': rmt.RMT(layer=BLOCK, num_tokens=2, stride=6, **SEGMENTS),
  'armt': armt.ARMT(
    memory=memory.MemoryConfig(num_tokens=2, key_width=4), causal=True,
    stride=3, **SEGMENTS,
  ),
}  # fmt: skip


@functools.cache
def build(name):
  model = MODELS[name]
  tokens = jnp.zeros((B, LENGTH), jnp.int32)
  params = jax.jit(model.init)(jax.random.key(1), tokens)['params']
  # Weights large enough that what is remembered changes what is said.
  return model, jax.tree.map(
    lambda x: x + 0.2 * jax.random.normal(jax.random.key(2), x.shape), params
  )


@functools.partial(
  jax.jit, static_argnums=(0, 3), static_argnames='temperature'
)
def run(model, params, prompt, length=LENGTH, key=None, temperature=0.0):
  return decoding.generate(model, params, prompt, length, key, temperature)


@pytest.mark.parametrize(
  'name, prompted',
  # Prompts that end in a segment's middle, at its start and at its end.
  [(name, 8) for name in MODELS]
  + [(name, prompted) for name in ('rmt', 'armt') for prompted in (1, 6)],
)
def test_decoding_agrees_with_teacher_forcing(name, prompted):
  model, params = build(name)
  prompt = jax.random.randint(jax.random.key(3), (B, prompted), 0, V)
  tokens, log_ps = run(model, params, prompt)
  np.testing.assert_array_equal(tokens[:, :prompted], prompt)
  logits = jax.jit(model.apply)({'params': params}, tokens).logits
  forced = logits[:, prompted - 1 : -1]
  np.testing.assert_array_equal(tokens[:, prompted:], forced.argmax(-1))
  log_p = jax.nn.log_softmax(forced).max(-1)
  np.testing.assert_allclose(log_ps, log_p, atol=1e-3)
  assert np.ptp(log_ps) > 1e-3  # what is said depends on what was read


def test_samples_follow_the_probabilities():
  model, params = build('lstm')
  prompt = jnp.tile(jnp.array([[1, 2]]), (4000, 1))
  tokens, _ = run(
    model, params, prompt, 3, key=jax.random.key(0), temperature=2.0
  )
  logits = model.apply({'params': params}, prompt[:1]).logits[0, -1]
  shares = np.bincount(tokens[:, 2], minlength=V) / 4000
  np.testing.assert_allclose(shares, jax.nn.softmax(logits / 2), atol=0.03)
  again, _ = run(
    model, params, prompt, 3, key=jax.random.key(1), temperature=2.0
  )
  assert not np.array_equal(again, tokens)
