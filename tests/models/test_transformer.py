import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth.models import (
  attention,
  dense,
  kernels,
  layers,
  transformer,
)
from tests import tiny

B, L, V = tiny.B, tiny.L, tiny.V
TOKENS = tiny.tokens()


def build(causal=True, **fields):
  model = tiny.model('transformer', tiny.config(**fields), causal=causal)
  return model, {'params': tiny.init(model)}


@functools.partial(jax.jit, static_argnums=0)
def logits(model, variables, tokens=TOKENS):
  return model.apply(variables, tokens).logits


@functools.partial(jax.jit, static_argnums=0)
def loss_and_gradient(model, variables):
  def loss(variables):
    return jnp.sum(jax.nn.log_softmax(logits(model, variables))[..., 0])

  return jax.value_and_grad(loss)(variables)


def test_a_group_of_queries_sees_one_head_of_keys():
  q = jax.random.normal(jax.random.key(0), (B, 4, L, 4))
  k, v = jax.random.normal(jax.random.key(1), (2, B, 2, L, 4))

  def value(q, k, v, copies):
    k, v = (t[:, np.repeat(np.arange(2), copies)] for t in (k, v))
    return jnp.sum(jnp.sin(attention.attend(q, k, v, True, 'xla')))

  value_and_grad = jax.value_and_grad(value, (0, 1, 2))
  chex.assert_trees_all_close(
    value_and_grad(q, k, v, 1), value_and_grad(q, k, v, 2), atol=1e-5
  )


def llama3_by_hand(frequency, c):
  wave = 2 * np.pi / frequency
  if wave < c.length / c.high:
    return frequency
  if wave > c.length / c.low:
    return frequency / c.factor
  smooth = (c.length / wave - c.low) / (c.high - c.low)
  return (1 - smooth) * frequency / c.factor + smooth * frequency


def test_rotary_frequencies():
  plain = attention.Rotary(base=500.0)
  i = np.arange(8)
  by_hand = 500.0 ** (-2 * i / 16)
  np.testing.assert_allclose(plain.frequencies(8), by_hand)
  linear = dataclasses.replace(plain, scaling='linear', factor=4.0)
  np.testing.assert_allclose(linear.frequencies(8), by_hand / 4)
  llama3 = dataclasses.replace(
    plain, scaling='llama3', factor=8.0, low=1.0, high=4.0, length=128
  )
  scaled = llama3.frequencies(8)
  theirs = [llama3_by_hand(f, llama3) for f in by_hand]
  np.testing.assert_allclose(scaled, theirs)
  ratio = scaled / by_hand
  assert ratio[0] == 1 and ratio[-1] == 1 / 8
  assert np.any((ratio > 1 / 8) & (ratio < 1))


def test_blocks_without_biases_have_none():
  _, variables = build(bias=False)
  stack = jax.tree_util.tree_leaves_with_path(variables['params']['stack'])
  names = {jax.tree_util.keystr(path) for path, _ in stack}
  assert {n for n in names if 'bias' in n} == {
    f"['layers']['block']['{norm}_norm']['bias']"
    for norm in ('attention', 'mlp')
  }


def test_the_norm_epsilon_is_used():
  x = jnp.full((1, 4), 1e-3) * jnp.array([1, -1, 1, -1])
  for kind in layers.NORMS:
    for epsilon in (1e-6, 1e-2):
      norm = dense.make_norm(kind, epsilon, 'norm')
      y = norm.apply(norm.init(jax.random.key(0), x), x)
      np.testing.assert_allclose(y, x / np.sqrt(1e-6 + epsilon), rtol=1e-4)


def test_rotary_scores_depend_on_the_distance_alone():
  q, k = jax.random.normal(jax.random.key(0), (2, 1, 1, 1, 16))
  angles = attention.sequence_angles(L, 4)
  q, k = (kernels.rotary(jnp.tile(x, (1, 1, L, 1)), angles) for x in (q, k))
  scores = jnp.einsum('bhld,bhmd->lm', q, k)
  for distance in range(L):
    diagonal = jnp.diagonal(scores, -distance)
    np.testing.assert_allclose(diagonal, diagonal[0], rtol=1e-4, atol=1e-5)
  assert jnp.abs(scores[0, 0] - scores[5, 0]) > 1e-3


def test_lattice_scores_depend_on_rows_and_columns_apart():
  W, rows = 5, 4  # cells are columns 1 to W of a row; 0 is the separator
  q, k = jax.random.normal(jax.random.key(0), (2, 1, 1, 1, 16))
  angles = attention.lattice_angles(rows * (W + 1), 8, W + 1)
  q, k = (
    kernels.rotary(jnp.tile(x, (1, 1, len(angles), 1)), angles) for x in (q, k)
  )
  scores = jnp.einsum('bhld,bhmd->lm', q, k)
  scores = scores.reshape(rows, W + 1, rows, W + 1)[:, 1:, :, 1:]
  # One state down and around the circle, the scores are the same.
  around = jnp.roll(scores, (1, 1), axis=(1, 3))
  np.testing.assert_allclose(scores, around, atol=1e-4)
  np.testing.assert_allclose(scores[1:, :, 1:], scores[:-1, :, :-1], atol=1e-4)
  assert jnp.abs(scores[0, 0, 0] - scores[0, 0, 1]).max() > 1e-3


@pytest.mark.parametrize('parallel', [True, False])
def test_causal_logits_ignore_later_tokens(parallel):
  model, variables = build(parallel_residual=parallel, positions='learned')
  at = 5

  def reach(embedding_shift):
    params = jax.tree.map(lambda x: x, variables['params'])
    positions = params['embedding']['positions'] + embedding_shift
    params['embedding']['positions'] = positions
    return logits(model, {'params': params})[:, at].sum()

  grad = jax.jit(jax.grad(reach))(jnp.zeros((L, tiny.CONFIG.width)))
  assert jnp.all(grad[at + 1 :] == 0)
  assert jnp.all(jnp.any(grad[: at + 1] != 0, axis=-1))


def test_masked_logits_see_later_tokens():
  model, variables = build(causal=False)
  other = TOKENS.at[:, -1].set((TOKENS[:, -1] + 1) % V)
  change = logits(model, variables) - logits(model, variables, other)
  assert jnp.all(jnp.any(change[:, 0] != 0, axis=-1))


@pytest.mark.parametrize(
  'fields', [{'remat': 'full'}, {'remat': 'dots'}, {'unroll': 2}]
)
def test_execution_choices_change_nothing(fields):
  model, variables = build()
  other, _ = build(**fields)

  chex.assert_trees_all_close(
    loss_and_gradient(model, variables),
    loss_and_gradient(other, variables),
    rtol=1e-4,
    atol=1e-5,
  )


def test_scan_over_layers_is_a_loop_over_blocks():
  model, variables = build()
  params = variables['params']
  embed = jax.jit(transformer.Embedding(tiny.CONFIG, V).apply)
  x = embed({'params': params['embedding']}, TOKENS)
  block = jax.jit(layers.Block(tiny.CONFIG, True).apply)
  for i in range(tiny.CONFIG.num_layers):
    blocks = params['stack']['layers']['block']
    own = jax.tree.map(lambda p, i=i: p[i], blocks)
    x, _ = block({'params': own}, x)
  read_out = jax.jit(transformer.ReadOut(V).apply)
  by_hand = read_out({'params': params['read_out']}, x)
  np.testing.assert_allclose(logits(model, variables), by_hand, atol=1e-5)


def test_bfloat16_is_close_and_keeps_float32_parameters():
  model, variables = build()
  wide = logits(model, variables)
  narrow, narrow_variables = build(dtype='bfloat16')
  chex.assert_trees_all_equal(variables, narrow_variables)
  ours = logits(narrow, variables)
  assert ours.dtype == jnp.float32
  assert 0 < jnp.abs(ours - wide).max() < 0.1 * jnp.abs(wide).max()


def test_output_reports_one_step_of_depth():
  model, variables = build()
  out = jax.jit(model.apply)(variables, TOKENS)
  assert out.logits.shape == (B, L, V)
  assert out.depth_logits is None and out.halting is None
  np.testing.assert_array_equal(out.ponder, np.ones((B, L)))
