"""Schedules: the order in which a memory model runs layers and segments.

`model.memory.schedule` is 'scan' (one segment after another), 'diagonal' (see
`diagonal`), or 'auto' (times them and takes the fastest).
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from reasoning_depth import settings
from reasoning_depth.longcontext import diagonal
from reasoning_depth.models import base
from reasoning_depth.runtime import stopwatch

# 'exact' is left out: a scan per window size compiles slowly.
RAMPS = ('whole', 'buckets')
SECONDS = 5.0  # that 'auto' spends on timing


def candidates(model: base.Model) -> dict[str, base.Model]:
  """The model in each schedule, by name; errors as `diagonal.scheduled`."""
  by_diagonals = {
    f'diagonal_{ramp}': diagonal.scheduled(model, ramp) for ramp in RAMPS
  }
  return {'scan': model.clone(executor=None), **by_diagonals}


def check(model: base.Model) -> None:
  """Raises `UsageError` where the model cannot run its schedule."""
  if model.schedule != 'scan':
    with settings.within(f'memory.schedule={model.schedule}: '):
      model.diagonal_cell(num_steps=1)


def scheduled(
  model: base.Model, run: Callable[..., Any], *args: Any
) -> tuple[str, base.Model]:
  """The model with the schedule of its settings.

  Args:
    model: any; one without segments is returned as it is.
    run: (model, *args) to arrays, the computation to time for 'auto'.
    *args: arrays of the final sizes, or functions that make them.

  Returns:
    the name of the schedule, '' for a model without one, and the model.
  """
  if model.schedule == 'auto':
    made = [a() if callable(a) else a for a in args]
    return fastest(model, run, *made, seconds=SECONDS)
  if model.schedule == 'diagonal':
    return 'diagonal', diagonal.scheduled(model)
  return model.schedule if model.reads_segments else '', model


def fastest(
  model: base.Model,
  run: Callable[..., Any],
  *args: Any,
  seconds: float = SECONDS,
) -> tuple[str, base.Model]:
  """Times each schedule and takes the one with the least median time.

  The fastest depends on the device, the shapes, the number of segments and on
  whether gradients are taken, so the actual computation is timed. With several
  processes, process 0 decides.

  Args:
    model: each of whose layers has its own memory.
    run: (model, *args) to arrays, the computation; jitted here.
    *args: arrays of the final sizes.
    seconds: least time spent on timing, after a warm-up run of each; each is
      timed at least three times.

  Returns:
    the name of the schedule, and the model with it.
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
  names = list(taken)
  best = min(names, key=lambda name: taken[name]['median'])
  if jax.process_count() > 1:
    index = np.int32(names.index(best))
    best = names[int(multihost_utils.broadcast_one_to_all(index))]
  return best, models[best]
