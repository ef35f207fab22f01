"""The recall model: steps, rows of the answer, copies, other sizes."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth import models, tasks
from reasoning_depth.analysis import depth, early_exit, exits
from reasoning_depth.models import recall

FIELDS = {
  'name': 'recall', 'num_layers': 1, 'width': 16, 'num_heads': 4,
  'mlp_width': 32, 'positions': 'relative', 'relative_start': 'cone',
  'parallel_residual': False,
}  # fmt: skip


def task(variant='multi_horizon', **fields):
  fields = {'width': 6, 'radius': 1, 'num_states': 3} | fields
  return tasks.TASKS['orbits'](
    layout='masked', variant=variant, look_ahead=(1, 2, 3), **fields
  )


def make(of, **recurrence):
  return models.make(FIELDS | {'recurrence': recurrence}, of)


@functools.partial(
  jax.jit,
  static_argnums=0,
  static_argnames=('depth', 'method', 'deterministic'),
)
def apply(model, params, *args, **fields):
  return model.apply(params, *args, **fields)


@functools.partial(jax.jit, static_argnums=(0, 2))
def sample(of, key, batch_size):
  return of.sample(key, batch_size)


@functools.cache
def started(of, **recurrence):
  """A model, its parameters, and a batch."""
  model = make(of, **recurrence)
  batch = sample(of, jax.random.key(1), 4)
  return model, jax.jit(model.init)(jax.random.key(0), batch.inputs), batch


@pytest.mark.parametrize(
  'variant,carry',
  [
    ('multi_horizon', 'answer'),
    ('multi_horizon', 'latent'),
    ('multi_horizon', 'both'),
    ('o_o', 'both'),
  ],
)
def test_steps_by_hand_are_the_scan(variant, carry):
  of = task(variant)
  model, params, batch = started(of, carry=carry, core=2, loops_per_step=2)
  whole = apply(model, params, batch.inputs, depth=3)
  state = apply(model, params, batch.inputs, method='begin')
  for n in range(3):
    state = apply(model, params, state, n, method='again')
    logits, halt = apply(model, params, state, method='read')
    assert halt is None
    chex.assert_trees_all_close(logits, whole.depth_logits[n], atol=1e-5)
  chex.assert_trees_all_close(logits, whole.logits, atol=1e-5)


def test_rows_of_an_answer_are_the_steps():
  one, several = task(), task('o_o')
  model, params, batch = started(one)
  every = apply(model, params, batch.inputs).depth_logits
  masks = jnp.tile(batch.inputs[:, -one.row_tokens :], (1, 2))
  rows = jnp.concatenate([batch.inputs, masks], axis=1)
  joined = apply(make(several), params, rows).logits
  W = one.width
  for k in range(3):
    first = one.num_states * one.row_tokens + 1
    there = first + k * one.row_tokens
    chex.assert_trees_all_close(
      joined[:, there : there + W], every[k, :, first : first + W], atol=1e-5
    )


def test_loss_of_one_step_teaches_the_steps_before():
  model, params, batch = started(task())

  def loss(params):
    out = apply(model, params, batch.inputs, depth=3)
    return jnp.sum(jax.nn.log_softmax(out.logits)[..., 0])

  # Through the straight-through answers; without them, of zero depth.
  grads = jax.jit(jax.grad(loss))(params)['params']
  assert all(
    float(jnp.abs(g).max()) > 0 for g in jax.tree.leaves(grads['core'])
  )


def test_stops_early_like_other_stepwise_models():
  model, params, batch = started(task(), carry='latent')
  asked = batch.weights > 0
  run = jax.jit(depth.trajectory(model, 3, 'softmax'))
  _, signals = run(params['params'], batch)
  changes = signals.difference[:, :-1].min(-1)
  rule = exits.Rule('latent', float(np.median(changes)), 1.9)
  by_step = jax.tree.map(np.transpose, signals)
  steps = np.asarray(exits.steps(exits.stops(rule, by_step)))
  assert len(np.unique(steps)) > 1
  answer = early_exit.EarlyExit(model, 3, 'softmax')
  for buckets in ((4,), (4, 2, 1)):
    ours = answer(params['params'], batch.inputs, asked, rule, buckets)
    np.testing.assert_array_equal(ours.steps, steps)
    for i, n in enumerate(steps):
      logits = apply(
        model, params, batch.inputs[i : i + 1], depth=int(n)
      ).logits
      np.testing.assert_array_equal(ours.tokens[i], logits[0].argmax(-1))


def test_copies_start_equal_and_others_do_not():
  of = task()
  for copies in recall.COPIES:
    _, params, _ = started(of, copies=copies, core=2)
    parts = {n: p.get('layers') for n, p in params['params'].items()}
    core, encoder = parts['core'], parts['encoder']
    key = parts['encoded']['key']['kernel']
    same = jnp.array_equal(key, core['query']['kernel'])
    assert bool(same) == (copies != 'none')
    block = encoder['block']['qkv']['kernel']
    for n in range(2):
      same = jnp.array_equal(core['qkv']['kernel'][n], block[0])
      assert bool(same) == (copies == 'all')


def test_heads_start_at_the_neighbourhood_and_what_came_of_it():
  model, params, _ = started(task())
  reach = model.config.relative_reach
  tables = {
    'encoder': params['params']['encoder']['layers']['block']['relative'],
    'core': params['params']['core']['layers']['relative'],
  }
  around = [(0, -1), (0, 0), (0, 1)]
  for part, expected in (('encoder', [*around, (1, 0)]), ('core', around)):
    entries = [[h, reach + d, reach + a] for h, (d, a) in enumerate(expected)]
    assert np.argwhere(tables[part][0]).tolist() == entries


def test_corruption_is_of_training_alone_and_of_the_share_asked():
  model, params, batch = started(task(), corrupt_samples=1.0, corrupt_cells=1.0)
  clean = make(task())
  rngs = {'depth': jax.random.key(0)}
  expected = apply(clean, params, batch.inputs).depth_logits
  ours = apply(model, params, batch.inputs).depth_logits
  chex.assert_trees_all_close(ours, expected)
  ours = model.apply(
    params, batch.inputs, deterministic=False, rngs=rngs
  ).depth_logits
  chex.assert_trees_all_close(ours[0], expected[0], atol=1e-5)
  assert jnp.abs(ours[1] - expected[1]).max() > 1e-3
  none = dataclasses.replace(model.recurrence, corrupt_cells=0.0)
  ours = apply(
    model.clone(recurrence=none),
    params,
    batch.inputs,
    deterministic=False,
    rngs=rngs,
  )
  chex.assert_trees_all_close(ours.depth_logits, expected, atol=1e-5)


def test_runs_at_other_sizes_with_the_same_parameters():
  _, params, _ = started(task())
  for fields in ({'width': 9}, {'num_states': 5}):
    other = task(**fields)
    batch = sample(other, jax.random.key(0), 2)
    ours = apply(make(other), params, batch.inputs)
    assert ours.logits.shape == (*batch.inputs.shape, other.vocab_size)


def test_bfloat16_is_near_float32():
  of = task()
  model, params, batch = started(of, copies='none')
  low = models.make(FIELDS | {'dtype': 'bfloat16'}, of)
  ours = apply(low, params, batch.inputs, depth=1).logits
  assert ours.dtype == jnp.float32
  expected = apply(model, params, batch.inputs, depth=1).logits
  assert jnp.std(expected) > 0.1
  np.testing.assert_allclose(ours, expected, atol=0.1)


def test_answer_turns_with_the_lattice():
  of = task()
  model, params, batch = started(of)
  rows = batch.inputs.reshape(4, -1, of.row_tokens)
  turned = rows.at[..., 1:].set(jnp.roll(rows[..., 1:], 2, -1))
  ours = apply(model, params, turned.reshape(4, -1)).logits[:, -of.width :]
  expected = apply(model, params, batch.inputs).logits[:, -of.width :]
  chex.assert_trees_all_close(ours, np.roll(expected, 2, 1), atol=1e-5)
