"""Curriculum: stages over one field of the task, weights carried over.

A stage ends when validation reaches the threshold on its last group, such as
the newest number of hops (2604.07822, section 4), or after a number of steps.
Where sequences grow from stage to stage, the batch can be larger in early ones.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from reasoning_depth import errors, settings, tasks
from reasoning_depth.training import experiment, state


def num_stages(config: ml_collections.ConfigDict) -> int:
  """Number of stages; 1 without a curriculum."""
  c = config.train.curriculum
  return len(c.stages) if c.field else 1


def check(config: ml_collections.ConfigDict) -> None:
  """Checks every stage; compiles nothing.

  Raises:
    UsageError: where a stage cannot be built, the last is not the task itself,
      or samples carried from stage to stage would change their shape.
  """
  c = config.train.curriculum
  if not c.field:
    return
  fields = settings.flatten(config.task)
  if not isinstance(fields.get(c.field), (int, tuple)):
    near = settings.suggest(c.field, fields)
    raise errors.UsageError(
      f'config.train.curriculum.field={c.field!r}: allowed are fields of the '
      f'task that are numbers{near}'
    )
  if not c.stages:
    raise errors.UsageError(
      'config.train.curriculum.stages=(): a value for each stage'
    )
  last = _value(config, len(c.stages) - 1)
  if last != fields[c.field]:
    raise errors.UsageError(
      f'config.train.curriculum.stages={c.stages}: the last stage must be '
      f'the task, config.task.{c.field}={fields[c.field]}'
    )
  if c.batch_multipliers and len(c.batch_multipliers) != len(c.stages):
    raise errors.UsageError(
      f'config.train.curriculum.batch_multipliers={c.batch_multipliers}: one '
      f'for each of {len(c.stages)} stages, or ()'
    )
  stages = [
    experiment.build(_config_at(config, index))
    for index in range(len(c.stages))
  ]
  if stages[0].method.carries_samples:
    shapes = {(s.config.train.batch_size, s.task.length) for s in stages}
    if len(shapes) > 1:
      raise errors.UsageError(
        f'config.train.curriculum.field={c.field!r}: samples of deep '
        'supervision go on into the next stage, so that all stages must have '
        'one batch size and sequence length (model.recursion.supervision=1 '
        'carries none)'
      )


@functools.lru_cache(experiment.KEPT)
def at_stage(exp: experiment.Experiment, index: int) -> experiment.Experiment:
  """The experiment with task and batch of a stage, and the same model."""
  if not exp.config.train.curriculum.field:
    return exp
  config = _config_at(exp.config, index)
  return dataclasses.replace(exp, config=config, task=tasks.make(config.task))


def _config_at(
  config: ml_collections.ConfigDict, index: int
) -> ml_collections.ConfigDict:
  c = config.train.curriculum
  staged = config.copy_and_resolve_references()
  with staged.unlocked():
    staged.task[c.field] = _value(config, index)
    if c.batch_multipliers:
      staged.train.batch_size *= c.batch_multipliers[index]
  return staged


def _value(config: ml_collections.ConfigDict, index: int) -> Any:
  """The field's value in a stage; a tuple has all values up to the stage's."""
  c = config.train.curriculum
  value = c.stages[index]
  old = config.task[c.field]
  if not isinstance(old, tuple):
    return value
  return (
    (value,) if len(old) == 1 else tuple(range(min(*old, value), value + 1))
  )


def is_over(
  exp: experiment.Experiment, index: int, steps: int, summary: dict[str, Any]
) -> bool:
  """Whether a stage before the last has reached its threshold or step limit.

  Args:
    exp: the experiment.
    index: of the stage.
    steps: updates made in it.
    summary: of the validation; its last group is the newest.
  """
  c = exp.config.train.curriculum
  if index + 1 >= num_stages(exp.config):
    return False
  exact_match = summary['groups'][-1]['exact_match']
  return exact_match >= c.threshold or 0 < c.most_steps <= steps


def advance(
  exp: experiment.Experiment, current: state.TrainState
) -> state.TrainState:
  """The first state of the next stage: same weights, optimiser reset or not."""
  opt_state = current.opt_state
  if exp.config.train.curriculum.reset_optimizer:
    shardings = jax.tree.map(lambda x: x.sharding, opt_state)
    opt_state = jax.jit(exp.optimizer.init, out_shardings=shardings)(
      current.params
    )
  return current.replace(
    stage=current.stage + 1,
    stage_start=jnp.copy(current.step),
    opt_state=opt_state,
  )
