"""Writes a dataset: the splits of a task in files, with a card.

Everything is written to a folder of another name, which is renamed at the end.
So a dataset is whole or not there; the same command begins anew.
"""

import dataclasses
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from reasoning_depth import errors, settings
from reasoning_depth.exchange import (
  data_files,
  lm_eval_task,
  tables,
  tfds_folder,
)
from reasoning_depth.exchange.tables import Columns

CARD = 'card.json'
FORMATS = (*tables.FORMATS, 'tfds', 'text')


@dataclasses.dataclass(frozen=True)
class Settings(settings.Settings):
  """What `--mode=dataset` writes."""

  format: str = settings.field('parquet', 'of the files', choices=FORMATS)
  train: int = settings.field(100_000, 'samples of the train split; 0: none')
  validation: int = settings.field(10_000, 'of the validation split; 0: none')
  test: int = settings.field(10_000, 'of the test split; 0: none')

  @property
  def counts(self) -> dict[str, int]:
    """Samples by split, of the splits to write."""
    counts = {split: getattr(self, split) for split in data_files.NAMES}
    return {split: count for split, count in counts.items() if count}

  def __post_init__(self):
    super().__post_init__()
    if not self.counts:
      settings.complain('train', 0, 'at least one split must have samples')


def write(
  folder: pathlib.Path,
  name: str,
  kind: str,
  splits: Mapping[str, Callable[[], Iterator[Columns]]],
  card: Mapping[str, Any],
  text: Mapping[str, str] | None = None,
  answer: str = '',
) -> dict[str, Any]:
  """Writes the splits and the card.

  Args:
    folder: to make; must not exist, or be empty.
    name: of the task.
    kind: one of `FORMATS`.
    splits: by name, a function that makes the parts of the split's table. A
      column [N, t, n] becomes t columns, in TFDS one.
    card: what the card says beside counts and files.
    text: columns of digits that are text in JSON; see `data_files.flat`.
    answer: regular expression of an answer in a text, for the kind 'text'.

  Returns:
    the card.

  Raises:
    UsageError: where the folder is taken.
  """
  if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
    raise errors.UsageError(
      f'--workdir={settings.shown_path(folder)}: is there already; take a new '
      'or empty folder'
    )
  unfinished = folder.with_name(folder.name + '.unfinished')
  shutil.rmtree(unfinished, ignore_errors=True)
  counted = {split: _Counted(make) for split, make in splits.items()}
  if kind == 'tfds':
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    tfds_folder.write(unfinished, name, counted)
  else:
    unfinished.mkdir(parents=True)
    form = tables.FORMATS['json' if kind == 'text' else kind]
    for split, make in counted.items():
      path = unfinished / (split + form.suffixes[0])
      own = text if kind == 'json' else None
      form.write(path, data_files.flat(make(), own))
      if (kind, split) == ('text', 'test'):
        lm_eval_task.write(unfinished, name, path.name, answer)
  files = sorted(p for p in unfinished.iterdir() if p.is_file())
  whole = {
    'task': name,
    'format': kind,
    'samples': {split: made.count for split, made in counted.items()},
    'sha256': {path.name: data_files.sha256(path) for path in files},
    **card,
  }
  (unfinished / CARD).write_text(json.dumps(whole, indent=2) + '\n')
  unfinished.rename(folder)
  return whole


class _Counted:
  """Makes parts of a table and counts the rows made last."""

  def __init__(self, make: Callable[[], Iterator[Columns]]):
    self._make, self.count = make, 0

  def __call__(self) -> Iterator[Columns]:
    self.count = 0
    for part in self._make():
      self.count += len(next(iter(part.values())))
      yield part
