"""Where a run's state comes from: its folder, another run's, or a key."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import multihost_utils

from reasoning_depth.runtime import (
  checkpoint,
  configuration,
  environment,
  sharding,
  writer,
)
from reasoning_depth.training import (
  curriculum,
  deep_supervision,
  experiment,
  pretrained,
  state,
)


def claim(exp: experiment.Experiment, folder: pathlib.Path) -> None:
  """Makes the run folder, or checks that it is this run's.

  Says on stderr where a run goes on in other surroundings than it began in.

  Raises:
    ValueError: for a folder that holds something else or another run.
  """
  if jax.process_index() == 0:
    _claim(exp, folder)
  multihost_utils.sync_global_devices('the run folder is there')


def _claim(exp: experiment.Experiment, folder: pathlib.Path) -> None:
  try:
    if (folder / 'config.json').exists():
      configuration.same(exp.config, configuration.read(folder))
      environment.compare(folder / 'environment.json')
      return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
      raise ValueError(
        f'--workdir={folder}: is there and is not a run folder; take a new or '
        'empty one'
      )
    writer.write_json(folder / 'environment.json', environment.record())
    writer.write_text(
      folder / 'config.json', exp.config.to_json(indent=2) + '\n'
    )
  except OSError as error:
    raise ValueError(f'--workdir={folder}: {error.strerror}') from None


def restore_or_init(
  exp: experiment.Experiment, checkpoints: checkpoint.Checkpoints
) -> state.TrainState:
  """The newest saved state, or a fresh one, laid out over the mesh."""
  shapes, shardings = layout(exp)
  saved = checkpoints.restore(abstract(shapes, shardings))
  if saved is not None:
    return saved
  new = jax.jit(lambda: _fresh(exp), out_shardings=shardings)()
  if not exp.config.train.init_from:
    return new
  params = _params_of(exp, new.params, shardings.params)
  copies = jax.tree.map(jnp.copy, (params, params))
  return new.replace(
    params=copies[0],
    ema=None if new.ema is None else params,
    carry=copies[1] if exp.config.train.method == 'grpo' else new.carry,
  )


def restore(
  exp: experiment.Experiment, folder: pathlib.Path, name: str = 'checkpoints'
) -> state.TrainState:
  """The newest state of a run folder, which is only read.

  Raises:
    ValueError: where nothing has been saved yet.
  """
  checkpoints = checkpoint.Checkpoints(folder, name=name)
  try:
    saved = checkpoints.restore(abstract(*layout(exp)))
  finally:
    checkpoints.close()
  if saved is None:
    raise ValueError(f'--workdir={folder}: has no checkpoint yet')
  return saved


def layout(exp: experiment.Experiment) -> tuple[Any, Any]:
  """Shapes of a run's state, and where its arrays live."""
  shapes = jax.eval_shape(lambda: _fresh(exp))
  return shapes, sharding.of_state(shapes, exp.mesh, exp.config.mesh)


def _fresh(exp: experiment.Experiment) -> state.TrainState:
  new = state.init(exp.model, exp.optimizer, exp.config, exp.task.length)
  if exp.config.train.method == 'grpo':
    return new.replace(carry=jax.tree.map(jnp.copy, new.params))
  if not deep_supervision.wanted(exp.model):
    return new
  sample = experiment.sampler(curriculum.at_stage(exp, 0))
  return new.replace(carry=deep_supervision.first_carry(exp.model, sample))


def abstract(shapes: Any, shardings: Any) -> Any:
  """Shapes that know where they live, to compile for or to restore to."""
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
    ValueError: where there are none, or of another model.
  """
  folder = pathlib.Path(exp.config.train.init_from)
  try:
    if pretrained.is_one(folder):
      params = pretrained.params(exp.model, expected, folder)
    else:
      config = configuration.read(folder).unlock()
      config.mesh = exp.config.mesh
      params = restore(experiment.build(config), folder).best_params
  except ValueError as error:
    raise ValueError(f'config.train.init_from={folder}: {error}') from None
  shapes = [jax.tree.map(lambda x: x.shape, p) for p in (expected, params)]
  if shapes[0] != shapes[1]:
    raise ValueError(
      f'config.train.init_from={folder}: has parameters of other shapes; the '
      'model must be the same'
    )
  return jax.device_put(params, shardings)
