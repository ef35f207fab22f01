"""The models that come with the package: scored anew."""

import json
import pathlib

import pytest

import reasoning_depth as rd
from reasoning_depth import modes, trained

# The recorded exact match of the test split is at least this: the
# models learned, and an untrained one is near 0.
LEARNED = {'armt_rewrite': 0.99, 'recall': 0.88, 'transformer': 0.94}
SAMPLES = 512


def test_names_are_these():
  assert trained.WEIGHTS.keys() == LEARNED.keys()


@pytest.mark.parametrize('name', LEARNED)
def test_the_recorded_scores_are_found_again(name):
  path = trained.WEIGHTS[name]
  assert path.stat().st_size < 1_000_000
  made = rd.load(name)
  recorded = made.scores['test']['overall']
  assert recorded['exact_match'] > LEARNED[name]
  assert recorded['num_samples'] >= 1_000
  fewer = {'eval.test_samples': SAMPLES}
  if 'look_ahead' in made.scores:
    fewer['eval.look_ahead'] = (4, 16)
  found = made.evaluate(fewer)
  assert found.keys() == made.scores.keys()
  _agree(found['test']['overall'], recorded)
  for ours in found.get('look_ahead', {'groups': ()})['groups']:
    theirs = made.scores['look_ahead']['groups']
    _agree(ours, next(g for g in theirs if g['group'] == ours['group']))


def test_one_that_comes_along_predicts_the_orbit_of_readme(
  tmp_path, monkeypatch, capsys
):
  orbit = pathlib.Path(__file__).parents[1] / 'questions/orbit.txt'
  monkeypatch.chdir(tmp_path)
  modes.predict(None, pathlib.Path('recall'), (), str(orbit), '1,4,64')
  folder = tmp_path / 'runs/recall/predictions'
  (told,) = json.loads((folder / 'orbit.json').read_text())
  for answer in told['answers']:
    cells = zip(answer['state'], answer['determined'], strict=True)
    assert all(cell == known for cell, known in cells if known != '?')
  assert (folder / 'orbit.png').stat().st_size > 1000
  assert '     +64  ' in capsys.readouterr().out
  with pytest.raises(rd.UsageError, match='recal: no run folder, and not one'):
    modes.predict(None, pathlib.Path('recal'), (), str(orbit), '1')


def _agree(found, recorded):
  """The recorded score is inside the 95 % interval of fewer samples.

  Where the orbit determines the answer, the two are nearly the same number.
  """
  low, high = found['exact_match_interval']
  assert low <= recorded['exact_match'] <= high + 1e-9  # rounding, at 1
  for name in found.keys() & {'determined_exact_match'}:
    assert found[name] == pytest.approx(recorded[name], abs=0.01)
