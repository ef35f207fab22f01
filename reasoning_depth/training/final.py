"""Evaluation on the test split, after training or of a run folder."""

import pathlib
from collections.abc import Iterator, Sequence
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
  if not overrides:
    costs.write(exp, current, folder)
  head = {
    'split': 'test',
    'seed': exp.config.seed,
    'step': int(current.step),
    'overrides': list(overrides),
  }
  if exp.task.data_record:
    head['data'] = exp.task.data_record
  folder, rows = folder / 'evaluations', exp.config.eval.rows
  summaries = {}
  for what, result in score(exp, current.best_params):
    summaries[what] = head | result.summary()
    writer.write_json(folder / f'{what}{name}.json', summaries[what])
    if what == 'test' and rows:
      writer.write_rows(folder / f'test{name}.jsonl', result.rows(rows))
  return summaries['test']


def score(
  exp: experiment.Experiment, params: Any
) -> Iterator[tuple[str, scoring.Result]]:
  """Scores parameters on the test split.

  Yields:
    'test' and its result; with `eval.look_ahead`, 'look_ahead' and its result.
  """
  config = exp.config.eval
  key = state.evaluation_key(exp.config.seed)
  exp = _scheduled(exp, params)
  evaluator = experiment.evaluator(exp)
  yield 'test', _test(exp, evaluator, params, key)
  if config.look_ahead:
    yield (
      'look_ahead',
      look_ahead.score(
        evaluator, params, key, config.look_ahead, config.test_samples,
        config.ceiling,
      ),
    )  # fmt: skip


def _scheduled(
  exp: experiment.Experiment, params: Any
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
    model, work, params, lambda: jnp.zeros(shape, jnp.int32)
  )
  return experiment.with_model(exp, model)


def _test(
  exp: experiment.Experiment,
  evaluator: scoring.Evaluator,
  params: Any,
  key: jax.Array,
) -> scoring.Result:
  """Scores parameters on the test split."""
  count = exp.config.eval.test_samples
  if long_text.can(exp.task, exp.model):
    reader = long_text.Reader(exp.model, exp.task, exp.config, exp.mesh)
    return reader.run(params, key, 'test', count)
  known = evaluator.scored_by if exp.config.eval.ceiling else ''
  samples = exp.task.draw_held_out(key, 'test', count, known)
  return evaluator.run(params, samples)
