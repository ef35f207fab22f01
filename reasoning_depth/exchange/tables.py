"""Tables of samples in Parquet, JSON and npz files.

A table is a mapping from column names to arrays: integers [N], lists of
integers of one length [N, n], or text [N] of dtype object.
"""

import contextlib
import dataclasses
import json
import pathlib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet

from reasoning_depth import errors, settings

Columns = Mapping[str, np.ndarray]
_BLOCK = 2**28  # bytes of JSON parsed at once; a row must fit
_REASON = 160  # most characters of a library's reason in an error


@dataclasses.dataclass(frozen=True)
class Format:
  """A kind of file.

  Attributes:
    suffixes: of its files' names; the first is given to those written.
    read: the table in a file; raises `UsageError` where it is damaged.
    write: a file from the parts of a table; a part has some of its rows.
  """

  suffixes: tuple[str, ...]
  read: Callable[[pathlib.Path], Columns]
  write: Callable[[pathlib.Path, Iterable[Columns]], None]


def read(path: pathlib.Path) -> Columns:
  """The table in a file; its columns may be read as they are asked for.

  Raises:
    UsageError: where the file is missing, damaged or of no known kind.
  """
  for kind in FORMATS.values():
    if path.suffix in kind.suffixes:
      return kind.read(path)
  if path.suffix == '.npy':
    _read_npy(path)
  allowed = ', '.join(SUFFIXES)
  complain(path, f'allowed are files that end in {allowed}, and TFDS folders')


def complain(path: pathlib.Path, what: str) -> NoReturn:
  """Raises a `UsageError` about a file."""
  raise errors.UsageError(f'{settings.shown_path(path)}: {what}')


def columns(
  path: pathlib.Path, table: Columns, names: Sequence[str]
) -> list[np.ndarray]:
  """The named columns of a table; raises `UsageError` if one is missing."""
  for name in names:
    if name not in table:
      complain(
        path, f'has no column {name}: needed are {", ".join(names)}; there are '
        f'{", ".join(list(table)[:4])}',
      )  # fmt: skip
  return [table[name] for name in names]


@contextlib.contextmanager
def whole(path: pathlib.Path, kind: str) -> Iterator[None]:
  """Errors of libraries as a line about the file."""
  if not path.is_file():
    complain(path, 'no such file')
  try:
    yield
  except (
    OSError, EOFError, ValueError, zipfile.BadZipFile, pa.ArrowException
  ) as error:  # fmt: skip
    if isinstance(error, errors.UsageError):
      raise
    reason = ' '.join(str(error).split())
    complain(path, f'not a whole {kind} file ({reason[:_REASON]})')


# --- Parquet ----------------------------------------------------------------


class _Parquet(Mapping):
  """Columns of a Parquet file, each read when it is asked for."""

  def __init__(self, path: pathlib.Path):
    self._path = path
    with whole(path, 'Parquet'):
      self._file = pa.parquet.ParquetFile(path)
    self._names = self._file.schema_arrow.names

  def __iter__(self):
    return iter(self._names)

  def __len__(self):
    return len(self._names)

  def __getitem__(self, name):
    if name not in self._names:
      raise KeyError(name)
    with whole(self._path, 'Parquet'):
      column = self._file.read([name]).column(0)
    return _array(self._path, name, column)


def _array(path: pathlib.Path, name: str, column: pa.ChunkedArray):
  """An Arrow column as an array."""
  parts, rows = [], 0
  for chunk in column.chunks:
    part = _part(path, name, chunk, rows)
    if parts and part.shape[1:] != parts[0].shape[1:]:
      _other_length(path, name, rows, part.shape[1], parts[0].shape[1])
    parts.append(part)
    rows += len(part)
  if not rows:
    complain(path, 'has no rows')
  return np.concatenate(parts) if len(parts) > 1 else parts[0]


def _part(path: pathlib.Path, name: str, chunk: pa.Array, rows: int):
  """A chunk of an Arrow column as an array; `rows` come before it."""
  kind, types = chunk.type, pa.types
  if chunk.null_count:
    missing = int(np.flatnonzero(chunk.is_null())[0])
    complain(path, f'row {rows + missing:,}: has no {name}')
  if types.is_list(kind) or types.is_large_list(kind):
    lengths = np.diff(chunk.offsets.to_numpy())
  elif types.is_fixed_size_list(kind):
    lengths = np.full(len(chunk), kind.list_size)
  else:
    text = types.is_string(kind) or types.is_large_string(kind)
    if not (text or types.is_integer(kind) or types.is_boolean(kind)):
      complain(path, f'column {name}: has {kind}; needed are integers or text')
    return chunk.to_numpy(zero_copy_only=False)
  values = chunk.flatten()
  if values.null_count or not (
    types.is_integer(values.type) or types.is_boolean(values.type)
  ):
    complain(path, f'column {name}: has {kind}; needed are lists of integers')
  if len(lengths) and (lengths != lengths[0]).any():
    row = int(np.argmax(lengths != lengths[0]))
    _other_length(path, name, rows + row, lengths[row], lengths[0])
  return values.to_numpy(zero_copy_only=False).reshape(len(chunk), -1)


def _other_length(path, name, row, length, first) -> NoReturn:
  complain(path, f'row {row:,}: {name} has {length} entries, row 0 has {first}')


def _write_parquet(path: pathlib.Path, parts: Iterable[Columns]) -> None:
  writer = None
  try:
    for part in parts:
      table = pa.table({name: _arrow(column) for name, column in part.items()})
      if writer is None:
        writer = pa.parquet.ParquetWriter(
          path, table.schema, compression='zstd'
        )
      writer.write_table(table)
  finally:
    if writer is not None:
      writer.close()


def _arrow(column: np.ndarray) -> pa.Array:
  if column.dtype == object:
    return pa.array(column, pa.string())
  if column.ndim == 1:
    return pa.array(column)
  N, n = column.shape
  offsets = pa.array(np.arange(N + 1, dtype=np.int32) * n)
  return pa.ListArray.from_arrays(offsets, pa.array(column.ravel()))


# --- JSON -------------------------------------------------------------------


def _read_json(path: pathlib.Path) -> Columns:
  """Rows as lines, or as one list; columns are those of the first row."""
  with whole(path, 'JSON'):
    with path.open() as file:
      start = file.read(1)
      if start == '[':
        rows = json.loads(start + file.read())
        if not all(isinstance(row, dict) for row in rows):
          complain(path, 'a list of other things than rows with named values')
        first = rows[0] if rows else {}
      else:
        rows, first = None, json.loads(start + file.readline())
    if not isinstance(first, dict) or not first:
      complain(path, 'has no rows with named values')
    schema = pa.schema([(n, _kind(path, n, v)) for n, v in first.items()])
    if rows is None:
      size = min(_BLOCK, max(path.stat().st_size, 1))
      table = pa.json.read_json(
        path,
        pa.json.ReadOptions(block_size=size),
        pa.json.ParseOptions(schema, unexpected_field_behavior='error'),
      )
    else:
      table = pa.Table.from_pylist(rows, schema)
  return {n: _array(path, n, table.column(n)) for n in table.column_names}


def _kind(path: pathlib.Path, name: str, value) -> pa.DataType:
  if isinstance(value, str):
    return pa.string()
  if type(value) is int:
    return pa.int64()
  if isinstance(value, list):
    return pa.list_(pa.int64())
  complain(path, f'row 0: {name} is neither text nor integers')


def _write_json(path: pathlib.Path, parts: Iterable[Columns]) -> None:
  with path.open('w') as file:
    for part in parts:
      rows = zip(*(column.tolist() for column in part.values()), strict=True)
      file.writelines(
        json.dumps(dict(zip(part, row, strict=True))) + '\n' for row in rows
      )


# --- NumPy ------------------------------------------------------------------


def _read_npz(path: pathlib.Path) -> Columns:
  with whole(path, 'npz'), path.open('rb') as file:
    arrays = np.load(file, allow_pickle=False)
    if not isinstance(arrays, np.lib.npyio.NpzFile):
      complain(path, 'not a whole npz file')
    found = {name: arrays[name] for name in arrays.files}
  lengths = {name: len(x) if x.ndim else 0 for name, x in found.items()}
  if len(set(lengths.values())) != 1 or 0 in lengths.values():
    told = ', '.join(f'{name} {n:,}' for name, n in lengths.items())
    complain(path, f'columns must have the same number of rows: {told}')
  for name, x in found.items():
    if x.dtype.kind == 'U':
      found[name] = x.astype(object)
    elif x.dtype.kind not in 'biu' or x.ndim > 2:
      complain(
        path, f'column {name}: has {x.dtype}{list(x.shape)}; needed are '
        'integers [N] or [N, n], or text [N]',
      )  # fmt: skip
  return found


def _write_npz(path: pathlib.Path, parts: Iterable[Columns]) -> None:
  parts = list(parts)
  whole = {n: np.concatenate([part[n] for part in parts]) for n in parts[0]}
  text = {n: x.astype(str) for n, x in whole.items() if x.dtype == object}
  with path.open('wb') as file:
    np.savez_compressed(file, **whole | text)


def _read_npy(path: pathlib.Path) -> NoReturn:
  """Says what is wrong with a single array as data."""
  with whole(path, 'npy'), path.open('rb') as file:
    np.load(file, allow_pickle=False)
  complain(path, 'is one array, without named columns; take npz')


FORMATS = {
  'parquet': Format(('.parquet',), _Parquet, _write_parquet),
  'json': Format(('.jsonl', '.json'), _read_json, _write_json),
  'npz': Format(('.npz',), _read_npz, _write_npz),
}
SUFFIXES = tuple(s for kind in FORMATS.values() for s in kind.suffixes)
