"""Reads a user's own orbits: text of 0 and 1 or of . and #, or .npy."""

import pathlib
import tokenize
from typing import Any

import numpy as np

from reasoning_depth import errors, settings

CELLS = {'0': 0, '1': 1, '.': 0, '#': 1}
_BETWEEN = ' \t,;'  # may stand between cells
MOST_BYTES = 2**26


def read(path: pathlib.Path) -> Any:
  """The states in a file.

  A text has a state on each line, cells with or without blanks or commas
  between; an empty line begins the next orbit. A `.npy` file is returned as it
  is, [T, W] or [N, T, W].

  Returns:
    uint8 [N, T, W], or the array of a `.npy` file.

  Raises:
    UsageError: naming the file and the line, for anything else.
  """
  with settings.within(f'{settings.shown(path)}: '):
    try:
      if path.stat().st_size > MOST_BYTES:
        raise errors.UsageError(f'more than {MOST_BYTES // 2**20} MiB')
      if path.suffix == '.npy':
        return _read_array(path)
      text = path.read_text(encoding='utf-8')
    except OSError as error:
      raise errors.UsageError(error.strerror) from None
    except UnicodeDecodeError:
      raise errors.UsageError('is neither text nor .npy') from None
    return parse(text)


def parse(text: str) -> np.ndarray:
  """States from text, uint8 [N, T, W]; see `read`."""
  orbits: list[list[list[int]]] = [[]]
  for number, line in enumerate(text.splitlines(), 1):
    bare = line.translate(dict.fromkeys(map(ord, _BETWEEN)))
    if not bare:
      orbits.append([])
      continue
    foreign = next((c for c in bare if c not in CELLS), None)
    if foreign is not None:
      raise errors.UsageError(
        f'line {number}: {foreign!r} is no cell: allowed are 0 and 1, or . '
        'and #'
      )
    orbits[-1].append([CELLS[c] for c in bare])
    first = next(orbit for orbit in orbits if orbit)[0]
    if len(bare) != len(first):
      raise errors.UsageError(
        f'line {number} has {len(bare)} cells, the first state {len(first)}'
      )
  orbits = [orbit for orbit in orbits if orbit]
  lengths = sorted({len(orbit) for orbit in orbits})
  if len(lengths) != 1:
    raise errors.UsageError(
      f'orbits of {lengths[0]} and {lengths[-1]} states: all must have equally '
      'many'
      if lengths
      else 'has no states'
    )
  return np.array(orbits, np.uint8)


def _read_array(path: pathlib.Path) -> np.ndarray:
  try:
    return np.array(np.load(path, mmap_mode='r', allow_pickle=False))
  # All that NumPy raises for damaged headers.
  except (ValueError, EOFError, SyntaxError, tokenize.TokenError) as error:
    reason = settings.shown(' '.join(str(error).split()))
    if 'object' in reason.lower():
      reason = 'holds Python objects (a pickle), not numbers; not read'
    raise errors.UsageError(f'not a .npy file of numbers ({reason})') from None
