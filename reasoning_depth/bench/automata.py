"""Orbits per second, against a vectorised NumPy table look-up and cellpylib."""

import argparse
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth.bench import output
from reasoning_depth.runtime import stopwatch
from reasoning_depth.tasks import automata, orbits


def numpy_rollout(
  rules: np.ndarray, states: np.ndarray, steps: int, radius: int
) -> np.ndarray:
  """Table look-up, all samples and cells of a step in one gather."""
  samples = np.arange(len(rules))[:, None]
  orbit = [states]
  for _ in range(steps):
    index = np.zeros(states.shape, np.int64)
    for offset in range(-radius, radius + 1):
      index = 2 * index + np.roll(states, -offset, axis=1)
    states = rules[samples, index]
    orbit.append(states)
  return np.stack(orbit, 1)


def main(args: list[str]) -> None:
  """`python -m reasoning_depth.bench automata`."""
  parser = argparse.ArgumentParser('automata')
  parser.add_argument('--batch', type=int, default=4096)
  parser.add_argument('--width', type=int, default=20)
  parser.add_argument('--states', type=int, default=20)
  parser.add_argument('--radius', type=int, default=2)
  parser.add_argument('--rounds', type=int, default=30)
  parser.add_argument('--out', help='file for the JSON')
  a = parser.parse_args(args)
  output.report('automata', measure(a), a.out)


def measure(a: argparse.Namespace) -> dict[str, Any]:
  """Seconds, rates and ratios of all implementations."""
  steps = a.states - 1
  rng = np.random.default_rng(0)
  shape = (a.batch, automata.table_size(a.radius))
  rules = rng.integers(0, 2, shape, np.uint8)
  states = rng.integers(0, 2, (a.batch, a.width), np.uint8)
  runners = _ours(a, rules, states)
  expected = numpy_rollout(rules, states, steps, a.radius)
  np.testing.assert_array_equal(runners['rollout'](), expected)
  runners['numpy'] = lambda: numpy_rollout(
    rules, states, steps, a.radius
  ).astype(np.int32)
  missing = {}
  try:
    runners['cellpylib'] = _cellpylib(a, rules, states)
  except ImportError as error:
    missing['cellpylib'] = str(error)
  seconds = stopwatch.alternate(runners, a.rounds)
  # cellpylib evolves one orbit at a time: timed on a few, scaled up.
  if 'cellpylib' in seconds:
    for key in seconds['cellpylib']:
      seconds['cellpylib'][key] *= a.batch / _FEW
  base = seconds['numpy']['median']
  return {
    'setting': output.setting(a),
    'seconds': seconds,
    'orbits_per_second': {k: a.batch / s['median'] for k, s in seconds.items()},
    'cell_updates_per_second': {
      k: a.batch * steps * a.width / s['median'] for k, s in seconds.items()
    },
    'times_numpy': {k: base / s['median'] for k, s in seconds.items()},
    'not_installed': missing,
    'not_comparable': {'cax': 'its automaton has radius 1 and one rule'},
  }


def _ours(
  a: argparse.Namespace, rules: np.ndarray, states: np.ndarray
) -> dict[str, Callable[[], Any]]:
  """Roll-out of given rules and states, and whole batches from a PRNG key."""
  steps = a.states - 1
  rollout = jax.jit(
    lambda r, s: automata.rollout(r, s, steps, a.radius).astype(jnp.int32)
  )
  # The task's own layout: SEP and cells of every state, then the question.
  task = orbits.Orbits(
    width=a.width, radius=a.radius, num_states=a.states - 1, look_ahead=(1,)
  )
  sample = jax.jit(lambda key: task.sample(key, a.batch).inputs)
  on_device = jax.device_put((rules, states))
  keys = iter(jax.random.split(jax.random.key(0), 10 * (a.rounds + 2)))
  return {
    'rollout': lambda: rollout(*on_device).block_until_ready(),
    'key_to_tokens': lambda: sample(next(keys)).block_until_ready(),
  }


_FEW = 16


def _cellpylib(a, rules, states):
  import cellpylib

  def run():
    for rule, state in zip(rules[:_FEW], states[:_FEW], strict=True):
      # cellpylib lists a table from the highest neighbourhood down.
      number = automata.rule_to_number(rule)
      cellpylib.evolve(
        state[None],
        timesteps=a.states,
        apply_rule=lambda n, c, t, number=number: cellpylib.binary_rule(
          n, number
        ),
        r=a.radius,
      )

  return run
