"""The cells of a grid: each a run of main.py and the evaluations after it."""

import argparse
import dataclasses
import pathlib
import sys
from collections.abc import Sequence

from launch.grids import base
from reasoning_depth.report import depth_score

ROOT = pathlib.Path(__file__).parents[1]
# Seconds until a stopped run exits unsaved: more than a dispatch may take.
GRACE = 600


@dataclasses.dataclass(frozen=True)
class Cell:
  """One run of the grid.

  Attributes:
    name: of the run: row, look-ahead, seed.
    command: what trains it.
    folder: its run folder.
    result: the JSON file that holds its numbers.
    evaluations: flags of each evaluation after training.
    after: name of the run whose weights it starts from; '' for none.
  """

  name: str
  command: tuple[str, ...]
  folder: pathlib.Path
  result: pathlib.Path
  evaluations: tuple[tuple[str, ...], ...] = ()
  after: str = ''

  def evaluate(self, flags: Sequence[str] = ()) -> tuple[str, ...]:
    """What scores it as it is saved."""
    mode, workdir = '--mode=evaluate', f'--workdir={self.folder}'
    return *self.command[:2], mode, workdir, *flags


def cells(flags: argparse.Namespace) -> list[Cell]:
  """All runs of the grid, row by row; a run that others start from is first."""
  found = []
  for name in flags.rows:
    row = flags.grid.rows[name]
    start, _, words = row.start.partition(':')
    for seed in flags.seeds if start else ():
      found.append(_cell(flags, f'{name}-start', start, words, seed))
    together = row.together(flags.apart)
    for look_ahead in [base.LOOK_AHEADS] if together else flags.k:
      words = ','.join(filter(None, [row.words, look_ahead]))
      own = name + '-' + look_ahead.replace('=', '')
      for seed in flags.seeds:
        extra, after = row.flags, ''
        if start:
          after = f'{name}-start-seed{seed}'
          extra += (f'--config.train.init_from={flags.runs / after}',)
        cell = _cell(flags, own, row.config, words, seed, extra)
        evaluations = tuple(row.evaluations.values())
        found.append(
          dataclasses.replace(cell, evaluations=evaluations, after=after)
        )
  return found


def _cell(
  flags: argparse.Namespace,
  name: str,
  config: str,
  words: str,
  seed: int,
  extra: tuple[str, ...] = (),
) -> Cell:
  """A run of a config with these words, seed and further flags."""
  name = f'{name}-seed{seed}'
  if flags.steps:
    extra += _steps(flags.steps, 'curriculum' in words)
  words = ','.join(filter(None, [flags.words, words]))
  folder = flags.runs / name
  command = (
    sys.executable, str(ROOT / 'main.py'),
    f'--config={ROOT}/configs/{config}.py:{words}',
    f'--workdir={folder}', f'--config.seed={seed}',
    f'--config.checkpoint.grace={GRACE}', *extra, *flags.main,
  )  # fmt: skip
  return Cell(name, command, folder, flags.results / f'{name}.json')


def _steps(steps: int, staged: bool) -> tuple[str, ...]:
  """Flags for a number of updates; stages end at validations, so at equal ones.

  Args:
    steps: updates.
    staged: whether there is a curriculum over the look-ahead.
  """
  fields = {'train.num_steps': steps}
  if staged:
    each = steps // len(depth_score.LOOK_AHEADS)
    fields |= {'train.curriculum.most_steps': each, 'eval.every': each}
  return base.flags(fields)
