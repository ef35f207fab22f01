"""Seconds that training waits for a checkpoint to be saved."""

import argparse
import pathlib
import tempfile
import time
from typing import Any

import jax
import numpy as np

from reasoning_depth.bench import output
from reasoning_depth.runtime import checkpoint, configuration
from reasoning_depth.training import experiment, resume

ROOT = pathlib.Path(__file__).parents[2]


def main(args: list[str]) -> None:
  """`python -m reasoning_depth.bench saves`."""
  parser = argparse.ArgumentParser('saves')
  parser.add_argument('--rounds', type=int, default=10)
  parser.add_argument('--out', help='file for the JSON')
  a = parser.parse_args(args)
  with tempfile.TemporaryDirectory() as folder:
    result = measure(pathlib.Path(folder), a.rounds)
  output.report('saves', {'setting': {'rounds': a.rounds}, **result}, a.out)


def measure(folder: pathlib.Path, rounds: int) -> dict[str, Any]:
  """Medians over saves of the training state of configs/transformer.py."""
  config = configuration.load(str(ROOT / 'configs/transformer.py'))
  exp = experiment.build(config)
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
    # Upper bound: as if training waited until the checkpoint is verified.
    'share_at_one_a_minute': float(np.median(whole)) / 60,
  }
