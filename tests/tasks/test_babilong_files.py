"""Texts with questions in files, and the score of BABILong's authors."""

import json

import jax
import numpy as np
import pytest

from reasoning_depth import errors
from reasoning_depth.exchange import dataset, tables
from reasoning_depth.tasks import babi, babilong, babilong_files

ROWS = [
  ('John went to the office. Mary moved to the garden.', 'Where is Mary?',
   'garden'),
  ('Mary took the milk.  Mary journeyed to the hallway.', 'Where is Mary? ',
   'hallway'),
]  # fmt: skip


def public(path, rows=ROWS, lines=False):
  rows = [
    dict(zip(('target', 'input', 'question'), (t, i, q), strict=True))
    for i, q, t in rows
  ]
  text = '\n'.join(map(json.dumps, rows)) if lines else json.dumps(rows)
  path.write_text(text)
  return path


def held_out(task, count=9, split='test'):
  return task.draw_held_out(jax.random.key(0), split, count).batch


@pytest.mark.parametrize('lines', [False, True])
def test_public_files_become_padded_sequences(tmp_path, lines):
  path = public(tmp_path / 'qa1.json', lines=lines)
  task = babilong.BABILong(data=str(path), length=32)
  batch = held_out(task)
  assert len(batch.group) == 2  # not the nine that were asked for
  for row, (text, question, target) in zip(batch.inputs, ROWS, strict=True):
    words = ' '.join([text, question]).lower()
    for mark in '.?':
      words = words.replace(mark, f' {mark} ')
    encoded = task.encode(words)
    tokens = [*encoded, task.gen, *task.encode(target)]
    pads = [task.pad] * (32 - len(tokens))
    assert row.tolist() == pads + tokens
  assert batch.weights.sum(1).tolist() == [1, 1]
  # In segments, the same.
  parts = list(task.stream(0, 0, 1, 'test', 8))
  np.testing.assert_array_equal(
    np.concatenate([p.inputs for p in parts], axis=1)[0], batch.inputs[1]
  )


@pytest.mark.parametrize('kind', ['parquet', 'json', 'npz'])
def test_what_is_exported_is_read_again(tmp_path, kind):
  made = babilong.BABILong(question='qa4', length=96)
  key, count = jax.random.key(0), 5
  splits = {
    s: lambda s=s: made.records(key, s, count) for s in ('train', 'test')
  }
  dataset.write(tmp_path / 'data', 'babilong', kind, splits, {})
  task = babilong.BABILong('qa4', 96, data=str(tmp_path / 'data'))
  ours, theirs = held_out(made, count), held_out(task, count)
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)
  # Training draws rows by seed, step and index alone.
  whole = task.host_sample(3, 7, 6)
  for first in (0, 4):
    part = task.host_sample(3, 7, 2, first=first)
    np.testing.assert_array_equal(part.inputs, whole.inputs[first : first + 2])
  rows = {row.tobytes() for row in held_out(task, count, 'train').inputs}
  drawn = np.concatenate([task.host_sample(3, s, 6).inputs for s in range(9)])
  assert {row.tobytes() for row in drawn} <= {
    row.tobytes() for row in held_out(made, count, 'train').inputs
  }
  assert len(rows) > 1


def test_parquet_columns_are_read_by_name(tmp_path):
  path, columns = tmp_path / 'qa1-00000-of-00001.parquet', {}
  for name, i in (('question', 1), ('target', 2), ('input', 0)):
    columns[name] = np.array([row[i] for row in ROWS], object)
  tables.FORMATS['parquet'].write(path, [columns])
  task = babilong.BABILong(data=str(tmp_path), length=32)
  other = babilong.BABILong(data=str(public(tmp_path / 'a.json')), length=32)
  jax.tree.map(np.testing.assert_array_equal, held_out(task), held_out(other))


@pytest.mark.parametrize(
  'rows,length,message',
  [
    (
      [('Nigel ran.', 'Where is Mary?', 'garden')],
      32,
      r"row 0: 'nigel' is not",
    ),
    (ROWS, 9, r'length=9: data=.*qa1.json: row 0 takes 18 tokens'),
  ],
)
def test_texts_that_cannot_be_used_are_told(tmp_path, rows, length, message):
  path = public(tmp_path / 'qa1.json', rows)
  with pytest.raises(errors.UsageError, match=message) as raised:
    babilong.BABILong(data=str(path), length=length)
  assert '\n' not in str(raised.value)


def test_a_split_that_is_not_there_is_told(tmp_path):
  task = babilong.BABILong(data=str(public(tmp_path / 'qa1.json')), length=32)
  with pytest.raises(errors.UsageError, match='has no train split; .* test'):
    task.host_sample(0, 0, 2)


PLACES = babi.PLACES


@pytest.mark.parametrize(
  'output,question,labels,expected',
  [
    ('garden', 'Where is Mary?', PLACES, True),
    ('Mary is in the Garden. Or the office.', 'Where is Mary?', PLACES, True),
    ('the garden or the office', 'Where is Mary?', PLACES, False),
    (' '.join(PLACES), 'Where is Mary?', PLACES, False),  # names every room
    ('the garden is north of the office', 'What is north of the office?',
     PLACES, True),  # what is asked about does not count
    ('nowhere', 'Where is Mary?', PLACES, False),
    ('. garden', 'Where is Mary?', PLACES, False),
    ('garden<example> office', 'Where is Mary?', PLACES, True),
  ],
)  # fmt: skip
def test_official_score(output, question, labels, expected):
  found = babilong_files.official_match('garden', output, question, labels)
  assert found == expected


def test_official_score_of_predicted_tokens(tmp_path):
  task = babilong.BABILong(data=str(public(tmp_path / 'qa1.json')), length=32)
  batch = held_out(task)
  assert task.judged(batch, batch.targets)['official_match'].tolist() == [1, 1]
  wrong = batch.targets.copy()
  wrong[0][batch.weights[0] > 0] = task.encode('office')
  assert task.judged(batch, wrong)['official_match'].tolist() == [0, 1]
