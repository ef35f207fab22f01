"""Trains a grid of rows × look-aheads × seeds; prints and draws a comparison.

  python -m launch.sweep --words smoke                   # figure5, every row
  python -m launch.sweep --grid law --words cpu --minutes 30 --seeds 0 1 2
  python -m launch.sweep --words cpu --seeds 0 1 2 --jobs 4
  python -m launch.sweep --slurm='--gpus-per-node=1 --time=4:00:00'
  python -m launch.sweep --words cpu --table             # what there is

Each cell of the grid is one run of main.py, in its own process and run folder,
then the evaluations of its row, and one JSON file under --results. Cells that
have their file are skipped, so the same command again goes on. A cell that
fails is named, and the others still run. Table, pictures and report.html are
made from the JSON files alone. Flags for main.py come after `--`.
"""

import argparse
import pathlib
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from launch import cells, grids, running, slurm
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


def sweep(flags: argparse.Namespace, run: running.Runner) -> list[str]:
  """Runs the grid, or one cell of it; returns the names of failed cells."""
  grid = cells.cells(flags)
  if flags.cell is not None:
    grid = [grid[flags.cell]]
  return running.sweep(grid, flags.jobs or 1, flags.minutes, run)


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
  flags.arguments = tuple(arguments)
  if flags.cell is not None:
    flags.jobs = flags.slurm = None
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
  if flags.cell is not None and not 0 <= flags.cell < len(cells.cells(flags)):
    parser.error(f'--cell {flags.cell}: of {len(cells.cells(flags))} cells')
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
    '--jobs', type=_positive(int),
    help='cells at once (default: 1; with --slurm: as many as Slurm runs)',
  )  # fmt: skip
  parser.add_argument(
    '--slurm', nargs='?', const='', metavar='OPTIONS',
    help='hand the cells to Slurm as a job array; options for sbatch',
  )  # fmt: skip
  parser.add_argument(
    '--cell', type=int, metavar='I',
    help='train cell I of the grid alone, from 0: what a task of an array does',
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
  failed = []
  try:
    if flags.slurm is not None and not flags.table:
      print(*_submit(flags), sep='\n')
      return 0
    if not flags.table:
      failed = _sweep(flags)
    if flags.cell is None:
      print(table(flags))
      for path in draw(flags):
        print(path, file=sys.stderr)
  except errors.UsageError as error:
    print(f'error: {error}', file=sys.stderr)
    return errors.UsageError.exit_code
  for name in failed:
    print(f'failed: {name}', file=sys.stderr)
  return 1 if failed else 0


def _submit(flags: argparse.Namespace) -> list[str]:
  """Hands the grid to Slurm; returns what to print."""
  told = slurm.submit(
    cells.cells(flags), flags.results, flags.slurm, flags.jobs, flags.arguments
  )
  return told or ['every cell has its result; --table compares them']


def _sweep(flags: argparse.Namespace) -> list[str]:
  """Runs the grid in processes; returns the names of failed cells."""
  processes = running.Processes(flags.jobs or 1)

  def stop(number, _):
    # At Ctrl-C the terminal has told the runs.
    processes.stop(tell=number == signal.SIGTERM)
    sys.exit(running.STOPPED)

  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, stop)
  return sweep(flags, processes.run)


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
