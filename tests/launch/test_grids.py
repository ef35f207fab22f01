"""The grids of recall: their rows, and evaluations after training."""

import json
import pathlib

import jax
import numpy as np

from launch import cells, grids, sweep
from launch.grids import breaks, carry
from reasoning_depth.tasks import orbits
from tests.report import run_folders


def flags(folder, *arguments):
  return sweep.parse(
    [f'--runs={folder}/runs', f'--results={folder}/results', *arguments]
  )


def overrides(command):
  """What a command of `--mode=evaluate` sets, as its evaluation has it."""
  return sorted(
    flag.removeprefix('--config.')
    for flag in command
    if flag.startswith('--config.')
  )


def fake(seen, fails=None):
  """Writes what a command would; `exact_match` of an evaluation is 1 / n."""

  def run(command, seconds):
    del seconds
    seen.append(command)
    if len(seen) == fails:
      return 3, False
    value = dict(a.partition('=')[::2] for a in command if '=' in a)
    folder = pathlib.Path(value['--workdir'])
    over, name = [], ''
    if '--mode=evaluate' in command:
      over = overrides(command)
      name = ''.join(f'-{o}' for o in over)
    else:
      seed = int(value['--config.seed'])
      run_folders.write_run(folder, {1: 0.8}, seed=seed)
      if value['--config.eval.look_ahead'] == '()':
        return 0, False
    for kind in ('test', 'look_ahead'):
      scores = {1: run_folders.score(1 / len(seen))}
      run_folders.write_evaluation(
        folder, scores, name=kind + name, overrides=over
      )
    return 0, False

  return run


def lines(f):
  """First score of each line of the table."""
  rows = [row for row in sweep.table(f).splitlines() if row.startswith('|')]
  cells = [row.strip('|').split('|') for row in rows[2:]]
  return {row[0].strip(): float(row[1]) for row in cells}


def test_evaluations_follow_training_and_have_lines_of_their_own(tmp_path):
  f = flags(tmp_path, '--grid', 'breaks', '--rows', 'recall', 'rotary')
  first, second = cells.cells(f)
  seen = []
  assert sweep.sweep(f, fake(seen)) == []
  assert seen[0] == first.command and seen[-1] == second.command
  evaluate = f'--mode=evaluate --workdir={first.folder}'.split()
  assert [list(c[:4]) for c in seen[1:-1]] == (
    [[*first.command[:2], *evaluate]] * len(breaks.SIZES)
  )
  (entry,) = json.loads(first.result.read_text())
  assert len(entry['further']) == 2 * len(breaks.SIZES)
  found = lines(f)
  names = [f'recall, {size}' for size in breaks.SIZES]
  assert list(found) == ['recall', *names, 'rotary']
  assert list(found.values()) == [round(1 / n, 3) for n in range(1, 10)]


def test_a_cell_whose_evaluation_fails_has_failed(tmp_path):
  f = flags(tmp_path, '--grid', 'breaks', '--rows', 'recall')
  (cell,) = cells.cells(f)
  seen = []
  assert sweep.sweep(f, fake(seen, fails=3)) == [cell.name]
  assert len(seen) == 3 and not cell.result.exists()


def test_an_evaluation_can_stand_for_its_row(tmp_path):
  rows = ['answer+every', 'answer+drawn']
  f = flags(tmp_path, '--grid', 'carry', '--rows', *rows)
  seen = []
  assert sweep.sweep(f, fake(seen)) == []
  assert lines(f) == {'answer+every': 0.5, 'answer+drawn': 0.333}


def test_rows_are_the_combinations_that_mean_something():
  assert len(carry.ROWS) == (4 * 2 - 1) * 3
  assert not [n for n in carry.ROWS if n.startswith('latent+corrupt')]
  settings = {
    (row.words, row.flags, *row.evaluations) for row in carry.ROWS.values()
  }
  assert len(settings) == len(carry.ROWS)
  for name, row in grids.GRIDS['carry'].rows.items():
    corrupts = any('corrupt_samples=0.5' in flag for flag in row.flags)
    assert corrupts == ('corrupt' in name)


def test_samples_at_once_fit():
  assert breaks.batch_size(100, 10) == 16  # of 32 MB
  assert breaks.batch_size(20, 10) == 256  # of 1.28 MB
  assert '--config.eval.batch_size=16' in breaks.SIZES['W = 100']


def test_radius_3_shows_enough_for_its_ceiling():
  task = orbits.Orbits(width=breaks.WIDTH, look_ahead=(1,), **{
    name.removeprefix('task.'): value for name, value in breaks.WIDE.items()
  })  # fmt: skip
  held_out = task.draw_held_out(jax.random.key(1), 'validation', 500, 'x')
  best = np.mean(held_out.known['ceiling_exact_match'])
  assert 0.88 < best < 0.93  # 0.8 with 25 states
