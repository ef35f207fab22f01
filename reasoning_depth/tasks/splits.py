"""Splits of a task's samples, and how those that are held out are drawn."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

SPLITS = ('train', 'validation', 'test')
BLOCK = 256  # held-out samples drawn from each key
PART = 2**15  # rows of a data file made at once, a multiple of BLOCK
_KEPT = 8  # compiled draws


def draw(
  sample: Callable,
  key: jax.Array,
  split: str,
  num_samples: int,
  first: int = 0,
) -> Any:
  """Draws samples in chunks of `BLOCK`, each with its own key.

  So a smaller N gives the first samples of a larger one.

  Args:
    sample: maps (key, count, split, first) to a pytree of arrays [count, ...];
      `first` is the number of its first sample.
    key: PRNG key.
    split: one of `SPLITS`.
    num_samples: N.
    first: number of the first sample, a multiple of `BLOCK`.

  Returns:
    NumPy arrays [N, ...].
  """
  return draws(sample, key, split, num_samples)(first)


def draws(
  sample: Callable, key: jax.Array, split: str, num_samples: int
) -> Callable[[int], Any]:
  """`draw` as a function of `first`, compiled once."""
  key = jax.random.fold_in(key, SPLITS.index(split))
  count = -(-num_samples // BLOCK)

  def whole(x):
    return np.asarray(x).reshape(-1, *x.shape[2:])[:num_samples]

  blocks = _blocks(sample, split, count)
  return lambda first: jax.tree.map(whole, blocks(key, first // BLOCK))


@functools.lru_cache(_KEPT)
def _blocks(sample: Callable, split: str, count: int) -> Callable:
  """(key, first block) to samples [count, BLOCK, ...], jitted.

  A method of an equal task is the same `sample`.
  """

  @jax.jit
  def blocks(key, first):
    def block(i):
      return sample(jax.random.fold_in(key, i), BLOCK, split, BLOCK * i)

    return jax.lax.map(block, first + jnp.arange(count))

  return blocks


def host_seed(key: jax.Array) -> int:
  """Seed of held-out samples for `host_sample`."""
  return int(jax.random.bits(key))


def check_split(split: str) -> None:
  """Raises ValueError for an unknown split."""
  if split not in SPLITS:
    raise ValueError(f'split={split!r}: allowed are {", ".join(SPLITS)}')
