"""Reads and writes safetensors: one file, or several with an index.

Shapes and dtypes come from the files' headers; tensors are read one at a time,
so that a checkpoint need not fit into memory twice.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
from safetensors import numpy as safetensors_numpy

from reasoning_depth import errors

WHOLE = 'model.safetensors'
INDEX = 'model.safetensors.index.json'
DTYPES = {
  'F64': np.float64,
  'F32': np.float32,
  'F16': np.float16,
  'BF16': ml_dtypes.bfloat16,
}
_SHOWN = 200  # most characters of a value in an error


@dataclasses.dataclass(frozen=True)
class Stored:
  """A tensor's entry in a file header.

  Attributes:
    path: of the file.
    shape: of the tensor.
    dtype: safetensors' name, such as 'BF16'.
  """

  path: pathlib.Path
  shape: tuple[int, ...]
  dtype: str


def is_one(folder: pathlib.Path) -> bool:
  """Whether a folder holds safetensors files."""
  return any((folder / name).is_file() for name in (WHOLE, INDEX))


def contents(folder: pathlib.Path) -> dict[str, Stored]:
  """All tensors of a folder, by name.

  Raises:
    UsageError: naming the file, where it is missing, its header is damaged, or
      the index does not match the files (lists every difference).
  """
  if (folder / WHOLE).is_file():
    return _header(folder / WHOLE)
  listed = _listed(folder)
  found = {}
  for name in sorted(set(listed.values())):
    for tensor, stored in _header(folder / name).items():
      if tensor in found:
        raise errors.UsageError(
          f'{folder}: {line(tensor)} is in {found[tensor].path.name} and in '
          f'{name}'
        )
      found[tensor] = stored
  wrong = [
    f'{line(tensor)} is not in {name}'
    for tensor, name in listed.items()
    if tensor not in found or found[tensor].path.name != name
  ]
  wrong += [
    f'{line(tensor)} of {stored.path.name} is not listed'
    for tensor, stored in found.items()
    if tensor not in listed
  ]
  if wrong:
    raise errors.UsageError(f'{folder / INDEX}: {"; ".join(wrong)}')
  return found


def load(stored: Stored, name: str) -> np.ndarray:
  """A tensor, in its stored dtype.

  Raises:
    UsageError: where the file cannot be read.
  """
  with opened(stored.path) as file:
    return file.get_tensor(name)


def write(folder: pathlib.Path, tensors: Mapping[str, np.ndarray]) -> None:
  """Writes tensors to one file, `model.safetensors`, in a folder."""
  whole = {name: np.ascontiguousarray(x) for name, x in tensors.items()}
  safetensors_numpy.save_file(whole, folder / WHOLE, {'format': 'pt'})


def read_json(path: pathlib.Path) -> dict[str, Any]:
  """The JSON object in a file.

  Raises:
    UsageError: where the file cannot be read, is not an object, or an object in
      it has a name twice or a value NaN or infinite.
  """
  try:
    value = json.loads(
      path.read_bytes(),
      object_pairs_hook=_unique_names,
      parse_constant=_reject_constant,
    )
  except (OSError, ValueError, RecursionError) as error:
    reason = getattr(error, 'strerror', None) or error
    raise errors.UsageError(f'{path}: {line(reason)}') from None
  if not isinstance(value, dict):
    raise errors.UsageError(f'{path}: holds no named values')
  return value


def write_json(path: pathlib.Path, value: Mapping[str, Any]) -> None:
  """Writes a JSON object."""
  path.write_text(json.dumps(value, indent=2) + '\n')


def line(value: Any) -> str:
  """A value as printable text for an error, cut at 200 characters."""
  text = str(value)
  text = text if len(text) <= _SHOWN else text[:_SHOWN] + '…'
  return text if text.isprintable() else ascii(text)


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  value = dict(pairs)
  if len(value) < len(pairs):
    names = [name for name, _ in pairs]
    twice = next(n for n in names if names.count(n) > 1)
    raise errors.UsageError(f'{line(twice)} stands twice')
  return value


def _reject_constant(text: str) -> None:
  raise errors.UsageError(f'{text} is no number')


def _listed(folder: pathlib.Path) -> dict[str, str]:
  """File name of each tensor, from the index."""
  path = folder / INDEX
  if not path.is_file():
    raise errors.UsageError(f'{folder}: has neither {WHOLE} nor {INDEX}')
  listed = read_json(path).get('weight_map')
  if not isinstance(listed, dict) or not listed:
    raise errors.UsageError(f'{path}: has no weight_map')
  for tensor, name in listed.items():
    # A path could make us open files outside the folder.
    if not isinstance(name, str) or pathlib.PurePath(name).name != name:
      raise errors.UsageError(
        f'{path}: {line(tensor)}: {line(name)} is not the name of a file'
      )
  return listed


def _header(path: pathlib.Path) -> dict[str, Stored]:
  with opened(path) as file:
    found = {}
    for name in file.keys():
      part = file.get_slice(name)
      found[name] = Stored(path, tuple(part.get_shape()), part.get_dtype())
    return found


def opened(path: pathlib.Path) -> Any:
  """A safetensors file, to be used in `with`.

  Raises:
    UsageError: where there is none, or its header is damaged.
  """
  try:
    return safetensors.safe_open(path, 'numpy')
  except (OSError, ValueError, safetensors.SafetensorError) as error:
    missing = not path.is_file()
    reason = 'no such file' if missing else line(error)
    raise errors.UsageError(f'{line(path)}: {reason}') from None
