"""Evaluation on the test split, after training or of a run folder."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from reasoning_depth.longcontext import schedule
from reasoning_depth.runtime import writer
from reasoning_depth.scoring import evaluate as scoring
from reasoning_depth.scoring import long_text, look_ahead
from reasoning_depth.training import costs, experiment, state


def evaluate(
  exp: experiment.Experiment,
  current: state.TrainState,
  folder: pathlib.Path,
  name: str = '',
  overrides: Sequence[str] = (),
) -> dict[str, Any]:
  """Scores the test split and writes `evaluations/test.json` and `.jsonl`.

  Samples that can be streamed are, at any length; `test.jsonl` then has their
  last segments. With `eval.look_ahead`, also writes
  `evaluations/look_ahead.json`; without overrides, `evaluations/cost.json`.

  Args:
    exp: the experiment.
    current: the state to score.
    folder: the run folder.
    name: file suffix naming the overrides.
    overrides: such as `task.num_pairs=500`; recorded in the summary.
  """
  config = exp.config.eval
  key = state.evaluation_key(exp.config.seed)
  if not overrides:
    costs.write(exp, current, folder)
  exp = _scheduled(exp, current)
  evaluator = experiment.evaluator(exp)
  result = _test(exp, evaluator, current, key)
  head = {
    'split': 'test',
    'seed': exp.config.seed,
    'step': int(current.step),
    'overrides': list(overrides),
  }
  if exp.task.data_record:
    head['data'] = exp.task.data_record
  summary = head | result.summary()
  folder = folder / 'evaluations'
  writer.write_json(folder / f'test{name}.json', summary)
  if config.rows:
    rows = result.rows(config.rows)
    writer.write_rows(folder / f'test{name}.jsonl', rows)
  if config.look_ahead:
    result = look_ahead.score(
      evaluator,
      current.best_params,
      key,
      config.look_ahead,
      config.test_samples,
      config.ceiling,
    )
    path = folder / f'look_ahead{name}.json'
    writer.write_json(path, head | result.summary())
  return summary


def _scheduled(
  exp: experiment.Experiment, current: state.TrainState
) -> experiment.Experiment:
  """The experiment with its model in the schedule of its settings.

  'auto' times what the evaluation runs: segments of a stream, or whole
  sequences.
  """
  B, model = exp.config.eval.batch_size, exp.model
  if long_text.can(exp.task, model):
    shape = (long_text.AT_ONCE, B, model.segment_length)

    def work(model, params, tokens):
      read = model.apply(
        {'params': params}, tokens, None, 0, method='read_segments'
      )
      return read[1]
  else:
    shape = (B, exp.task.held_out_length)

    def work(model, params, tokens):
      return model.apply({'params': params}, tokens).logits

  _, model = schedule.scheduled(
    model, work, current.best_params, lambda: jnp.zeros(shape, jnp.int32)
  )
  return dataclasses.replace(exp, model=model)


def _test(
  exp: experiment.Experiment,
  evaluator: scoring.Evaluator,
  current: state.TrainState,
  key: jax.Array,
) -> scoring.Result:
  """Scores a state on the test split."""
  params, count = current.best_params, exp.config.eval.test_samples
  if long_text.can(exp.task, exp.model):
    reader = long_text.Reader(exp.model, exp.task, exp.config, exp.mesh)
    return reader.run(params, key, 'test', count)
  known = evaluator.scored_by if exp.config.eval.ceiling else ''
  samples = exp.task.draw_held_out(key, 'test', count, known)
  return evaluator.run(params, samples)
