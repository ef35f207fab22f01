"""A campaign of faults: kills, stops, damaged files. What is lost?

Four parts, each with what must be zero:

- one run, killed and stopped at random moments, against the same run left
  alone: values that differ in the final state or in any logged number;
- processes killed while they save: checkpoints that cannot be loaded or are
  not what was saved, and temporary folders left after the next start;
- bits flipped, files cut and deleted in a checkpoint: those loaded without
  complaint, or without falling back on the one before;
- the time that saving takes from training.
"""

import argparse
import contextlib
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth.bench import output
from reasoning_depth.runtime import checkpoint, configuration
from reasoning_depth.training import experiment, resume

ROOT = pathlib.Path(__file__).parents[2]
RATES = ('steps_per_second', 'examples_per_second')
# Saves one state after another until it is killed; argument: the run folder.
SAVER = """
import pathlib, sys
from reasoning_depth.bench import reliability
reliability.save_forever(pathlib.Path(sys.argv[1]))
"""


def main(args: list[str]) -> None:
  """`python -m reasoning_depth.bench reliability`."""
  parser = argparse.ArgumentParser('reliability')
  parser.add_argument('--steps', type=int, default=200, help='of the run')
  parser.add_argument('--kills', type=int, default=25, help='SIGKILL')
  parser.add_argument('--stops', type=int, default=10, help='SIGTERM')
  parser.add_argument('--saves', type=int, default=50, help='killed in a save')
  parser.add_argument('--flips', type=int, default=1000, help='single bits')
  parser.add_argument('--truncations', type=int, default=100)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--out', help='file for the JSON')
  a = parser.parse_args(args)
  rng = np.random.default_rng(a.seed)
  with tempfile.TemporaryDirectory() as name:
    scratch = pathlib.Path(name)
    result = {
      'setting': {k: v for k, v in vars(a).items() if k != 'out'},
      'run': interrupted_run(scratch, a.steps, a.kills, a.stops, rng),
      'saves': killed_saves(scratch / 'saves', a.saves, rng),
      'files': damaged_files(scratch / 'files', a.flips, a.truncations, rng),
      'time': time_of_saves(scratch / 'time'),
    }
  output.report('reliability', result, a.out)
  print(table(result))
  if anything_lost(result):
    sys.exit(1)


def anything_lost(result: dict[str, Any]) -> bool:
  """Whether one of the things that must be zero is not."""
  run, saves = result['run'], result['saves']
  return bool(
    not run['same_state']
    or run['lines_that_differ']
    or saves['unloadable']
    or saves['left_over']
    or any(found['unnoticed'] for found in result['files'].values())
  )


def table(result: dict[str, Any]) -> str:
  """The campaign as Markdown."""
  run, saves, files = (result[k] for k in ('run', 'saves', 'files'))
  rows = [
    ('fault', 'times', 'lost'),
    ('---', '---:', '---'),
    (
      'SIGKILL and SIGTERM in a run',
      f'{run["kills"]} + {run["stops"]}',
      f'final state {"same" if run["same_state"] else "DIFFERENT"}, '
      f'{run["lines_that_differ"]} of {run["lines"]} lines differ, '
      f'slowest stop {run["slowest_stop_seconds"]:.1f} s',
    ),
    (
      'SIGKILL in a save',
      saves['kills'],
      f'{saves["unloadable"]} unloadable, {saves["left_over"]} left-overs',
    ),
    *(
      (kind, found['times'], f'{found["unnoticed"]} unnoticed')
      for kind, found in files.items()
    ),
    (
      'a save a minute',
      '',
      f'{100 * result["time"]["share_at_one_a_minute"]:.2f} % of the time',
    ),
  ]
  return '\n'.join(f'| {" | ".join(map(str, row))} |' for row in rows)


def interrupted_run(
  scratch: pathlib.Path,
  steps: int,
  kills: int,
  stops: int,
  rng: np.random.Generator,
) -> dict[str, Any]:
  """One run killed and stopped at random steps, and the same left alone."""
  alone, folder = scratch / 'alone', scratch / 'interrupted'
  _train(alone, steps).wait()
  signals = [signal.SIGKILL] * kills + [signal.SIGTERM] * stops
  rng.shuffle(signals)
  targets = np.sort(rng.integers(0, steps, len(signals)))
  slowest = 0.0
  delivered = {signal.SIGKILL: 0, signal.SIGTERM: 0}
  for number, target in zip(signals, targets, strict=True):
    process = _train(folder, steps)
    while process.poll() is None and _last_step(folder) < target:
      time.sleep(0.005)
    time.sleep(rng.uniform(0, 0.3))
    if process.poll() is None:
      process.send_signal(number)
      delivered[number] += 1
    started = time.monotonic()
    code = process.wait()
    if number == signal.SIGTERM:
      slowest = max(slowest, time.monotonic() - started)
    if code not in (0, 75, -signal.SIGKILL, -signal.SIGTERM):
      raise RuntimeError(f'exit code {code} after {number}')
  if _train(folder, steps).wait():
    raise RuntimeError('the run did not end')
  expected, found = _lines(alone), _lines(folder)
  differ = sum(a != b for a, b in zip(expected, found, strict=False))
  return {
    'kills': delivered[signal.SIGKILL],
    'stops': delivered[signal.SIGTERM],
    'same_state': _digest(alone) == _digest(folder),
    'sha256': _digest(folder),
    'lines': len(expected),
    'lines_that_differ': differ + abs(len(expected) - len(found)),
    'slowest_stop_seconds': slowest,
  }


def _train(folder: pathlib.Path, steps: int) -> subprocess.Popen:
  command = [
    sys.executable, 'main.py', '--config=configs/transformer.py:smoke',
    '--config.model.width=64', '--config.train.batch_size=32',
    '--config.train.ema=0.9', f'--config.train.num_steps={steps}',
    '--config.train.steps_per_dispatch=1', '--config.eval.every=20',
    '--config.checkpoint.every=5', '--config.eval.test_samples=64',
    f'--workdir={folder}',
  ]  # fmt: skip
  quiet = subprocess.DEVNULL
  return subprocess.Popen(command, cwd=ROOT, stdout=quiet, stderr=quiet)


def _last_step(folder: pathlib.Path) -> int:
  with contextlib.suppress(OSError, ValueError, IndexError):
    last = (folder / 'metrics.jsonl').read_text().splitlines()[-1]
    return json.loads(last)['step']
  return -1


def _lines(folder: pathlib.Path) -> list[dict[str, Any]]:
  """Every logged number, but for the rates."""
  text = (folder / 'metrics.jsonl').read_text()
  rows = [json.loads(line) for line in text.splitlines()]
  return [{k: v for k, v in r.items() if k not in RATES} for r in rows]


def _digest(folder: pathlib.Path) -> str:
  exp = experiment.build(configuration.read(folder))
  return checkpoint.digest(resume.restore(exp, folder))


def save_forever(folder: pathlib.Path) -> None:
  """Saves states of 4 MB one after another, until it is killed."""
  store = checkpoint.Checkpoints(folder, checkpoint.Keep(newest=2))
  step = (store.steps or [0])[-1]
  while True:
    step += 1
    store.save(step, _state(step))


def _state(step: int) -> dict[str, jax.Array]:
  """Something to save that tells which step it is of."""
  return {f'w{i}': jnp.full((256, 256), step + i / 32) for i in range(16)}


def killed_saves(
  folder: pathlib.Path, kills: int, rng: np.random.Generator
) -> dict[str, int]:
  """Kills processes while they save."""
  _fresh(folder)
  unloadable = left_over = in_a_save = 0
  for _ in range(kills):
    process = subprocess.Popen([sys.executable, '-c', SAVER, folder], cwd=ROOT)
    before = _newest(folder)
    while _newest(folder) < before + 2:
      time.sleep(0.001)
      if process.poll() is not None:
        raise RuntimeError('the saver ended by itself')
    time.sleep(rng.uniform(0, 0.2))
    process.kill()
    process.wait()
    in_a_save += any(folder.glob('checkpoints/*.partial*'))
    reader = checkpoint.Checkpoints(folder)
    try:
      state = reader.restore(_abstract())
      expected = _state(int(state['w0'][0, 0]))
      unloadable += not all(
        bool((state[k] == expected[k]).all()) for k in expected
      )
    except ValueError:
      unloadable += 1
    reader.close()
    checkpoint.Checkpoints(folder, checkpoint.Keep()).close()
    names = [p.name for p in (folder / 'checkpoints').iterdir()]
    left_over += not all(n.isdecimal() for n in names)
  return {
    'kills': kills,
    'with_a_half_written_one': in_a_save,
    'unloadable': unloadable,
    'left_over': left_over,
  }


def _newest(folder: pathlib.Path) -> int:
  names = [p.name for p in folder.glob('checkpoints/*')]
  return max((int(n) for n in names if n.isdecimal()), default=0)


def _fresh(folder: pathlib.Path, *steps: int) -> None:
  """A run folder with some checkpoints."""
  folder.mkdir()
  (folder / 'config.json').write_text('{}')
  store = checkpoint.Checkpoints(folder, checkpoint.Keep(newest=len(steps) + 1))
  for step in steps:
    store.save(step, _state(step))
  store.close()


def _abstract() -> dict[str, jax.ShapeDtypeStruct]:
  one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=one), _state(0)
  )


def damaged_files(
  folder: pathlib.Path, flips: int, truncations: int, rng: np.random.Generator
) -> dict[str, dict[str, int]]:
  """Flips, cuts and deletes files of the newer of two checkpoints."""
  _fresh(folder, 1, 2)
  files = [p for p in (folder / 'checkpoints/2').rglob('*') if p.is_file()]
  sizes = np.array([p.stat().st_size for p in files])

  def flip(path):
    data = bytearray(path.read_bytes())
    data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)

  def cut(path):
    os.truncate(path, rng.integers(path.stat().st_size))

  # Half of the faults by size, half by file: large files have most bits, small
  # ones say what the bits mean.
  def chosen(count):
    full = np.flatnonzero(sizes)
    by_size = rng.choice(len(files), count // 2, p=sizes / sizes.sum())
    return [files[i] for i in (*by_size, *rng.choice(full, count - count // 2))]

  kinds = {
    'flipped bit': (flip, chosen(flips)),
    'truncated file': (cut, chosen(truncations)),
    'deleted file': (pathlib.Path.unlink, files),
  }
  return {
    kind: {
      'times': len(paths),
      'unnoticed': sum(not _noticed(folder, p, damage) for p in paths),
    }
    for kind, (damage, paths) in kinds.items()
  }


def _noticed(folder: pathlib.Path, path: pathlib.Path, damage) -> bool:
  """Whether the damage is named and the checkpoint before it used."""
  whole = path.read_bytes()
  damage(path)
  said = io.StringIO()
  reader = checkpoint.Checkpoints(folder)
  with contextlib.redirect_stderr(said):
    state = reader.restore(_abstract())
  reader.close()
  path.write_bytes(whole)
  named = 'checkpoint 2 is damaged: ' in said.getvalue()
  return named and int(state['w0'][0, 0]) == 1


def time_of_saves(folder: pathlib.Path, rounds: int = 10) -> dict[str, Any]:
  """Seconds that saving the state of the full transformer takes."""
  config = configuration.load(str(ROOT / 'configs/transformer.py'))
  exp = experiment.build(config)
  _fresh(folder)
  store = checkpoint.Checkpoints(folder, checkpoint.Keep(newest=2))
  state = resume.restore_or_init(exp, store)
  jax.block_until_ready(state)
  blocking, whole = [], []
  for step in range(1, rounds + 1):
    started = time.perf_counter()
    store.save(step, state)
    blocking.append(time.perf_counter() - started)
    store.wait()
    whole.append(time.perf_counter() - started)
  store.close()
  return {
    'megabytes': sum(x.nbytes for x in jax.tree.leaves(state)) / 1e6,
    'blocking_seconds': float(np.median(blocking)),
    'seconds_until_verified': float(np.median(whole)),
    # As if training stood still until the checkpoint is verified.
    'share_at_one_a_minute': float(np.median(whole)) / 60,
  }
