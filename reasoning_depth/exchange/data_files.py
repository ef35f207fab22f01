"""Splits of data in files: a file, a folder of files, or a TFDS folder.

The files of a split begin with its name: `train.parquet`,
`data/test-00000-of-00002.parquet`, `val.jsonl`. A single file that begins with
no split's name is of the test split.
"""

import hashlib
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from reasoning_depth import errors, settings
from reasoning_depth.exchange import tables, tfds_folder
from reasoning_depth.exchange.tables import Columns

# What the name of a split's files begins with.
NAMES = {
  'train': ('train',),
  'validation': ('val', 'dev'),
  'test': ('test',),
}
Parts = Mapping[str, Sequence[tuple[pathlib.Path, str]]]


def find(path: pathlib.Path, also_test: Sequence[str] = ()) -> Parts:
  """The parts of each split: files, or a TFDS folder and the name in it.

  Args:
    path: file or folder.
    also_test: other names of the test split's files.

  Raises:
    UsageError: where there are none, or files of a split in two formats.
  """
  names = {**NAMES, 'test': (*NAMES['test'], *also_test)}
  if path.is_file():
    return {_split(path.stem, names) or 'test': [(path, '')]}
  if not path.is_dir():
    tables.complain(path, 'no such file or folder')
  found: dict[str, list[tuple[pathlib.Path, str]]] = {}
  if tfds_folder.is_one(path):
    for name in tfds_folder.splits(path):
      if split := _split(name, names):
        found.setdefault(split, []).append((path, name))
  else:
    for file in _inside(path):
      inside = file.relative_to(path).parts
      if file.suffix in tables.SUFFIXES and not inside[0].startswith('.'):
        if file.is_file() and (split := _split(file.stem, names)):
          found.setdefault(split, []).append((file, ''))
  if not found:
    begins = ', '.join(n for several in names.values() for n in several)
    ends = ', '.join(tables.SUFFIXES)
    tables.complain(
      path,
      f'no data files: their names begin with {begins} and end in {ends}',
    )
  for split, parts in found.items():
    if len({file.suffix for file, _ in parts}) > 1:
      first, last = parts[0][0], parts[-1][0]
      tables.complain(
        path, f'split {split} is there in two formats: {first.name} and '
        f'{last.name}',
      )  # fmt: skip
  return found


def _inside(folder: pathlib.Path) -> list[pathlib.Path]:
  """What a folder and its subfolders hold, by name."""
  return sorted([*folder.glob('*'), *folder.glob('*/*')])


def _split(name: str, names: Mapping[str, Sequence[str]]) -> str:
  """The split whose files begin so, or ''."""
  for split, begins in names.items():
    if name.lower().startswith(tuple(begins)):
      return split
  return ''


def split(splits: Mapping[str, Any], name: str, path: str) -> Any:
  """What there is of a split; raises `UsageError` if there is nothing."""
  if name not in splits:
    settings.complain(
      'data', path, f'has no {name} split; there are {", ".join(splits)}'
    )
  return splits[name]


def told(counts: Mapping[str, int]) -> str:
  """Numbers of samples by split, for people."""
  return ', '.join(f'{name} {count:,}' for name, count in counts.items())


def read(part: tuple[pathlib.Path, str]) -> Columns:
  """The table of a part; see `tables.read`."""
  path, name = part
  return tfds_folder.read(path, name) if name else tables.read(path)


def signature(path: str) -> tuple[tuple[str, int, int], ...]:
  """Names, sizes and times of the files at a path; of none, ().

  It changes when a file does, so that what was read can be kept.
  """
  root = pathlib.Path(path)
  try:
    files = _inside(root) if root.is_dir() else [root]
    return tuple(
      (str(file), stat.st_size, stat.st_mtime_ns)
      for file in files
      for stat in [file.stat()]
    )
  except (OSError, ValueError) as error:  # a null character
    reason = getattr(error, 'strerror', None) or error
    raise errors.UsageError(f'{settings.shown_path(path)}: {reason}') from None


def sha256(path: pathlib.Path) -> str:
  """SHA-256 of a file."""
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def flat(
  parts: Iterator[Columns], text: Mapping[str, str] | None = None
) -> Iterator[Columns]:
  """Parts of a table with a column NAME_i for each NAME[:, i] of [N, t, n].

  Args:
    parts: of a table.
    text: columns of digits to turn into text, with their names then, such as
      {'rule_ids': 'rule', 'input_ids': 't={}'}.
  """
  text = text or {}
  for part in parts:
    found = {}
    for name, column in part.items():
      new = text.get(name, name + '_{}' * (column.ndim == 3))
      several = column.swapaxes(0, 1) if column.ndim == 3 else [column]
      for i, x in enumerate(several):
        found[new.format(i)] = _digits(x) if name in text else x
    yield found


def _digits(column: np.ndarray) -> np.ndarray:
  """Digits uint8 [N, n] as text [N]."""
  column = np.ascontiguousarray(column) + np.uint8(ord('0'))
  return column.view(f'S{column.shape[1]}').ravel().astype(str).astype(object)
