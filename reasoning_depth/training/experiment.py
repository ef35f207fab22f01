"""Builds task, model, method, optimiser and mesh from a config."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import ml_collections
import optax
from jax.sharding import Mesh

from reasoning_depth import errors, models, settings, tasks, training
from reasoning_depth.longcontext import schedule
from reasoning_depth.models import base as base_model
from reasoning_depth.runtime import sharding
from reasoning_depth.scoring import evaluate, look_ahead
from reasoning_depth.tasks import base
from reasoning_depth.training import config as config_lib
from reasoning_depth.training import methods, optimizer, step

KEPT = 4  # experiments of which something traced is kept


@dataclasses.dataclass(frozen=True, eq=False)
class Experiment:
  """The objects of a run, checked against each other.

  What is traced of one is kept by its identity: tracing takes seconds.
  """

  config: ml_collections.ConfigDict
  task: base.Task
  model: base_model.Model
  method: methods.Method
  optimizer: optax.GradientTransformation
  mesh: Mesh


def build(config: ml_collections.ConfigDict) -> Experiment:
  """Checks a config and builds its objects; compiles nothing.

  Raises:
    UsageError: naming the field, its value and what is allowed.
  """
  made = config_lib.check(config)
  with settings.within('config.task.'):
    task = tasks.make(config.task)
  with settings.within('config.model.'):
    model = models.make(config.model, task)
    schedule.check(model)
  method = _method(config, model, made)
  with settings.within(f'config.train.method={config.train.method}: '):
    method.check(task)
  _check_depth(config, task, model)
  held_out = max(config.eval.test_samples, config.eval.validation_samples)
  task.check_held_out(held_out)
  look_ahead.check(task, model, config)
  with settings.within('config.'):
    mesh = sharding.make_mesh(config.mesh)
  microbatches = config.train.gradient_accumulation
  if microbatches > 1 and not method.accumulates:
    settings.complain(
      'config.train.gradient_accumulation', microbatches,
      'must be 1 with config.train.method=grpo or deep supervision',
    )  # fmt: skip
  microbatch_size = config.train.batch_size // microbatches
  sharding.check_batch('config.train.batch_size', microbatch_size, mesh)
  sharding.check_batch('config.eval.batch_size', config.eval.batch_size, mesh)
  optimizer_ = optimizer.make(config.train)
  return Experiment(config, task, model, method, optimizer_, mesh)


def sampler(exp: Experiment) -> Callable[[jax.Array], base.Batch]:
  """A function from a key to a training batch, sharded over the devices."""

  def sample(key):
    batch = exp.task.sample(key, exp.config.train.batch_size, 'train')
    return sharding.constrain_batch(batch, exp.mesh)

  return sample


def scheduled(exp: Experiment, params: Any) -> tuple[str, Experiment]:
  """Selects the model's schedule over segments for training.

  Args:
    exp: the experiment, at the stage of its curriculum.
    params: of its model.

  Returns:
    the name of the schedule, '' for a model without one, and the experiment
    with its model in it.
  """

  def batch():
    if exp.task.on_host:
      B = exp.config.train.batch_size
      made = exp.task.host_sample(exp.config.seed, 0, B)
      return jax.device_put(made, sharding.batched(exp.mesh))
    return jax.jit(sampler(exp))(jax.random.key(0))

  def work(model, params, batch):
    key = jax.random.key(0)
    return step.gradients(model, params, batch, key, exp.config.train)

  with jax.set_mesh(exp.mesh):
    name, model = schedule.scheduled(exp.model, work, params, batch)
  return name, with_model(exp, model)


@functools.lru_cache(KEPT)
def with_model(exp: Experiment, model: base_model.Model) -> Experiment:
  """The experiment with another model; itself where it is the same one."""
  return exp if model is exp.model else dataclasses.replace(exp, model=model)


@functools.lru_cache(KEPT)
def train_step(exp: Experiment) -> methods.TrainStep:
  """The train step of the experiment's method; traced once."""
  return jax.jit(
    exp.method.make_train_step(
      exp.model, exp.task, exp.optimizer, exp.config.train
    )
  )


@functools.lru_cache(KEPT)
def evaluator(exp: Experiment) -> evaluate.Evaluator:
  """The evaluator; task and method decide whether answers are generated."""
  return evaluate.Evaluator(
    exp.model, exp.task, exp.config, exp.mesh, exp.method.generates,
    exp.method.completion(exp.task),
  )  # fmt: skip


def _method(config, model, made) -> methods.Method:
  """The training method; `model.trained_by` is what 'supervised' means."""
  name = config.train.method
  name = model.trained_by if name == 'supervised' else name
  return training.METHODS[name](made.get(name))


def _check_depth(config, task: base.Task, model: base_model.Model) -> None:
  """Checks that the model has logits at the depth steps in the loss."""
  depth = config.train.depth_loss
  if task.by_depth and depth != 'look_ahead':
    settings.complain(
      'config.train.depth_loss', depth,
      'must be look_ahead for this task, which tells the look-ahead by the '
      'number of depth steps alone',
    )  # fmt: skip
  if depth == 'last':
    return
  steps = model.depths_read()
  if not steps:
    raise errors.UsageError(
      f'config.train.depth_loss={depth}: needs a model that is read out at '
      'each depth step: config.model.name=looped with '
      'config.model.recurrence.read_every=True, or trm'
    )
  if depth == 'look_ahead' and steps < max(task.look_ahead, default=0):
    raise errors.UsageError(
      f'config.train.depth_loss=look_ahead: the model is read out at {steps} '
      f'depth steps, config.task.look_ahead={task.look_ahead} needs as many as '
      'its largest value'
    )
