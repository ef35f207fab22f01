"""Reports on run folders: plots, a table of all scores, and report.html.

A file that `--record` wrote stands for the runs in it; it has no plots of its
own.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence

import rich.console

from reasoning_depth import errors, report
from reasoning_depth.report import (
  compute,
  halting,
  joint,
  records,
  runs,
  tables,
)
from reasoning_depth.report.pages import report as report_page
from reasoning_depth.report.pages import sections

_BAD_INPUT = 2
_WIDE = 1000  # characters; no table is wider


def main(arguments: Sequence[str]) -> int:
  """Runs the command line; returns the exit code, 2 for bad input."""
  parser = argparse.ArgumentParser(
    prog='python -m reasoning_depth.report', description=__doc__
  )
  parser.add_argument(
    'runs', nargs='+', metavar='RUN', type=pathlib.Path,
    help='a run folder, or a record',
  )  # fmt: skip
  parser.add_argument(
    '--out',
    metavar='DIR',
    type=pathlib.Path,
    help='folder of plots of all runs (default: plots of the first run)',
  )
  parser.add_argument(
    '--compute',
    metavar='GROUP',
    nargs='*',
    type=int,
    help='also draw the share of the ceiling at these groups, such as '
    'look-aheads, against parameters and operations (default: 1 4)',
  )
  parser.add_argument(
    '--record',
    metavar='FILE',
    type=pathlib.Path,
    help='write the numbers of these runs to a JSON file',
  )
  flags = parser.parse_args(arguments)
  flags.runs = list(dict.fromkeys(flags.runs))
  try:
    _report(flags)
    if flags.record:
      print(records.write(flags.runs, flags.record), file=sys.stderr)
  except (errors.UsageError, OSError) as error:
    print(f'error: {error}', file=sys.stderr)
    return _BAD_INPUT
  return 0


def _report(flags: argparse.Namespace) -> None:
  """Draws and prints; reads all runs before it writes anything."""
  all_runs, written = [], []
  for path in flags.runs:
    all_runs += records.read(path) if path.is_file() else [runs.load(path)]
  named = sections.by_setting(all_runs)
  first = flags.runs[0]
  out = flags.out or (first.parent if first.is_file() else first / 'plots')
  kept = []  # plots of single runs that the page of all of them shows
  for run in all_runs:
    if run.folder.is_dir():
      drawn = report.draw(run)
      kept += [path for path in drawn if path.stem.startswith(halting.NAME)]
      written += [*drawn, *report.write_pages(run, drawn)]
  several = len(all_runs) > 1 or flags.out is not None
  groups, together = flags.compute, []
  if several:
    together = joint.draw(all_runs, named, out, groups)
  elif groups is not None:
    together = compute.draw(named, out, groups or compute.GROUPS)
  if several or first.is_file():
    together.append(report_page.write(named, [*together, *kept], out))
  written += together
  console = rich.console.Console()
  if console.is_terminal:
    for far in (False, True):
      table = tables.pretty(all_runs, far)
      # A terminal may wrap the lines of a wide table; no number is cut off.
      needed = rich.console.Console(width=_WIDE).measure(table).maximum
      console.width = max(console.width, needed)
      if table.row_count:
        console.print(table)
    print(*tables.notes(all_runs), sep='\n')
  else:
    print(tables.markdown(all_runs))
  for path in written:
    print(path, file=sys.stderr)


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
