import functools
import json

import jax
import numpy as np
import pytest

from configs import extrapolation, transformer
from reasoning_depth.analysis import depth, exits
from reasoning_depth.scoring import evaluate
from reasoning_depth.training import experiment, state

SAMPLES = 60
# All stop at the second step, and none before the last.
RULES = {'kl': (1e9, 0.0), 'argmax': (1, 2), 'q_head': (0.0,), 'act': (0.5,)}


def smoke(family, **model):
  c = family.get_config('smoke')
  c.model.update(num_layers=1, width=8, num_heads=1, mlp_width=8, **model)
  c.eval.update(test_samples=SAMPLES, batch_size=16)
  c.mesh.data = 2
  return c


@functools.cache
def build(which):
  if which == 'looped':
    c = smoke(extrapolation, zero_out=False)
  else:
    c = smoke(transformer)
    c.task.update(width=6, num_states=3, radius=1)
    c.model.halting.update(kind='layer', max_steps=2, bias=-0.5)
  exp = experiment.build(c)
  params = jax.jit(
    lambda: state.init(exp.model, exp.optimizer, c, exp.task.length)
  )().params
  return exp, jax.tree.map(lambda x: 3 * x, params)


def own_evaluation(exp, params):
  samples = evaluate.held_out(
    exp.task, state.evaluation_key(exp.config.seed), 'test', SAMPLES, True
  )
  evaluator = evaluate.Evaluator(exp.model, exp.task, exp.config, exp.mesh)
  return evaluator.run(params, samples).summary()


def measure(exp, params, settings):
  key = state.evaluation_key(exp.config.seed)
  return depth.measure(exp.model, exp.task, params, key, exp.config, settings)


def check_grid(record, depth, summary):
  """The column of the depth that the run is evaluated at is its evaluation."""
  at = record['depths'].index(depth)
  rows = [record['overall'], *record['groups']]
  theirs = [summary['overall'], *summary['groups']]
  for ours, expected in zip(rows, theirs, strict=True):
    assert ours.get('group') == expected.get('group')
    assert ours['num_samples'] == expected['num_samples']
    for name in ('exact_match', 'bit_accuracy', 'loss'):
      assert ours[name][at] == pytest.approx(expected[name], abs=1e-4)
      assert len(ours[name]) == len(record['depths'])
    assert ours.get('ceiling_exact_match') == pytest.approx(
      expected.get('ceiling_exact_match')
    )


def test_a_looped_model():
  exp, params = build('looped')
  settings = depth.Settings(most=5, thresholds=RULES, rounds=1)
  record = measure(exp, params, settings)
  assert json.loads(json.dumps(record)) == record
  assert (record['trained_depth'], record['group_name']) == (8, 'hops')
  check_grid(
    record, exp.config.model.recurrence.mean_loops, own_evaluation(exp, params)
  )
  every = [record['overall'], *record['groups']]
  assert len(set(record['overall']['exact_match'])) > 2
  for p, at in zip(record['exits']['kl'], (1, 4), strict=True):
    assert p['mean_steps'] == at + 1
    found = [p['exact_match'], *p['group_exact_match']]
    expected = [row['exact_match'][at] for row in every]
    np.testing.assert_allclose(found, expected)
  assert record['exits'].keys() == {'kl', 'argmax'}
  assert record['not_applicable'].keys() == {'q_head', 'act'}
  for name, points in record['exits'].items():
    assert [p['threshold'] for p in points] == list(RULES[name])
    assert points[0]['mean_steps'] <= points[1]['mean_steps']
    for p in points:
      assert 1 <= p['mean_steps'] <= 5 and 1 <= p['executed'] <= 5
      assert p['seconds'] > 0 and p['masked_seconds'] > 0
      weights = [g['num_samples'] / SAMPLES for g in record['groups']]
      for whole, parts in (
        ('mean_steps', 'group_steps'), ('exact_match', 'group_exact_match'),
      ):  # fmt: skip
        assert p[whole] == pytest.approx(np.dot(weights, p[parts]))
  timing = record['timing']
  assert timing['batch_size'] == 16 and timing['full_seconds'] > 0


def test_a_model_with_halting():
  exp, params = build('halting')
  thresholds = {'act': (0.2, 0.9), 'kl': (0.1,)}
  settings = depth.Settings(thresholds=thresholds, rounds=1)
  record = measure(exp, params, settings)
  assert record['depths'] == [1, 2, 3, 4]
  check_grid(record, 2, own_evaluation(exp, params))
  assert list(record['exits']) == ['act']
  assert list(record['not_applicable']) == ['kl']
  early, late = record['exits']['act']
  assert early['mean_steps'] < late['mean_steps']
  assert early['mean_steps'] <= early['executed'] <= late['executed'] <= 4
  # The model's own threshold is 0.9.
  own = record['overall']['exact_match'][-1]
  assert late['exact_match'] == pytest.approx(own)
  assert 'masked_seconds' not in early and early['seconds'] > 0


def test_overthinking_by_hand():
  over = depth.overthinking([0.1, 0.7, 0.7, 0.4])
  assert over == {'peak': 0.7, 'depth': 2, 'drop': pytest.approx(0.3)}
  rising = depth.overthinking([0.1, 0.2])
  assert (rising['depth'], rising['drop']) == (2, 0)


def test_what_does_not_fit_is_told():
  exp = experiment.build(smoke(transformer))
  assert measure(exp, {}, depth.Settings()) is None
  with pytest.raises(ValueError, match="thresholds of 'mean': allowed are kl"):
    depth.Settings(thresholds={'mean': (1,)})
  with pytest.raises(ValueError, match='most=-1: must be 0 or more'):
    depth.Settings(most=-1)


def test_every_rule_has_thresholds():
  assert set(depth.THRESHOLDS) == {*exits.RULES, 'act'}
