"""Restores a run's state, or initialises it from a key or a checkpoint."""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import multihost_utils

from reasoning_depth import errors, settings
from reasoning_depth.exchange import archive
from reasoning_depth.runtime import (
  checkpoint,
  configuration,
  environment,
  lock,
  sharding,
  writer,
)
from reasoning_depth.training import (
  config,
  curriculum,
  experiment,
  pretrained,
  state,
)


def claim(exp: experiment.Experiment, folder: pathlib.Path) -> None:
  """Makes the run folder, or checks that it is this run's.

  Warns on stderr where devices, packages or the like have changed.

  Raises:
    UsageError: for a folder that holds another run or something else.
  """
  if jax.process_index() == 0:
    _claim(exp, folder)
  multihost_utils.sync_global_devices('the run folder is there')


def _claim(exp: experiment.Experiment, folder: pathlib.Path) -> None:
  try:
    if (folder / 'config.json').exists():
      configuration.same(exp.config, config.read(folder), config.FREE)
      environment.compare(folder / 'environment.json')
      _same_data(exp, folder / 'data.json')
      return
    if folder.exists() and not _free(folder):
      raise errors.UsageError(
        f'--workdir={folder}: is there and is not a run folder; take a new or '
        'empty one'
      )
    writer.write_json(folder / 'environment.json', environment.record())
    if exp.task.data_record:
      writer.write_json(folder / 'data.json', exp.task.data_record)
    writer.write_text(
      folder / 'config.json', exp.config.to_json(indent=2) + '\n'
    )
  except OSError as error:
    raise errors.UsageError(f'--workdir={folder}: {error.strerror}') from None


def _same_data(exp: experiment.Experiment, path: pathlib.Path) -> None:
  """Raises `UsageError` where data files have changed since the run began."""
  now = exp.task.data_record
  if now and path.is_file():
    before = archive.read_json(path)
    if before.get('sha256') != now['sha256']:
      raise errors.UsageError(
        f'config.task.data={settings.shown(now["path"])}: the files have '
        'changed since the run began; take another --workdir'
      )


def _free(path: pathlib.Path) -> bool:
  """Whether a path is a folder that is empty but for a lock file."""
  return path.is_dir() and all(p.name == lock.NAME for p in path.iterdir())


def restore_or_init(
  exp: experiment.Experiment, checkpoints: checkpoint.Checkpoints
) -> state.TrainState:
  """The newest saved state, or a fresh one, sharded over the mesh."""
  shapes, shardings = layout(exp)
  saved = checkpoints.restore(abstract(shapes, shardings))
  if saved is not None:
    return saved
  new = fresh(exp)
  if not exp.config.train.init_from:
    return new
  params = _params_of(exp, new.params, shardings.params)
  return new.replace(
    params=jax.tree.map(jnp.copy, params),
    ema=None if new.ema is None else params,
    carry=exp.method.carry_from(params, new.carry),
  )


def fresh(exp: experiment.Experiment) -> state.TrainState:
  """A new state, sharded over the mesh, whatever `train.init_from` says."""
  _, shardings = layout(exp)
  return jax.jit(_maker(exp), out_shardings=shardings)()


def restore(
  exp: experiment.Experiment, folder: pathlib.Path, name: str = 'checkpoints'
) -> state.TrainState:
  """The newest state of a run folder; writes nothing.

  Raises:
    UsageError: where nothing has been saved yet.
  """
  checkpoints = checkpoint.Checkpoints(folder, name=name)
  try:
    saved = checkpoints.restore(abstract(*layout(exp)))
  finally:
    checkpoints.close()
  if saved is None:
    raise errors.UsageError(f'--workdir={folder}: has no checkpoint yet')
  return saved


@functools.lru_cache(experiment.KEPT)
def layout(exp: experiment.Experiment) -> tuple[Any, Any]:
  """Shapes and shardings of a run's state."""
  shapes = jax.eval_shape(_maker(exp))
  return shapes, sharding.of_state(shapes, exp.mesh, exp.config.mesh)


@functools.lru_cache(experiment.KEPT)
def _maker(exp: experiment.Experiment) -> Callable[[], state.TrainState]:
  """The one function that makes a fresh state, so that it is traced once."""
  return functools.partial(_fresh, exp)


def _fresh(exp: experiment.Experiment) -> state.TrainState:
  new = state.init(exp.model, exp.optimizer, exp.config, exp.task.length)
  sample = experiment.sampler(curriculum.at_stage(exp, 0))
  carry = exp.method.first_carry(exp.model, new.params, sample)
  return new.replace(carry=carry)


def abstract(shapes: Any, shardings: Any) -> Any:
  """`ShapeDtypeStruct`s with shardings, to compile for or to restore to."""
  return jax.tree.map(
    lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
    shapes,
    shardings,
  )


def _params_of(
  exp: experiment.Experiment, expected: Any, shardings: Any
) -> Any:
  """The parameters in `train.init_from`, a run folder or a checkpoint.

  Raises:
    UsageError: where there are none, or they are another model's.
  """
  folder = pathlib.Path(exp.config.train.init_from)
  try:
    if pretrained.is_one(folder):
      params = pretrained.params(exp.model, expected, folder)
    else:
      other = config.read(folder).unlock()
      other.mesh = exp.config.mesh
      params = restore(experiment.build(other), folder).best_params
  except errors.UsageError as error:
    raise errors.UsageError(
      f'config.train.init_from={folder}: {error}'
    ) from None
  shapes = [jax.tree.map(lambda x: x.shape, p) for p in (expected, params)]
  if shapes[0] != shapes[1]:
    raise errors.UsageError(
      f'config.train.init_from={folder}: has parameters of other shapes; the '
      'model must be the same'
    )
  return jax.device_put(params, shardings)
