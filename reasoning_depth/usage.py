"""The text of `main.py --help`."""

import ast
import pathlib
from collections.abc import Mapping

MODES = {
  'train': 'train or resume; ends with the final evaluation',
  'show': 'print config, parameters and cost of a step; do not train',
  'evaluate': 'score the newest checkpoint of a run folder',
  'analyze': 'accuracy against depth steps, logit lens, activation patching',
  'dataset': 'write the splits of a task as data files, with a card',
  'predict': 'how orbits of your own go on (--orbits, --k)',
  'score': 'score answers made elsewhere (--predictions)',
  'export': 'write the newest checkpoint as a Hugging Face checkpoint',
  'replay': 'run the step at which a run diverged again',
}
CONFIGS = pathlib.Path(__file__).parents[1] / 'configs'
_WIDTH = 22  # columns of a name


def text(
  head: str,
  flags: Mapping[str, str],
  words: Mapping[str, str],
) -> str:
  """Flags, modes, configs with their words, exit codes, documentation.

  Args:
    head: purpose of the program.
    flags: meaning by name.
    words: meaning by word, of those allowed after the colon of `--config`.
  """
  return '\n\n'.join(
    [
      head.strip(),
      _table('Flags', flags),
      _table('Modes (--mode=…)', MODES),
      _table('Configs (configs/NAME.py)', configs()),
      _table(
        'Words after the colon, separated by commas (some configs have more: '
        'see their\ndocstrings)',
        words,
      ),
      'Exit codes: 0 done, 1 a failure (with its traceback), 2 bad usage or '
      'config,\n3 training diverged, 75 stopped by a signal and saved.',
      'Read on: README.md, docs/getting-started.md, docs/extending.md.',
    ]
  )


def configs() -> dict[str, str]:
  """The first line of each config's docstring, by name."""
  found = {}
  for path in sorted(CONFIGS.glob('*.py')):
    doc = ast.get_docstring(ast.parse(path.read_text()))
    if path.stem not in ('__init__', 'common'):
      found[path.stem] = (doc or '').partition('\n')[0]
  return found


def _table(title: str, rows: Mapping[str, str]) -> str:
  lines = [f'  {name:<{_WIDTH}} {meaning}' for name, meaning in rows.items()]
  return '\n'.join([f'{title}:', *lines])
