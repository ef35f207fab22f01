import functools

import chex
import jax
import numpy as np
import pytest

from reasoning_depth.analysis import activations, pairs, patching
from reasoning_depth.models import layers, looped
from reasoning_depth.tasks import composition, extrapolation, groups, orbits
from tests.models import test_hooks

KEY = jax.random.key(0)
TASK = composition.Composition(10, 5, 3, 1, 1.0, 6)
SHAPE = layers.TransformerConfig(
  num_layers=2, width=16, num_heads=2, mlp_width=32
)
MODEL = looped.Looped(
  SHAPE, TASK.vocab_size, functools.partial(layers.Block, SHAPE, True),
  looped.Recurrence(inject='none', initial='embedding', mean_loops=3),
)  # fmt: skip


@functools.cache
def swept():
  found = pairs.of(TASK, KEY, 24)['entity']
  params = jax.jit(MODEL.init)(KEY, found.clean.inputs)['params']
  hooks = activations.find(MODEL, params, found.clean.inputs)
  places = {n: patching.places_of(MODEL, TASK, s) for n, s in hooks.items()}
  return (
    params,
    found,
    hooks,
    patching.sweep(MODEL, params, found, hooks, places),
  )


def test_a_sweep_is_each_patch_alone():
  params, found, hooks, sweep = swept()
  shapes = {n: x.shape[:-1] for n, x in sweep.patched.items()}
  assert shapes == {
    'input': (3, 3, 1), **dict.fromkeys(test_hooks.BLOCK, (3, 3, 2)),
  }  # fmt: skip
  see = jax.jit(functools.partial(activations.see, MODEL))
  run = jax.jit(
    lambda masks, values: (
      activations.replaced(
        MODEL, params, found.corrupt.inputs, hooks, masks, values
      ).logits
    )
  )
  _, values = see(params, found.clean.inputs)
  rows = np.arange(len(found.clean.group))

  def difference(logits):
    a, b = (x.targets[:, -1] for x in (found.clean, found.corrupt))
    return logits[rows, -1, a] - logits[rows, -1, b]

  for name, place, loop, layer in (('mlp', 2, 1, 0), ('attention', 1, 0, 1)):
    mask = {n: np.zeros_like(s.mask()) for n, s in hooks.items()}
    mask[name] = hooks[name].mask(layer, loop, place)
    np.testing.assert_allclose(
      sweep.patched[name][place, loop, layer],
      difference(np.asarray(run(mask, values))),
      atol=1e-5,
    )
  # The whole state at the first loop is the whole clean run's at its place.
  whole = sweep.patched['input'][0, 0, 0]
  np.testing.assert_allclose(whole, sweep.clean, atol=1e-5)
  last = sweep.recovered()['residual'][:, -1, -1]
  np.testing.assert_allclose(last, [0, 0, 1], atol=1e-4)


def test_pairs_that_are_not_told_apart_are_left_out():
  clean, corrupt = np.array([2.0, 1.0, 0.05]), np.array([-2.0, 1.0, 0.0])
  patched = {'mlp': np.array([1.0, 9.0, 9.0]).reshape(1, 1, 1, 3)}
  found = patching.Sweep(clean, corrupt, patched)
  assert found.told_apart.tolist() == [True, False, False]
  assert found.recovered()['mlp'].item() == pytest.approx(3 / 4)
  none = patching.Sweep(corrupt, corrupt, patched)
  assert np.isnan(none.recovered()['mlp']).all()


def test_a_sweep_compiles_once(monkeypatch):
  params, found, hooks, sweep = swept()
  places = {n: patching.places_of(MODEL, TASK, s) for n, s in hooks.items()}
  counted = chex.assert_max_traces(patching._sweep, n=1)
  monkeypatch.setattr(patching, '_sweep', counted)
  patching.sweep(MODEL, params, found, {'mlp': hooks['mlp']}, places)
  chex.clear_trace_counter()


def test_places_are_rows_and_memory_tokens():
  hook = swept()[2]['mlp']
  places = patching.places_of(MODEL, TASK, hook)
  assert places.names == ('entity', 'relation 1', 'relation 2')
  assert (places.members == np.eye(3, dtype=bool)).all()
  model, _, found, _, _ = test_hooks.build('rmt')
  row = groups.Groups(word_length=6)
  places = patching.places_of(model, row, found['residual'])
  assert places.names[-2:] == ('memory before', 'memory after')
  assert places.members.sum(0).tolist() == [1] * 7
  assert np.flatnonzero(places.members[0]).tolist() == [2]


@pytest.mark.parametrize('kind', ['entity', 'relation'])
def test_corrupt_queries_are_facts_with_another_answer(kind):
  for task in (TASK, extrapolation.Extrapolation(6, 3, 4, 20, 10)):
    found = pairs.of(task, KEY, 24)[kind]
    assert len(found.clean.group) > 5
    changed = found.clean.inputs != found.corrupt.inputs
    assert (changed.sum(1) == 1).all()
    last = (found.clean.inputs != task.pad).sum(1) - 1
    at = 0 if kind == 'entity' else last
    np.testing.assert_array_equal(changed.argmax(1), at)
    assert (found.differ.sum(1) == 1).all()
    if task is TASK:  # each of its hops is a fact
      relations, tails = task.graph
      for head, *given in found.corrupt.inputs.tolist():
        for r in given:
          slot = relations[head].tolist().index(r - task.num_entities)
          head = tails[head, slot]


def test_other_tasks_pair_samples_of_a_group():
  task = orbits.Orbits(6, 1, 3, (1, 2), 'multi_horizon', 'masked')
  found = pairs.of(task, KEY, 20)['sample']
  np.testing.assert_array_equal(found.clean.group, found.corrupt.group)
  assert found.differ.any(1).all() and len(found.clean.group) > 15
  np.testing.assert_array_equal(found.clean.weights, found.corrupt.weights)
