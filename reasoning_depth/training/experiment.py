"""From a config to the parts of a run."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import ml_collections
import optax
from jax.sharding import Mesh

from reasoning_depth import models, tasks
from reasoning_depth.evaluation import rollout
from reasoning_depth.runtime import configuration, sharding
from reasoning_depth.tasks import base
from reasoning_depth.training import grpo, optimizer


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
  mesh = _prefixed('config.', sharding.make_mesh, config.mesh)
  per_part = config.train.batch_size // config.train.accumulate
  sharding.check_batch('config.train.batch_size', per_part, mesh)
  sharding.check_batch('config.eval.batch_size', config.eval.batch_size, mesh)
  rollout.check(task, config.eval.rollout)
  if config.train.method == 'grpo':
    grpo.check(task)
    _prefixed('config.train.', lambda g: grpo.Settings(**g), config.train.grpo)
  return Experiment(config, task, model, optimizer.make(config.train), mesh)


def _prefixed(prefix: str, make: Callable[..., Any], *args: Any) -> Any:
  try:
    return make(*args)
  except ValueError as error:
    raise ValueError(f'{prefix}{error}') from None
