"""Costs of runs, and the pictures at equal compute."""

import itertools

import numpy as np
import pytest
import run_folders

from reasoning_depth.report import compute, costs, labels, runs, style


def write(folder, scores, operations, seed=0, **cost):
  run_folders.write_run(folder, scores, seed=seed)
  return runs.load(run_folders.write_cost(folder, operations, **cost))


def test_a_start_is_part_of_the_costs_and_paid_once(tmp_path):
  first = write(tmp_path / '1', {1: 0.9}, 3e12, start=1e12, bound='at most')
  second = write(tmp_path / '2', {2: 0.8}, 6e12, start=1e12)
  assert costs.of(first) == costs.Cost(
    121_000, costs.Amount(4e12), 4.0, costs.Amount(3e9, 'at most'), 1.0
  )
  for run in (first, second):
    run.config['train']['init_from'] = 'the same'
  both = costs.together([first, second])
  assert (both.training.operations, both.minutes) == (10e12, 6.0)
  assert both.answer == costs.Amount(6e9)
  second.config['train']['init_from'] = 'another'
  assert costs.together([first, second]).training.operations == 11e12
  bare = runs.load(run_folders.write_run(tmp_path / '3', {1: 0.9}))
  assert costs.of(bare) is None and costs.together([first, bare]) is None


def test_a_cost_without_a_field_is_named(tmp_path):
  run = write(tmp_path / 'run', {1: 0.9}, 1e12, answer={'operations': 1})
  with pytest.raises(ValueError, match=r"cost.json: answer: no field 'bound'"):
    costs.of(run)


def test_numbers_are_short():
  numbers = (0, 12, 999, 1000, 121_456, 3.14159e9, 999_600, 5e20)
  assert [costs.short(x) for x in numbers] == [
    '0', '12', '999', '1k', '121k', '3.14G', '1M', '500E',
  ]  # fmt: skip
  assert str(costs.Amount(5e6, 'at most')) == '≤ 5M'
  assert str(costs.Amount(5e6, 'at least') * 2) == '≥ 10M'


def test_points_are_means_over_seeds_with_their_range(tmp_path):
  scores = (0.456, 0.684, 0.912)  # of the ceiling 0.912
  seeds = [
    write(tmp_path / str(i), {1: 0.8, 2: score}, 1e12 * 2**i, seed=i)
    for i, score in enumerate(scores)
  ]
  bare = runs.load(run_folders.write_run(tmp_path / 'bare', {2: 0.9}))

  def x(run):
    cost = costs.of(run)
    return cost and cost.training.operations

  named = {'a': seeds, 'no costs': [bare]}
  (point,) = compute.points(named, 2, x)
  assert point == compute.Point(
    'a', 'armt', pytest.approx(7e12 / 3), pytest.approx(0.75), 0.5, 1.0
  )
  assert compute.points(named, 3, x) == []


@pytest.mark.filterwarnings('error')
def test_pictures_are_drawn_of_what_there_is(tmp_path):
  named = {
    'first': [write(tmp_path / 'a', {1: 0.8, 2: 0.5}, 1e12)],
    'second': [write(tmp_path / 'b', {1: 0.7}, 1e12, parameters=5)],
  }
  paths = compute.draw(named, tmp_path / 'out')
  assert [path.name for path in paths] == [
    f'compute_{name}.png' for name in ('parameters', 'training', 'answer')
  ]
  for path in paths:
    assert run_folders.hex_of(style.BLUE) in run_folders.colors(path)
  assert compute.draw(named, tmp_path / 'none', groups=(4,)) == []


def overlaps(a, b):
  return bool((np.maximum(a[:2], b[:2]) < np.minimum(a[2:], b[2:])).all())


@pytest.mark.parametrize('seed', range(3))
def test_names_of_a_crowd_do_not_overlap(seed):
  """Twenty-four names of points in a corner, as rows that learned nothing."""
  panel = np.array([0.0, 0.0, 480.0, 320.0])
  rng = np.random.default_rng(seed)
  points = rng.uniform((60, 10), (300, 25), (24, 2))
  sizes = np.stack([rng.uniform(20, 90, 24), np.full(24, 10.0)], axis=1)
  found = labels.place(points, sizes, panel)
  np.testing.assert_allclose(found[:, 2:] - found[:, :2], sizes)
  assert not any(overlaps(a, b) for a, b in itertools.combinations(found, 2))
  assert (found[:, :2] >= panel[:2]).all() and (found[:, 2:] <= panel[2:]).all()
  for i, name in enumerate(found):
    others = np.delete(points, i, axis=0)
    assert not any(overlaps(name, np.concatenate([p, p])) for p in others)


def test_a_lone_name_stands_right_beside_its_point():
  panel = np.array([0.0, 0.0, 480.0, 320.0])
  size = np.array([[40.0, 10.0]])
  (right,) = labels.place(np.array([[100.0, 100.0]]), size, panel)
  assert 100 < right[0] < 110 and (right[1] + right[3]) / 2 == 100
  (left,) = labels.place(np.array([[470.0, 100.0]]), size, panel)
  assert left[2] < 480
