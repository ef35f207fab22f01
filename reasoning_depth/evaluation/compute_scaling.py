"""Accuracy against the depth steps at inference, and rules that stop early.

A grid of accuracy by group and number of steps shows what more compute buys,
and where it harms (overthinking). Each exit rule becomes a curve of accuracy
against steps and seconds, a point a threshold.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from reasoning_depth.evaluation import (
  depth_scores,
  evaluate,
  exit_seconds,
  exits,
)
from reasoning_depth.models import base as models_base
from reasoning_depth.runtime import sharding, writer
from reasoning_depth.training import experiment, state

NAME = 'compute_scaling'
THRESHOLDS = {**exits.THRESHOLDS, 'act': (0.3, 0.5, 0.7, 0.9, 0.99)}
ROUNDS = 5


@dataclasses.dataclass(frozen=True)
class Settings:
  """What is measured.

  Attributes:
    most: depth steps, largest number; 0 for twice those of training.
    thresholds: of each exit rule that is wanted, from loosest to strictest;
      'act' is the threshold of `config.model.halting`.
    entropy: bound of `kl_entropy`, in nats.
    rounds: that a time is the median of; 0 measures no time.
  """

  most: int = 0
  thresholds: Mapping[str, Sequence[float]] = dataclasses.field(
    default_factory=lambda: THRESHOLDS
  )
  entropy: float = exits.ENTROPY
  rounds: int = ROUNDS

  def __post_init__(self):
    for field in ('most', 'rounds'):
      if getattr(self, field) < 0:
        raise ValueError(f'{field}={getattr(self, field)}: must be 0 or more')
    for name in self.thresholds:
      if name not in THRESHOLDS:
        allowed = ', '.join(THRESHOLDS)
        raise ValueError(f'thresholds of {name!r}: allowed are {allowed}')


def analyze(
  exp: experiment.Experiment,
  params: Any,
  folder: pathlib.Path,
  settings: Settings | None = None,
) -> dict[str, Any]:
  """Measures a model on the test split; writes `compute_scaling.json`.

  Args:
    exp: the parts of the run.
    params: of its model.
    folder: the run folder; the file goes into its folder `evaluations`.
    settings: what is measured; None for the defaults.

  Returns:
    what it writes. Scores are those of the test split, each answer token given
    the true ones before it; times are those of one batch of
    `config.eval.batch_size` of its samples on one device.

  Raises:
    ValueError: for a model without depth steps.
  """
  settings = settings or Settings()
  trained = depth_scores.trained_depth(exp.model)
  most = settings.most or 2 * trained
  samples = evaluate.held_out(
    exp.task,
    state.evaluation_key(exp.config.seed),
    'test',
    exp.config.eval.test_samples,
    with_ceiling=exp.config.eval.ceiling,
  )
  sweep = _stepwise if models_base.is_stepwise(exp.model) else _repeated
  scores, curves, refused = sweep(exp, params, samples, most, settings)
  timing = None
  if settings.rounds:
    timing = exit_seconds.add(
      exp,
      params,
      samples.batch,
      most,
      settings.rounds,
      settings.entropy,
      curves,
    )
  record = {
    'analysis': NAME,
    'split': 'test',
    'scored_by': 'teacher forcing',
    'seed': exp.config.seed,
    'group_name': samples.group_name,
    'trained_depth': trained,
    'depths': list(range(1, most + 1)),
    **grid(samples, scores),
    'entropy_bound': settings.entropy,
    'exits': curves,
    'not_applicable': refused,
    'timing': timing,
  }
  writer.write_json(folder / 'evaluations' / f'{NAME}.json', record)
  return record


def overthinking(accuracy: Sequence[float]) -> dict[str, Any]:
  """Where accuracy [N] after 1 to N steps peaks, and what it loses after that.

  Returns:
    `peak`, its `depth` (the first one), and `drop`, from the peak to N.
  """
  best = int(np.argmax(accuracy))
  peak = float(accuracy[best])
  return {'peak': peak, 'depth': best + 1, 'drop': peak - accuracy[-1]}


def grid(
  samples: evaluate.HeldOut, scores: depth_scores.Scores
) -> dict[str, Any]:
  """Means of scores [S, N] at each depth, over all samples and per group."""
  group, labels = samples.batch.group, samples.labels

  def row(chosen):
    means = {
      field.name: getattr(scores, field.name)[chosen]
      .mean(0, dtype=np.float64)
      .tolist()
      for field in dataclasses.fields(scores)
    }
    known = {
      name: float(values[chosen].mean())
      for name, values in samples.known.items()
      if name.startswith('ceiling') and not np.isnan(values[chosen]).any()
    }
    over = {'overthinking': overthinking(means['exact_match'])}
    return {'num_samples': int(chosen.sum()), **known, **means, **over}

  return {
    'overall': row(np.ones(len(group), bool)),
    'groups': [
      {
        'group': int(g),
        **({'label': labels[g]} if labels else {}),
        **row(group == g),
      }
      for g in np.unique(group)
    ],
  }


def point(
  threshold: float, steps: np.ndarray, exact: np.ndarray, group: np.ndarray
) -> dict[str, Any]:
  """A point of a rule's curve, from steps, exact match and group [S]."""
  groups = [group == g for g in np.unique(group)]
  return {
    'threshold': threshold,
    'mean_steps': float(steps.mean()),
    'exact_match': float(exact.mean()),
    'group_steps': [float(steps[g].mean()) for g in groups],
    'group_exact_match': [float(exact[g].mean()) for g in groups],
  }


def _stepwise(exp, params, samples, most, settings):
  """Scores [S, N], curves by rule, and why other rules do not apply."""
  kind = exp.config.train.loss
  scores, signals = _predict(
    exp, params, samples, depth_scores.trajectory(exp.model, most, kind)
  )
  refused = {'act': 'the model has no halting units'}
  if signals.halt is None:
    refused['q_head'] = 'the model has no halting head'
  by_step = jax.tree.map(np.transpose, signals)
  every = np.arange(len(scores.loss))
  curves, refused = _split(settings, refused)
  for name, points in curves.items():
    for t in settings.thresholds[name]:
      rule = exits.Rule(name, t, settings.entropy)
      steps = np.asarray(exits.steps(exits.stops(rule, by_step)))
      exact = scores.exact_match[every, steps - 1]
      points.append(point(t, steps, exact, samples.batch.group))
  return scores, curves, refused


def _repeated(exp, params, samples, most, settings):
  """The same for a model whose repetitions are read out once."""
  kind = exp.config.train.loss

  def run(depth, **halting):
    step = depth_scores.repeated(exp.model, depth, kind, **halting)
    return _predict(exp, params, samples, step)

  scores = [run(n)[0] for n in range(1, most + 1)]
  scores = jax.tree.map(lambda *x: np.stack(x, axis=1), *scores)
  refused = dict.fromkeys(exits.RULES, 'the model is read out once, at the end')
  rule = exp.model.adaptive.rule
  if rule not in ('act', 'universal'):
    refused['act'] = f'halting.rule={rule} does not stop at a threshold'
  curves, refused = _split(settings, refused)
  for points in curves.values():
    for t in settings.thresholds['act']:
      of_t, steps, executed = run(most, threshold=t)
      row = point(t, steps, of_t.exact_match, samples.batch.group)
      points.append(row | {'executed': float(executed.mean())})
  return scores, curves, refused


def _predict(exp, params, samples, step):
  """What a step (params, Batch) gives for all samples, on the host."""
  evaluator = evaluate.Evaluator(exp.model, exp.task, exp.config, exp.mesh)
  whole = sharding.replicated(exp.mesh)
  step = jax.jit(step, out_shardings=whole)
  return evaluator.predict(params, samples.batch, step)


def _split(settings, refused):
  """An empty curve for each rule wanted that applies; the others' reasons."""
  wanted = settings.thresholds
  curves = {name: [] for name in wanted if name not in refused}
  return curves, {name: why for name, why in refused.items() if name in wanted}
