"""Accuracy against the depth steps at inference, and rules that stop early.

A grid of accuracy by group and number of steps shows what more compute buys,
and where it harms (overthinking). Each exit rule becomes a curve of accuracy
against steps and seconds, one point per threshold. `act` is no exit rule of
`exits`: it is the threshold of the model's own halting units.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth import errors, settings
from reasoning_depth.analysis import early_exit, exits
from reasoning_depth.models import base as models_base
from reasoning_depth.runtime import sharding, stopwatch
from reasoning_depth.scoring import evaluate, losses
from reasoning_depth.tasks import base

ACT = 'act'
ACT_THRESHOLDS = (0.3, 0.5, 0.7, 0.9, 0.99)


def default_thresholds() -> dict[str, tuple[float, ...]]:
  """Thresholds of every rule, from the loosest to the strictest."""
  rules = {name: rule.thresholds for name, rule in exits.RULES.items()}
  return rules | {ACT: ACT_THRESHOLDS}


@dataclasses.dataclass(frozen=True)
class Settings(settings.Settings):
  """What is measured.

  Attributes:
    thresholds: of each exit rule that is wanted, from the loosest to the
      strictest; those of 'act' take the place of `model.halting.threshold`.
  """

  most: int = settings.field(
    0, 'depth steps, largest number; 0 for twice those of training'
  )
  entropy: float = settings.field(
    exits.ENTROPY, 'bound of kl_entropy in nats; above ln V it is none'
  )
  rounds: int = settings.field(
    5, 'that a time is the median of; 0 measures no time'
  )
  thresholds: Mapping[str, Sequence[float]] = dataclasses.field(
    default_factory=default_thresholds
  )

  def __post_init__(self):
    super().__post_init__()
    for name in self.thresholds:
      settings.choose('thresholds', name, default_thresholds())


@flax.struct.dataclass
class Scores:
  """Scores of samples [B], or [B, N] after each of N depth steps.

  Attributes:
    exact_match: 1 where all answer tokens are right, else 0.
    bit_accuracy: share of the answer tokens that are right.
    loss: mean over the answer tokens, in nats.
  """

  exact_match: jax.Array
  bit_accuracy: jax.Array
  loss: jax.Array


def measure(
  model: models_base.Model,
  task: base.Task,
  params: Any,
  key: jax.Array,
  config: Mapping[str, Any],
  options: Settings | None = None,
) -> dict[str, Any] | None:
  """Scores at each depth and curves of exit rules, on the test split.

  Args:
    model: maps tokens to logits.
    task: what is asked.
    params: of the model, on every device.
    key: of the held-out samples.
    config: the whole config.
    options: what is measured; None for the defaults.

  Returns:
    what `evaluations/depth.json` holds; None for a model without depth steps.
    Scores, and the ceiling beside them, are by teacher forcing: with the true
    tokens before each answer token given. Times are those of one batch of
    `config.eval.batch_size` samples on one device.
  """
  options = options or Settings()
  trained = model.trained_depth()
  if not trained:
    return None
  most = options.most or 2 * trained
  c, loss = config['eval'], config['train']['loss']
  scored_by = 'teacher forcing'
  samples = task.draw_held_out(
    key, 'test', c['test_samples'], known=scored_by if c['ceiling'] else ''
  )
  predict = _predictor(model, task, params, samples, config)
  scores, signals = _at_each_depth(model, predict, most, loss)
  refused = _refused(model, signals)
  wanted = {n: t for n, t in options.thresholds.items() if n not in refused}
  act = wanted.pop(ACT, ())
  group = samples.batch.group
  curves = {
    name: _exit_curve(name, thresholds, options.entropy, scores, signals, group)
    for name, thresholds in wanted.items()
  }
  halting = _halting_curve(model, predict, group, most, loss, act)
  timing = None
  if options.rounds:
    size = c['batch_size']
    batch = jax.tree.map(
      lambda x: np.resize(x, (size, *x.shape[1:])), samples.batch
    )
    timing = _time(model, params, batch, most, loss, options, curves, halting)
  return {
    'scored_by': scored_by,
    'group_name': samples.group_name,
    'trained_depth': trained,
    'depths': list(range(1, most + 1)),
    **grid(samples, scores),
    'entropy_bound': options.entropy,
    'exits': curves | ({ACT: halting} if halting else {}),
    'not_applicable': {
      name: why for name, why in refused.items() if name in options.thresholds
    },
    'timing': timing,
  }


def grid(samples: base.HeldOut, scores: Scores) -> dict[str, Any]:
  """Means of scores [S, N] at each depth, over all samples and per group."""

  def row(chosen):
    means = {
      name: values[chosen].mean(0, dtype=np.float64).tolist()
      for name, values in vars(scores).items()
    }
    known = {
      name: mean
      for name, mean in samples.known_means(chosen).items()
      if name.startswith('ceiling')
    }
    over = {'overthinking': overthinking(means['exact_match'])}
    return {'num_samples': int(chosen.sum()), **known, **means, **over}

  return samples.by_group(row)


def overthinking(accuracy: Sequence[float]) -> dict[str, Any]:
  """Where accuracy [N] after 1 to N steps peaks, and what it loses after that.

  Returns:
    `peak`, its `depth` (the first one), and `drop`, from the peak to N.
  """
  best = int(np.argmax(accuracy))
  peak = float(accuracy[best])
  return {'peak': peak, 'depth': best + 1, 'drop': peak - accuracy[-1]}


def score(logits: jax.Array, batch: base.Batch, loss: str) -> Scores:
  """Scores [B] of logits [B, L, V], by teacher forcing.

  Args:
    logits: of a model.
    batch: what was asked.
    loss: `config.train.loss`.
  """
  asked = batch.weights > 0
  right = (logits.argmax(-1) == batch.targets).astype(jnp.float32)
  return Scores(
    exact_match=jnp.min(right, axis=-1, where=asked, initial=1.0),
    bit_accuracy=jnp.mean(right, axis=-1, where=asked),
    loss=losses.per_sample(logits, batch, loss),
  )


def trajectory(model: models_base.Model, most: int, loss: str) -> Callable:
  """A pure function (params, Batch) → (Scores [B, N], exits.Signals [B, N]).

  Args:
    model: a stepwise one (see `models.base`).
    most: N; all of the steps come out of one pass.
    loss: `config.train.loss`.
  """

  def run(params, batch):
    asked = batch.weights > 0

    def body(carry, n):
      *carry, logits, signals = early_exit.advance(
        model, params, *carry, asked, n, loss
      )
      return carry, (score(logits, batch, loss), signals)

    start = early_exit.begin(model, params, batch.inputs, loss)
    _, every = jax.lax.scan(body, list(start), jnp.arange(most))
    return jax.tree.map(lambda x: x.swapaxes(0, 1), every)

  return run


def at_depth(model: models_base.Model, depth: int, loss: str) -> Callable:
  """A pure function (params, Batch) → Scores [B], repetitions [B] twice.

  The first are those that counted, mean over positions; the second those that
  the device ran for the batch.

  Args:
    model: maps tokens to logits.
    depth: repetitions at most.
    loss: `config.train.loss`.
  """

  def run(params, batch):
    output = model.apply({'params': params}, batch.inputs, depth=depth)
    scores = score(output.logits, batch, loss)
    executed = jnp.broadcast_to(output.executed, scores.loss.shape)
    return scores, output.ponder.mean(-1), executed

  return run


def _predictor(model, task, params, samples, config):
  """Runs a function (params, Batch) on all samples; the result on the host."""
  mesh = sharding.make_mesh(config['mesh'])
  evaluator = evaluate.Evaluator(model, task, config, mesh)

  def predict(run):
    run = jax.jit(run, out_shardings=sharding.replicated(mesh))
    return evaluator.predict(params, samples.batch, run)

  return predict


def _at_each_depth(model, predict, most, loss):
  """Scores [S, N], and what exit rules compare, None where they cannot."""
  if model.stepwise:
    return predict(trajectory(model, most, loss))
  each = [predict(at_depth(model, n + 1, loss))[0] for n in range(most)]
  return jax.tree.map(lambda *x: np.stack(x, axis=1), *each), None


def _refused(
  model: models_base.Model, signals: exits.Signals | None
) -> dict[str, str]:
  """Rules that do not apply to a model, and why."""
  why = model.stops_early()
  refused = {ACT: why} if why else {}
  for name, rule in exits.RULES.items():
    if signals is None:
      refused[name] = 'the model is read out once, at the end'
    elif rule.needs_head and signals.halt is None:
      refused[name] = 'the model has no halting head'
  return refused


def _exit_curve(name, thresholds, entropy, scores, signals, group):
  """The points of an exit rule."""
  by_step = jax.tree.map(np.transpose, signals)
  points = []
  for t in thresholds:
    rule = exits.Rule(name, t, entropy)
    steps = np.asarray(exits.steps(exits.stops(rule, by_step)))
    exact = scores.exact_match[np.arange(len(group)), steps - 1]
    points.append(_point(t, steps, exact, group))
  return points


def _halting_curve(model, predict, group, most, loss, thresholds):
  """The points of the halting units' threshold, each a run of its own."""
  points = []
  for t in thresholds:
    at_t = at_depth(model.with_halting(threshold=t), most, loss)
    scores, steps, executed = predict(at_t)
    point = _point(t, steps, scores.exact_match, group)
    points.append(point | {'executed': float(executed.mean())})
  return points


def _point(
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


def _time(
  model: models_base.Model,
  params: Any,
  batch: base.Batch,
  most: int,
  loss: str,
  options: Settings,
  curves: Mapping[str, list[dict[str, Any]]],
  halting: list[dict[str, Any]],
) -> dict[str, Any]:
  """Adds to each point of the curves the seconds that a batch takes.

  The batch is answered on one device by each rule and threshold, and by all the
  steps, in turn, so that all meet the same noise. A point gets `seconds`, the
  median; one of an exit rule also `executed`, depth steps run per sample, and
  `masked_seconds`, where samples that have stopped stay in the batch.

  Args:
    model: maps tokens to logits.
    params: its parameters, on every device.
    batch: [B, ...].
    most: depth steps at most.
    loss: `config.train.loss`.
    options: with the number of rounds.
    curves: points by exit rule.
    halting: points of the halting units' threshold.

  Returns:
    the device, the batch size, and the seconds of all the steps without a rule.
  """
  device = jax.local_devices()[0]
  params, batch = jax.device_put((jax.device_get(params), batch), device)
  timed = []
  exit_early = early_exit.EarlyExit(model, most, loss)
  for name, points in curves.items():
    for point in points:
      rule = exits.Rule(name, point['threshold'], options.entropy)
      run = functools.partial(
        exit_early, params, batch.inputs, batch.weights > 0, rule
      )
      B = len(batch.inputs)
      moved = functools.partial(run, early_exit.halved(B))
      point['executed'] = moved().executed
      timed.append((point, 'seconds', moved))
      timed.append((point, 'masked_seconds', functools.partial(run, (B,))))
  for point in halting:
    stopping = model.with_halting(threshold=point['threshold'])
    timed.append((point, 'seconds', _runner(stopping, params, batch, most)))
  runners = {str(i): run for i, (_, _, run) in enumerate(timed)}
  full = _runner(_without_stops(model), params, batch, most)
  seconds = stopwatch.alternate({**runners, 'full': full}, options.rounds)
  for i, (point, field, _) in enumerate(timed):
    point[field] = seconds[str(i)]['median']
  return {
    'device': device.device_kind,
    'batch_size': len(batch.inputs),
    'rounds': options.rounds,
    'full_seconds': seconds['full']['median'],
  }


def _without_stops(model: models_base.Model) -> models_base.Model:
  """The model with all depth steps run for every sample."""
  try:
    return model.with_halting(rule='fixed')
  except errors.UsageError:  # it has no halting units
    return model


def _runner(model, params, batch, depth) -> Callable:
  """Answers a batch with the most likely tokens; compiled at the first call."""

  @jax.jit
  def answer(params, tokens):
    output = model.apply({'params': params}, tokens, depth=depth)
    return output.logits.argmax(-1)

  return lambda: jax.device_get(answer(params, batch.inputs))
