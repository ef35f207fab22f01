"""The associative memory against numbers of the public implementation.

tests/data/armt_reference.npz holds weights, inputs, states, outputs and
gradients of one associative layer over four segments, in six variants, as the
public ARMT code (PyTorch) computes them. Five are in float32; in the sixth
small overlaps amplify rounding (float32 and float64 differ by 4e-5 in the
public code itself), so it is in float64.
"""

import pathlib

import chex
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth.models import memory
from tests import tiny

REFERENCE = np.load(
  pathlib.Path(__file__).parents[1] / 'data/armt_reference.npz'
)
NUM_SEGMENTS, NUM_TOKENS, KEY_WIDTH = 4, 4, 8
VARIANTS = {
  'base': {},
  'heads2': {'num_heads': 2},
  'nocorr': {'correction': False},
  'nodenom': {'use_denominator': False},
  'gating': {'gating': True},
  'gating_heads2_f64': {'gating': True, 'num_heads': 2},
}
WEIGHTS = {  # ours: (theirs, transposed)
  'query': ('W_mq.weight', True),
  'key': ('W_mk.weight', True),
  'value': ('W_mv.weight', True),
  'strength': ('W_mb.weight', True),
  'strength_bias': ('W_mb.bias', False),
}


def _stored(variant, kind):
  """Weights or gradients of a variant in our names and orientation."""
  prefix = f'layer_{variant}/{kind}/'

  def get(name, transposed):
    x = REFERENCE[prefix + name]
    return jnp.asarray(x.T if transposed else x)

  ours = {k: get(*v) for k, v in WEIGHTS.items()}
  layer = {'a': get('layer.A', False), 'b': get('layer.b', False)}
  return memory.Projections(**ours), layer


def _run(config, weights, layer, inputs):
  """Segments through read, the stand-in layer and write."""
  state = memory.init(config, inputs.shape[1], inputs.shape[-1], inputs.dtype)
  reads, outs, states = [], [], []
  for x in inputs:
    found = memory.read(config, weights, state, x)
    h = x + found
    out = h + jnp.tanh(h @ layer['a'] + layer['b'])
    state = memory.write(config, weights, state, out[:, -NUM_TOKENS:])
    reads.append(found)
    outs.append(out)
    states.append(state)
  return jnp.stack(outs), reads, states


@pytest.mark.parametrize('variant', VARIANTS)
def test_agrees_with_the_public_code(variant):
  wide = variant.endswith('_f64')
  with tiny.float64(wide):
    _check_against_the_public_code(variant, 1e-10 if wide else 1e-5)


def _check_against_the_public_code(variant, tolerance):
  config = memory.MemoryConfig(
    num_tokens=NUM_TOKENS, key_width=KEY_WIDTH, **VARIANTS[variant]
  )
  weights, layer = _stored(variant, 'w')
  inputs = jnp.asarray(REFERENCE[f'layer_{variant}/h_in'])
  cotangent = jnp.asarray(REFERENCE[f'layer_{variant}/G'])

  def loss(weights, layer):
    outs, reads, states = _run(config, weights, layer, inputs)
    return jnp.sum(outs * cotangent), (outs, reads, states)

  grad = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))
  (value, (outs, reads, states)), grads = grad(weights, layer)

  def check(ours, name):
    theirs = REFERENCE[f'layer_{variant}/{name}']
    chex.assert_shape(ours, theirs.shape)
    scale = max(1.0, float(np.abs(theirs).max()))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * scale)

  for s in range(NUM_SEGMENTS):
    if s:  # the public code does not read an empty memory
      check(reads[s], f's{s}/read')
    check(outs[s], f's{s}/out')
    check(states[s].matrix, f's{s}/W_after')
    if config.use_denominator:
      check(states[s].normaliser, f's{s}/z_after')
  check(value, 'loss')
  for name, (theirs, transposed) in WEIGHTS.items():
    ours = getattr(grads[0], name)
    check(ours.T if transposed else ours, f'grad/{theirs}')
  check(grads[1]['a'], 'grad/layer.A')
  check(grads[1]['b'], 'grad/layer.b')


def _random_weights(key, config, width):
  keys = jax.random.split(key, 5)
  out = width if config.gating else config.num_heads
  shapes = [
    (width, config.key_width),
    (width, config.key_width),
    (width, width),
    (width, out),
    (out,),
  ]
  return memory.Projections(
    *(jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True))
  )


@pytest.mark.parametrize('features', memory.FEATURES)
def test_a_stored_token_is_read_back(features):
  config = memory.MemoryConfig(num_tokens=1, key_width=16, features=features)
  weights = _random_weights(jax.random.key(0), config, 8)
  # Query as the token was keyed, write at full strength.
  weights = weights.replace(
    query=weights.key, strength_bias=jnp.full((1,), 1e3)
  )
  token = jax.random.normal(jax.random.key(1), (2, 1, 8))
  empty = memory.init(config, 2, 8)
  chex.assert_trees_all_equal(
    memory.read(config, weights, empty, token), jnp.zeros((2, 1, 8))
  )
  state = memory.write(config, weights, empty, token)
  # Written again with another value under the same key, it is replaced.
  other = weights.replace(value=-2 * weights.value)
  for w in (weights, other):
    state = memory.write(config, w, state, token)
    np.testing.assert_allclose(
      memory.read(config, w, state, token), token @ w.value, rtol=1e-3
    )


CONFIG = memory.MemoryConfig(key_width=4)
FEATURES = jax.jit(lambda x: memory.features(CONFIG, x))
GRADIENT = jax.jit(jax.grad(lambda x: memory.features(CONFIG, x).sum()))


@hypothesis.settings(max_examples=20)
@hypothesis.given(st.integers(0, 2**31 - 1), st.floats(1e-3, 1e3))
def test_features_are_finite_and_of_unit_length(seed, scale):
  x = scale * jax.random.normal(jax.random.key(seed), (1, 5, 4))
  x = x.at[0, 0].set(0.0)
  phi = FEATURES(x)
  assert phi.shape == (1, 1, 5, 2 * 3 * 4)
  norms = np.linalg.norm(phi, axis=-1)
  assert np.all((np.abs(norms - 1) < 1e-5) | (norms < 1e-5))
  assert norms[0, 0, 0] == 0
  assert np.all(np.isfinite(GRADIENT(x)))
