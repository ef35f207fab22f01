"""The command line over several runs, and records."""

import json
import pathlib

import pytest
import run_folders

from reasoning_depth import report
from reasoning_depth.report import __main__ as program
from reasoning_depth.report import costs, records, runs, style


@pytest.mark.filterwarnings('error')
def test_program_joins_runs(tmp_path, capsys, monkeypatch):
  names = [
    str(run_folders.write_run(tmp_path / f'k{k}', {k: 0.9 - k / 9}))
    for k in (1, 2)
  ]
  wide = run_folders.write_run(
    tmp_path / 'wide', {1: 0.3}, model='lstm', task={'width': 16}
  )
  assert program.main([*names, str(wide), '--out', str(tmp_path / 'out')]) == 0
  joint = tmp_path / 'out/exact_match_joint.png'
  assert {
    run_folders.hex_of(style.BLUE),
    run_folders.hex_of(style.VERMILLION),
  } <= run_folders.colors(joint)
  for folder in map(pathlib.Path, [*names, wide]):
    assert len(list(folder.glob('plots/*.png'))) == 3
  head, _, *body = capsys.readouterr().out.splitlines()
  assert head.split()[1] == 'run'
  assert [line.split()[1] for line in body[:3]] == ['k1', 'k2', 'wide']
  monkeypatch.setattr(report, 'draw', lambda run: [])  # drawn already
  assert program.main(names) == 0
  assert (tmp_path / 'k1/plots/exact_match_joint.png').is_file()


def test_records_keep_config_and_scores(tmp_path, capsys):
  folder = run_folders.write_run(tmp_path / 'run', {1: 0.8})
  line = {'step': 999, 'split': 'validation', 'exact_match_1': 0.6}
  with (folder / 'metrics.jsonl').open('a') as file:
    file.write(json.dumps(line) + '\n')
  command = f'python {records.ROOT}/main.py --workdir={folder} --config.seed=1'
  told = json.dumps({'command': command, 'cores': 2})
  (folder / 'environment.json').write_text(told)
  path = tmp_path / 'results' / 'x.json'
  assert program.main([str(folder), f'--record={path}']) == 0
  (entry,) = json.loads(path.read_text())
  assert entry['environment'] == {
    'command': 'python main.py --workdir=RUN --config.seed=1', 'cores': 2
  }  # fmt: skip
  assert entry['config'] == json.loads((folder / 'config.json').read_text())
  (source,) = (folder / 'evaluations').glob('*.json')
  assert entry['evaluation'] == json.loads(source.read_text())
  assert entry['phases'] == {'1': {'0.5': 999, '0.9': None}}
  capsys.readouterr()
  empty = run_folders.write_run(tmp_path / 'empty', {1: 0.8})
  (empty / 'evaluations' / source.name).unlink()
  assert program.main([str(empty), f'--record={path}']) == 2
  assert 'has no evaluation to record' in capsys.readouterr().err


def test_records_can_be_read_and_reported_like_run_folders(tmp_path, capsys):
  folder = run_folders.write_run(tmp_path / 'run', {1: 0.8, 2: 0.6})
  run_folders.write_cost(folder, 3e12)
  far = {16: run_folders.score(0.5)}
  run_folders.write_evaluation(folder, far, name='look_ahead', horizon=8)
  further = {3: run_folders.score(0.4)}
  over = ['task.look_ahead=3']
  run_folders.write_evaluation(folder, further, name='test-3', overrides=over)
  with (folder / 'metrics.jsonl').open('a') as file:
    line = {'step': 400, 'split': 'train', 'seconds': 120.0}
    file.write(json.dumps(line) + '\n')
  path = tmp_path / 'results/x.json'
  assert program.main([str(folder), f'--record={path}']) == 0
  before = capsys.readouterr().out
  (entry,) = json.loads(path.read_text())
  assert entry['cost']['parameters'] == 121_000 and entry['cut_off'] is None
  assert entry['look_ahead']['groups'][0]['group'] == 16
  run, (read,) = runs.load(folder), records.read(path)
  assert read.scores == run.scores and len(run.scores) == 3
  assert (read.config, read.seconds) == (run.config, 120.0)
  assert read.ahead.scores == run.ahead.scores
  assert costs.of(read) == costs.of(run)
  assert program.main([str(path), '--compute']) == 0
  told = capsys.readouterr()
  assert told.out == before
  assert {p.name for p in path.parent.glob('*.png')} == {
    'compute_parameters.png', 'compute_training.png', 'compute_answer.png',
  }  # fmt: skip


def test_records_of_older_runs_can_be_read():
  run, *_ = records.read(run_folders.ROOT / 'results/cpu/armt_radius1.json')
  assert run.model == 'armt' and run.evaluation.split == 'test'
  assert costs.of(run) is None


def test_a_run_that_was_scored_before_its_end_says_so(tmp_path):
  folder = run_folders.write_run(tmp_path / 'run', {1: 0.8})
  scores = {1: run_folders.score(0.8)}
  run_folders.write_evaluation(folder, scores, step=120)
  assert runs.load(folder).cut_off == (120, 400)
  path = records.write([folder], tmp_path / 'x.json')
  (entry,) = json.loads(path.read_text())
  assert entry['cut_off'] == {'step': 120, 'of': 400}


def test_a_record_takes_in_further_runs(tmp_path):
  one, other = (
    run_folders.write_run(tmp_path / name, {1: score}, seed=seed)
    for seed, (name, score) in enumerate({'one': 0.8, 'other': 0.7}.items())
  )
  path, apart = tmp_path / 'x.json', tmp_path / 'y.json'
  records.write([one], path)
  records.write([one, other], apart)
  out = tmp_path / 'out'
  arguments = [str(path), str(other), f'--record={path}', f'--out={out}']
  assert program.main(arguments) == 0
  assert json.loads(path.read_text()) == json.loads(apart.read_text())


def test_what_is_no_record_is_named(tmp_path, capsys):
  for text, message in (
    ('{}', 'not a record of runs'),
    ('[{}]', "no field 'config'"),
    ('[', 'not readable as JSON'),
  ):
    path = tmp_path / 'x.json'
    path.write_text(text)
    assert program.main([str(path)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1
