"""Mamba's selective scan: associative, in spans, against sequential."""

import argparse
from typing import Any

import jax
import jax.numpy as jnp

from reasoning_depth.bench import output
from reasoning_depth.models import mamba
from reasoning_depth.runtime import stopwatch

FORMS = {
  'associative': mamba.selective_scan,
  'sequential': mamba.sequential_selective_scan,
}


def main(args: list[str]) -> None:
  """`python -m reasoning_depth.bench scan`."""
  parser = argparse.ArgumentParser('scan')
  parser.add_argument('--batches', type=int, nargs='+', default=[1, 8, 32])
  parser.add_argument('--channels', type=int, default=256, help='E, of 2·D')
  parser.add_argument('--state', type=int, default=16, help='N')
  parser.add_argument('--lengths', type=int, nargs='+', default=[128, 256])
  parser.add_argument('--rounds', type=int, default=9)
  parser.add_argument('--out', help='file for the JSON')
  a = parser.parse_args(args)
  output.report('scan', measure(a), a.out)


def measure(a: argparse.Namespace) -> dict[str, Any]:
  """Seconds of value and gradient for each size and form, and ratios."""
  sizes = [(batch, length) for batch in a.batches for length in a.lengths]
  found = []
  for batch, length in sizes:
    inputs = _inputs(batch, length, a.channels, a.state)
    runners = {}
    for name, scan in FORMS.items():
      step = jax.jit(
        jax.grad(lambda *x, scan=scan: jnp.sum(scan(*x)[0] ** 2), range(6))
      )
      runners[name] = lambda s=step, i=inputs: jax.block_until_ready(s(*i))
    seconds = stopwatch.alternate(runners, a.rounds)
    ratio = {
      k: seconds['sequential'][k] / seconds['associative'][k]
      for k in ('median', 'least')
    }
    found.append(
      {
        'batch': batch,
        'length': length,
        'seconds': seconds,
        'times_sequential': ratio,
      }
    )
  setting = output.setting(a)
  return {'setting': setting, 'sizes': found}


def _inputs(batch: int, length: int, E: int, N: int) -> tuple[jax.Array, ...]:
  """Random inputs of the selective scan."""
  keys = jax.random.split(jax.random.key(0), 5)
  wide, narrow = (batch, length, E), (batch, length, N)
  return (
    jax.random.normal(keys[0], wide),
    jax.nn.softplus(jax.random.normal(keys[1], wide)),
    -jnp.exp(jax.random.normal(keys[2], (E, N))),
    jax.random.normal(keys[3], narrow),
    jax.random.normal(keys[4], narrow),
    jnp.zeros((batch, E, N)),
  )
