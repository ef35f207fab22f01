"""Reports on run folders: plots of each run and a table of all scores."""

import argparse
import pathlib
import sys
from collections.abc import Sequence

import rich.console

from reasoning_depth import errors, report
from reasoning_depth.report import ahead, lines, plots, records, runs, tables

_BAD_INPUT = 2
_WIDE = 1000  # characters; no table is wider


def main(arguments: Sequence[str]) -> int:
  """Runs the command line; returns the exit code, 2 for bad input."""
  parser = argparse.ArgumentParser(
    prog='python -m reasoning_depth.report', description=__doc__
  )
  parser.add_argument(
    'runs', nargs='+', metavar='RUN', type=pathlib.Path, help='a run folder'
  )
  parser.add_argument(
    '--out',
    metavar='DIR',
    type=pathlib.Path,
    help='folder of the plot of all runs (default: plots of the first run)',
  )
  parser.add_argument(
    '--record',
    metavar='FILE',
    type=pathlib.Path,
    help='write the numbers of these runs to a JSON file',
  )
  flags = parser.parse_args(arguments)
  folders = list(dict.fromkeys(flags.runs))
  try:
    _report(folders, flags.out)
    if flags.record:
      print(records.write(folders, flags.record), file=sys.stderr)
  except (errors.UsageError, OSError) as error:
    print(f'error: {error}', file=sys.stderr)
    return _BAD_INPUT
  return 0


def _report(folders: list[pathlib.Path], out: pathlib.Path | None) -> None:
  """Draws and prints; reads all runs before it writes anything."""
  all_runs = [runs.load(folder) for folder in folders]
  joint = lines.join(all_runs)
  written = [path for run in all_runs for path in report.draw(run)]
  if len(all_runs) > 1 or out is not None:
    path = (out or folders[0] / 'plots') / 'exact_match_joint.png'
    written.append(plots.exact_match(joint, path))
    path = path.with_name('look_ahead_joint.png')
    written.append(ahead.draw(ahead.join(all_runs), path))
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
  for path in filter(None, written):
    print(path, file=sys.stderr)


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
