"""What a run costs: parameters, operations, samples, minutes.

Operations are counted by `runtime.operations`, on all devices together, for
the config's own model; segments run in the order of a scan.
"""

import json
import pathlib
import statistics
from typing import Any

import jax
import jax.numpy as jnp
from clu import parameter_overview

from reasoning_depth.runtime import operations, sharding, writer
from reasoning_depth.tasks import base
from reasoning_depth.training import curriculum, experiment, resume, state

_NAME = 'cost'
_END = 4  # depth steps are averaged over the last 1/4 of training


def train_step(exp: experiment.Experiment) -> operations.Count:
  """Operations of an update, at a stage of the curriculum."""
  current, _ = resume.layout(exp)
  batch = _batch(exp.config.train.batch_size, exp.task.length)
  key = jax.eval_shape(jax.random.key, 0)
  # On the run's devices, so that what training traced is found again.
  where = sharding.replicated(exp.mesh)
  args = jax.tree.map(lambda x: x.update(sharding=where), (current, batch, key))
  with jax.set_mesh(exp.mesh):
    return operations.count(experiment.train_step(exp), *args)


def answer(exp: experiment.Experiment) -> operations.Count:
  """Operations of the answer to one test sample, as evaluation gets it.

  A forward pass over its sequence at the config's depth; where answers are
  generated, over the prompt and then token by token.
  """
  params = resume.layout(exp)[0].params
  batch = _batch(1, exp.task.held_out_length)
  return operations.count(experiment.evaluator(exp).answers, params, batch)


def _batch(batch_size: int, length: int) -> base.Batch:
  """Shapes of a batch."""
  tokens = jax.ShapeDtypeStruct((batch_size, length), jnp.int32)
  weights = jax.ShapeDtypeStruct(tokens.shape, jnp.float32)
  group = jax.ShapeDtypeStruct((batch_size,), jnp.int32)
  return base.Batch(tokens, tokens, weights, group)


def write(
  exp: experiment.Experiment, current: state.TrainState, folder: pathlib.Path
) -> None:
  """Writes a run's costs up to now to `evaluations/cost.json`.

  - parameters: their number.
  - train_step: `operations` of an update of the last stage, and `bound`: 'at
    most' or 'at least' where the number is that; at most because halting and
    drawn loops count at their maximum.
  - training: `operations`, `bound`, `steps`, `samples`, and `minutes` by the
    clock, with compilation, validation and saves. Depth steps count as they
    were run.
  - start: the same of the run that `train.init_from` names, and of what that
    one started from; None where there is none. Where it is not known, `bound`
    of training is 'at least'.
  - answer: `operations` and `bound`, and `scored_by` as in an evaluation.
  - depth_steps: expected number in training, at its end.
  """
  lines = _metrics(folder, current)
  steps = _steps_of_stages(current, lines)
  stages = {index: curriculum.at_stage(exp, index) for index in steps}
  counts = {index: train_step(stage) for index, stage in stages.items()}
  total = sum((counts[i] * steps[i] for i in steps), operations.Count())
  samples = sum(stages[i].config.train.batch_size * steps[i] for i in steps)
  training = _number(_as_run(total, exp.model.trained_depth(), lines)) | {
    'steps': int(current.step),
    'samples': samples,
    'minutes': lines[-1]['seconds'] / 60 if lines else 0.0,
  }
  start = _start(exp.config.train.init_from)
  if exp.config.train.init_from and not start:
    training['bound'] = 'at least'
  scored_by = experiment.evaluator(exp).scored_by
  costs = {
    'analysis': _NAME,
    'seed': exp.config.seed,
    'step': int(current.step),
    'parameters': int(parameter_overview.count_parameters(current.params)),
    'train_step': _number(counts[int(current.stage)]),
    'training': training,
    'start': start,
    'answer': _number(answer(exp)) | {'scored_by': scored_by},
    'depth_steps': _depth_steps(lines),
  }
  writer.write_json(folder / 'evaluations' / f'{_NAME}.json', costs)


def _number(count: operations.Count) -> dict[str, Any]:
  return {'operations': count.most, 'bound': count.bound}


def _metrics(
  folder: pathlib.Path, current: state.TrainState
) -> list[dict[str, Any]]:
  """The metrics up to the current step; [] where none were written."""
  path = folder / 'metrics.jsonl'
  lines = writer.lines(path, int(current.step)) if path.exists() else ()
  return [json.loads(line) for line in lines]


def _steps_of_stages(
  current: state.TrainState, lines: list[dict[str, Any]]
) -> dict[int, int]:
  """Updates made in each stage of the curriculum; a validation names its own.

  The current stage is there even where it has only begun.
  """
  steps, before = {}, 0
  ends = [(x['step'], x['stage']) for x in lines if x['split'] == 'validation']
  for end, index in [*ends, (int(current.step), int(current.stage))]:
    steps[index] = steps.get(index, 0) + end - before
    before = end
  return steps


def _as_run(
  count: operations.Count, deepest: int, lines: list[dict[str, Any]]
) -> operations.Count:
  """The count with depth steps, at most `deepest`, as many as were run."""
  executed = _reported(lines, 'depth_executed')
  if not deepest or not executed:
    return count
  return count.at(statistics.fmean(executed) / deepest)


def _start(folder: str) -> dict[str, Any] | None:
  """Costs of training the run in `folder` from the beginning, if known."""
  path = pathlib.Path(folder) / 'evaluations' / f'{_NAME}.json'
  if not folder or not path.exists():
    return None
  found = json.loads(path.read_text())
  own, before = found['training'], found['start']
  if before is None:
    return own
  return {
    'operations': own['operations'] + before['operations'],
    'bound': own['bound'] or before['bound'],
    'steps': own['steps'] + before['steps'],
    'samples': own['samples'] + before['samples'],
    'minutes': own['minutes'] + before['minutes'],
  }


def _depth_steps(lines: list[dict[str, Any]]) -> float | None:
  """Mean over the last reports, so over many draws; None without reports."""
  reported = _reported(lines, 'depth_steps')
  last = reported[-(len(reported) // _END + 1) :]
  return statistics.fmean(last) if last else None


def _reported(lines: list[dict[str, Any]], name: str) -> list[float]:
  """The values of a metric of training."""
  return [line[name] for line in lines if line['split'] == 'train']
