"""Tasks whose samples are read from files, as `--mode=dataset` writes them.

Columns are the fields of a `base.Batch`: `inputs`, `targets` and `weights`
(lists) and `group`. Orbits and texts have layouts of their own; see
`orbit_files` and `babilong_files`.
"""

import dataclasses
import functools
import hashlib
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth import settings
from reasoning_depth.exchange import data_files, tables
from reasoning_depth.tasks import base

COLUMNS = tuple(f.name for f in dataclasses.fields(base.Batch))
MOST_BYTES = 2**28  # of a split: it is a constant of compiled code


def field() -> Any:
  """Declares the field `data` of a task."""
  return settings.field(
    '', 'file or folder of samples to use; empty: samples are drawn'
  )


@functools.cache
def of(kind: type[base.Task]) -> type[base.Task]:
  """A task like `kind`, with its samples from the files in its field `data`.

  Training draws rows with replacement; held-out samples are rows in order.
  """
  made = type(kind.__name__, (_Stored, kind), {'__doc__': kind.__doc__})
  return dataclasses.dataclass(frozen=True)(made)


class _Stored(base.Task):
  """Goes before the class of a task."""

  def __post_init__(self):
    super().__post_init__()
    for split, batch in self._stored.items():
      self._check_stored(split, batch)

  @functools.cached_property
  def _stored(self) -> dict[str, base.Batch]:
    with settings.within('data='):
      return _read(self.data, data_files.signature(self.data))

  def _check_stored(self, split: str, batch: base.Batch) -> None:
    """Checks sequences and tokens against the task."""
    of = f'data={settings.shown_path(self.data)}: split {split}'
    length = self.length if split == 'train' else self.held_out_length
    if batch.inputs.shape[1] != length:
      settings.complain(
        of, f'{batch.inputs.shape[1]} tokens',
        f'a sequence of this task has {length}',
      )  # fmt: skip
    largest = max(batch.inputs.max(), batch.targets.max())
    if largest >= self.vocab_size:
      settings.complain(
        of, f'token {largest}', f'must be below {self.vocab_size}'
      )

  def _rows_of(self, split: str) -> base.Batch:
    return data_files.split(self._stored, split, self.data)

  @functools.cached_property
  def data_record(self) -> dict[str, Any]:
    counts = {name: len(x.group) for name, x in self._stored.items()}
    return {
      'path': self.data,
      'summary': f'{self.data}: {data_files.told(counts)} samples',
      'samples': counts,
      'sha256': {name: _sha256(x) for name, x in self._stored.items()},
    }

  def available(self, split: str, count: int) -> int:
    return min(count, len(self._rows_of(split).group))

  def sample(
    self, key: jax.Array, batch_size: int, split: str = 'train'
  ) -> base.Batch:
    stored = self._rows_of(split)
    index = jax.random.randint(key, (batch_size,), 0, len(stored.group))
    return _batch(jax.tree.map(lambda x: jnp.asarray(x)[index], stored))

  def draw_held_out(
    self, key: jax.Array, split: str, num_samples: int, known: str = ''
  ) -> base.HeldOut:
    del key, known
    rows = base.take(self._rows_of(split), slice(num_samples))
    return base.HeldOut(
      jax.tree.map(np.asarray, _batch(rows)),
      group_name=self.group_name,
      labels=self.group_labels,
    )


def _batch(stored: base.Batch) -> base.Batch:
  """The arrays in the types of a batch."""
  return base.Batch(
    stored.inputs.astype(np.int32),
    stored.targets.astype(np.int32),
    stored.weights.astype(np.float32),
    stored.group.astype(np.int32),
  )


@functools.lru_cache(maxsize=2)
def _read(path: str, signature: Any) -> dict[str, base.Batch]:
  """Samples of each split; kept while the files stay as they are."""
  del signature
  found = {}
  for split, several in data_files.find(pathlib.Path(path)).items():
    parts = [_part(part) for part in several]
    found[split] = jax.tree.map(lambda *x: np.concatenate(x), *parts)
    size = sum(x.nbytes for x in jax.tree.leaves(found[split]))
    if size > MOST_BYTES:
      tables.complain(
        pathlib.Path(path), f'split {split}: {size / 2**20:,.0f} MiB; at most '
        f'{MOST_BYTES / 2**20:,.0f} fit',
      )  # fmt: skip
  return found


def _part(part: tuple[pathlib.Path, str]) -> base.Batch:
  path, table = part[0], data_files.read(part)
  arrays = tables.columns(path, table, COLUMNS)
  shape = arrays[0].shape
  for name, x in zip(COLUMNS, arrays, strict=True):
    if x.dtype == object or x.shape != (
      shape if name != 'group' else shape[:1]
    ):
      tables.complain(
        path, f'column {name}: has {x.dtype}{list(x.shape)}; inputs have '
        f'{list(shape)}',
      )  # fmt: skip
    if x.min() < 0 or (name == 'weights' and x.max() > 1):
      tables.complain(path, f'column {name}: has values out of range')
  return base.Batch(*map(_small, arrays))


def _small(x: np.ndarray) -> np.ndarray:
  """Integers of at least 0 in the smallest type that holds them."""
  return x.astype(np.min_scalar_type(int(x.max())))


def _sha256(batch: base.Batch) -> str:
  digest = hashlib.sha256()
  for x in jax.tree.leaves(_batch(batch)):
    digest.update(np.ascontiguousarray(x).tobytes())
  return digest.hexdigest()
