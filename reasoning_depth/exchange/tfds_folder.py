"""Folders of TensorFlow Datasets (TFDS), written and read without TensorFlow.

Their files are array_record. TFDS writes Parquet as well, but that loses rows
without a word (4.9.10), so it is not offered.
"""

import contextlib
import io
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from reasoning_depth import errors
from reasoning_depth.exchange import tables

VERSION = '1.0.0'  # of the layout
FILE = 'dataset_info.json'  # is in every such folder
_AT_ONCE = 4_096  # rows read at once


def is_one(folder: pathlib.Path) -> bool:
  """Whether a folder was written by TFDS."""
  return (folder / FILE).is_file()


def check() -> None:
  """Raises `UsageError` where the package is missing or does not work."""
  _library()


def splits(folder: pathlib.Path) -> list[str]:
  """Names of the splits in a folder."""
  return list(_builder(folder).info.splits)


def read(folder: pathlib.Path, split: str) -> tables.Columns:
  """All rows of a split.

  Raises:
    UsageError: where the folder cannot be read.
  """
  builder, parts = _builder(folder), []
  try:
    source = builder.as_data_source(split)
    for first in range(0, len(source), _AT_ONCE):
      rows = range(first, min(first + _AT_ONCE, len(source)))
      parts.append(_columns(source.__getitems__(rows)))
  except (OSError, ValueError, RuntimeError, NotImplementedError) as error:
    tables.complain(folder, f'not a whole TFDS folder ({_line(error)})')
  if not parts:
    tables.complain(folder, f'split {split}: has no rows')
  return {n: np.concatenate([part[n] for part in parts]) for n in parts[0]}


def write(
  folder: pathlib.Path,
  name: str,
  splits: Mapping[str, Callable[[], Iterable[tables.Columns]]],
) -> None:
  """Writes a folder that `tfds.builder_from_directory` reads.

  Args:
    folder: is made, and must not exist.
    name: of the dataset.
    splits: by name, a function that makes the parts of the split's table.
  """
  tfds = _library()
  head = next(iter(next(iter(splits.values()))()))

  class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version(VERSION)

    def _info(self):
      return tfds.core.DatasetInfo(
        builder=self,
        description=f'Samples of the task {name}, made by reasoning_depth.',
        features=_features(tfds, head),
        disable_shuffling=True,
      )

    def _split_generators(self, manager):
      del manager
      return {split: _examples(make()) for split, make in splits.items()}

    def _generate_examples(self):
      raise NotImplementedError  # see `_split_generators`

  Builder.name = f'reasoning_depth_{name}'
  tfds.disable_progress_bar()
  with tempfile.TemporaryDirectory(dir=folder.parent) as inside:
    with contextlib.redirect_stdout(io.StringIO()):  # it speaks of downloads
      builder = Builder(data_dir=inside, file_format='array_record')
      builder.download_and_prepare()
    pathlib.Path(builder.data_dir).rename(folder)


def _features(tfds: Any, head: tables.Columns) -> Any:
  """What TFDS must know of the columns."""
  found = {}
  for name, column in head.items():
    if column.dtype == object:
      found[name] = tfds.features.Text()
    else:
      found[name] = tfds.features.Tensor(
        shape=column.shape[1:],
        dtype=column.dtype.type,
        encoding=tfds.features.Encoding.BYTES,  # others are much slower
      )
  return tfds.features.FeaturesDict(found)


def _examples(
  parts: Iterable[tables.Columns],
) -> Iterator[tuple[int, dict[str, Any]]]:
  number = 0
  for part in parts:
    for row in zip(*part.values(), strict=True):
      yield number, dict(zip(part, row, strict=True))
      number += 1


def _columns(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
  found = {}
  for name, value in rows[0].items():
    column = [row[name] for row in rows]
    if isinstance(value, bytes):
      found[name] = np.array([text.decode() for text in column], object)
    else:
      found[name] = np.stack(column)
  return found


def _builder(folder: pathlib.Path) -> Any:
  tfds = _library()
  try:
    return tfds.builder_from_directory(folder)
  except (OSError, ValueError, KeyError, TypeError) as error:
    tables.complain(folder, f'not a whole TFDS folder ({_line(error)})')


def _library() -> Any:
  """The package, an extra."""
  try:
    import tensorflow_datasets as tfds
  except ImportError:
    raise errors.UsageError(
      'TFDS folders need the package tensorflow-datasets: '
      "pip install 'reasoning_depth[tfds]'"
    ) from None
  if not hasattr(tfds, 'builder_from_directory'):
    raise errors.UsageError(
      'tensorflow-datasets is there but empty, as it is beside an old '
      "protobuf: pip install 'protobuf>=6.31', then start Python again"
    )
  return tfds


def _line(error: Exception) -> str:
  return ' '.join(str(error).split())[:160]
