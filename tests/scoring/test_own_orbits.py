"""A user's own orbits: answers without the truth, and what is determined."""

import dataclasses

import jax
import numpy as np
import pytest
import test_look_ahead as further

from reasoning_depth import errors
from reasoning_depth.scoring import look_ahead, own_orbits
from reasoning_depth.tasks import base
from reasoning_depth.training import experiment
from tests import tiny

KEY = jax.random.key(0)
KS = (1, 2, 5)


@pytest.mark.parametrize(
  'name,words,ks',
  [
    ('recall', 'smoke,task=by_depth,k=1-2,layout=masked', KS),
    ('transformer', 'smoke,k=1', KS),  # causal, its answers fed back
    ('transformer', 'smoke,k=1,layout=masked', KS),
    ('transformer', 'smoke,k=1-3', (1, 3)),  # asked as in training
  ],
)
def test_answers_without_the_truth_are_those_that_are_scored(name, words, ks):
  exp = tiny.experiment(name, words)
  asked = experiment.evaluator(exp)
  params = telling(tiny.init(exp.model, exp.task.length, noise=0.3))
  rules, states, observed = exp.task.draw_further(KEY, max(ks), 6)
  found = look_ahead.answers(asked, params, observed, ks)
  assert found.shape == (6, len(ks), exp.task.width)
  for i, k in enumerate(ks):
    if len(exp.task.look_ahead) == 3:
      truth = states[:, exp.task.num_states - 1 + k]
      batch = exp.task.question(rules, observed, truth, told=k)
      result = asked.run_generated(params, base.HeldOut(batch))
      expected = result.tokens[result.asked].reshape(6, -1)
    else:
      scored = look_ahead.score(asked, params, KEY, ks, 6)
      expected = scored.tokens.reshape(len(ks), 6, -1)[i]
    np.testing.assert_array_equal(found[:, i], expected)
  if exp.task.causal or exp.task.by_depth:
    assert len(np.unique(found.reshape(-1, exp.task.width), axis=0)) > 1


def telling(params):
  """Parameters with which answers differ from sample to sample."""
  embedding, norm = params['embedding']['tokens'], params['read_out']['norm']
  embedding['embedding'] *= 5
  if 'bias' in norm:
    norm['bias'] *= 0
  return params


def test_a_model_that_applies_the_rule_agrees_with_what_is_determined():
  model = further.Automaton(further.TASK.width, further.TASK.num_states)
  asked = further.evaluator(further.BY_DEPTH, model, depth_loss='look_ahead')
  _, states, observed = further.BY_DEPTH.draw_further(KEY, 64, 40)
  found = own_orbits.predict(asked, {}, observed, (1, 4, 64))
  truth = states[:, further.TASK.num_states - 1 + np.array((1, 4, 64))]
  assert 0.3 < found.determined.mean() < 1
  np.testing.assert_array_equal(
    found.states[found.determined], truth[found.determined]
  )
  assert not found.wrong.any()
  told = str(found)
  assert 'all determined, and so' in told and '?' in told
  # A cell that is determined and predicted otherwise is named.
  other = dataclasses.replace(found, states=1 - found.states)
  assert (other.wrong == found.determined).all()
  assert 'predicted otherwise' in str(other)


def test_records_have_all_that_was_found():
  observed = np.array([[[0, 0, 1, 0, 0], [0, 1, 1, 1, 0]]], np.uint8)
  chance = np.array([[[0, 0.5, 1, 1, 0], [np.nan] * 5]])
  states = np.array([[[0, 1, 1, 0, 0], [0, 0, 0, -1, 1]]], np.int8)
  found = own_orbits.Prediction(observed, (1, 9), states, chance, ('',))
  assert found.rows() == [
    {
      'observed': ['00100', '01110'],
      'answers': [
        {
          'look_ahead': 1,
          'state': '01100',
          'determined': '0?110',
          'chance_of_1': [0, 0.5, 1, 1, 0],
        },
        {
          'look_ahead': 9,
          'state': '000?1',
          'determined': '?????',
          'chance_of_1': None,
        },
      ],
    }
  ]
  assert found.wrong.tolist() == [[[False] * 3 + [True, False], [False] * 5]]
  lines = str(found).splitlines()
  assert lines[3:] == [
    '      +1  .##..  predicted',
    '          .?##.  determined: 4 of 5 cells; 1 predicted otherwise',
    '      +9  ...?#  predicted; not known what is determined',
  ]


@pytest.mark.parametrize(
  'states,message',
  [
    ([[0, 1], [1]], 'rows of different lengths'),
    ([[0, 2]], 'orbit 1, row 1, cell 2 is 2: allowed are 0 and 1'),
    ([[[0, 1]], [[0, -1]]], 'orbit 2, row 1, cell 2 is -1'),
    ([[0.5]], 'is 0.5'),
    ([[np.nan]], 'is nan'),
    ([0, 1], r'shape \(2,\): must be'),
    ([[]], r'shape \(1, 0\)'),
    ('0110', 'values are <U4'),
    ([[None]], 'values are object'),
  ],
)
def test_states_that_are_none_are_refused(states, message):
  with pytest.raises(errors.UsageError, match=message):
    own_orbits.checked(states)


@pytest.mark.parametrize(
  'text,message',
  [
    ('4,1', 'must ascend'),
    ('0', 'at least 1'),
    ('1,x', 'whole numbers'),
    ('1,', 'whole numbers'),
    ('10001', 'at most 10000'),
    ('9' * 5000, 'whole numbers'),
    ('١', 'whole numbers'),
  ],
)
def test_look_aheads_are_checked(text, message):
  with pytest.raises(errors.UsageError, match=message):
    own_orbits.parse_ks(text)


def test_look_aheads_are_read():
  assert own_orbits.parse_ks('1,4,64') == (1, 4, 64)
  assert own_orbits.check_ks(3) == (3,)
  assert own_orbits.check_ks([1, 2]) == (1, 2)
  with pytest.raises(errors.UsageError, match='one is needed'):
    own_orbits.check_ks([])
