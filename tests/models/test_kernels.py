"""What is written for XLA against the plain formulas, values and gradients."""

import functools
import pathlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth.models import kernels

B, L = 2, 12
PUBLIC = np.load(pathlib.Path(__file__).parents[1] / 'data/armt_reference.npz')


@pytest.mark.parametrize(
  'ours,theirs',
  [
    (
      functools.partial(kernels.layer_norm, epsilon=1e-5),
      lambda x, s, b: jax.nn.standardize(x, epsilon=1e-5) * s + b,
    ),
    (
      lambda x, s, b: kernels.gelu(x) * s,
      lambda x, s, b: jax.nn.gelu(x, approximate=False) * s,
    ),
    (
      lambda x, s, b: kernels.matmul(x, jnp.outer(s, b)),
      lambda x, s, b: x @ jnp.outer(s, b),
    ),
    (
      lambda x, s, b: kernels.matmul(x, jnp.outer(s, b[:3])),
      lambda x, s, b: x @ jnp.outer(s, b[:3]),
    ),
  ],
)
def test_gradients_by_hand_agree_with_automatic_ones(ours, theirs):
  args = tuple(
    jax.random.normal(jax.random.key(i), shape)
    for i, shape in enumerate([(6, 8), (8,), (8,)])
  )
  loss = [
    jax.jit(
      jax.value_and_grad(lambda *a, f=f: jnp.sum(jnp.sin(f(*a))), (0, 1, 2))
    )
    for f in (ours, theirs)
  ]
  chex.assert_trees_all_close(loss[0](*args), loss[1](*args), atol=1e-5)


def attention_by_hand(q, k, v, causal, bias):
  out = np.zeros_like(q)
  for b, h, i in np.ndindex(q.shape[:3]):
    last = i + 1 if causal else q.shape[2]
    scores = q[b, h, i] @ k[b, h, :last].T / np.sqrt(q.shape[-1])
    scores = scores + bias[h, i, :last]
    weights = np.exp(scores - scores.max())
    out[b, h, i] = weights / weights.sum() @ v[b, h, :last]
  return out


@pytest.mark.parametrize('causal', [True, False])
@pytest.mark.parametrize('query_block', [5, kernels.QUERY_BLOCK])
def test_attention_agrees_with_the_formula(causal, query_block, monkeypatch):
  monkeypatch.setattr(kernels, 'QUERY_BLOCK', query_block)
  rng = np.random.default_rng(0)
  q, k, v, w = rng.normal(size=(4, B, 2, L, 4)) * 3
  bias = rng.normal(size=(2, L, L)) * 3
  for b in (bias, None):
    ours = kernels.attend(*map(jnp.asarray, (q, k, v)), b, causal)
    theirs = attention_by_hand(q, k, v, causal, 0 * bias if b is None else b)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)

  def value(q, k, v, bias, attend):
    return jnp.sum(w * jnp.swapaxes(attend(q, k, v, bias), 1, 2))

  def mine(q, k, v, bias):
    heads = (jnp.swapaxes(x, 1, 2) for x in (q, k, v))
    return jnp.swapaxes(kernels.attend(*heads, bias, causal), 1, 2)

  def jaxs(q, k, v, bias):
    return jax.nn.dot_product_attention(q, k, v, bias[None], is_causal=causal)

  grad = jax.grad(value, (0, 1, 2, 3))
  args = [jnp.asarray(x, jnp.float32).swapaxes(1, 2) for x in (q, k, v)]
  args.append(jnp.asarray(bias, jnp.float32))
  chex.assert_trees_all_close(
    jax.jit(lambda: grad(*args, mine))(),
    jax.jit(lambda: grad(*args, jaxs))(),
    atol=1e-4,
  )


@pytest.mark.parametrize('groups', [4, 2, 1])
def test_split_heads_and_its_gradient(groups):
  heads, head = 4, 2
  shape = (B, L, heads + 2 * groups, head)
  qkv = jax.random.normal(jax.random.key(0), (B * L, shape[2] * head))
  by_hand = np.asarray(qkv).reshape(shape).transpose(0, 2, 1, 3)
  by_hand = np.split(by_hand, [heads, heads + groups], axis=1)
  ours = kernels.split_heads(qkv, B, heads, groups)
  chex.assert_trees_all_equal(list(ours), by_hand)
  w = [
    jax.random.normal(jax.random.key(i), x.shape) for i, x in enumerate(ours)
  ]

  def dot(x):
    parts = kernels.split_heads(x, B, heads, groups)
    return sum(map(jnp.vdot, parts, w))

  expected = np.concatenate(w, 1).transpose(0, 2, 1, 3).reshape(qkv.shape)
  gradient = jax.jit(jax.grad(dot))(qkv)
  np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_rotary_leaves_the_rest_of_a_head_alone():
  x = jax.random.normal(jax.random.key(0), (1, 1, L, 16))
  turned = kernels.rotary(x, np.arange(L)[:, None] * [1.0, 0.1])
  np.testing.assert_array_equal(turned[..., 4:], x[..., 4:])
  assert not np.allclose(turned[:, :, 1:, :4], x[:, :, 1:, :4])


def test_look_up_is_by_pairs_of_rows_and_of_columns():
  P, Q, R, C = 4, 5, 3, 2
  rng = np.random.default_rng(0)
  table = jax.random.normal(jax.random.key(0), (2, P, Q))
  rows, columns = rng.integers(P, size=(R, R)), rng.integers(Q, size=(C, C))
  w = jax.random.normal(jax.random.key(1), (2, R * C, R * C))

  def plain(table, rows, columns):
    out = table[:, rows[:, None, :, None], columns[None, :, None, :]]
    return out.reshape(w.shape)

  def value(table, f):
    return jnp.sum(w * jnp.sin(f(table, rows, columns)))

  np.testing.assert_array_equal(
    kernels.look_up(table, rows, columns), plain(table, rows, columns)
  )
  gradient = jax.jit(jax.grad(value), static_argnums=1)
  chex.assert_trees_all_close(
    gradient(table, kernels.look_up), gradient(table, plain), atol=1e-5
  )


@pytest.mark.parametrize('nu', [1, 2, 3])
def test_feature_map_agrees_with_the_public_code(nu):
  ours = kernels.dpfp(jnp.asarray(PUBLIC['dpfp/x']), nu)
  np.testing.assert_allclose(ours, PUBLIC[f'dpfp/phi_nu{nu}'], atol=1e-6)


def test_unit_length_keeps_zero_and_its_gradient_finite():
  x = jax.random.normal(jax.random.key(0), (1, 2, 3, 4)).at[0, 0, 0].set(0.0)
  y = kernels.unit_length(x)
  norm = np.linalg.norm(x, axis=-1, keepdims=True)
  np.testing.assert_allclose(y, x / np.where(norm, norm, 1), atol=1e-6)
  gradient = jax.jit(jax.grad(lambda x: jnp.sum(kernels.unit_length(x))))(x)
  assert np.all(np.isfinite(gradient))
