"""Counted operations against closed forms, and against XLA's."""

import functools

import jax
import jax.numpy as jnp
import pytest
import tiny
from jax.sharding import PartitionSpec as P

from reasoning_depth.models import attention
from reasoning_depth.runtime import operations
from reasoning_depth.scoring import losses

B, L, D, N = 2, 6, 4, 10
X, W = jnp.ones((B, L, D)), jnp.ones((D, D))
PRODUCT = 2 * B * L * D * D  # of X and W


def exactly(number, lower_bound=False):
  return operations.Count(number, number, lower_bound)


def loop(x, w, turns=N):
  return jax.lax.scan(lambda x, _: (x @ w, None), x, length=turns)[0]


def test_a_dense_layer():
  kernel = jnp.ones((D, N))
  count = operations.count(lambda x, k: jnp.tanh(x @ k) + 1, X, kernel)
  assert count == exactly(2 * B * L * D * N)
  assert operations.count(lambda x: x.sum() + x.max(), X) == exactly(0)


def test_attention():
  H = 3
  q = jax.ShapeDtypeStruct((B, H, L, D), jnp.float32)
  count = operations.count(
    lambda q, k, v: attention.attend(q, k, v, False, 'xla'), q, q, q
  )
  scores = mixed = 2 * B * H * L * L * D
  assert count == exactly(scores + mixed)


def test_a_scan_counts_each_turn_and_nested_ones_multiply():
  assert operations.count(loop, X, W) == exactly(N * PRODUCT)

  def nested(x, w):
    return jax.lax.scan(lambda x, _: (loop(x, w), None), x, length=3)[0]

  assert operations.count(nested, X, W) == exactly(3 * N * PRODUCT)


@pytest.mark.parametrize('remat', [False, True])
def test_gradients(remat):
  """A product has two more in its gradient; remat runs the forward again."""
  body = loop if not remat else jax.checkpoint(loop)

  def loss(x, w):
    return jnp.sum(body(x, w) ** 2)

  both = operations.count(jax.grad(loss, argnums=(0, 1)), X, W)
  assert both == exactly((3 + remat) * N * PRODUCT)
  one = operations.count(jax.grad(lambda w, x: jnp.sum(x @ w)), W, X)
  assert one == exactly(2 * PRODUCT)


def test_calls_are_followed():
  custom = jax.custom_vjp(lambda x, w: x @ w)
  custom.defvjp(
    lambda x, w: (x @ w, (x, w)),
    lambda kept, g: (g @ kept[1].T, jnp.einsum('bld,ble->de', kept[0], g)),
  )

  @jax.custom_jvp
  def other(x):
    return jax.jit(jnp.matmul)(x, W)

  other.defjvp(lambda x, dx: (other(*x), dx[0] @ W))
  assert operations.count(other, X) == exactly(PRODUCT)
  assert operations.count(custom, X, W) == exactly(PRODUCT)
  gradient = jax.grad(lambda x, w: custom(x, w).sum(), argnums=(0, 1))
  assert operations.count(gradient, X, W) == exactly(3 * PRODUCT)


def test_of_branches_the_largest_counts():
  def branch(i, x):
    dear, cheap = functools.partial(loop, w=W), lambda x: x @ W
    return jax.lax.switch(i, [cheap, dear, cheap], x)

  count = operations.count(branch, 1, X)
  assert count == operations.Count(N * PRODUCT, PRODUCT, False)
  assert count.bound == 'at most'
  assert count.at(0.5) == exactly((N + 1) * PRODUCT // 2)
  same = operations.count(
    lambda p, x: jax.lax.cond(p, lambda x: x @ W, lambda x: x @ W.T, x), True, X
  )
  assert same == exactly(PRODUCT) and same.bound == ''


def test_a_while_loop_is_a_lower_bound():
  def unknown(x):
    return jax.lax.while_loop(lambda x: x[0, 0, 0] > 0, lambda x: x @ W, x)

  count = operations.count(jax.jit(unknown), X)
  assert count == exactly(PRODUCT, lower_bound=True)
  assert (count + exactly(1)).bound == 'at least'
  # Turns known beforehand are counted; a loop without products costs nothing.
  known = operations.count(
    lambda x: jax.lax.fori_loop(0, N, lambda _, x: x @ W, x), X
  )
  assert known == exactly(N * PRODUCT)
  empty = operations.count(
    lambda n: jax.lax.while_loop(lambda i: i < n, lambda i: i + 1, 0), N
  )
  assert empty.bound == ''


def test_what_cannot_be_seen_is_a_lower_bound():
  shape = jax.ShapeDtypeStruct(X.shape, X.dtype)
  count = operations.count(
    lambda x: jax.pure_callback(lambda x: x, shape, x @ W), X
  )
  assert count == exactly(PRODUCT, lower_bound=True)


def test_convolutions():
  x, kernel = jnp.ones((B, L, 6)), jnp.ones((3, 6, 8))

  def convolve(x, kernel, groups=1):
    return jax.lax.conv_general_dilated(
      x, kernel, (1,), 'SAME', dimension_numbers=('NWC', 'WIO', 'NWC'),
      feature_group_count=groups,
    )  # fmt: skip

  assert operations.count(convolve, x, kernel) == exactly(2 * B * L * 8 * 3 * 6)
  depthwise = functools.partial(convolve, groups=6)
  count = operations.count(depthwise, x, jnp.ones((3, 1, 6)))
  assert count == exactly(2 * B * L * 6 * 3)


def test_whole_numbers_do_not_count():
  whole = jnp.ones((3, 3), int)
  assert operations.count(jnp.matmul, whole, whole) == exactly(0)


def test_shards_count_together():
  mesh = jax.make_mesh(
    (2,), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
  )
  count = operations.count(
    jax.shard_map(
      jnp.matmul, mesh=mesh, in_specs=(P('data'), P()), out_specs=P('data')
    ),
    X, W,
  )  # fmt: skip
  assert count == exactly(PRODUCT)


def test_xla_counts_the_same_where_there_is_no_loop():
  """XLA also counts work entry by entry: its number is a little larger."""
  config = tiny.config(width=32, num_heads=2, mlp_width=128, unroll=2)
  model = tiny.model('transformer', config)
  tokens = tiny.tokens()
  params = jax.eval_shape(model.init, jax.random.key(0), tokens)['params']

  def loss(params, tokens):
    logits = model.apply({'params': params}, tokens).logits
    return losses.cross_entropy(logits, tokens, 'softmax').sum()

  step = jax.value_and_grad(loss)
  ours = operations.count(step, params, tokens)
  theirs = jax.jit(step).lower(params, tokens).compile().cost_analysis()
  assert ours.bound == ''
  assert 0.9 * theirs['flops'] < ours.most < theirs['flops']
