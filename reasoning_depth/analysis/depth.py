"""Accuracy against the depth steps at inference, and rules that stop early.

A grid of accuracy by group and number of steps shows what more compute buys,
and where it harms (overthinking). Each exit rule becomes a curve of accuracy
against steps and seconds, a point a threshold.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from reasoning_depth.analysis import depth_scores, exit_seconds, exits
from reasoning_depth.models import base as models_base
from reasoning_depth.runtime import sharding
from reasoning_depth.scoring import evaluate
from reasoning_depth.tasks import base

THRESHOLDS = {**exits.THRESHOLDS, 'act': (0.3, 0.5, 0.7, 0.9, 0.99)}
ROUNDS = 5


@dataclasses.dataclass(frozen=True)
class Settings:
  """What is measured.

  Attributes:
    most: depth steps, largest number; 0 for twice those of training.
    thresholds: of each exit rule that is wanted, from loosest to strictest;
      'act' is the threshold of `config.model.halting`.
    entropy: bound of `kl_entropy`, in nats; none where it is above ln V.
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


def measure(
  model: Any,
  task: base.Task,
  params: Any,
  key: jax.Array,
  config: Mapping[str, Any],
  settings: Settings | None = None,
) -> dict[str, Any] | None:
  """Grid of scores and curves of exit rules on the test split.

  Args:
    model: maps tokens to logits.
    task: what is asked.
    params: of the model, on every device.
    key: of the held-out samples.
    config: the whole config.
    settings: what is measured; None for the defaults.

  Returns:
    None for a model without depth steps; else what goes to the file. Scores are
    given the true tokens before each answer token; times are those of one batch
    of `config.eval.batch_size` samples on one device.
  """
  settings = settings or Settings()
  trained = depth_scores.trained_depth(model)
  if not trained:
    return None
  most = settings.most or 2 * trained
  c = config['eval']
  samples = evaluate.held_out(
    task, key, 'test', c['test_samples'], with_ceiling=c['ceiling']
  )
  predict = _predictor(model, task, params, samples, config)
  kind = config['train']['loss']
  group = samples.batch.group
  sweep = _stepwise if models_base.is_stepwise(model) else _repeated
  scores, curves, refused = sweep(model, predict, group, most, kind, settings)
  timing = None
  if settings.rounds:
    size = c['batch_size']
    batch = jax.tree.map(
      lambda x: np.resize(x, (size, *x.shape[1:])), samples.batch
    )
    timing = exit_seconds.add(
      model, params, batch, most, kind, settings.entropy, settings.rounds,
      curves,
    )  # fmt: skip
  return {
    'scored_by': 'teacher forcing',
    'group_name': samples.group_name,
    'trained_depth': trained,
    'depths': list(range(1, most + 1)),
    **grid(samples, scores),
    'entropy_bound': settings.entropy,
    'exits': curves,
    'not_applicable': refused,
    'timing': timing,
  }


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

  return samples.by_group(row)


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


def _predictor(model, task, params, samples, config):
  """Runs a step (params, Batch) on all samples; the result on the host."""
  mesh = sharding.make_mesh(config['mesh'])
  evaluator = evaluate.Evaluator(model, task, config, mesh)

  def predict(step):
    step = jax.jit(step, out_shardings=sharding.replicated(mesh))
    return evaluator.predict(params, samples.batch, step)

  return predict


def _stepwise(model, predict, group, most, kind, settings):
  """Scores [S, N], curves by rule, and why other rules do not apply."""
  scores, signals = predict(depth_scores.trajectory(model, most, kind))
  refused = {'act': 'the model has no halting units'}
  if signals.halt is None:
    refused['q_head'] = 'the model has no halting head'
  by_step = jax.tree.map(np.transpose, signals)
  every = np.arange(len(group))
  curves, refused = _split(settings, refused)
  for name, points in curves.items():
    for t in settings.thresholds[name]:
      rule = exits.Rule(name, t, settings.entropy)
      steps = np.asarray(exits.steps(exits.stops(rule, by_step)))
      exact = scores.exact_match[every, steps - 1]
      points.append(point(t, steps, exact, group))
  return scores, curves, refused


def _repeated(model, predict, group, most, kind, settings):
  """The same for a model whose repetitions are read out once."""

  def run(depth, **halting):
    return predict(depth_scores.repeated(model, depth, kind, **halting))

  scores = [run(n)[0] for n in range(1, most + 1)]
  scores = jax.tree.map(lambda *x: np.stack(x, axis=1), *scores)
  refused = dict.fromkeys(exits.RULES, 'the model is read out once, at the end')
  if model.adaptive.rule not in ('act', 'universal'):
    refused['act'] = (
      f'halting.rule={model.adaptive.rule} does not stop at a threshold'
    )
  curves, refused = _split(settings, refused)
  for points in curves.values():
    for t in settings.thresholds['act']:
      of_t, steps, executed = run(most, threshold=t)
      row = point(t, steps, of_t.exact_match, group)
      points.append(row | {'executed': float(executed.mean())})
  return scores, curves, refused


def _split(settings, refused):
  """An empty curve for each rule wanted that applies; the others' reasons."""
  wanted = settings.thresholds
  curves = {name: [] for name in wanted if name not in refused}
  return curves, {name: why for name, why in refused.items() if name in wanted}
