"""LSTM and Mamba layers, each against a step-by-step oracle."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth.models import attention, lstm, mamba
from tests import tiny

B, L, D, V = tiny.B, tiny.L, tiny.CONFIG.width, tiny.V
TOKENS = tiny.tokens()


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def test_lstm_by_hand():
  x = jax.random.normal(jax.random.key(0), (B, L, D))
  layer = lstm.LSTMLayer(tiny.CONFIG)
  variables = jax.jit(layer.init)(jax.random.key(1), x)
  ours, _ = jax.jit(layer.apply)(variables, x)
  params = jax.tree.map(np.asarray, variables['params'])
  h, c = np.zeros((2, B, D))
  for t in range(L):
    gates = np.asarray(x)[:, t] @ params['input']['kernel']
    gates = gates + params['input']['bias'] + h @ params['recurrent']
    forget, write, read, value = np.split(gates, 4, axis=-1)
    c = sigmoid(forget + 1) * c + sigmoid(write) * np.tanh(value)
    h = sigmoid(read) * np.tanh(c)
    np.testing.assert_allclose(ours[:, t], h, atol=1e-5)


@pytest.mark.parametrize('length', [1, 7, 64])
def test_linear_scan_is_the_recurrence_forward_and_backward(length):
  keys = jax.random.split(jax.random.key(length), 3)
  a = jax.random.uniform(keys[0], (B, length, 3, 2))
  b = jax.random.normal(keys[1], a.shape)
  weight = jax.random.normal(keys[2], a.shape)

  def value(scan):
    return jax.jit(
      jax.value_and_grad(lambda a, b: jnp.sum(weight * scan(a, b)), (0, 1))
    )(a, b)

  chex.assert_trees_all_close(
    value(mamba.linear_scan), value(mamba.sequential_scan), atol=1e-5
  )


@pytest.mark.parametrize('length,span', [(16, 4), (9, 4), (3, 4), (1, 4)])
def test_spans_change_nothing_forward_and_backward(length, span):
  E, N = 3, 2
  keys = jax.random.split(jax.random.key(length), 6)
  wide, narrow = (B, length, E), (B, length, N)
  inputs = (
    jax.random.normal(keys[0], wide),
    jax.nn.softplus(jax.random.normal(keys[1], wide)),
    -jnp.exp(jax.random.normal(keys[2], (E, N))),
    jax.random.normal(keys[3], narrow),
    jax.random.normal(keys[4], narrow),
    jax.random.normal(keys[5], (B, E, N)),
  )

  def value(scan):
    def total(*x):
      y, last = scan(*x)
      return jnp.sum(y**2) + jnp.sum(last**3), (y, last)

    grads = jax.value_and_grad(total, range(6), has_aux=True)
    return jax.jit(grads)(*inputs)

  chex.assert_trees_all_close(
    value(functools.partial(mamba.selective_scan, span=span)),
    value(mamba.sequential_selective_scan),
    rtol=1e-5,
    atol=1e-4,
  )


def test_selective_scan_by_hand():
  E, N = 3, 2
  rng = np.random.default_rng(0)
  u, delta = rng.normal(size=(2, B, L, E))
  delta = np.exp(delta)
  a = -np.exp(rng.normal(size=(E, N)))
  b, c = rng.normal(size=(2, B, L, N))
  h = rng.normal(size=(B, E, N))
  args = map(jnp.asarray, (u, delta, a, b, c, h))
  ours, last = jax.jit(mamba.selective_scan)(*args)
  for t in range(L):
    step = delta[:, t, :, None]
    h = np.exp(step * a) * h + step * u[:, t, :, None] * b[:, t, None]
    y = (h * c[:, t, None]).sum(-1)
    np.testing.assert_allclose(ours[:, t], y, atol=1e-4)
  np.testing.assert_allclose(last, h, atol=1e-4)


@pytest.mark.parametrize(
  'name, positions, groups',
  [
    ('transformer', 'rotary', 0), ('transformer', 'lattice', 0),
    ('transformer', 'relative', 0), ('transformer', 'learned', 0),
    ('transformer', 'rotary', 2), ('transformer', 'relative', 1),
    ('lstm', 'none', 0), ('mamba', 'none', 0),
  ],
)  # fmt: skip
def test_decoding_in_pieces_is_the_whole_sequence(name, positions, groups):
  backbone = tiny.config(
    num_heads=4, positions=positions, rotary_fraction=1.0, row=4, max_length=L,
    num_kv_heads=groups,
    rotary=attention.Rotary(100.0, 'llama3', 4.0, length=8),
  )  # fmt: skip
  model = tiny.model(name, backbone)
  variables = {'params': tiny.init(model)}
  whole = jax.jit(model.apply)(variables, TOKENS).logits
  state, pieces = model.init_state(B, L), []
  if groups:
    assert state[1].keys.shape[2] == groups
  decode = jax.jit(functools.partial(model.apply, method='decode'))
  for piece in jnp.split(TOKENS, [5, 6, 7], axis=1):
    logits, state = decode(variables, piece, state)
    pieces.append(logits)
  np.testing.assert_allclose(jnp.concatenate(pieces, axis=1), whole, atol=1e-5)


@pytest.mark.parametrize('name', ['lstm', 'mamba'])
def test_nothing_reaches_back_in_time(name):
  model = tiny.model(name)
  variables = {'params': tiny.init(model)}
  other = TOKENS.at[:, 5].set((TOKENS[:, 5] + 1) % V)
  ours, theirs = (
    jax.jit(model.apply)(variables, t).logits for t in (TOKENS, other)
  )
  np.testing.assert_array_equal(ours[:, :5], theirs[:, :5])
  assert not np.allclose(ours[:, 5:], theirs[:, 5:])
