import functools
import json

import jax
import numpy as np
import pytest

from reasoning_depth import errors
from reasoning_depth.analysis import depth, exits
from reasoning_depth.scoring import evaluate
from reasoning_depth.tasks import ceiling, splits
from reasoning_depth.training import experiment, state
from tests import tiny
from tests.analysis import plain

SAMPLES = 60
# All stop at the second step, and none before the last.
RULES = {'kl': (1e9, 0.0), 'argmax': (1, 2), 'q_head': (0.0,), 'act': (0.5,)}


def smoke(name, **model):
  return tiny.run_config(
    name,
    model={'num_heads': 1, **model},
    eval={'test_samples': SAMPLES, 'batch_size': 16},
    mesh={'data': 2},
  )


@functools.cache
def build(which):
  if which == 'looped':
    c = smoke('extrapolation', zero_out=False)
  else:
    c = smoke('transformer')
    c.task.width = 6
    c.model.halting.update(kind='layer', max_steps=2, bias=-0.5)
  exp = experiment.build(c)
  params = jax.jit(
    lambda: state.init(exp.model, exp.optimizer, c, exp.task.length)
  )().params
  return exp, jax.tree.map(lambda x: 3 * x, params)


def own_evaluation(exp, params):
  key = state.evaluation_key(exp.config.seed)
  samples = exp.task.draw_held_out(key, 'test', SAMPLES, known='generation')
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


def test_the_ceiling_of_a_chain_of_thought_is_that_of_its_last_step():
  """Teacher forcing shows the true states before the one that is asked."""
  c = smoke('looped')
  c.task.update(variant='cot', look_ahead=(3,), width=8, num_states=2, radius=1)
  exp = experiment.build(c)
  params = jax.jit(exp.model.init)(
    jax.random.key(0), np.zeros((1, exp.task.length), np.int32)
  )['params']
  record = measure(exp, params, depth.Settings(1, thresholds={}, rounds=0))
  assert record['scored_by'] == 'teacher forcing'
  key = state.evaluation_key(exp.config.seed)
  rules, states, k = splits.draw(exp.task.sample_orbits, key, 'test', SAMPLES)
  last = ceiling.ceiling(rules, states[:, :4], np.ones_like(k), radius=1)
  observed = ceiling.ceiling(rules, states[:, :2], k, radius=1)
  ours = record['overall']['ceiling_exact_match']
  assert ours == pytest.approx(last.named(True)['ceiling_exact_match'].mean())
  assert ours > observed.named(True)['ceiling_exact_match'].mean() + 0.1


def test_a_new_exit_rule_is_one_entry(monkeypatch):
  rule = exits.Definition(stops=lambda s, t, _: s.entropy > t, thresholds=(0,))
  monkeypatch.setitem(exits.RULES, 'always', rule)
  assert depth.Settings().thresholds['always'] == (0,)
  exp, params = build('looped')
  wanted = {'always': rule.thresholds}
  record = measure(exp, params, depth.Settings(2, 3.0, 1, wanted))
  (point,) = record['exits']['always']
  assert point['mean_steps'] == point['executed'] == 1


class Repeated(plain.Plain):
  """A model with depth steps that has neither halting units nor a head."""

  def __call__(self, tokens, *, depth=None, deterministic=True):
    return super().__call__(tokens)

  def trained_depth(self):
    return 1


def test_a_model_with_depth_steps_alone():
  exp, _ = build('looped')
  _, params = plain.build(exp.task)
  model = Repeated(exp.task.vocab_size)
  key = state.evaluation_key(exp.config.seed)
  settings = depth.Settings(rounds=1)
  record = depth.measure(model, exp.task, params, key, exp.config, settings)
  assert record['depths'] == [1, 2] and record['exits'] == {}
  assert record['not_applicable'].keys() == depth.default_thresholds().keys()
  assert record['timing']['full_seconds'] > 0


def test_what_does_not_fit_is_told():
  exp = experiment.build(smoke('transformer'))
  assert measure(exp, {}, depth.Settings()) is None
  with pytest.raises(errors.UsageError, match='thresholds=mean: allowed are k'):
    depth.Settings(thresholds={'mean': (1,)})
  with pytest.raises(errors.UsageError, match='most=-1: must be at least 0'):
    depth.Settings(most=-1)
