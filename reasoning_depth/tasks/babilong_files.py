"""Texts with questions in files: the public layout of BABILong (2406.10149).

Columns are `input`, `question` and `target`, in any order. The public files are
named after the question, such as `0k/qa1.json`: they are read as a test split.
"""

import dataclasses
import functools
import hashlib
import pathlib
import re
from collections.abc import Collection
from typing import Any

from reasoning_depth import settings
from reasoning_depth.exchange import data_files, tables
from reasoning_depth.tasks import babi

COLUMNS = ('input', 'question', 'target')
# What the answers to each question are.
LABELS = {
  name: (*babi.PEOPLE['qa5'], *babi.OBJECTS) if name == 'qa5' else babi.PLACES
  for name in babi.TASKS
}


@dataclasses.dataclass(frozen=True)
class Row:
  """A text with a question about it.

  Attributes:
    where: file and row, for errors.
    input: the text.
    question: about it.
    target: the answer.
  """

  where: str
  input: str
  question: str
  target: str


@dataclasses.dataclass(frozen=True)
class Files:
  """The rows of each split."""

  path: str
  splits: dict[str, list[Row]]

  def split(self, name: str) -> list[Row]:
    """Rows of a split; raises `UsageError` where there is none."""
    return data_files.split(self.splits, name, self.path)

  @functools.cached_property
  def record(self) -> dict[str, Any]:
    """What a run should remember of its data."""
    counts = {name: len(rows) for name, rows in self.splits.items()}
    return {
      'path': self.path,
      'summary': f'{self.path}: {data_files.told(counts)} texts with questions',
      'texts': counts,
      'sha256': {name: _sha256(rows) for name, rows in self.splits.items()},
    }


def read(path: str, question: str) -> Files:
  """Reads the texts of a file or folder.

  Args:
    path: file or folder.
    question: such as 'qa1'; files that begin so are of the test split.

  Raises:
    UsageError: naming the file, and the row where there is one.
  """
  with settings.within('data='):
    return _read(path, question, data_files.signature(path))


@functools.lru_cache(maxsize=2)
def _read(path: str, question: str, signature: Any) -> Files:
  """As `read`; kept while the files stay as they are."""
  del signature
  parts = data_files.find(pathlib.Path(path), also_test=(question,))
  return Files(
    path,
    {
      name: [row for part in several for row in _rows(part)]
      for name, several in parts.items()
    },
  )


def _rows(part: tuple[pathlib.Path, str]) -> list[Row]:
  path, table = part[0], data_files.read(part)
  columns = tables.columns(path, table, COLUMNS)
  for name, column in zip(COLUMNS, columns, strict=True):
    if column.dtype != object:
      tables.complain(path, f'column {name}: has numbers; needed is text')
  return [
    Row(f'{settings.shown_path(path)}: row {i:,}', *row)
    for i, row in enumerate(zip(*columns, strict=True))
  ]


def official_match(
  target: str, output: str, question: str, labels: Collection[str]
) -> bool:
  """The score of BABILong's authors.

  Of the output counts what stands before its first full stop. It must name one
  label alone, the target; labels that stand in the question do not count.

  Args:
    target: the true answer.
    output: of the model.
    question: as it was asked.
    labels: all possible answers, `LABELS[name]`.
  """
  first = re.split(r'\.|<context>|<example>', output.lower())[0]
  labels = {label.lower() for label in labels}
  said = {label for label in labels if label in first}
  asked = {label for label in labels if label in question.lower()}
  return said - asked == {target.lower()}


def _sha256(rows: list[Row]) -> str:
  digest = hashlib.sha256()
  for row in rows:
    for text in (row.input, row.question, row.target):
      digest.update(text.encode() + b'\0')
  return digest.hexdigest()
