"""From a config to the parts of a run."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import ml_collections
import optax
from jax.sharding import Mesh

from reasoning_depth import models, tasks
from reasoning_depth.models import hooks
from reasoning_depth.runtime import configuration, sharding
from reasoning_depth.scoring import rollout
from reasoning_depth.tasks import base
from reasoning_depth.training import deep_supervision, grpo, optimizer


@dataclasses.dataclass(frozen=True)
class Experiment:
  """The parts of a run, checked against each other."""

  config: ml_collections.ConfigDict
  task: base.Task
  model: nn.Module
  optimizer: optax.GradientTransformation
  mesh: Mesh


def build(config: ml_collections.ConfigDict) -> Experiment:
  """Checks a config and builds its parts; compiles nothing.

  Raises:
    ValueError: naming the field, its value and what is allowed.
  """
  configuration.check(config)
  task = _prefixed('config.task.', tasks.make, config.task)
  model = _prefixed('config.model.', models.make, config.model, task)
  _check_depth(config, task)
  mesh = _prefixed('config.', sharding.make_mesh, config.mesh)
  per_part = config.train.batch_size // config.train.gradient_accumulation
  sharding.check_batch('config.train.batch_size', per_part, mesh)
  sharding.check_batch('config.eval.batch_size', config.eval.batch_size, mesh)
  rollout.check(task, config.eval.rollout)
  _check_hooks(config.analyze.hooks)
  if config.train.gradient_accumulation > 1 and (
    config.train.method == 'grpo' or deep_supervision.wanted(model)
  ):
    raise ValueError(
      f'config.train.gradient_accumulation='
      f'{config.train.gradient_accumulation}: must be 1 with '
      'config.train.method=grpo or deep supervision'
    )
  if config.train.method == 'grpo':
    grpo.check(task)
    _prefixed('config.train.', lambda g: grpo.Settings(**g), config.train.grpo)
  return Experiment(config, task, model, optimizer.make(config.train), mesh)


def sampler(exp: Experiment) -> Callable[[jax.Array], base.Batch]:
  """Makes a training batch, split over the devices, from a key."""

  def sample(key):
    batch = exp.task.sample(key, exp.config.train.batch_size, 'train')
    return sharding.constrain_batch(batch, exp.mesh)

  return sample


def _check_hooks(names: str) -> None:
  if set(filter(None, names.split(','))) - set(hooks.NAMES):
    raise ValueError(
      f'config.analyze.hooks={configuration.shown(names)}: allowed are '
      f'{", ".join(hooks.NAMES)}, with commas between'
    )


def _check_depth(config: ml_collections.ConfigDict, task: base.Task) -> None:
  """Checks that the depth steps that are to answer are read out."""
  depth, model = config.train.depth_loss, config.model
  if depth == 'last':
    return
  steps = 0
  if model.name == 'looped' and model.recurrence.read_every:
    steps = model.recurrence.mean_loops
  elif model.name == 'trm':
    steps = model.recursion.supervision
  if not steps:
    raise ValueError(
      f'config.train.depth_loss={depth}: needs a model that is read out at '
      'each depth step: config.model.name=looped with '
      'config.model.recurrence.read_every=True, or trm'
    )
  if depth == 'look_ahead' and steps < max(getattr(task, 'look_ahead', (0,))):
    raise ValueError(
      f'config.train.depth_loss=look_ahead: the model is read out at {steps} '
      f'depth steps, config.task.look_ahead={task.look_ahead} needs as many as '
      'its largest value'
    )


def _prefixed(prefix: str, make: Callable[..., Any], *args: Any) -> Any:
  try:
    return make(*args)
  except ValueError as error:
    raise ValueError(f'{prefix}{error}') from None
