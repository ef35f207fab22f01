"""Answers made elsewhere: files, and the mode that scores them."""

import json
import pathlib

import numpy as np
import pytest

from reasoning_depth import errors, modes
from reasoning_depth.exchange import answers, tables
from tests import tiny


def lines(path, *rows):
  path.write_text('\n'.join(map(json.dumps, rows)) + '\n\n')
  return path


def test_three_forms_of_answers_are_read(tmp_path):
  plain = lines(
    tmp_path / 'a.jsonl', {'id': 1, 'answer': 'x'}, {'id': 0, 'answer': [2, 3]}
  )
  assert answers.read(plain) == {1: 'x', 0: [2, 3]}
  logged = lines(
    tmp_path / 'b.jsonl',
    {'doc_id': 0, 'doc': {}, 'filtered_resps': ['01'], 'resps': [['so 01']]},
  )
  assert answers.read(logged) == {0: '01'}
  path = tmp_path / 'c.parquet'
  table = {'id': np.arange(2), 'answer': np.array([[1, 2], [3, 4]])}
  tables.FORMATS['parquet'].write(path, [table])
  assert answers.read(path) == {0: [1, 2], 1: [3, 4]}


@pytest.mark.parametrize(
  ('rows', 'message'),
  [
    ([{'id': 0, 'answer': 'x'}] * 2, 'row 1: id=0 stands twice'),
    ([{'id': -1, 'answer': 'x'}], 'row 0: id=-1: must be a number from 0'),
    ([{'id': 'a', 'answer': 'x'}], 'row 0: id=a: must be a number'),
    ([{'id': 0, 'answer': 5}], 'row 0: answer=5: must be a text or a list'),
    ([{'id': 0}], 'row 0: has no answer'),
    ([[0]], 'row 0: no object'),
    ([], 'has no rows'),
  ],
)
def test_other_rows_are_refused(tmp_path, rows, message):
  with pytest.raises(errors.UsageError) as raised:
    answers.read(lines(tmp_path / 'a.jsonl', *rows))
  assert message in str(raised.value) and 'a.jsonl' in str(raised.value)


@pytest.mark.parametrize(
  ('name', 'text', 'message'),
  [
    ('a.jsonl', '{"id": 0', 'not a whole JSON file'),
    ('a.parquet', 'PAR1', 'not a whole Parquet file'),
    ('a.csv', 'id,answer', 'allowed are files that end in .jsonl'),
  ],
)
def test_other_files_are_refused(tmp_path, name, text, message):
  (tmp_path / name).write_text(text)
  with pytest.raises(errors.UsageError, match=message):
    answers.read(tmp_path / name)


def test_questions_are_written_and_their_answers_scored(tmp_path, capsys):
  config = tiny.run_config(
    'transformer', 'smoke,k=2', dataset={'format': 'text', 'train': 0}
  )
  config.dataset.update(validation=0, test=8)
  modes.dataset(config, tmp_path / 'data', ())
  names = {p.name for p in (tmp_path / 'data').iterdir()}
  assert names == {'card.json', 'orbits.yaml', 'test.jsonl'}
  rows = (tmp_path / 'data/test.jsonl').read_text().splitlines()
  rows = [json.loads(row) for row in rows]
  given = [{'id': r['id'], 'answer': r['target']} for r in rows]
  given[3]['answer'] = 'I do not know'
  path = lines(tmp_path / 'other model.jsonl', *given)
  modes.score(config, pathlib.Path(), ('--config.seed=0',), str(path))
  found = json.loads((tmp_path / 'other model.score.json').read_text())
  assert found['overall']['exact_match'] == 7 / 8
  assert {'ceiling_exact_match', 'table_exact_match'} < found['overall'].keys()
  assert 'loss' not in found['overall']
  assert found['overrides'] == ['seed=0']
  told = capsys.readouterr().out
  assert 'other model' in told and '0.875' in told
  lines(path, *given[1:])
  with pytest.raises(errors.UsageError, match=r'1 of 8 samples .* is id=0;'):
    modes.score(config, pathlib.Path(), (), str(path))
  with pytest.raises(errors.UsageError, match='--predictions is missing'):
    modes.score(config, pathlib.Path(), (), None)
