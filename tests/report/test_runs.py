"""Reading run folders, whole and damaged."""

import json

import numpy as np
import pytest
import run_folders

from reasoning_depth.report import __main__ as program
from reasoning_depth.report import runs


def test_series_keeps_the_later_value_and_drops_what_is_cut_off(tmp_path):
  folder = run_folders.write_run(tmp_path / 'run', {1: 0.8})
  (folder / 'metrics.jsonl').write_text(
    '{"step": 20, "split": "train", "loss": 3.0}\n'
    '{"step": 10, "split": "train", "loss": 2.0}\n'
    '{"step": 20, "split": "train", "loss": 1.0}\n'
    '{"step": 20, "split": "validation", "loss": 7.0}\n'
    '{"step": 30, "split": "train", "loss": NaN}\n'
    '{"step": 40, "split": "train", "los'
  )
  step, loss = runs.load(folder).series('train', 'loss')
  np.testing.assert_array_equal(step, [10, 20])
  np.testing.assert_array_equal(loss, [2.0, 1.0])


def test_the_evaluation_reported_is_the_latest_on_the_test_split(tmp_path):
  folder = run_folders.write_run(tmp_path / 'run', {1: 0.5})
  later = {'split': 'validation', 'step': 900}
  run_folders.write_evaluation(
    folder, {1: run_folders.score(0.6)}, name='validation', **later
  )
  assert runs.load(folder).evaluation.name == 'test'
  run_folders.write_evaluation(
    folder, {1: run_folders.score(0.7)}, name='extra'
  )
  assert runs.load(folder).evaluation.name == 'test'
  run_folders.write_evaluation(
    folder, {1: run_folders.score(0.8)}, name='final', step=500
  )
  assert runs.load(folder).evaluation.overall.exact_match == 0.8


def test_a_folder_that_is_not_there_is_named(tmp_path, capsys):
  missing = tmp_path / 'nothing'
  assert program.main([str(missing)]) == 2
  assert capsys.readouterr().err == f'error: {missing}: no such folder\n'
  with pytest.raises(SystemExit) as stopped:
    program.main([])
  assert stopped.value.code == 2


@pytest.mark.parametrize(
  'name,text,message',
  [
    ('config.json', '{"seed": 0, "task": {}, "mod', ': not readable as JSON'),
    ('config.json', '{"seed": 0, "task": {}}', ": no field 'model'"),
    (
      'config.json',
      '{"seed": 0, "task": {}, "model": {}}',
      ": task: no field 'name'",
    ),
    (
      'metrics.jsonl',
      '{"step": 1, "split": "train"}\n{"step": 2, "sp\n{}\n',
      ': line 2 is not readable as JSON',
    ),
    ('metrics.jsonl', '{"step": 1}\n', ": line 1: no field 'split'"),
    ('evaluations/test.json', '{"split": "te', ': not readable as JSON'),
    ('evaluations/test.json', '{"split": "test"}', ": no field 'step'"),
    (
      'evaluations/test.jsonl',
      '{"group": 1, "exact": true, "target": "01"}\n',
      ": line 1: no field 'prediction'",
    ),
  ],
)
def test_bad_input_is_named_in_one_line(tmp_path, capsys, name, text, message):
  folder = run_folders.write_run(tmp_path / 'run', {1: 0.8})
  (folder / name).write_text(text)
  assert program.main([str(folder)]) == 2
  shown = capsys.readouterr()
  assert shown.out == '' and shown.err.count('\n') == 1
  assert shown.err.startswith(f'error: {folder / name}{message}')


def test_a_score_without_a_field_is_named(tmp_path):
  folder = run_folders.write_run(tmp_path / 'run', {1: 0.8})
  path = folder / 'evaluations/test.json'
  text = path.read_text()
  found = json.loads(text)
  del found['groups'][0]['exact_match']
  path.write_text(json.dumps(found))
  with pytest.raises(ValueError, match=r"groups\[0\]: no field 'exact_match'"):
    runs.load(folder)


def test_a_folder_of_something_else_is_named(tmp_path):
  with pytest.raises(ValueError, match='not a run folder, it has no config'):
    runs.load(tmp_path)


def test_seconds_are_those_of_the_last_line_that_has_them(tmp_path):
  folder = run_folders.write_run(tmp_path / 'run', {1: 0.8})
  assert runs.load(folder).seconds is None  # as in older runs
  # 100 steps in 20 s with a pause of 600 s: a rate since the pause says 20 s.
  (folder / 'metrics.jsonl').write_text(
    '{"step": 50, "split": "train", "seconds": 10.0}\n'
    '{"step": 50, "split": "validation", "seconds": 610.0}\n'
    '{"step": 100, "split": "train", "steps_per_second": 5, "seconds": 620.5}\n'
    '{"step": 100, "split": "extra"}\n'
  )
  assert runs.load(folder).seconds == 620.5
