"""Evaluations at `eval.look_ahead` in tables and pictures."""

import json

import matplotlib.image
import pytest
import run_folders

from reasoning_depth import report
from reasoning_depth.report import __main__ as program
from reasoning_depth.report import (
  ahead,
  depth_score,
  depth_table,
  records,
  runs,
  style,
)

ASKED = {1: 0.9, 2: 0.88, 16: 0.5, 1024: 0.2}


def write(folder, asked=None, *, horizon=2, name='look_ahead', **more):
  """Adds an evaluation at these look-aheads to a run folder."""
  scores = {
    k: run_folders.score(
      value, determined_share=0.8, determined_exact_match=value + 0.1,
      determined_exact_match_interval=[value + 0.05, value + 0.1],
    )
    for k, value in (asked or ASKED).items()
  }  # fmt: skip
  run_folders.write_evaluation(
    folder, scores, name=name, horizon=horizon, scored_by='depth steps', **more
  )
  return folder


def run_folder(path, **fields):
  """A run trained on k = 1 and 2; its test split says a horizon of 1."""
  folder = run_folders.write_run(path, {1: 0.8, 2: 0.7}, **fields)
  scores = {k: run_folders.score(v) for k, v in {1: 0.8, 2: 0.7}.items()}
  run_folders.write_evaluation(folder, scores, horizon=1)
  return folder


def test_a_table_of_its_own_and_the_horizon_in_a_note(tmp_path):
  folder = run_folder(tmp_path / 'run')
  assert 'on determined' not in report.summary(folder)
  write(folder)
  first, second, notes = report.summary(folder).split('\n\n')
  assert len(first.splitlines()) == 2 + 3  # two look-aheads, and all
  head, _, *rows = second.splitlines()
  assert len(rows) == 4 and '| on determined |' in head
  texts = [part.strip() for part in rows[2].strip('|').split('|')]
  assert [texts[i] for i in (2, 4, 8)] == ['16', '0.500', '0.600']
  assert notes.splitlines()[-2:] == [
    'further look-aheads by depth steps',
    'horizon: close to the ceiling up to look-ahead 2',
  ]


@pytest.mark.filterwarnings('error')
def test_the_picture_has_ceiling_and_a_band_for_each_group_of_seeds(
  tmp_path, monkeypatch
):
  folders = [
    write(
      run_folder(tmp_path / f'{model}{seed}', model=model, seed=seed), asked
    )
    for model, asked in (('armt', ASKED), ('looped', {1: 0.7, 1024: 0.1}))
    for seed in (0, 1)
  ]
  lines = ahead.join([runs.load(folder) for folder in folders])
  assert [line.label for line in lines] == [
    'armt · multi_horizon · 2 seeds', 'looped · multi_horizon · 2 seeds'
  ]  # fmt: skip
  mean, bounds = lines[0].points[2].determined
  assert (mean, *bounds) == pytest.approx((0.6, 0.55, 0.6))
  monkeypatch.setattr(  # the other plots of single runs: seconds each
    report, 'draw',
    lambda run: [ahead.draw(ahead.join([run]), run.plot_path('look_ahead'))],
  )  # fmt: skip
  out = tmp_path / 'out'
  assert program.main([*map(str, folders), f'--out={out}']) == 0
  assert (folders[0] / 'plots/look_ahead.png').is_file()
  path = out / 'look_ahead_joint.png'
  assert min(matplotlib.image.imread(path).shape[:2]) > 300
  assert {style.BLUE.lower(), style.VERMILLION.lower(), style.GREY} <= (
    run_folders.colors(path)
  )
  assert ahead.draw([], path) is None


def test_the_latest_one_on_the_reported_task_is_taken(tmp_path):
  folder = write(run_folder(tmp_path / 'run'), {1: 0.1}, step=200)
  assert runs.load(folder).ahead.evaluation.name == 'look_ahead'
  for name, overrides in (
    ('look_ahead-a', ['eval.look_ahead=(1,2,16,1024)']),
    ('look_ahead-b', ['task.width=40']),
  ):
    write(folder, name=name, overrides=overrides, step=500)
    run_folders.write_evaluation(
      folder, {1: run_folders.score(0.3)}, name=name.replace('look_ahead', 't'),
      overrides=overrides, step=500,
    )  # fmt: skip
  run = runs.load(folder)
  assert run.evaluation.name == 't-a'  # never one of these
  assert run.ahead.evaluation.name == 'look_ahead-a'
  path = records.write([folder], tmp_path / 'record.json')
  (entry,) = json.loads(path.read_text())
  assert [g['group'] for g in entry['look_ahead']['groups']] == list(ASKED)


def test_horizon_beside_depth_score(tmp_path):
  def load(folder):
    return runs.load(folder)

  both = [
    load(write(run_folder(tmp_path / f'{seed}', seed=seed), horizon=h))
    for seed, h in ((0, 16), (1, 1024))
  ]
  row = depth_score.depth(both)
  # The further one wins over the test's.
  assert [seed.horizon for seed in row.seeds.values()] == [16, 1024]
  # From runs on one look-ahead each: up to the first that is not close.
  each = []
  for k, close in ((1, True), (2, True), (3, False), (4, True)):
    folder = run_folders.write_run(tmp_path / f'k{k}', {k: 0.5})
    run_folders.write_evaluation(
      folder, {k: run_folders.score(0.5)}, horizon=k if close else 0
    )
    each.append(load(folder))
  assert depth_score.depth(each).seeds[0].horizon == 2
  older = load(run_folders.write_run(tmp_path / 'older', {1: 0.5}))
  assert depth_score.horizon([older]) is None
  text = depth_table.markdown(
    {'a': row, 'b': depth_score.depth([older])}, {'a': 'place 1'}
  )
  rows = [row.split(' | ') for row in text.splitlines()[2:4]]
  assert [row[8] for row in rows] == ['16–1024', '–']
