"""Saves one state after another until it is killed: `saver.py FOLDER`."""

import pathlib
import sys

import jax
import jax.numpy as jnp

from reasoning_depth.runtime import checkpoint


def state(step: int) -> dict[str, jax.Array]:
  """4 MB to save, which tell the step that they are of."""
  return {f'w{i}': jnp.full((256, 256), step + i / 32) for i in range(16)}


def main(folder: pathlib.Path) -> None:
  """Goes on from the newest checkpoint."""
  store = checkpoint.Checkpoints(folder, checkpoint.Keep(newest=2))
  step = (store.steps or [0])[-1]
  while True:
    step += 1
    store.save(step, state(step))


if __name__ == '__main__':
  main(pathlib.Path(sys.argv[1]))
