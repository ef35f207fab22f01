"""Reads answers to held-out samples that were made elsewhere.

A row for each sample: JSON lines, or Parquet, with `id`, its number in the
split from 0, and `answer`, a text or a list of tokens. Also the samples that
lm-eval logs, `doc_id` and `filtered_resps`.
"""

import json
import pathlib
from collections.abc import Iterator
from typing import Any

from reasoning_depth import settings
from reasoning_depth.exchange import tables

Answer = str | list[int]
SUFFIXES = ('.jsonl', '.json', '.parquet')


def read(path: pathlib.Path) -> dict[int, Answer]:
  """Answers by the number of their sample.

  Raises:
    UsageError: naming the file, and the row where there is one.
  """
  if path.suffix not in SUFFIXES:
    tables.complain(
      path, f'allowed are files that end in {", ".join(SUFFIXES)}'
    )
  rows = _parquet if path.suffix == '.parquet' else _json
  found: dict[int, Answer] = {}
  for row, (number, answer) in enumerate(rows(path)):
    where = f'row {row:,}: '
    if type(number) is not int or number < 0:
      shown = settings.shown(number)
      tables.complain(path, f'{where}id={shown}: must be a number from 0')
    if number in found:
      tables.complain(path, f'{where}id={number} stands twice')
    tokens = isinstance(answer, list) and all(type(x) is int for x in answer)
    if not (tokens or isinstance(answer, str)):
      tables.complain(
        path, f'{where}answer={settings.shown(answer)}: must be a text or a '
        'list of tokens',
      )  # fmt: skip
    found[number] = answer
  if not found:
    tables.complain(path, 'has no rows')
  return found


def _parquet(path: pathlib.Path) -> Iterator[tuple[Any, Any]]:
  ids, given = tables.columns(path, tables.read(path), ('id', 'answer'))
  yield from zip(ids.tolist(), given.tolist(), strict=True)


def _json(path: pathlib.Path) -> Iterator[tuple[Any, Any]]:
  with tables.whole(path, 'JSON'), path.open() as file:
    for number, line in enumerate(filter(str.strip, file)):
      row = json.loads(line)
      if not isinstance(row, dict):
        tables.complain(path, f'row {number:,}: no object with named values')
      if 'doc_id' in row and row.get('filtered_resps'):
        row = {'id': row['doc_id'], 'answer': row['filtered_resps'][0]}
      for name in ('id', 'answer'):
        if name not in row:
          tables.complain(path, f'row {number:,}: has no {name}')
      yield row['id'], row['answer']
