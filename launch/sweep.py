"""Trains a grid of rows × look-aheads × seeds; prints and draws a comparison.

  python -m launch.sweep --words smoke                   # figure5, every row
  python -m launch.sweep --grid law --words cpu --minutes 30 --seeds 0 1 2
  python -m launch.sweep --words cpu --table             # what there is

Each cell of the grid is one run of main.py, in its own process and run folder,
then the evaluations of its row, and one JSON file under --results. Cells that
have their file are skipped, so the same command again goes on. A cell that
fails is named, and the others still run. Table, pictures and report.html are
made from the JSON files alone. Flags for main.py come after `--`.
"""

import argparse
import dataclasses
import pathlib
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from launch import grids
from launch.grids import base
from reasoning_depth import errors
from reasoning_depth.report import (
  ahead,
  depth_score,
  lines,
  plots,
  records,
  runs,
)
from reasoning_depth.report.pages import report as report_page

ROOT = pathlib.Path(__file__).parents[1]
STOPPED = errors.Stopped.exit_code
# Seconds until a stopped run exits unsaved: more than a dispatch may take.
GRACE = 600
# Runs a command for some seconds at most (None: to its end); returns its exit
# code and whether it was stopped.
Runner = Callable[[Sequence[str], float | None], tuple[int, bool]]


@dataclasses.dataclass(frozen=True)
class Cell:
  """One run of the grid.

  Attributes:
    name: of the run: row, look-ahead, seed.
    command: what trains it.
    folder: its run folder.
    result: the JSON file that holds its numbers.
    evaluations: flags of each evaluation after training.
  """

  name: str
  command: tuple[str, ...]
  folder: pathlib.Path
  result: pathlib.Path
  evaluations: tuple[tuple[str, ...], ...] = ()

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
        extra = row.flags
        if start:
          folder = flags.runs / f'{name}-start-seed{seed}'
          extra += (f'--config.train.init_from={folder}',)
        cell = _cell(flags, own, row.config, words, seed, extra)
        evaluations = tuple(row.evaluations.values())
        found.append(dataclasses.replace(cell, evaluations=evaluations))
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


def sweep(flags: argparse.Namespace, run: Runner) -> list[str]:
  """Runs the cells that have no result yet; returns the names of failed ones.

  Args:
    flags: from `parse`.
    run: runs a command.
  """
  failed = []
  for i, cell in enumerate(grid := cells(flags), 1):
    if cell.result.exists():
      continue
    print(f'[{i}/{len(grid)}] {cell.name}', file=sys.stderr, flush=True)
    code = _train(cell, flags.minutes, run)
    for extra in cell.evaluations:
      code = code or run(cell.evaluate(extra), None)[0]
    if code == 0:
      records.write([cell.folder], cell.result)
    else:
      failed.append(cell.name)
  return failed


def _train(cell: Cell, minutes: float | None, run: Runner) -> int:
  """Trains a cell, and scores it where time ran out; returns the exit code.

  Minutes that the cell was trained for by an earlier command count.
  """
  if minutes is None:
    return run(cell.command, None)[0]
  code, late, left = STOPPED, True, 60 * minutes - _spent(cell.folder)
  if left > 0:
    code, late = run(cell.command, left)
  if late and code == STOPPED:
    code, _ = run(cell.evaluate(), None)
  return code


def _spent(folder: pathlib.Path) -> float:
  """Seconds that a run has been trained for."""
  there = (folder / 'config.json').exists()
  return (runs.load(folder).seconds or 0.0) if there else 0.0


def run(command: Sequence[str], seconds: float | None) -> tuple[int, bool]:
  """Runs a command; a `Runner`. A run of main.py saves when it is stopped."""
  process = subprocess.Popen(command)
  try:
    return process.wait(seconds), False
  except subprocess.TimeoutExpired:
    process.terminate()
    return process.wait(), True
  except SystemExit:  # by SIGTERM; at Ctrl-C the terminal stops it as well
    process.terminate()
    raise
  finally:
    process.wait()


def finished(flags: argparse.Namespace) -> dict[str, list[runs.Run]]:
  """The runs that have their JSON file, of all seeds, by row."""
  found: dict[str, list[runs.Run]] = {}
  for path in sorted(flags.results.glob('*.json')):
    name, _, k = path.stem.rpartition('-seed')[0].rpartition('-k')
    row = flags.grid.rows.get(name)
    if row is None or name not in flags.rows:
      continue
    if (f'k={k}' == base.LOOK_AHEADS) == row.together(flags.apart):
      found.setdefault(name, []).extend(records.read(path))
  return {name: found[name] for name in flags.rows if name in found}


def table(flags: argparse.Namespace) -> str:
  """The table of finished cells, as Markdown."""
  return flags.grid.table(flags.grid.rows, finished(flags))


def draw(flags: argparse.Namespace) -> list[pathlib.Path]:
  """Draws finished cells beside their JSON files, and writes their page."""
  found, folder = finished(flags), flags.results
  if not found:
    return []
  further = lines.of_rows(found, lambda run: run.ahead)
  drawn = [
    *flags.grid.draw(found, folder),
    ahead.draw(further, folder / 'look_ahead.png')
    if further
    else plots.exact_match(lines.of_rows(found), folder / 'exact_match.png'),
  ]
  drawn = [path for path in drawn if path is not None]
  return [*drawn, report_page.write(found, drawn, folder)]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
  """Parses the command line."""
  parser = _parser()
  at = list(arguments).index('--') if '--' in arguments else len(arguments)
  flags = parser.parse_args(arguments[:at])
  flags.main = tuple(arguments[at + 1 :])
  name, flags.grid = flags.grid, grids.GRIDS[flags.grid]
  flags.rows = flags.rows or list(flags.grid.rows)
  for row in flags.rows:
    if row not in flags.grid.rows:
      parser.error(f'--rows {row}: allowed are {", ".join(flags.grid.rows)}')
  flags.k = [f'k={k}' for k in flags.k]
  where = pathlib.Path(flags.words.replace(',', '-')) / name
  where = where.with_name(where.name + '-apart' * flags.apart)
  flags.runs = flags.runs or 'runs' / where
  flags.results = flags.results or 'results' / where
  return flags


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    'python -m launch.sweep', description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )  # fmt: skip
  parser.add_argument(
    '--grid', choices=grids.GRIDS, default='figure5',
    help='; '.join(f'{n}: {g.meaning}' for n, g in grids.GRIDS.items()),
  )  # fmt: skip
  parser.add_argument('--rows', nargs='+', help='rows to train (default: all)')
  parser.add_argument(
    '--words', default='', help='words of every config: smoke, cpu or gpu'
  )
  parser.add_argument(
    '--seeds', nargs='+', type=int, default=[0], help='(default: 0)'
  )
  parser.add_argument(
    '--apart', action='store_true',
    help='a model for each look-ahead, where a row has one for all',
  )  # fmt: skip
  parser.add_argument(
    '--k', nargs='+', type=int, default=depth_score.LOOK_AHEADS,
    help='look-aheads of rows with a model for each (default: 1 2 3 4)',
  )  # fmt: skip
  parser.add_argument(
    '--steps', type=_positive(int), help="updates of each run (default: the "
    "config's); stages of a curriculum get equal shares",
  )  # fmt: skip
  parser.add_argument(
    '--minutes', type=_positive(float),
    help='of a run; one that takes longer is stopped, saved and scored so',
  )  # fmt: skip
  parser.add_argument(
    '--table', action='store_true',
    help='train nothing: table and pictures of the JSON files that there are',
  )  # fmt: skip
  for name, text in (
    ('runs', 'where the run folders go (default: runs/WORDS/GRID)'),
    (
      'results',
      'where JSON files and pictures go (default: results/WORDS/GRID)',
    ),
  ):
    parser.add_argument(f'--{name}', type=pathlib.Path, help=text)
  return parser


def _positive(kind: type) -> Callable[[str], Any]:
  def number(text: str) -> Any:
    value = kind(text)
    if not value > 0:
      raise argparse.ArgumentTypeError(f'{text}: must be above 0')
    return value

  return number


def main(arguments: Sequence[str]) -> int:
  """Runs the grid and compares; returns 1 if a cell failed, else 0."""
  flags = parse(arguments)
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED))
  failed = [] if flags.table else sweep(flags, run)
  try:
    print(table(flags))
    for path in draw(flags):
      print(path, file=sys.stderr)
  except errors.UsageError as error:
    print(f'error: {error}', file=sys.stderr)
    return errors.UsageError.exit_code
  for name in failed:
    print(f'failed: {name}', file=sys.stderr)
  return 1 if failed else 0


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
