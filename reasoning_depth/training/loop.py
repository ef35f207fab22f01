"""The training loop: dispatch, report, evaluate, save."""

import functools
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import ml_collections
from clu import parameter_overview

from reasoning_depth import errors
from reasoning_depth.runtime import (
  checkpoint,
  preemption,
  progress,
  sharding,
  writer,
)
from reasoning_depth.scoring import evaluate, long_text, rollout
from reasoning_depth.tasks import base
from reasoning_depth.training import (
  curriculum,
  deep_supervision,
  divergence,
  experiment,
  grpo,
  prefetch,
  reporting,
  resume,
  state,
  step,
)

RETRIES = (1, 5, 0)  # seconds between the attempts at the last save


def train(exp: experiment.Experiment, folder: pathlib.Path) -> dict[str, Any]:
  """Trains, or goes on with, the run in a folder; ends with the test split.

  Args:
    exp: the parts of the run.
    folder: the run folder, made if it is not there.

  Returns:
    the summary of the final evaluation.

  Raises:
    ValueError: where the folder is not this run's; nothing is written then.
    reporting.Diverged: at a step with a loss or gradient that is not finite;
      the state before it is kept for `replay`.
    errors.Stopped: after a signal; the state is saved.
    errors.NotSaved: where the last state could not be written.
  """
  curriculum.check(exp.config)
  with preemption.Watch(exp.config.checkpoint.grace) as watch:
    with watch.nothing_to_save():
      resume.claim(exp, folder)
      checkpoints = checkpoint.Checkpoints(folder, _keep(exp.config))
      current = resume.restore_or_init(exp, checkpoints)
    first = int(current.step)
    show = progress.Progress(first, exp.config.train.num_steps)
    files = writer.Writer(folder, first)
    try:
      run = _Run(exp, watch, checkpoints, show, files)
      with watch.nothing_to_save(), show.pause(first):
        show.say(
          f'going on from step {first}' if first else f'writing to {folder}'
        )
        stage = _Stage(exp, current, show)
      current = run.steps(stage, current)
      with watch.nothing_to_save():
        return final_evaluation(exp, current, folder)
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
          self._leave(at, current)
        current, metrics = stage.dispatch(current, at)
        # The devices work on this dispatch while the last one is reported.
        self._reported(current, self._report.next, at, metrics)
        end = at + length
        last = end == config.train.num_steps
        evaluates = end % config.eval.every == 0 or last
        saves = end % config.checkpoint.every == 0 or last
        if evaluates or saves:
          self._reported(current, self._report.flush)
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
      self._save_for_good(current)
      return current
    finally:
      stage.close()

  def _reported(self, current, report, *args) -> None:
    """Calls a report; where it finds a divergence, keeps the state before."""
    try:
      report(*args)
    except reporting.Diverged as diverged:
      # The step was not made, nor any after it: `current` is the state before.
      divergence.keep(self._exp, self._checkpoints.run, current, diverged)
      raise

  def _leave(self, at: int, current: state.TrainState) -> None:
    """Saves on a signal."""
    self._reported(current, self._report.flush)
    self._save_for_good(current)
    raise errors.Stopped(
      f'stopped by a signal, saved at step {at}; the same command goes on'
    )

  def _save_for_good(self, current: state.TrainState) -> None:
    """Makes sure that a state is on the disk, with some patience."""
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
    show.batch_size = exp.config.train.batch_size
    length = exp.config.train.steps_per_dispatch
    self._dispatch = compile_dispatch(exp, current, length)
    self._feed = prefetch.Feed(exp, length)
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

  def dispatch(
    self, current: state.TrainState, at: int
  ) -> tuple[state.TrainState, step.StepMetrics]:
    """Trains from step `at` on, for as many steps as a dispatch has."""
    return self._dispatch(current, *self._feed.take(at))

  def close(self) -> None:
    """Stops what makes batches ahead."""
    self._feed.close()

  def validate(self, current: state.TrainState) -> dict[str, Any]:
    """Scores of the validation samples; by generation after GRPO."""
    evaluator = self._evaluator
    grpo_ = self._whole.config.train.method == 'grpo'
    run = evaluator.run_generated if grpo_ else evaluator.run
    return run(current.best_params, self._validation).summary()

  def is_over(self, end: int, summary: dict[str, Any]) -> bool:
    """Whether the next stage begins at step `end`."""
    return curriculum.is_over(
      self._whole, self.index, end - self._start, summary
    )


def _train_step(exp: experiment.Experiment) -> Callable[..., Any]:
  """The step of the run's method, as `step.make_train_step` makes it."""
  config = exp.config.train
  make = step.make_train_step
  if config.method == 'grpo':
    make = functools.partial(grpo.make_train_step, task=exp.task)
  elif deep_supervision.wanted(exp.model):
    make = deep_supervision.make_train_step
  return make(exp.model, exp.optimizer, config)


def compile_dispatch(
  exp: experiment.Experiment, current: state.TrainState, num_steps: int
) -> jax.stages.Compiled:
  """Compiles so many steps of training as one computation.

  What comes back takes a state of these shapes and shardings, and what
  `prefetch.given` gives, and can never compile again.
  """
  dispatch = step.make_dispatch(
    _train_step(exp),
    None if base.on_host(exp.task) else experiment.sampler(exp),
    state.data_key(exp.config.seed),
    num_steps,
  )
  given = prefetch.shapes(exp, num_steps)
  where = jax.tree.map(lambda x: x.sharding, (current, *given))
  with jax.set_mesh(exp.mesh):
    jitted = jax.jit(
      dispatch,
      in_shardings=where,
      out_shardings=(where[0], sharding.replicated(exp.mesh)),
      donate_argnums=0,
    )
    return jitted.lower(current, *given).compile()


def final_evaluation(
  exp: experiment.Experiment,
  current: state.TrainState,
  folder: pathlib.Path,
  name: str = '',
  overrides: Sequence[str] = (),
) -> dict[str, Any]:
  """Scores the test split and writes `evaluations/test.json` and `.jsonl`.

  Samples that can be streamed are, so that they may have any length; their rows
  hold the last segment. With `eval.rollout`, also `evaluations/rollout.json`.

  Args:
    exp: the parts of the run.
    current: the state to score.
    folder: the run folder.
    name: put behind the names of the files, where something differs from the
      run's own config.
    overrides: what that is, such as `task.num_pairs=500`; they are written too.
  """
  config = exp.config.eval
  key = state.evaluation_key(exp.config.seed)
  evaluator = evaluate.Evaluator(exp.model, exp.task, exp.config, exp.mesh)
  result = _test(exp, evaluator, current, key)
  head = {
    'split': 'test',
    'seed': exp.config.seed,
    'step': int(current.step),
  }
  summary = head | {'overrides': list(overrides)} | result.summary()
  folder = folder / 'evaluations'
  writer.write_json(folder / f'test{name}.json', summary)
  if config.rows:
    rows = result.rows(config.rows)
    writer.write_rows(folder / f'test{name}.jsonl', rows)
  if config.rollout:
    result = rollout.roll_out(
      evaluator,
      current.best_params,
      key,
      config.rollout,
      config.test_samples,
      config.ceiling,
    )
    writer.write_json(folder / f'rollout{name}.json', head | result.summary())
  return summary


def _test(
  exp: experiment.Experiment,
  evaluator: evaluate.Evaluator,
  current: state.TrainState,
  key: jax.Array,
) -> evaluate.Result:
  """Answers of a state on the test split."""
  params, count = current.best_params, exp.config.eval.test_samples
  if long_text.can(exp.task, exp.model):
    reader = long_text.Reader(exp.model, exp.task, exp.config, exp.mesh)
    return reader.run(params, key, 'test', count)
  samples = evaluate.held_out(
    exp.task, key, 'test', count, with_ceiling=exp.config.eval.ceiling
  )
  generates = getattr(exp.task, 'generates', False)
  generates |= exp.config.train.method == 'grpo'
  run = evaluator.run_generated if generates else evaluator.run
  return run(params, samples)
