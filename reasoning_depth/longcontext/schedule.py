"""The fastest of a model's schedules, by measurement."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from reasoning_depth.longcontext import diagonal
from reasoning_depth.models import segmented
from reasoning_depth.runtime import stopwatch

# Windows of every length are many programs in one: slow to compile.
RAMPS = ('whole', 'buckets')


def candidates(model: segmented.SegmentModel) -> dict[str, nn.Module]:
  """The model in each schedule, by name; errors as `diagonal.scheduled`."""
  by_diagonals = {
    f'diagonal_{ramp}': diagonal.scheduled(model, ramp) for ramp in RAMPS
  }
  return {'sequential': model.clone(executor=None), **by_diagonals}


def fastest(
  model: segmented.SegmentModel,
  run: Callable[..., Any],
  *args: Any,
  seconds: float = 5.0,
) -> tuple[str, nn.Module]:
  """Runs each schedule in turn and takes the one with the least median time.

  What is faster depends on the device, the shape, the number of segments and
  on whether gradients are taken, so the very work to be done is timed.

  Args:
    model: with a memory of its own in each layer.
    run: the work: (model, *args) to arrays; jitted here.
    *args: arrays of the size to come.
    seconds: spent on timing, after one run of each that is not counted; each is
      timed three times at least.

  Returns:
    the name of the schedule, and the model in it.
  """
  models = candidates(model)
  compiled = {
    name: jax.jit(functools.partial(run, m)).lower(*args).compile()
    for name, m in models.items()
  }
  runners = {
    name: lambda step=step: jax.block_until_ready(step(*args))
    for name, step in compiled.items()
  }
  taken = stopwatch.alternate(runners, 3, seconds)
  name = min(taken, key=lambda name: taken[name]['median'])
  return name, models[name]
