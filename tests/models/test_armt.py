import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth import models, tasks
from reasoning_depth.longcontext import diagonal
from reasoning_depth.models import (
  armt,
  halting,
  memory,
  transformer,
  windows,
)
from tests import tiny

B, SEGMENT, V = tiny.B, tiny.SEGMENT, tiny.V
BACKBONE, MEMORY = tiny.CONFIG, tiny.MEMORY
M = MEMORY.num_tokens


def build(segments=3, stride=SEGMENT):
  """A model with weights that use the memory (values start at zero)."""
  length = SEGMENT + (segments - 1) * stride
  model = tiny.model('armt', stride=stride)
  params = tiny.init(model, length)
  stack = params['segment']['stack']['layers']
  stack['value'] = jax.random.normal(jax.random.key(2), stack['value'].shape)
  return model, {'params': params}, tiny.tokens(length)


@functools.partial(jax.jit, static_argnums=0)
def logits(model, variables, tokens):
  return model.apply(variables, tokens).logits


def test_one_segment_is_the_plain_transformer():
  model, variables, tokens = build(segments=1)
  params = variables['params']
  plain = tiny.model('transformer')
  blocks = params['segment']['stack']['layers']['step']['block']
  theirs = jax.jit(plain.apply)(
    {
      'params': {
        'embedding': params['embedding'],
        'stack': {'layers': {'block': blocks}},
        'read_out': params['read_out'],
      }
    },
    tokens,
  )
  np.testing.assert_allclose(
    logits(model, variables, tokens), theirs.logits, atol=1e-5
  )


@pytest.mark.parametrize('stride', [SEGMENT, 2])
def test_scan_over_segments_is_a_loop(stride):
  model, variables, tokens = build(stride=stride)
  params = variables['params']
  ours = logits(model, variables, tokens)
  states = jax.tree.map(
    lambda s: jnp.stack([s] * BACKBONE.num_layers),
    memory.init(MEMORY, B, BACKBONE.width),
  )
  segment = jax.jit(armt.Segment(BACKBONE, MEMORY, True).apply)
  embed = jax.jit(transformer.Embedding(BACKBONE, V).apply)
  read_out = jax.jit(transformer.ReadOut(V).apply)
  for start in range(0, tokens.shape[1] - SEGMENT + 1, stride):
    here = tokens[:, start : start + SEGMENT]
    x = embed({'params': params['embedding']}, here)
    states, (x, _) = segment({'params': params['segment']}, states, (x, False))
    theirs = read_out({'params': params['read_out']}, x)
    fresh = SEGMENT if start == 0 else stride
    end = start + SEGMENT
    np.testing.assert_allclose(
      ours[:, end - fresh : end], theirs[:, -fresh:], atol=1e-5
    )


def test_execution_choices_change_nothing():
  model, variables, tokens = build(segments=2)
  other = model.clone(
    unroll_segments=2,
    config=dataclasses.replace(BACKBONE, remat='full', unroll=2),
  )

  @functools.partial(jax.jit, static_argnums=1)
  def loss_and_gradient(variables, model):
    def loss(variables):
      out = jax.nn.log_softmax(logits(model, variables, tokens))
      return jnp.sum(out[..., 0])

    return jax.value_and_grad(loss)(variables)

  chex.assert_trees_all_close(
    loss_and_gradient(variables, model),
    loss_and_gradient(variables, other),
    rtol=1e-3,
    atol=1e-4,
  )


def last_by_first(model, variables, tokens):
  """Gradient of the last segment's logits by each position, and all logits."""
  params = variables['params']
  embedded = params['embedding']['tokens']['embedding']
  # Every position gets a token of its own.
  own = jnp.arange(tokens.size).reshape(tokens.shape)
  table = embedded[tokens].reshape(-1, BACKBONE.width)
  wide = model.clone(vocab_size=tokens.size)

  def loss(table):
    new = {
      **params,
      'embedding': {'tokens': {'embedding': table}},
      'read_out': {
        **params['read_out'],
        'logits': {
          'kernel': jnp.ones((BACKBONE.width, tokens.size))
          * jnp.arange(BACKBONE.width)[:, None]
        },
      },
    }
    out = logits(wide, {'params': new}, own)
    return out[:, -SEGMENT:].sum(), out

  grad, out = jax.device_get(jax.jit(jax.grad(loss, has_aux=True))(table))
  grad = grad.reshape(B, -1, SEGMENT, BACKBONE.width)
  return np.abs(grad).max(axis=(0, 2, 3)), out  # [S]


def test_memory_carries_gradients_as_far_as_truncation_allows():
  model, variables, tokens = build(segments=4)
  reach, whole = last_by_first(model, variables, tokens)
  assert np.all(reach > 0)
  for covered in (1, 2):
    cut = model.clone(truncate=covered)
    reach, out = last_by_first(cut, variables, tokens)
    assert (reach > 0).tolist() == [False] * (4 - covered) + [True] * covered
    np.testing.assert_allclose(out, whole, rtol=1e-6, atol=1e-6)


def test_samples_share_no_memory():
  model, variables, tokens = build()
  other = tokens.at[1].set((tokens[1] + 1) % V)
  ours, theirs = (logits(model, variables, t) for t in (tokens, other))
  np.testing.assert_array_equal(ours[0], theirs[0])
  assert not np.allclose(ours[1], theirs[1])


def test_later_segments_do_not_reach_earlier_ones():
  model, variables, tokens = build()
  other = tokens.at[:, -1].set((tokens[:, -1] + 1) % V)
  ours, theirs = (logits(model, variables, t) for t in (tokens, other))
  np.testing.assert_array_equal(ours[:, :-1], theirs[:, :-1])


def test_bfloat16_keeps_the_memory_in_float32():
  model, variables, tokens = build()
  narrow = model.clone(config=dataclasses.replace(BACKBONE, dtype='bfloat16'))
  wide = logits(model, variables, tokens)
  error = jnp.abs(logits(narrow, variables, tokens) - wide)
  assert 0 < error.mean() < 0.1 * jnp.abs(wide).mean()


def test_segments_that_do_not_cover_the_sequence_are_refused():
  with pytest.raises(ValueError, match='4 tokens every 3 do not cover'):
    windows.starts(12, 4, 3)
  assert windows.starts(10, 4, 3).tolist() == [0, 3, 6]


@pytest.mark.parametrize('kind', ['layer', 'model'])
def test_ponder_cost_is_averaged_over_tokens_or_over_all_positions(kind):
  stride = 2
  base, _, tokens = build(stride=stride)
  adaptive = halting.Halting(kind, max_steps=3, cost=1.0)
  model = base.clone(adaptive=adaptive)
  params = jax.jit(model.init)(jax.random.key(1), tokens)['params']
  segment = params['segment']
  stack = jax.jit(armt.MemoryStack(BACKBONE, MEMORY, True, adaptive, 3).apply)
  states, costs = model.first_memory(B), []
  for part in windows.split(tokens, SEGMENT, stride):
    x = params['embedding']['tokens']['embedding'][part]
    last = jnp.broadcast_to(segment['memory_tokens'], (B, M, BACKBONE.width))
    x = jnp.concatenate([x, last], axis=1)
    _, (states, usage) = stack({'params': segment['stack']}, x, states)
    costs.append(usage.cost)
  costs = np.stack(costs)  # [S, B, SEGMENT + M]
  first, later = costs[0, :, :SEGMENT], costs[1:, :, SEGMENT - stride : SEGMENT]
  by_hand = {
    'tokens': np.concatenate([first.ravel(), later.ravel()]).mean(),
    'all': costs.mean(),
  }
  assert abs(by_hand['tokens'] - by_hand['all']) > 1e-3
  for cost_over, mean in by_hand.items():
    asked = model.clone(
      adaptive=dataclasses.replace(adaptive, cost_over=cost_over)
    )
    scheduled = [diagonal.scheduled(asked)] if kind == 'layer' else []
    for one in (asked, *scheduled):
      output = jax.jit(one.apply)({'params': params}, tokens)
      np.testing.assert_allclose(output.penalty, mean, rtol=1e-5)
      assert output.ponder.shape == tokens.shape


@pytest.mark.parametrize('equal', [True, False])
def test_keys_start_as_the_queries_if_asked(equal):
  settings = dataclasses.replace(MEMORY, equal_start=equal)
  model = tiny.model('armt', memory=settings)
  stack = tiny.init(model)['segment']['stack']['layers']
  assert bool(jnp.array_equal(stack['key'], stack['query'])) == equal
  assert jnp.std(stack['query']) > 0.1


@pytest.mark.parametrize(('name', 'before'), [('armt', 0), ('rmt', 1)])
def test_memory_tokens_have_places_on_the_lattice(name, before):
  task = tasks.TASKS['orbits'](width=5, radius=1, num_states=3)
  fields = {'name': name, 'positions': 'relative'}
  model = models.make(fields | {'memory': {'num_tokens': 3}}, task)
  places = model.config.places
  assert (places.row, places.before, places.behind) == (6, 3 * before, 3)
