"""The command line as a user meets it, in this process."""

import contextlib
import io
import json
import subprocess
import sys

import hypothesis
import jax
import numpy as np
import pytest
from hypothesis import strategies as st

import main
import reasoning_depth as rd
from reasoning_depth import settings, usage
from reasoning_depth.runtime import configuration, lock
from reasoning_depth.training import config as whole
from reasoning_depth.training import experiment, pretrained, resume

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
  for name in ('config', 'workdir', 'mode', 'orbits', 'k'):
    flag = main.flags.FLAGS[name]
    flag.value = flag.default
  return main.main(['main.py', *args])


def test_trains_then_evaluates_and_reports(tmp_path, capsys, booby_trap):
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
  booby_trap(folder)
  assert run(f'--workdir={folder}', '--mode=evaluate') == 0
  assert json.loads(path.read_text()) == before
  # Asked further than it was trained: beside the run's own score.
  further = ['--config.task.look_ahead=6', '--config.eval.test_samples=16']
  capsys.readouterr()
  assert run(f'--workdir={folder}', '--mode=evaluate', *further) == 0
  assert json.loads(path.read_text()) == before
  name = 'test-eval.test_samples=16-task.look_ahead=6.json'
  other = json.loads((folder / 'evaluations' / name).read_text())
  assert [g['group'] for g in other['groups']] == [6]
  assert other['overrides'] == ['eval.test_samples=16', 'task.look_ahead=6']
  told = [row.split() for row in capsys.readouterr().out.splitlines()]
  assert ['o_s', '|', '6', '|', '16'] in [row[3:8] for row in told]
  _looks_inside(folder, capsys)
  _predicts(folder, tmp_path, capsys)
  _exports(folder, capsys)


def _predicts(folder, tmp_path, capsys):
  path = tmp_path / 'mine.txt'
  path.write_text('.##.#..#\n' * 6)
  flags = f'--workdir={folder}', '--mode=predict', f'--orbits={path}'
  assert run(*flags, '--k=1,4') == 0
  told = capsys.readouterr().out
  assert '      +4  ' in told and 'predicted' in told
  rows = json.loads((folder / 'predictions/mine.json').read_text())
  assert rows[0]['observed'] == ['01101001'] * 6
  assert [a['look_ahead'] for a in rows[0]['answers']] == [1, 4]
  # A state that comes again and again goes on so.
  assert {a['determined'] for a in rows[0]['answers']} == {'01101001'}
  assert (folder / 'predictions/mine.png').stat().st_size > 1000
  for text, more, message in (
    ('01\n0\n', (), f'--orbits={path}: line 2 has 1 cells'),
    ('012\n', (), "'2' is no cell"),
    ('01\n', (), '1 states of 2 cells: width=2: a lattice'),
    ('01101\n', ['--k=4,1'], 'k=(4, 1): must ascend'),
    ('01101\n', ['--config.task.width=5'], 'not with --mode=predict'),
  ):
    path.write_text(text)
    assert run(*flags, *more) == 2
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1
  assert run(*flags[:2]) == 2
  assert '--orbits is missing' in capsys.readouterr().err


def _exports(folder, capsys):
  assert run(f'--workdir={folder}', '--mode=export') == 0
  exported = folder / 'huggingface'
  assert not exported.with_suffix('.unfinished').exists()
  told = capsys.readouterr().out.splitlines()
  assert told == [str(folder / 'weights.safetensors'), str(exported)]
  # Back from there: what the run ended with.
  config = whole.read(folder)
  exp = experiment.build(config)
  ours = resume.restore(exp, folder).best_params
  zeros = jax.tree.map(np.zeros_like, ours)
  theirs = pretrained.params(exp.model, zeros, exported)
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)
  native = rd.load(folder / 'weights.safetensors')
  jax.tree.map(np.testing.assert_array_equal, ours, native.params)
  scores = json.loads((folder / 'evaluations/test.json').read_text())
  assert native.scores['test'] == scores
  assert run(f'--workdir={folder}', '--mode=export') == 2
  assert 'weights.safetensors: is there already' in capsys.readouterr().err


def _looks_inside(folder, capsys):
  few = ['--config.analyze.samples=8', '--config.analyze.hooks=mlp']
  assert run(f'--workdir={folder}', '--mode=analyze', *few) == 0
  for name in ('lens', 'patching'):
    path = f'evaluations/{name}-analyze.hooks=mlp-analyze.samples=8.json'
    found = json.loads((folder / path).read_text())
    assert (found['analysis'], found['step']) == (name, 10)
  assert [s['hook'] for s in found['pairs'][0]['hooks']] == ['mlp']
  drawn = {path.name.split('-')[0] for path in (folder / 'plots').iterdir()}
  assert {'lens', 'patching'} <= drawn
  capsys.readouterr()
  for hooks, message in (('wings', 'allowed are '), ('memory', 'no hook ')):
    few[1] = f'--config.analyze.hooks=mlp,{hooks}'
    assert run(f'--workdir={folder}', '--mode=analyze', *few) == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1
    assert f'config.analyze.hooks=mlp,{hooks}: {message}' in error


@pytest.mark.parametrize(
  'args,message',
  [
    ([], '--config is missing'),
    (['--mode=evaluate'], '--workdir is missing'),
    (['--config=configs/armt.py:smke'], "did you mean 'smoke'"),
    ([SMOKE, '--config.train.num_step=3'], "did you mean 'train.num_steps'"),
    ([SMOKE, '--config.task.width=3'], 'config.task.width=3'),
    (
      [SMOKE, '--config.task.look_ahead=0'],
      'config.task.look_ahead=(0,): must be',
    ),
    ([SMOKE, '--mode=trian'], 'mode'),
    ([SMOKE, '--wrokdir=x'], 'workdir'),
    ([SMOKE, 'train'], 'train: not a flag'),
    (['--mode=evaluate', '--workdir=nowhere'], 'nowhere: not a run folder'),
    ([SMOKE, '--config.model.dtype'], 'model.dtype: a value is missing'),
    ([SMOKE, '--config.'], 'a value is missing'),
    ([SMOKE, '--config.=1'], 'config.: no such field'),
    (
      [SMOKE, '--config.model.name=armt'],
      'memory.segment_states: is missing of config.model.name=armt',
    ),
    (
      [SMOKE, '--config.task.name=groups'],
      'config.task.flip: no such field of config.task.name=gr',
    ),
    ([SMOKE, '--config.train.learning_rate=1e999'], 'learning_rate=inf: must'),
    ([SMOKE, '--config.train.learning_rate=nan'], 'learning_rate=nan: must'),
    ([SMOKE, f'--config.seed={2**31}'], 'must be at most 2147483647'),
    ([SMOKE, f'--config.seed={"9" * 5000}'], 'must be a whole number'),
    ([SMOKE, f'--config.seed={"(" * 5000}'], 'must be a whole number'),
    ([SMOKE, '--config.seed=1\n2'], 'must be a whole number'),
    ([SMOKE, '--config.\udcff\x00=1'], 'no such field'),
    ([SMOKE, '--config.model.mlp=\udcff'], 'allowed are gelu'),
    ([SMOKE, '--config.train.method=grpo'], 'train.grpo.generations: is miss'),
    (['--config=configs/armt.py:k=1-999999999999'], 'up to 9999'),
    (['--config=configs/armt.py:smoke,smoke'], 'smoke stands twice'),
    ([f'--config={"x" * 5000}'], 'File name too long'),
    ([f'--config=configs/{"x" * 300}.py'], 'File name too long'),
    (['--config=configs'], 'configs: no such file'),
    ([SMOKE, f'--workdir={"x" * 300}'], 'File name too long'),
    (['--mode=evaluate', f'--workdir={"x" * 300}'], 'File name too long'),
    ([SMOKE, '--workdir=main.py'], 'main.py: '),
    ([SMOKE, '--flagfile=nowhere'], 'nowhere'),
    (['--config'], 'config'),
    ([SMOKE, '--orbits=x'], '--orbits: only with --mode=predict'),
    (['--mode=evaluate', '--workdir=x', '--k=1'], 'x: not a run folder'),
  ],
)
def test_mistakes_are_one_line_and_exit_code_2(args, message, capsys):
  assert run(*args) == 2
  error = capsys.readouterr().err
  assert message in error and error.count('\n') == 1
  assert 'Traceback' not in error


@hypothesis.given(
  st.lists(
    st.builds(
      '{}{}'.format,
      st.sampled_from(['--config.', '--mode=', '--', '-', '--config=', '']),
      st.text(st.characters(exclude_characters='\0')),
    ),
    max_size=4,
  )
)
def test_any_arguments_are_one_line_and_exit_code_2(args):
  with contextlib.redirect_stderr(io.StringIO()) as error:
    assert run(*args, '--mode=evaluate', '--workdir=nowhere') == 2
  assert error.getvalue().count('\n') == 1


def damaged(text):
  """Damaged forms of config.json, by what an error says of them."""
  value = json.loads(text)

  def without(group, name):
    return json.dumps(value | {group: {**value[group], name: None}}).replace(
      f', "{name}": null', ''
    )

  def changed(group, **fields):
    return json.dumps(value | {group: value[group] | fields})

  return {
    'Expecting value': '',
    'Expecting': text[: text.index(',', len(text) // 2)],
    'holds no named values': '[1, 2]',
    'task.width: is missing': without('task', 'width'),
    'model.halting.kind: is missing': text.replace('"kind": "none",', ''),
    'no such field': changed('train', batchsize=4),
    'config.items: no such': json.dumps(value | {'items': 1}),
    'config.train.method: is missing': json.dumps(value | {'train': 5}),
    'config.model.halting.kind: is': changed('model', halting={}),
    'model.width=wide: must be a whole': changed('model', width='wide'),
    'model.width=True: must be a whole': changed('model', width=True),
    'model.width=32.0: must be a whole': changed('model', width=32.0),
    'model.width=None: must be a whole': changed('model', width=None),
    'model.norm=1: must be a word': changed('model', norm=1),
    'look_ahead=1: must be whole': changed('task', look_ahead=1),
    "('a',): must be whole": changed('task', look_ahead=['a']),
    '([1],): must be whole': changed('task', look_ahead=[[1]]),
    'b1=nan: must be at least 0': changed('train', b1=float('nan')),
    'clip=inf: must be at most': changed('train', clip=float('inf')),
    'clip=1000': changed('train', clip=10**400),
    'seed=1000': json.dumps(value | {'seed': 10**400}),
    'config.json: Exceeds': text.replace('"seed": 0', f'"seed": {"9" * 5000}'),
    'seed: twice': '{"seed": 1,' + text.lstrip('{ \n'),
    'a.b: twice in one group, or with a dot': changed('task', **{'a.b': 1}),
    'recursion': '{"a":' * 100_000 + '1' + '}' * 100_000,
    "can't decode": b'\xff' + text.encode(),
    'up to 8; variant by_depth takes any k': changed(
      'task', variant='multi_horizon', look_ahead=[9]
    ),
    'look_ahead=(2, 1): must ascend': changed('task', look_ahead=[2, 1]),
  }


@pytest.mark.parametrize('mode', ['evaluate', 'train'])
def test_a_damaged_config_is_named_in_one_line(tmp_path, capsys, mode):
  path = tmp_path / 'config.json'
  config = configuration.load(SMOKE.removeprefix('--config='))
  text = config.to_json(indent=2)
  flags = [f'--workdir={tmp_path}', f'--mode={mode}', '--config.mesh.data=1']
  flags = flags if mode == 'evaluate' else [SMOKE, *flags]
  for message, content in damaged(text).items():
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    assert run(*flags) == 2
    error = capsys.readouterr().err
    # A resume compares first, and every difference is named.
    known = 'run folder was made with' if mode == 'train' else message
    assert message in error or known in error, (message, error)
    assert error.count('\n') == 1 and len(error) < 2000
  path.unlink()
  path.mkdir()
  assert run(*flags) == 2
  assert capsys.readouterr().err.count('\n') == 1


def test_no_file_of_a_run_folder_is_run(tmp_path, booby_trap):
  folder = tmp_path / 'run'
  booby_trap(folder)
  config = configuration.load(SMOKE.removeprefix('--config='))
  (folder / 'config.json').write_text(config.to_json())
  done = subprocess.run(
    [sys.executable, main.__file__, '--mode=evaluate', '--workdir=.'],
    cwd=folder, capture_output=True, text=True, check=False,
  )  # fmt: skip
  assert done.returncode == 2
  assert '--workdir=.: has no checkpoint yet' in done.stderr


def test_nothing_is_written_over(tmp_path, capsys):
  (tmp_path / 'notes.txt').write_text('mine')
  assert run(SMOKE, f'--workdir={tmp_path}') == 2
  assert 'is there and is not a run folder' in capsys.readouterr().err
  assert [p.name for p in tmp_path.iterdir()] == ['notes.txt']


def test_help_shows_flags_modes_and_configs(capsys):
  assert run('--help') == 0
  told = capsys.readouterr().out
  for name in ('--workdir', *usage.MODES, 'extrapolation', 'smoke', 'k=…'):
    assert f'  {name} ' in told, name
  assert 'docs/getting-started.md' in told


def test_show_prints_every_field_and_runs_nothing(tmp_path, capsys):
  folder = tmp_path / 'run'
  assert run(SMOKE, *TINY, '--mode=show', f'--workdir={folder}') == 0
  told = capsys.readouterr().out
  config = configuration.load(SMOKE.removeprefix('--config='))
  for name in settings.flatten(config):
    assert f'\n{name} = ' in f'\n{told}', name
  assert 'tokens in a sequence: 63' in told and 'GFLOP' in told
  assert 'embedding/tokens/embedding' in told
  assert not folder.exists()


def test_a_folder_in_use_and_divergence_have_exit_codes(tmp_path, capsys):
  folder = tmp_path / 'run'
  folder.mkdir()
  diverges = [
    SMOKE, *TINY, f'--workdir={folder}', '--config.train.warmup_steps=0',
    '--config.train.learning_rate=1e30', '--config.train.schedule=constant',
  ]  # fmt: skip
  with lock.held(folder):
    assert run(*diverges) == 2
    error = capsys.readouterr().err
    assert 'another process is training' in error and error.count('\n') == 1
  # Not in use, it is trained in.
  assert run(*diverges) == 3
  assert 'step ' in capsys.readouterr().err
