"""Kills, stops and damaged files: nothing may be lost or go unnoticed.

`python -m pytest -m slow tests/faults` runs a short campaign, as CI does;
`FAULTS=25 python -m pytest -m slow tests/faults` one of 25 times as many
faults. What was drawn is the same each time, when a signal arrives is not.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import saver

from reasoning_depth.runtime import checkpoint
from reasoning_depth.training import config as whole
from reasoning_depth.training import experiment, resume

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
FAULTS = int(os.environ.get('FAULTS', '1'))
STEPS = 40 * FAULTS  # of the run that is interrupted
SIGNALS = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM] * FAULTS
KILLED_SAVES = 4 * FAULTS
FLIPS = 60 * FAULTS
CUTS = 10 * FAULTS
RATES = ('steps_per_second', 'examples_per_second', 'seconds')
# One device, and an optimised program, as in a run of a user's.
ENVIRONMENT = {
  **os.environ,
  'PYTHONPATH': str(ROOT),
  'XLA_FLAGS': '',
  'JAX_DISABLE_MOST_OPTIMIZATIONS': '0',
}


@pytest.fixture
def rng():
  return np.random.default_rng(0)


def start(*command):
  """A process of Python in the project's folder."""
  quiet = subprocess.DEVNULL
  command = [sys.executable, *map(str, command)]
  return subprocess.Popen(
    command, cwd=ROOT, env=ENVIRONMENT, stdout=quiet, stderr=quiet
  )


def train(folder):
  return start(
    'main.py', '--config=configs/transformer.py:smoke,k=1',
    '--config.model.width=64', '--config.model.num_layers=1',
    '--config.train.batch_size=32', '--config.train.ema=0.9',
    f'--config.train.num_steps={STEPS}',
    '--config.train.steps_per_dispatch=1', '--config.eval.every=20',
    '--config.checkpoint.every=5', '--config.eval.test_samples=64',
    f'--workdir={folder}',
  )  # fmt: skip


def logged(folder):
  """Every logged number, but for the rates."""
  text = (folder / 'metrics.jsonl').read_text()
  rows = [json.loads(line) for line in text.splitlines()]
  return [{k: v for k, v in r.items() if k not in RATES} for r in rows]


def last_step(folder):
  # The last line may be half written.
  with contextlib.suppress(OSError, ValueError, IndexError):
    return logged(folder)[-1]['step']
  return -1


def digest(folder):
  """A sum of the final state."""
  config = whole.read(folder)
  config.mesh.data = 1
  return checkpoint.digest(resume.restore(experiment.build(config), folder))


def test_an_interrupted_run_ends_like_one_left_alone(tmp_path, rng):
  alone, interrupted = tmp_path / 'alone', tmp_path / 'interrupted'
  assert train(alone).wait() == 0
  numbers = rng.permutation(SIGNALS).tolist()
  steps = np.sort(rng.integers(STEPS, size=len(numbers)))
  arrived = 0
  for number, step in zip(numbers, steps, strict=True):
    process = train(interrupted)
    while process.poll() is None and last_step(interrupted) < step:
      time.sleep(0.005)
    time.sleep(rng.uniform(0, 0.3))
    if process.poll() is None:
      process.send_signal(number)
    code = process.wait()
    # Done before the signal; saved; killed, or stopped while starting or ending
    # and so with nothing to save.
    assert code in (0, 75, -signal.SIGKILL, -signal.SIGTERM)
    arrived += code != 0
  assert arrived
  assert train(interrupted).wait() == 0
  assert logged(interrupted) == logged(alone)
  assert digest(interrupted) == digest(alone)


def abstract():
  one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=one),
    saver.state(0),
  )


def restored(folder):
  """The state of the newest checkpoint that is whole."""
  reader = checkpoint.Checkpoints(folder)
  try:
    return reader.restore(abstract())
  finally:
    reader.close()


def test_a_process_killed_in_a_save_leaves_whole_checkpoints(tmp_path, rng):
  def newest():
    names = [p.name for p in tmp_path.glob('checkpoints/*')]
    return max((int(n) for n in names if n.isdecimal()), default=0)

  (tmp_path / 'config.json').write_text('{}')
  for _ in range(KILLED_SAVES):
    before = newest()
    process = start(pathlib.Path(saver.__file__), tmp_path)
    while newest() < before + 2:
      time.sleep(0.001)
      assert process.poll() is None
    time.sleep(rng.uniform(0, 0.2))
    process.kill()
    process.wait()
    found = restored(tmp_path)
    expected = saver.state(int(found['w0'][0, 0]))
    for name in expected:
      np.testing.assert_array_equal(found[name], expected[name])
    # The next start clears away what was half written.
    checkpoint.Checkpoints(tmp_path, checkpoint.Keep()).close()
    assert all(p.name.isdecimal() for p in (tmp_path / 'checkpoints').iterdir())


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory):
  """A run folder with the checkpoints 1 and 2, and the files of the latter."""
  folder = tmp_path_factory.mktemp('checkpoints')
  (folder / 'config.json').write_text('{}')
  store = checkpoint.Checkpoints(folder, checkpoint.Keep(newest=3))
  for step in (1, 2):
    store.save(step, saver.state(step))
  store.close()
  files = [p for p in (folder / 'checkpoints/2').rglob('*') if p.is_file()]
  assert int(restored(folder)['w0'][0, 0]) == 2
  return folder, sorted(files)


def flip(path, rng):
  data = bytearray(path.read_bytes())
  data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
  path.write_bytes(data)


def cut(path, rng):
  os.truncate(path, rng.integers(path.stat().st_size))


def delete(path, rng):
  del rng
  path.unlink()


@pytest.mark.parametrize(
  'damage,times', [(flip, FLIPS), (cut, CUTS), (delete, None)]
)
def test_damage_is_named_and_the_checkpoint_before_used(
  checkpoints, damage, times, rng, capsys
):
  folder, files = checkpoints
  if times is None:
    chosen = files
  else:
    # Half by size, half by file: large files have most of the bits, small ones
    # say what the bits mean.
    sizes = np.array([p.stat().st_size for p in files])
    by_size = rng.choice(len(files), times // 2, p=sizes / sizes.sum())
    by_file = rng.choice(np.flatnonzero(sizes), times - times // 2)
    chosen = [files[i] for i in (*by_size, *by_file)]
  for path in chosen:
    whole = path.read_bytes()
    damage(path, rng)
    found = restored(folder)
    path.write_bytes(whole)
    assert 'checkpoint 2 is damaged: ' in capsys.readouterr().err
    assert int(found['w0'][0, 0]) == 1
