"""What a run draws, and the numbers and colours of its plots."""

import json

import matplotlib.image
import numpy as np
import pytest
import run_folders

from reasoning_depth import report
from reasoning_depth.report import pictures, plots, style


@pytest.mark.filterwarnings('error')
def test_write_draws_everything_a_run_has(tmp_path):
  folder = run_folders.write_run(tmp_path / 'run', {1: 0.83, 2: 0.71})
  written = report.write(folder)
  names = ['curves.png', 'exact_match.png', 'orbits.png']
  assert written.pop() == folder / 'report.html'
  assert written == [folder / 'plots' / name for name in names]
  assert all(path.with_suffix('.svg').is_file() for path in written)
  curves, scores, orbits = (run_folders.colors(path) for path in written)
  assert {
    run_folders.hex_of(style.BLUE),
    run_folders.hex_of(style.VERMILLION),
  } <= curves
  assert {
    run_folders.hex_of(style.BLUE),
    run_folders.hex_of(style.GREY),
  } <= scores
  assert run_folders.hex_of(style.VERMILLION) in orbits  # cells that are wrong
  for path in written:
    assert min(matplotlib.image.imread(path).shape[:2]) > 300


@pytest.mark.filterwarnings('error')
def test_orbits_without_a_wrong_answer_have_no_error_colour(tmp_path):
  folder = run_folders.write_run(tmp_path / 'run', {1: 1.0})
  rows = [json.dumps(run_folders.row(i, 1, True)) + '\n' for i in range(3)]
  (folder / 'evaluations/test.jsonl').write_text(''.join(rows))
  assert run_folders.hex_of(style.VERMILLION) not in run_folders.colors(
    report.write(folder)[-2]
  )


@pytest.mark.filterwarnings('error')
def test_write_leaves_out_what_the_run_does_not_have(tmp_path):
  folder = run_folders.write_run(tmp_path / 'run', {1: 0.8})
  (folder / 'evaluations/test.jsonl').unlink()
  assert [path.stem for path in report.write(folder)] == [
    'curves',
    'exact_match',
    'report',
  ]
  (folder / 'evaluations/test.json').unlink()
  assert [path.stem for path in report.write(folder)] == ['curves', 'report']
  assert report.summary(folder) == f'{folder}: no evaluation yet'
  # A run that was stopped at once, and one that measures something else.
  (folder / 'metrics.jsonl').write_text(
    '{"step": 0, "split": "train", "reward": 0.1}\n'
  )
  assert [path.stem for path in report.write(folder)] == ['curves', 'report']
  (folder / 'metrics.jsonl').unlink()
  assert [path.stem for path in report.write(folder)] == ['report']


def test_smooth_is_a_centred_mean():
  values = np.random.default_rng(0).normal(size=20)
  expected = [values[max(0, i - 2) : i + 3].mean() for i in range(20)]
  np.testing.assert_allclose(plots.smooth(values, 5), expected)
  np.testing.assert_allclose(plots.smooth(values, 1), values)


def test_choose_takes_right_and_wrong_of_each_group():
  rows = [run_folders.row(i, 1 + i % 2, i > 5) for i in range(10)]
  chosen = pictures.choose(rows, 4)
  picked = {k: [row['index'] for row in chosen[k]] for k in chosen}
  assert picked == {1: [6, 0, 8, 2], 2: [7, 1, 9, 3]}
  only_right = pictures.choose(
    [run_folders.row(i, 1, True) for i in range(9)], 4
  )
  assert [row['index'] for row in only_right[1]] == [0, 1, 2, 3]


def test_cells_mark_what_is_wrong():
  row = run_folders.row(0, 1, False) | {
    'prediction': '0?101000'
  }  # target 01101001
  observed, answer = pictures.cells(row)
  T, W = run_folders.T, run_folders.W
  assert observed.shape == (3, T, W) and answer.shape == (3, 1, W)
  np.testing.assert_array_equal(observed[0, 0], [0, 1, 0, 1, 0, 1, 0, 1])
  np.testing.assert_array_equal(observed[1], observed[0])
  np.testing.assert_array_equal(answer[0, 0], [2, 3, 3, 2, 3, 2, 2, 3])
  np.testing.assert_array_equal(answer[1, 0], [2, 7, 3, 2, 3, 2, 2, 2])
  np.testing.assert_array_equal(answer[2, 0], [4, 6, 5, 4, 5, 4, 4, 6])
