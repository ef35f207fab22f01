"""What `main.py --help` says."""

import ast
import pathlib
from collections.abc import Mapping

CONFIGS = pathlib.Path(__file__).parents[1] / 'configs'
_WIDE = 22  # columns of a name


def text(
  head: str,
  flags: Mapping[str, str],
  modes: Mapping[str, str],
  words: Mapping[str, str],
) -> str:
  """Flags, modes, configs with their words, and where to read on.

  Args:
    head: what the program is for.
    flags: meaning by name.
    modes: what each does, by name.
    words: meaning of those that may stand after the colon.
  """
  return '\n\n'.join(
    [
      head.strip(),
      _table('Flags', flags),
      _table('Modes (--mode=…)', modes),
      _table('Configs (configs/NAME.py)', _configs()),
      _table('Words after the colon, with commas between', words),
      'Exit codes: 0 done, 1 a failure (with its traceback), 2 bad usage or '
      'config,\n3 training diverged, 75 stopped by a signal and saved.',
      'Read on: README.md, docs/getting-started.md, docs/extending.md.',
    ]
  )


def _configs() -> dict[str, str]:
  """The first line of each config's docstring, by name."""
  found = {}
  for path in sorted(CONFIGS.glob('*.py')):
    doc = ast.get_docstring(ast.parse(path.read_text()))
    if path.stem not in ('__init__', 'common'):
      found[path.stem] = (doc or '').partition('\n')[0]
  return found


def _table(title: str, rows: Mapping[str, str]) -> str:
  lines = [f'  {name:<{_WIDE}} {meaning}' for name, meaning in rows.items()]
  return '\n'.join([f'{title}:', *lines])
