"""The training loop: dispatch, report, evaluate, save."""

import functools
import pathlib
import time
from typing import Any

import jax
import ml_collections
from clu import parameter_overview

from reasoning_depth import errors, settings
from reasoning_depth.runtime import (
  checkpoint,
  lock,
  preemption,
  progress,
  sharding,
  tracker,
  writer,
)
from reasoning_depth.tasks import splits
from reasoning_depth.training import (
  curriculum,
  divergence,
  experiment,
  final,
  prefetch,
  reporting,
  resume,
  state,
  step,
)

RETRIES = (1, 5, 0)  # seconds between the attempts at the last save


def train(exp: experiment.Experiment, folder: pathlib.Path) -> dict[str, Any]:
  """Starts or resumes the run in a folder; then scores the test split.

  Args:
    exp: the experiment.
    folder: the run folder, made if it does not exist.

  Returns:
    the summary of the final evaluation.

  Raises:
    UsageError: where the folder is not this run's, or a split is missing in
      the task's files (nothing is written then), or another process trains in
      it.
    reporting.Diverged: at a non-finite loss or gradient; the state before it is
      kept for `replay`.
    errors.Stopped: after a signal; the state is saved.
    errors.NotSaved: where the last state could not be saved.
  """
  curriculum.check(exp.config)
  tracker.check(exp.config.log.wandb)
  with settings.within('config.task.'):
    for split in splits.SPLITS:
      exp.task.available(split, 1)
  with preemption.Watch(exp.config.checkpoint.grace) as watch:
    with watch.nothing_to_save():
      resume.claim(exp, folder)
    with lock.held(folder):
      return _train(exp, folder, watch)


def _train(
  exp: experiment.Experiment, folder: pathlib.Path, watch: preemption.Watch
) -> dict[str, Any]:
  """Trains in a run folder that is claimed and locked."""
  with watch.nothing_to_save():
    checkpoints = checkpoint.Checkpoints(folder, _keep(exp.config))
    current = resume.restore_or_init(exp, checkpoints)
  first = int(current.step)
  show = progress.Progress(first, exp.config.train.num_steps)
  files = writer.Writer(folder, first, exp.config.log.wandb)
  try:
    run = _Run(exp, watch, checkpoints, show, files)
    with watch.nothing_to_save(), show.pause(first):
      show.say(
        f'going on from step {first}' if first else f'writing to {folder}'
      )
      stage = _Stage(exp, current, show)
    current = run.steps(stage, current)
    with watch.nothing_to_save():
      return final.evaluate(exp, current, folder)
  finally:
    show.close()
    files.close()
    checkpoints.close()


class _Run:
  """The steps of a run, from dispatch to dispatch."""

  def __init__(
    self,
    exp: experiment.Experiment,
    watch: preemption.Watch,
    checkpoints: checkpoint.Checkpoints,
    show: progress.Progress,
    files: writer.Writer,
  ):
    self._exp, self._watch = exp, watch
    self._checkpoints, self._show = checkpoints, show
    self._report = reporting.Report(exp, files, show)

  def steps(self, stage: '_Stage', current: state.TrainState) -> Any:
    """Trains to the last step; returns the state, which is saved."""
    config = self._exp.config
    length = config.train.steps_per_dispatch
    try:
      for at in range(int(current.step), config.train.num_steps, length):
        if self._watch.asked():
          self._save_and_stop(at, current)
        current, metrics = stage.dispatch(current, at)
        # Reports the last dispatch while the devices run this one.
        self._call_report(current, self._report.next, at, metrics)
        end = at + length
        last = end == config.train.num_steps
        evaluates = end % config.eval.every == 0 or last
        saves = end % config.checkpoint.every == 0 or last
        if evaluates or saves:
          self._call_report(current, self._report.flush)
        over, scores = False, None
        if evaluates:
          with self._show.pause(end):
            summary = stage.validate(current)
            self._report.validation(end, stage.index, summary)
          scores = reporting.scores(summary)
          over = stage.is_over(end, summary) and not last
          if over:
            current = curriculum.advance(self._exp, current)
        if saves:
          self._checkpoints.save(end, current, scores)
        if over:
          with self._show.pause(end):
            stage.close()
            stage = _Stage(self._exp, current, self._show)
      self._save_or_raise(current)
      return current
    finally:
      stage.close()

  def _call_report(self, current, report, *args) -> None:
    """Calls a report; if it finds a divergence, saves the state before it."""
    try:
      report(*args)
    except reporting.Diverged as diverged:
      # Neither that step nor any after it changed the state.
      divergence.keep(self._exp, self._checkpoints.run, current, diverged)
      raise

  def _save_and_stop(self, at: int, current: state.TrainState) -> None:
    """Saves after a signal and raises `errors.Stopped`."""
    self._call_report(current, self._report.flush)
    self._save_or_raise(current)
    raise errors.Stopped(
      f'stopped by a signal, saved at step {at}; the same command goes on'
    )

  def _save_or_raise(self, current: state.TrainState) -> None:
    """Saves a state, with retries; raises `errors.NotSaved` if all fail."""
    at = int(current.step)
    for seconds in RETRIES:
      self._checkpoints.save(at, current)
      if self._checkpoints.wait() == at:
        return
      time.sleep(seconds)
    raise errors.NotSaved(f'step {at} could not be saved')


def _keep(config: ml_collections.ConfigDict) -> checkpoint.Keep:
  c = config.checkpoint
  return checkpoint.Keep(c.keep, c.keep_best, c.keep_every, c.metric)


def _auto_note(exp: experiment.Experiment, order: str) -> str:
  """The schedule that 'auto' selected, for the log."""
  return f', schedule {order}' if exp.model.schedule == 'auto' else ''


class _Stage:
  """Compiled functions and data of a curriculum stage, or of the whole run."""

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
    order, exp = experiment.scheduled(exp, current.params)
    show.batch_size = exp.config.train.batch_size
    length = exp.config.train.steps_per_dispatch
    self._dispatch = compile_dispatch(exp, current, length)
    self._batches = prefetch.Prefetcher(exp, length)
    parameters = parameter_overview.count_parameters(current.params)
    name = ''
    if curriculum.num_stages(exp.config) > 1:
      field = exp.config.train.curriculum.field
      name = f'stage {self.index}, {field} {exp.config.task[field]}: '
    show.say(
      f'{name}{parameters:,} parameters{_auto_note(exp, order)}; compiled in '
      f'{time.monotonic() - started:.1f} s'
    )
    self._evaluator = experiment.evaluator(exp)
    self._validation = exp.task.draw_held_out(
      state.evaluation_key(exp.config.seed),
      'validation',
      exp.config.eval.validation_samples,
    )

  def dispatch(
    self, current: state.TrainState, at: int
  ) -> tuple[state.TrainState, step.StepMetrics]:
    """Runs the dispatch that begins at step `at`."""
    return self._dispatch(current, *self._batches.take(at))

  def close(self) -> None:
    """Stops the prefetch thread."""
    self._batches.close()

  def validate(self, current: state.TrainState) -> dict[str, Any]:
    """Scores on the validation samples."""
    result = self._evaluator.run(current.best_params, self._validation)
    return result.summary()

  def is_over(self, end: int, summary: dict[str, Any]) -> bool:
    """Whether the next stage begins at step `end`."""
    return curriculum.is_over(
      self._whole, self.index, end - self._start, summary
    )


def compile_dispatch(
  exp: experiment.Experiment, current: state.TrainState, num_steps: int
) -> jax.stages.Compiled:
  """Compiles `num_steps` training steps as one computation.

  The compiled function takes a state with these shapes and shardings and the
  result of `prefetch.chunk`; it never recompiles.
  """
  given = prefetch.shapes(exp, num_steps)
  leaves, tree = jax.tree.flatten(
    jax.tree.map(lambda x: x.sharding, (current, *given))
  )
  with jax.set_mesh(exp.mesh):
    jitted = _dispatch(exp, num_steps, tree, *leaves)
    return jitted.lower(current, *given).compile()


@functools.lru_cache(experiment.KEPT)
def _dispatch(
  exp: experiment.Experiment,
  num_steps: int,
  tree: Any,
  *leaves: jax.sharding.Sharding,
) -> Any:
  """The jitted dispatch; `tree` and `leaves` are its arguments' shardings."""
  dispatch = step.make_dispatch(
    experiment.train_step(exp),
    None if exp.task.on_host else experiment.sampler(exp),
    state.data_key(exp.config.seed),
    num_steps,
  )
  where = tree.unflatten(leaves)
  return jax.jit(
    dispatch,
    in_shardings=where,
    out_shardings=(where[0], sharding.replicated(exp.mesh)),
    donate_argnums=0,
  )
