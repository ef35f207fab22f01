"""Seconds that exit rules take, against those of all depth steps."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from reasoning_depth.analysis import depth_scores, early_exit, exits
from reasoning_depth.models import base as models_base
from reasoning_depth.runtime import stopwatch
from reasoning_depth.tasks import base

# A point of a curve, the field that its seconds go into, what takes them.
_Timed = tuple[dict[str, Any], str, Callable[[], Any]]


def add(
  model: Any,
  params: Any,
  batch: base.Batch,
  most: int,
  kind: str,
  entropy: float,
  rounds: int,
  curves: Mapping[str, list[dict[str, Any]]],
) -> dict[str, Any]:
  """Adds to each point of the curves what its threshold costs.

  The batch is answered on one device by each rule and threshold, and by all the
  steps, in turn, so that all meet the same noise. A point gets `seconds` (the
  median) and `executed`, depth steps run per sample; with a model that is run
  step by step, `seconds` are those with finished samples moved out of the
  batch, and `masked_seconds` those with them masked.

  Args:
    model: maps tokens to logits.
    params: its parameters, on every device.
    batch: [B, ...].
    most: depth steps at most.
    kind: `config.train.loss`.
    entropy: bound of `kl_entropy`, in nats.
    rounds: that a time is the median of.
    curves: by exit rule, points with a `threshold`.

  Returns:
    the device, the batch size, and seconds of all the steps without a rule.
  """
  device = jax.local_devices()[0]
  params, batch = jax.device_put((jax.device_get(params), batch), device)
  if models_base.is_stepwise(model):
    full = _answers(model, most)
    timed = _stepwise(model, params, batch, most, kind, entropy, curves)
  else:
    full = _answers(model, most, rule='fixed')
    timed = _repeated(model, params, batch, most, curves)
  runners = {i: run for i, (_, _, run) in enumerate(timed)}
  runners['full'] = lambda: jax.device_get(full(params, batch.inputs))
  seconds = stopwatch.alternate(runners, rounds)
  for i, (point, field, _) in enumerate(timed):
    point[field] = seconds[i]['median']
  return {
    'device': device.device_kind,
    'batch_size': len(batch.inputs),
    'rounds': rounds,
    'full_seconds': seconds['full']['median'],
  }


def _answers(model: Any, depth: int, **halting: Any) -> Callable:
  """Compiled (params, tokens) → the most likely tokens."""
  if halting:
    model = depth_scores.with_halting(model, **halting)

  def run(params, tokens):
    output = model.apply({'params': params}, tokens, depth=depth)
    return output.logits.argmax(-1)

  return jax.jit(run)


def _stepwise(
  model, params, batch, most, kind, entropy, curves
) -> list[_Timed]:
  B, timed = len(batch.inputs), []
  asked = batch.weights > 0
  answer = early_exit.EarlyExit(model, most, kind)
  for name, points in curves.items():
    for point in points:
      rule = exits.Rule(name, point['threshold'], entropy)
      for field, buckets in (
        ('seconds', early_exit.halved(B)),
        ('masked_seconds', (B,)),
      ):

        def run(rule=rule, buckets=buckets):
          return answer(params, batch.inputs, asked, rule, buckets)

        timed.append((point, field, run))
        if field == 'seconds':
          point['executed'] = run().executed
  return timed


def _repeated(model, params, batch, most, curves) -> list[_Timed]:
  timed = []
  for point in curves.get('act', ()):
    answer = _answers(model, most, threshold=point['threshold'])

    def run(answer=answer):
      return jax.device_get(answer(params, batch.inputs))

    timed.append((point, 'seconds', run))
  return timed
