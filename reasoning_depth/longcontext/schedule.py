"""Orders in which a memory model goes through layers and segments.

`model.memory.schedule` says which: 'scan' (one segment after another),
'diagonal' (see `diagonal`), or 'auto', the faster one for the work at hand.
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

# Windows of every length are many programs in one: slow to compile.
RAMPS = ('whole', 'buckets')
SECONDS = 5.0  # that 'auto' spends on timing


def candidates(model: base.Model) -> dict[str, base.Model]:
  """The model in each schedule, by name; errors as `diagonal.scheduled`."""
  by_diagonals = {
    f'diagonal_{ramp}': diagonal.scheduled(model, ramp) for ramp in RAMPS
  }
  return {'scan': model.clone(executor=None), **by_diagonals}


def check(model: base.Model) -> None:
  """Raises `UsageError` where the schedule asked for is not possible."""
  if model.schedule != 'scan':
    with settings.within(f'memory.schedule={model.schedule}: '):
      model.diagonal_cell(num_steps=1)


def scheduled(
  model: base.Model, run: Callable[..., Any], *args: Any
) -> tuple[str, base.Model]:
  """The model in the schedule that its settings ask for.

  Args:
    model: any; one without segments stays as it is.
    run: the work to come: (model, *args) to arrays; timed for 'auto'.
    *args: arrays of the size to come, or functions that make them.

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
  """Runs each schedule in turn and takes the one with the least median time.

  What is faster depends on the device, the shape, the number of segments and
  on whether gradients are taken, so the very work to be done is timed. Several
  processes take what the first one found.

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
  names = list(taken)
  best = min(names, key=lambda name: taken[name]['median'])
  if jax.process_count() > 1:
    index = np.int32(names.index(best))
    best = names[int(multihost_utils.broadcast_one_to_all(index))]
  return best, models[best]
