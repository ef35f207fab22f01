"""Mamba's recurrence as an associative scan, against one step after another."""

import argparse
from typing import Any

import jax
import jax.numpy as jnp

from reasoning_depth.bench import timing
from reasoning_depth.models import mamba


def main(args: list[str]) -> None:
  """`python -m reasoning_depth.bench scan`."""
  parser = argparse.ArgumentParser('scan')
  parser.add_argument('--batch', type=int, default=8)
  parser.add_argument('--channels', type=int, default=256, help='E, of 2·D')
  parser.add_argument('--state', type=int, default=16, help='N')
  parser.add_argument('--lengths', type=int, nargs='+', default=[32, 128, 512])
  parser.add_argument('--rounds', type=int, default=9)
  parser.add_argument('--out', help='file for the JSON')
  a = parser.parse_args(args)
  timing.report('scan', measure(a), a.out)


def measure(a: argparse.Namespace) -> dict[str, Any]:
  """Seconds of value and gradient by length and form, and their ratios."""
  runners = {}
  for length in a.lengths:
    shape = (a.batch, length, a.channels, a.state)
    keys = jax.random.split(jax.random.key(0), 2)
    decay = jax.random.uniform(keys[0], shape)
    written = jax.random.normal(keys[1], shape)
    for name, scan in (
      ('associative', mamba.linear_scan),
      ('sequential', mamba.sequential_scan),
    ):
      step = jax.jit(
        jax.grad(lambda a, b, scan=scan: jnp.sum(scan(a, b) ** 2), (0, 1))
      )
      runners[f'{name}_{length}'] = lambda s=step, d=decay, w=written: (
        jax.block_until_ready(s(d, w))
      )
  seconds = timing.alternate(runners, a.rounds)
  return {
    'setting': {k: v for k, v in vars(a).items() if k != 'out'},
    'seconds': seconds,
    'times_sequential': {
      str(length): {
        k: seconds[f'sequential_{length}'][k]
        / seconds[f'associative_{length}'][k]
        for k in ('median', 'least')
      }
      for length in a.lengths
    },
  }
