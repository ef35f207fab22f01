"""Joining the scores of several runs into lines."""

import json
import math

import numpy as np
import pytest
import run_folders

from reasoning_depth.report import lines, records, runs, tables


def test_lines_join_look_aheads_and_average_seeds(tmp_path):
  scores = {(1, 0): 0.90, (1, 1): 0.80, (1, 2): 0.82, (2, 0): 0.60}
  folders = [
    run_folders.write_run(tmp_path / f'k{k}_seed{seed}', {k: value}, seed=seed)
    for (k, seed), value in reversed(scores.items())
  ]
  folders.append(
    run_folders.write_run(tmp_path / 'other', {2: 0.4}, model='transformer')
  )
  folders.append(run_folders.write_run(tmp_path / 'all', {1: 0.7, 2: 0.5}))
  armt, other, multi = lines.join([runs.load(path) for path in folders])
  assert armt.label == 'armt · o_s · 1–3 seeds'
  assert other.label == 'transformer · o_s'
  assert multi.label == 'armt · multi_horizon'
  assert {line.panel for line in (armt, other, multi)} == {''}
  first, second = armt.points
  assert (first.group, second.group) == (1, 2)
  assert first.by_seed == {0: 0.90, 1: 0.80, 2: 0.82}
  assert first.exact_match == pytest.approx(0.84)
  spread = 4.303 * np.std([0.90, 0.80, 0.82], ddof=1) / math.sqrt(3)
  expected = (0.84 - math.hypot(spread, 0.03), 0.84 + math.hypot(spread, 0.02))
  assert first.interval == pytest.approx(expected)
  assert second.exact_match == 0.60
  assert second.interval == pytest.approx((0.57, 0.62))
  assert second.references == {
    'ceiling_exact_match': 0.912,
    'repeat_last_exact_match': 0.013,
    'majority_exact_match': 0.027,
  }
  assert [p.exact_match for p in multi.points] == [0.7, 0.5]


def test_interval_stays_within_zero_and_one():
  assert lines.interval([0.2, 0.9], [(0.1, 0.3), (0.8, 1.0)]) == (0.0, 1.0)


def test_lines_keep_apart_what_differs(tmp_path):
  folders = [
    run_folders.write_run(tmp_path / 'a', {1: 0.9}),
    run_folders.write_run(tmp_path / 'b', {1: 0.8}, num_layers=6),
    run_folders.write_run(tmp_path / 'c', {1: 0.7}, task={'width': 16}),
  ]
  joint = lines.join([runs.load(folder) for folder in folders])
  assert [(line.panel, line.label) for line in joint] == [
    ('width=8', 'armt · o_s · num_layers=4'),
    ('width=8', 'armt · o_s · num_layers=6'),
    ('width=16', 'armt · o_s'),
  ]


def test_the_same_seed_twice_is_refused(tmp_path):
  folders = [run_folders.write_run(tmp_path / name, {1: 0.9}) for name in 'ab']
  with pytest.raises(ValueError, match='a and .*b: the same setting, seed 0'):
    lines.join([runs.load(folder) for folder in folders])


def test_scores_further_than_trained_stand_beside_the_runs_own(tmp_path):
  folder = run_folders.write_run(tmp_path / 'run', {1: 0.8})
  for overrides, k, exact_match in (
    (['eval.batch_size=8', 'task.look_ahead=4'], 4, 0.4),
    (['task.look_ahead=2'], 2, 0.6),
    (['task.look_ahead=5', 'task.width=30'], 5, 0.1),  # not the same orbits
    (['eval.batch_size=8'], 1, 0.7),
  ):
    name = '-'.join(['test', *overrides])
    scores = {k: run_folders.score(exact_match)}
    run_folders.write_evaluation(folder, scores, name=name, overrides=overrides)
  run = runs.load(folder)
  table = [(row['k'], row['exact match']) for row in tables.cells([run])]
  assert table == [('1', '0.800'), ('2', '0.600'), ('4', '0.400')]
  (line,) = lines.join([run])
  assert [(p.group, p.exact_match) for p in line.points] == [
    (1, 0.8), (2, 0.6), (4, 0.4),
  ]  # fmt: skip
  path = records.write([folder], tmp_path / 'record.json')
  (entry,) = json.loads(path.read_text())
  assert [e['groups'][0]['group'] for e in entry['further']] == [1, 4, 2, 5]
  (read,) = records.read(path)  # and only those two are further ahead
  assert read.scores == run.scores
  # Trained on two look-aheads and on one: not a single line.
  other = run_folders.write_run(tmp_path / 'other', {2: 0.9})
  assert len(lines.join([run, runs.load(other)])) == 2


def _with_fields(folder, group, **fields):
  path = folder / 'config.json'
  config = json.loads(path.read_text())
  config[group] |= fields
  path.write_text(json.dumps(config))
  return runs.load(folder)


def _seeds(tmp_path, count):
  return [
    run_folders.write_run(tmp_path / f'{seed}', {1: 0.9}, seed=seed)
    for seed in range(count)
  ]


@pytest.mark.parametrize('group', ['task', 'model', 'train'])
def test_a_field_that_older_runs_lack_is_no_difference(tmp_path, group):
  old, *new = _seeds(tmp_path, 3)
  with_field = [_with_fields(f, group, schedule={'x': [1]}) for f in new]
  (line,) = lines.join([runs.load(old), *with_field])
  assert line.label == 'armt · o_s · 3 seeds' and line.panel == ''
  assert sorted(line.points[0].by_seed) == [0, 1, 2]


def test_a_lacking_field_counts_where_those_that_have_it_differ(tmp_path):
  old, one, two = _seeds(tmp_path, 3)
  joint = lines.join(
    [
      runs.load(old),
      _with_fields(one, 'model', decay=1),
      _with_fields(two, 'model', decay=2),
    ]
  )
  assert [line.label for line in joint] == [
    'armt · o_s', 'armt · o_s · decay=1', 'armt · o_s · decay=2',
  ]  # fmt: skip


def test_older_runs_share_the_panel_of_newer_ones_of_another_model(tmp_path):
  old = run_folders.write_run(tmp_path / 'old', {1: 0.9}, model='lstm')
  new = run_folders.write_run(tmp_path / 'new', {1: 0.9})
  joint = lines.join([runs.load(old), _with_fields(new, 'task', mirrored=True)])
  assert [line.panel for line in joint] == ['', '']


def test_fields_of_another_model_are_not_filled_in(tmp_path):
  # Both lack what the other has: two settings, whatever the values.
  armt = run_folders.write_run(tmp_path / 'armt', {1: 0.9})
  lstm = run_folders.write_run(tmp_path / 'lstm', {1: 0.9}, model='lstm')
  joint = lines.join(
    [_with_fields(armt, 'model', decay=1), _with_fields(lstm, 'model', cell=2)]
  )
  assert [line.label for line in joint] == ['armt · o_s', 'lstm · o_s']
