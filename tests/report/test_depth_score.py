"""DepthScores: by hand, in the table, and as bars."""

import pytest
import run_folders

from reasoning_depth.report import (
  depth_bars,
  depth_score,
  depth_table,
  runs,
  style,
)


def load(folder, scores, seed=0, **more):
  run_folders.write_run(folder, scores, seed=seed)
  if more:
    found = {k: run_folders.score(value) for k, value in scores.items()}
    run_folders.write_evaluation(folder, found, **more)
  return runs.load(folder)


SCORES = {1: 0.9, 2: 0.5, 3: 0.25, 4: 0.125}


def test_depth_score_by_hand(tmp_path):
  run = load(tmp_path / 'all', {**SCORES, 8: 0.1}, horizon=3)
  each = [
    load(tmp_path / f'k{k}', {k: value - 0.1}, seed=1)
    for k, value in SCORES.items()
  ]
  row = depth_score.depth([run, *each])
  assert row.depth_scores(depth_score.exact_match) == [
    1.875, pytest.approx(1.575),
  ]  # fmt: skip
  assert row.depth_scores(depth_score.ceiling) == pytest.approx(
    [1 + 3 * 0.912] * 2
  )
  assert row.at(2, depth_score.exact_match) == [0.5, 0.4]
  assert row.each(lambda seed: seed.horizon) == [3]
  assert row.learned
  # With one look-ahead missing there is none.
  assert not depth_score.depth(each[:3]).depth_scores(depth_score.ceiling)


def test_one_seed_twice_is_refused(tmp_path):
  same = [load(tmp_path / name, {2: 0.5}) for name in 'ab']
  with pytest.raises(ValueError, match='seed 0 and look-ahead 2 stand twice'):
    depth_score.depth(same)


def test_the_table_is_in_ascending_order(tmp_path):
  table = {
    'good': depth_score.depth([load(tmp_path / 'a', SCORES)]),
    'partial': depth_score.depth([load(tmp_path / 'b', {1: 0.99})]),
    'bad': depth_score.depth([load(tmp_path / 'c', dict.fromkeys(SCORES, 0))]),
  }
  text = depth_table.markdown(table, {'good': 'place 1'})
  rows = [line.split(' | ') for line in text.splitlines()[:5]]
  assert [row[0] for row in rows[2:]] == ['| partial', '| bad', '| good']
  assert [row[-1] for row in rows[2:]] == ['not stated |'] * 2 + ['place 1 |']
  assert 'majority): bad.' in text


@pytest.mark.filterwarnings('error')
def test_bars_have_the_colours_of_what_they_show(tmp_path):
  seeds = [load(tmp_path / str(i), SCORES, seed=i) for i in range(2)]
  cut = load(tmp_path / 'cut', SCORES, step=100)
  sections = {
    'the paper': {'a': depth_score.depth(seeds)},
    'others': {'b': depth_score.depth([cut])},
    'nothing': {'c': depth_score.depth([load(tmp_path / 'c', {1: 0.5})])},
  }
  path = depth_bars.draw(sections, 'DepthScore', tmp_path / 'bars.png')
  wanted = {style.BLUE, style.SKY, style.VERMILLION}
  assert {*map(run_folders.hex_of, wanted)} <= run_folders.colors(path)
  assert depth_bars.draw({'nothing': sections['nothing']}, '', path) is None
