"""The models that come with the package: scored anew."""

import pytest

import reasoning_depth as rd
from reasoning_depth import api

# The recorded exact match of the test split is at least this: these are
# models that learned, and an untrained one is near 0.
LEARNED = {'recall': 0.88, 'transformer': 0.94}
SAMPLES = 512


def test_names_are_these():
  assert api.WEIGHTS.keys() == LEARNED.keys()


@pytest.mark.parametrize('name', LEARNED)
def test_the_recorded_scores_are_found_again(name):
  path = api.WEIGHTS[name]
  assert path.stat().st_size < 1_000_000
  trained = rd.load(name)
  recorded = trained.scores['test']['overall']
  assert recorded['exact_match'] > LEARNED[name]
  assert recorded['num_samples'] >= 1_000
  fewer = {'eval.test_samples': SAMPLES}
  if 'look_ahead' in trained.scores:
    fewer['eval.look_ahead'] = (4, 16)
  found = trained.evaluate(fewer)
  assert found.keys() == trained.scores.keys()
  _agree(found['test']['overall'], recorded)
  for ours in found.get('look_ahead', {'groups': ()})['groups']:
    theirs = trained.scores['look_ahead']['groups']
    _agree(ours, next(g for g in theirs if g['group'] == ours['group']))


def _agree(found, recorded):
  """The recorded score is inside the 95 % interval of fewer samples.

  Where the orbit determines the answer, the two are nearly the same number.
  """
  low, high = found['exact_match_interval']
  assert low <= recorded['exact_match'] <= high
  for name in found.keys() & {'determined_exact_match'}:
    assert found[name] == pytest.approx(recorded[name], abs=0.01)
