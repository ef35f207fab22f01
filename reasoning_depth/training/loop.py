"""The training loop: dispatch, report, evaluate, save."""

import functools
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from clu import parameter_overview

from reasoning_depth.evaluation import evaluate, rollout
from reasoning_depth.runtime import (
  checkpoint,
  configuration,
  environment,
  progress,
  sharding,
  writer,
)
from reasoning_depth.tasks import base
from reasoning_depth.training import (
  curriculum,
  deep_supervision,
  experiment,
  grpo,
  optimizer,
  state,
  step,
)


class Diverged(Exception):
  """Loss or gradient was not finite; no later state was saved."""


def train(exp: experiment.Experiment, folder: pathlib.Path) -> dict[str, Any]:
  """Trains, or goes on with, the run in a folder; ends with the test split.

  Args:
    exp: the parts of the run.
    folder: the run folder, made if it is not there.

  Returns:
    the summary of the final evaluation.

  Raises:
    ValueError: where the folder is not this run's; nothing is written then.
    Diverged: at the first step with a loss or gradient that is not finite.
  """
  curriculum.check(exp.config)
  claim(exp, folder)
  checkpoints = checkpoint.Checkpoints(folder, exp.config.checkpoint.keep)
  current = _restore_or_init(exp, checkpoints)
  first, config = int(current.step), exp.config
  show = progress.Progress(
    first, config.train.num_steps, config.train.batch_size
  )
  files = writer.Writer(folder, first)
  report = _Report(exp, files, show)
  try:
    with show.pause(first):
      show.say(
        f'going on from step {first}' if first else f'writing to {folder}'
      )
      stage = _Stage(exp, current, show)
    length = config.train.steps_per_dispatch
    for at in range(first, config.train.num_steps, length):
      current, metrics = stage.dispatch(current)
      # The devices work on this dispatch while the last one is reported.
      report.next(at, metrics)
      end = at + length
      last = end == config.train.num_steps
      evaluates = end % config.eval.every == 0 or last
      saves = end % config.checkpoint.every == 0 or last
      if evaluates or saves:
        report.flush()  # never saves or scores a diverged state
      over = False
      if evaluates:
        with show.pause(end):
          summary = stage.validate(current)
          report.validation(end, stage.index, summary)
        over = stage.is_over(end, summary) and not last
        if over:
          current = curriculum.advance(exp, current)
      if saves:
        checkpoints.save(end, current)
      if over:
        with show.pause(end):
          stage = _Stage(exp, current, show)
    summary = final_evaluation(exp, current, folder)
  finally:
    show.close()
    files.close()
    checkpoints.close()
  return summary


class _Stage:
  """What is compiled for a stage of the curriculum, or for the whole run."""

  def __init__(
    self,
    exp: experiment.Experiment,
    current: state.TrainState,
    show: progress.Progress,
  ):
    started = time.monotonic()
    self._whole, self.index = exp, int(current.stage)
    self._start = int(current.stage_start)
    exp = curriculum.at_stage(exp, self.index)
    self.dispatch = compile_dispatch(exp, current)
    parameters = parameter_overview.count_parameters(current.params)
    name = ''
    if curriculum.num_stages(exp.config) > 1:
      field = exp.config.train.curriculum.field
      name = f'stage {self.index}, {field} {exp.config.task[field]}: '
    show.say(
      f'{name}{parameters:,} parameters; compiled in '
      f'{time.monotonic() - started:.1f} s'
    )
    self._evaluator = evaluate.Evaluator(
      exp.model, exp.task, exp.config, exp.mesh
    )
    self._validation = evaluate.held_out(
      exp.task,
      state.evaluation_key(exp.config.seed),
      'validation',
      exp.config.eval.validation_samples,
    )

  def validate(self, current: state.TrainState) -> dict[str, Any]:
    """Scores of the validation samples; by generation after GRPO."""
    evaluator = self._evaluator
    grpo_ = self._whole.config.train.method == 'grpo'
    run = evaluator.run_spoken if grpo_ else evaluator.run
    return run(current.best_params, self._validation).summary()

  def is_over(self, end: int, summary: dict[str, Any]) -> bool:
    """Whether the next stage begins at step `end`."""
    return curriculum.is_over(
      self._whole,
      self.index,
      end - self._start,
      summary['overall']['exact_match'],
    )


def claim(exp: experiment.Experiment, folder: pathlib.Path) -> None:
  """Makes the run folder, or checks that it is this run's.

  Raises:
    ValueError: for a folder that holds something else or another run.
  """
  if (folder / 'config.json').exists():
    configuration.same(exp.config, configuration.read(folder))
    return
  if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
    raise ValueError(
      f'--workdir={folder}: is there and is not a run folder; take a new or '
      'empty one'
    )
  try:
    writer.write_json(folder / 'environment.json', environment.record())
    writer.write_text(
      folder / 'config.json', exp.config.to_json(indent=2) + '\n'
    )
  except OSError as error:
    raise ValueError(f'--workdir={folder}: {error.strerror}') from None


def _restore_or_init(
  exp: experiment.Experiment, checkpoints: checkpoint.Checkpoints
) -> state.TrainState:
  """The newest saved state, or a fresh one, replicated over the mesh."""

  def fresh():
    new = state.init(exp.model, exp.optimizer, exp.config, exp.task.length)
    if exp.config.train.method == 'grpo':
      return new.replace(carry=jax.tree.map(jnp.copy, new.params))
    if not deep_supervision.wanted(exp.model):
      return new
    sample = _sampler(curriculum.at_stage(exp, 0))
    return new.replace(carry=deep_supervision.first_carry(exp.model, sample))

  sharded = sharding.replicated(exp.mesh)
  if checkpoints.latest is None:
    new = jax.jit(fresh, out_shardings=sharded)()
    if not exp.config.train.init_from:
      return new
    params = _params_of(exp, new.params)
    copies = jax.tree.map(jnp.copy, (params, params))
    return new.replace(
      params=copies[0],
      ema=None if new.ema is None else params,
      carry=copies[1] if exp.config.train.method == 'grpo' else new.carry,
    )
  shapes = jax.eval_shape(fresh)
  return checkpoints.restore(checkpoint.abstract(shapes, sharded))


def _params_of(exp: experiment.Experiment, expected: Any) -> Any:
  """The parameters that `train.init_from`, a run folder, ended with.

  Raises:
    ValueError: where there are none, or of another model.
  """
  folder = pathlib.Path(exp.config.train.init_from)
  try:
    other = experiment.build(configuration.read(folder))
    params = restore(other, folder).best_params
  except ValueError as error:
    raise ValueError(f'config.train.init_from={folder}: {error}') from None
  shapes = [jax.tree.map(lambda x: x.shape, p) for p in (expected, params)]
  if shapes[0] != shapes[1]:
    raise ValueError(
      f'config.train.init_from={folder}: has parameters of other shapes; the '
      'model must be the same'
    )
  return jax.device_put(params, sharding.replicated(exp.mesh))


def restore(
  exp: experiment.Experiment, folder: pathlib.Path
) -> state.TrainState:
  """The newest state of a run folder.

  Raises:
    ValueError: where nothing has been saved yet.
  """
  checkpoints = checkpoint.Checkpoints(folder)
  try:
    if checkpoints.latest is None:
      raise ValueError(f'--workdir={folder}: has no checkpoint yet')
    return _restore_or_init(exp, checkpoints)
  finally:
    checkpoints.close()


def _sampler(exp: experiment.Experiment) -> Callable[[jax.Array], base.Batch]:
  """Makes a training batch, split over the devices, from a key."""

  def sample(key):
    batch = exp.task.sample(key, exp.config.train.batch_size, 'train')
    return sharding.constrain_batch(batch, exp.mesh)

  return sample


def compile_dispatch(
  exp: experiment.Experiment, current: state.TrainState
) -> jax.stages.Compiled:
  """Compiles the whole training computation, once.

  What comes back takes a state of these shapes and can never compile again.
  """
  config = exp.config.train
  make = step.make_train_step
  if config.method == 'grpo':
    make = functools.partial(grpo.make_train_step, task=exp.task)
  elif deep_supervision.wanted(exp.model):
    make = deep_supervision.make_train_step
  dispatch = step.make_dispatch(
    make(exp.model, exp.optimizer, config),
    _sampler(exp),
    state.data_key(exp.config.seed),
    config.steps_per_dispatch,
  )
  replicated = sharding.replicated(exp.mesh)
  with jax.set_mesh(exp.mesh):
    jitted = jax.jit(
      dispatch,
      in_shardings=replicated,
      out_shardings=replicated,
      donate_argnums=0,
    )
    return jitted.lower(current).compile()


def final_evaluation(
  exp: experiment.Experiment,
  current: state.TrainState,
  folder: pathlib.Path,
  name: str = '',
) -> dict[str, Any]:
  """Scores the test split and writes `evaluations/test.json` and `.jsonl`.

  With `eval.rollout`, also `evaluations/rollout.json`.

  Args:
    exp: the parts of the run.
    current: the state to score.
    folder: the run folder.
    name: put behind the names of the files, where something differs from the
      run's own config.
  """
  config = exp.config.eval
  samples = evaluate.held_out(
    exp.task,
    state.evaluation_key(exp.config.seed),
    'test',
    config.test_samples,
    with_ceiling=config.ceiling,
  )
  evaluator = evaluate.Evaluator(exp.model, exp.task, exp.config, exp.mesh)
  speaks = getattr(exp.task, 'speaks', False)
  speaks |= exp.config.train.method == 'grpo'
  run = evaluator.run_spoken if speaks else evaluator.run
  result = run(current.best_params, samples)
  head = {
    'split': 'test',
    'seed': exp.config.seed,
    'step': int(current.step),
  }
  summary = head | result.summary()
  folder = folder / 'evaluations'
  writer.write_json(folder / f'test{name}.json', summary)
  if config.rows:
    rows = result.rows(config.rows)
    writer.write_rows(folder / f'test{name}.jsonl', rows)
  if config.rollout:
    result = rollout.roll_out(
      evaluator,
      current.best_params,
      state.evaluation_key(exp.config.seed),
      config.rollout,
      config.test_samples,
      config.ceiling,
    )
    writer.write_json(folder / f'rollout{name}.json', head | result.summary())
  return summary


class _Report:
  """Reads metrics one dispatch late, so that the devices never wait."""

  def __init__(self, exp, files, show):
    self._schedule = optimizer.schedule(exp.config.train)
    self._files = files
    self._show = show
    self._pending = None

  def next(self, at: int, metrics: step.StepMetrics) -> None:
    """Takes the metrics of the dispatch that began at a step."""
    self.flush(ahead=metrics)
    self._pending = (at, metrics)

  def flush(self, ahead: step.StepMetrics | None = None) -> None:
    """Reports the dispatch that is pending, if any.

    Args:
      ahead: metrics of the dispatch after it, which may be done as well.
    """
    if self._pending is None:
      return
    at, metrics = self._pending
    self._pending = None
    metrics = jax.device_get(metrics)
    if not metrics.finite.all():
      bad = at + int(np.argmin(metrics.finite))
      raise Diverged(
        f'step {bad}: loss or gradient is not finite (loss '
        f'{metrics.sums.loss[bad - at] / metrics.sums.weight[bad - at]}, '
        f'gradient norm {metrics.grad_norm[bad - at]})'
      )
    end = done = at + len(metrics.finite)
    if ahead is not None and ahead.finite.is_ready():
      done += len(ahead.finite)
    sums = jax.tree.map(lambda x: x.sum(dtype=np.float64), metrics.sums)
    values = {
      **sums.means(),
      **{k: float(v.mean()) for k, v in metrics.extra.items()},
      'grad_norm': float(metrics.grad_norm.mean()),
      'learning_rate': float(self._schedule(end - 1)),
      **self._show.rates(done),
    }
    self._files.write(end, 'train', values)
    self._show.train(end, values)

  def validation(self, at: int, stage: int, summary: dict[str, Any]) -> None:
    """Reports a validation."""
    scores = summary['overall']
    groups = {
      f'exact_match_{g["group"]}': g['exact_match'] for g in summary['groups']
    }
    values = {k: scores[k] for k in ('loss', 'exact_match', 'bit_accuracy')}
    self._files.write(at, 'validation', {'stage': stage} | values | groups)
    text = '  '.join(f'{k} {v:.3f}' for k, v in (values | groups).items())
    self._show.say(f'step {at}  validation  {text.replace("_", " ")}')
