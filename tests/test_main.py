"""The command line as a user meets it, in this process."""

import json

import pytest

import main

SMOKE = '--config=configs/transformer.py:smoke,k=1'
TINY = [
  '--config.mesh.data=1',
  '--config.model.num_layers=1',
  '--config.train.num_steps=10',
  '--config.eval.every=10',
  '--config.checkpoint.every=10',
]


def run(*args):
  main.flags.FLAGS.unparse_flags()
  for name in ('config', 'workdir', 'mode'):
    flag = main.flags.FLAGS[name]
    flag.value = flag.default
  return main.main(['main.py', *args])


def test_trains_then_evaluates_and_reports(tmp_path, capsys):
  folder = tmp_path / 'run'
  assert run(SMOKE, *TINY, f'--workdir={folder}') == 0
  printed = capsys.readouterr().out
  assert 'steps/s' in printed and 'exact match' in printed
  names = {p.relative_to(folder).as_posix() for p in folder.rglob('*')}
  assert {
    'config.json',
    'environment.json',
    'metrics.jsonl',
    'checkpoints/10',
    'evaluations/test.json',
    'evaluations/test.jsonl',
    'plots/curves.png',
    'plots/exact_match.png',
    'plots/orbits.png',
  } <= names
  path = folder / 'evaluations/test.json'
  before = json.loads(path.read_text())
  path.unlink()
  assert run(f'--workdir={folder}', '--mode=evaluate') == 0
  assert json.loads(path.read_text()) == before
  # Asked further than it was trained: beside the run's own score.
  further = ['--config.task.look_ahead=6', '--config.eval.test_samples=16']
  assert run(f'--workdir={folder}', '--mode=evaluate', *further) == 0
  assert json.loads(path.read_text()) == before
  name = 'test-eval.test_samples=16-task.look_ahead=6.json'
  other = json.loads((folder / 'evaluations' / name).read_text())
  assert [g['group'] for g in other['groups']] == [6]


@pytest.mark.parametrize(
  'args,message',
  [
    ([], '--config is missing'),
    (['--mode=evaluate'], '--workdir is missing'),
    (['--config=configs/armt.py:smke'], "did you mean 'smoke'"),
    ([SMOKE, '--config.train.num_step=3'], "did you mean 'train.num_steps'"),
    ([SMOKE, '--config.task.width=3'], 'config.task.width=3'),
    ([SMOKE, '--config.task.look_ahead=0'], 'config.task.look_ahead=0'),
    ([SMOKE, '--mode=trian'], 'mode'),
    ([SMOKE, '--wrokdir=x'], 'workdir'),
    ([SMOKE, 'train'], 'train: not a flag'),
    (['--mode=evaluate', '--workdir=nowhere'], 'nowhere: not a run folder'),
  ],
)
def test_mistakes_are_one_line_and_exit_code_2(args, message, capsys):
  assert run(*args) == 2
  captured = capsys.readouterr()
  assert message in captured.err and captured.err.count('\n') <= 2
  assert 'Traceback' not in captured.err


def test_nothing_is_written_over(tmp_path, capsys):
  (tmp_path / 'notes.txt').write_text('mine')
  assert run(SMOKE, f'--workdir={tmp_path}') == 2
  assert 'is there and is not a run folder' in capsys.readouterr().err
  assert [p.name for p in tmp_path.iterdir()] == ['notes.txt']


def test_divergence_has_an_exit_code_of_its_own(tmp_path, capsys):
  code = run(
    SMOKE, *TINY, f'--workdir={tmp_path / "run"}',
    '--config.train.learning_rate=1e30', '--config.train.schedule=constant',
    '--config.train.warmup_steps=0',
  )  # fmt: skip
  assert code == 3
  assert 'step ' in capsys.readouterr().err
