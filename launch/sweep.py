"""Trains a grid of models × look-aheads × seeds; prints DepthScore by model.

  python -m launch.sweep --rows gptneox armt --words gpu
  python -m launch.sweep --words smoke                    # every row, tiny

The rows are those of figure 5 of 2508.16745, and some more. Each cell of the
grid is one run of main.py, in its own process and run folder, and one JSON file
under --results. Cells that have their file are skipped, so the same command
again resumes. A cell that fails is named, and the others still run. Flags for
main.py come after `--`.
"""

import argparse
import dataclasses
import pathlib
import subprocess
import sys
from collections.abc import Callable, Sequence

from reasoning_depth.report import depth_score, records, runs

ROOT = pathlib.Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True)
class Row:
  """A row of the table: how its runs are trained.

  Attributes:
    config: name of a file under configs/, without '.py'.
    words: what follows the colon in --config.
    together: one run for all look-aheads, rather than one for each.
    flags: further flags for main.py.
    start: config and words of a run whose weights each run of the row starts
      from; '' for none.
    paper: what the paper reports. Its figure gives an order, no numbers.
  """

  config: str
  words: str = ''
  together: bool = False
  flags: tuple[str, ...] = ()
  start: str = ''
  paper: str = ''


def _row(place: int, config: str, words: str = '', **fields) -> Row:
  """A row of the figure, by its place there."""
  fields.setdefault('paper', f'place {place} of 20')
  together = 'o_o' in words or 'cot' in words
  return Row(config, words, together, **fields)


O_O = 'task=o_o,curriculum'
# In ascending order of DepthScore in the paper.
ROWS = {
  'lstm+act': _row(1, 'lstm', 'act=layer'),
  'lstm': _row(2, 'lstm'),
  'mamba+act': _row(3, 'mamba', 'act=layer'),
  'mamba': _row(4, 'mamba'),
  'gptneox+o_o': _row(5, 'transformer', O_O),
  'armt+fct+o_o': _row(6, 'armt', f'act=fixed,{O_O}'),
  'gptneox': _row(
    7, 'transformer', paper='place 7 of 20; 0.95 / 0.40 / < 0.25 / < 0.25'
  ),
  'armt+fct': _row(8, 'armt', 'act=fixed'),
  'armt+o_o': _row(9, 'armt', O_O),
  'armt': _row(10, 'armt'),
  'armt+act': _row(11, 'armt', 'act=layer'),
  'gptneox+fct+o_o': _row(12, 'transformer', f'act=fixed,{O_O}'),
  'gptneox+act': _row(13, 'transformer', 'act=layer'),
  'gptneox+act+o_o': _row(14, 'transformer', f'act=layer,{O_O}'),
  'gptneox+fct': _row(15, 'transformer', 'act=fixed'),
  'armt+act+o_o': _row(16, 'armt', f'act=layer,{O_O}'),
  'gptneox+grpo': _row(17, 'grpo', start='transformer:task=cot,k=1'),
  'gptneox_12_layers': _row(
    18, 'transformer', flags=('--config.model.num_layers=12',)
  ),
  'armt+cot': _row(
    19, 'armt', 'task=cot', paper='place 19 of 20; > 0.90 at each k'
  ),
  'gptneox+cot': _row(
    20, 'transformer', 'task=cot', paper='place 20 of 20; > 0.90 at each k'
  ),
  # Not in the figure.
  'rmt': Row('rmt'),
  'looped': Row('looped'),
  'trm': Row('trm'),
  'gptneox+multi_horizon': Row(
    'transformer', together=True, paper='0.32 at k = 2, 0.19 at k = 4'
  ),
  'armt+multi_horizon': Row('armt', together=True, paper='0.43 at k = 2'),
}


@dataclasses.dataclass(frozen=True)
class Cell:
  """One run of the grid.

  Attributes:
    row: name of its row; '' for a run that only gives others their weights.
    name: of the run, with look-ahead and seed.
    command: what trains it.
    folder: its run folder.
    result: the JSON file that holds its numbers.
  """

  row: str
  name: str
  command: tuple[str, ...]
  folder: pathlib.Path
  result: pathlib.Path


def cells(flags: argparse.Namespace) -> list[Cell]:
  """All runs of the grid, row by row; a run that others start from is first."""
  found = []
  for name in flags.rows:
    row = ROWS[name]
    start, _, words = row.start.partition(':')
    for seed in flags.seeds if start else ():
      found.append(_cell(flags, '', f'{name}-start', start, words, seed))
    for k in ['1-4'] if row.together else map(str, flags.k):
      words = ','.join(filter(None, [row.words, f'k={k}']))
      for seed in flags.seeds:
        extra = row.flags
        if start:
          folder = flags.runs / f'{name}-start-seed{seed}'
          extra += (f'--config.train.init_from={folder}',)
        found.append(
          _cell(flags, name, f'{name}-k{k}', row.config, words, seed, extra)
        )
  return found


def _cell(
  flags: argparse.Namespace,
  row: str,
  name: str,
  config: str,
  words: str,
  seed: int,
  extra: tuple[str, ...] = (),
) -> Cell:
  """A run of a config with these words, seed and further flags."""
  name = f'{name}-seed{seed}'
  words = ','.join(filter(None, [flags.words, words]))
  folder = flags.runs / name
  command = (
    sys.executable, str(ROOT / 'main.py'),
    f'--config={ROOT}/configs/{config}.py:{words}',
    f'--workdir={folder}', f'--config.seed={seed}', *extra, *flags.main,
  )  # fmt: skip
  return Cell(row, name, command, folder, flags.results / f'{name}.json')


def sweep(
  flags: argparse.Namespace, run: Callable[[Sequence[str]], int]
) -> list[str]:
  """Runs the cells that have no result yet; returns the names of failed ones.

  Args:
    flags: from `parse`.
    run: runs a command and returns its exit code.
  """
  failed = []
  for i, cell in enumerate(grid := cells(flags), 1):
    if cell.result.exists():
      continue
    print(f'[{i}/{len(grid)}] {cell.name}', file=sys.stderr, flush=True)
    if run(cell.command) == 0:
      records.write([cell.folder], cell.result)
    else:
      failed.append(cell.name)
  return failed


def table(flags: argparse.Namespace) -> str:
  """The table of finished cells, as Markdown."""
  finished = {}
  for cell in cells(flags):
    if cell.row and cell.result.exists() and cell.folder.exists():
      finished.setdefault(cell.row, []).append(runs.load(cell.folder))
  paper = {name: row.paper for name, row in ROWS.items() if row.paper}
  return depth_score.markdown(
    {name: depth_score.depth(found) for name, found in finished.items()}, paper
  )


def parse(arguments: Sequence[str]) -> argparse.Namespace:
  """Parses the command line."""
  parser = argparse.ArgumentParser(
    'python -m launch.sweep', description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )  # fmt: skip
  parser.add_argument(
    '--rows', nargs='+', choices=ROWS, default=list(ROWS),
    help='models to train (default: all)',
  )  # fmt: skip
  parser.add_argument(
    '--k', nargs='+', type=int, default=depth_score.LOOK_AHEADS,
    help='look-aheads (default: 1 2 3 4)',
  )  # fmt: skip
  parser.add_argument(
    '--seeds', nargs='+', type=int, default=[0], help='(default: 0)'
  )
  parser.add_argument(
    '--words', default='', help='words of every config: smoke, cpu or gpu'
  )
  for name, help_text in (
    ('runs', 'where the run folders go'),
    ('results', 'where the JSON files go'),
  ):
    parser.add_argument(
      f'--{name}', type=pathlib.Path, default=pathlib.Path(name) / 'sweep',
      help=help_text,
    )  # fmt: skip
  at = list(arguments).index('--') if '--' in arguments else len(arguments)
  flags = parser.parse_args(arguments[:at])
  flags.main = tuple(arguments[at + 1 :])
  return flags


def main(arguments: Sequence[str]) -> int:
  """Runs the grid and prints its table; returns 1 if a cell failed, else 0."""
  flags = parse(arguments)
  failed = sweep(flags, lambda command: subprocess.run(command).returncode)
  print(table(flags))
  for name in failed:
    print(f'failed: {name}', file=sys.stderr)
  return 1 if failed else 0


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
