import functools
import types

import chex
import jax
import numpy as np
import pytest

from reasoning_depth import errors
from reasoning_depth.analysis import activations, patching
from reasoning_depth.tasks import composition, groups
from tests import tiny
from tests.analysis import plain
from tests.models import test_hooks

KEY = jax.random.key(0)
TASK = composition.Composition(10, 5, 3, 1, 1.0, 6)
MODEL = tiny.model(
  'looped', vocab_size=TASK.vocab_size, inject='none', initial='embedding',
  mean_loops=3,
)  # fmt: skip


@functools.cache
def swept():
  found = TASK.pairs(KEY, 24)['entity']
  params = tiny.init(MODEL)
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
  row = groups.Groups(word_length=test_hooks.L)
  places = patching.places_of(model, row, found['residual'])
  assert places.names[-2:] == ('memory before', 'memory after')
  assert places.members.sum(0).tolist() == [1] * (test_hooks.SEGMENT + 4)
  assert np.flatnonzero(places.members[0]).tolist() == [2]


def analyze(model, params, hooks=''):
  config = types.SimpleNamespace(
    analyze=types.SimpleNamespace(samples=12, tuned_steps=0, hooks=hooks)
  )
  return patching.analyze(model, TASK, params, KEY, config)


def test_analysis_has_a_value_for_each_place_loop_and_layer():
  found = analyze(MODEL, swept()[0], 'mlp,input')
  assert found['loop_name'] == 'loop'
  assert [entry['other'] for entry in found['pairs']] == ['entity', 'relation']
  entry = found['pairs'][0]
  assert 0 < entry['told_apart'] <= entry['num_pairs'] <= 12
  shapes = {h['hook']: np.shape(h['recovered']) for h in entry['hooks']}
  assert shapes == {'mlp': (3, 3, 2), 'input': (3, 3, 1)}


def test_a_hook_that_the_model_lacks_is_named_with_its_field():
  with pytest.raises(errors.UsageError) as error:
    analyze(MODEL, swept()[0], 'mlp,memory')
  assert str(error.value) == (
    "config.analyze.hooks=mlp,memory: no hook 'memory'; this model has "
    'attention, mlp, residual, input'
  )


def test_a_plain_model_has_nothing_to_patch():
  model, params = plain.build(TASK)
  assert analyze(model, params, 'mlp') is None
