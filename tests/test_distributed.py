"""Two real processes that join through jax.distributed.

Starting and compiling is what they spend their time on, so what needs one
process alone is done in this one.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from absl.testing import flagsaver

import main
from reasoning_depth import modes
from reasoning_depth.runtime import configuration
from reasoning_depth.training import config as whole

ROOT = pathlib.Path(__file__).parents[1]
TINY = [
  '--config=configs/transformer.py:smoke,k=1',
  '--config.model.num_layers=1',
  '--config.model.width=16',
  '--config.train.num_steps=12',
  '--config.train.steps_per_dispatch=2',
  '--config.eval.every=6',
  '--config.eval.test_samples=64',
  '--config.checkpoint.every=2',
  '--config.mesh.parameters=fsdp',
]


def start(folder, *flags):
  """A process of main.py on one device of its own."""
  environment = {
    **os.environ,
    'XLA_FLAGS': os.environ['XLA_FLAGS']
    + ' --xla_force_host_platform_device_count=1',
  }
  return subprocess.Popen(
    [sys.executable, 'main.py', *TINY, f'--workdir={folder}', *flags],
    cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    text=True,
  )  # fmt: skip


def pair(folder):
  with socket.socket() as s:
    s.bind(('localhost', 0))
    port = s.getsockname()[1]
  join = [f'--coordinator=localhost:{port}', '--num_processes=2']
  return [start(folder, *join, f'--process_id={i}') for i in range(2)]


def ends(process, timeout=150):
  try:
    _, err = process.communicate(timeout=timeout)
  finally:
    process.kill()
  return process.returncode, err


def rows(folder):
  text = (folder / 'metrics.jsonl').read_text()
  found = [json.loads(line) for line in text.splitlines()]
  return [(r['step'], r['split'], r['loss']) for r in found]


def until_step(folder, step, processes):
  """Waits until a checkpoint of a step, or a later one, is there."""
  deadline = time.monotonic() + 120
  while time.monotonic() < deadline:
    assert all(p.poll() is None for p in processes)
    names = [p.name for p in folder.glob('checkpoints/*')]
    if any(n.isdecimal() and int(n) >= step for n in names):
      return
    time.sleep(0.02)
  pytest.fail('no checkpoint')


def test_two_processes_one_killed_one_stopped(tmp_path):
  config = configuration.load(TINY[0].removeprefix('--config='))
  configuration.apply(config, [*TINY[1:], '--config.mesh.data=2'])
  modes.train(config, tmp_path / 'one', [])
  expected = rows(tmp_path / 'one')

  folder = tmp_path / 'two'
  processes = pair(folder)
  until_step(folder, 2, processes)
  processes[1].kill()
  code, err = ends(processes[0])
  assert 'process 0 of 2: lost touch with the others; run all again' in err
  assert code == 75
  ends(processes[1])

  processes = pair(folder)
  until_step(folder, 4, processes)
  for p in processes:
    p.send_signal(signal.SIGTERM)
  endings = [ends(p) for p in processes]
  if [code for code, _ in endings] != [0, 0]:  # done before the signal
    assert [code for code, _ in endings] == [75, 75], endings
    assert 'stopped by a signal, saved at step' in endings[0][1]
    for process in pair(folder):
      code, err = ends(process)
      assert code == 0, err
  found = rows(folder)
  assert [r[:2] for r in found] == [r[:2] for r in expected]
  np.testing.assert_allclose(
    [r[2] for r in found], [r[2] for r in expected], rtol=1e-4
  )
  # What two have saved, one restores.
  before = json.loads((folder / 'evaluations/test.json').read_text())
  (folder / 'evaluations/test.json').unlink()
  modes.evaluate(whole.read(folder), folder, [])
  after = json.loads((folder / 'evaluations/test.json').read_text())
  assert after['step'] == before['step'] == 12
  assert after['overall']['exact_match'] == before['overall']['exact_match']


@flagsaver.flagsaver
@pytest.mark.parametrize(
  'flags,message',
  [
    (['--coordinator=localhost:1'], '--num_processes is missing: '),
    (
      ['--coordinator=localhost:1', '--num_processes=2', '--process_id=2'],
      '--process_id=2: must be below --num_processes=2',
    ),
  ],
)
def test_mistakes_are_told_in_one_line(tmp_path, flags, message, capsys):
  main.flags.FLAGS.unparse_flags()
  assert main.main(['main.py', *TINY, f'--workdir={tmp_path}', *flags]) == 2
  error = capsys.readouterr().err
  assert error.count('\n') == 1 and message in error
