"""Scores of a model after each of many depth steps, on the devices."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from reasoning_depth.analysis import early_exit, exits
from reasoning_depth.models import looped, trm
from reasoning_depth.scoring import losses
from reasoning_depth.tasks import base


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


def score(logits: jax.Array, batch: base.Batch, kind: str) -> Scores:
  """Scores [B] of logits [B, L, V], each token given the true ones before it.

  Args:
    logits: of a model.
    batch: what was asked.
    kind: `config.train.loss`.
  """
  asked = batch.weights > 0
  right = (logits.argmax(-1) == batch.targets).astype(jnp.float32)
  entropy = losses.cross_entropy(logits, batch.targets, kind)
  return Scores(
    exact_match=jnp.min(right, axis=-1, where=asked, initial=1.0),
    bit_accuracy=jnp.mean(right, axis=-1, where=asked),
    loss=jnp.mean(entropy, axis=-1, where=asked),
  )


def trained_depth(model: Any) -> int:
  """The most depth steps that a model takes in training; 0 if it has none."""
  if isinstance(model, looped.Looped):
    r = model.recurrence
    return r.mean if r.draw == 'fixed' else r.most
  if isinstance(model, trm.TRM):
    return model.recursion.supervision
  return 0 if model.adaptive.kind == 'none' else model.adaptive.max_steps


def trajectory(model: nn.Module, most: int, kind: str) -> Callable:
  """A pure function (params, Batch) → (Scores [B, N], exits.Signals [B, N]).

  Args:
    model: a stepwise one (see `models.base`).
    most: N; all of the steps come out of one pass.
    kind: `config.train.loss`.
  """

  def run(params, batch):
    asked = batch.weights > 0
    first = model.apply({'params': params}, batch.inputs, method='begin')
    _, shapes = jax.eval_shape(
      lambda s: early_exit.read(model, params, s, kind), first
    )

    def body(carry, n):
      old, before = carry
      new = model.apply({'params': params}, old, n, method='again')
      logits, step = early_exit.read(model, params, new, kind)
      signals, before = exits.measure(
        step, before, early_exit.latent(old), asked, n
      )
      return (new, before), (score(logits, batch, kind), signals)

    start = (first, exits.nothing_before(shapes))
    _, every = jax.lax.scan(body, start, jnp.arange(most))
    return jax.tree.map(lambda x: x.swapaxes(0, 1), every)

  return run


def with_halting(model: Any, **fields: Any) -> Any:
  """A model with other values of fields of its `models.halting.Halting`."""
  return model.clone(adaptive=dataclasses.replace(model.adaptive, **fields))


def repeated(model: Any, depth: int, kind: str, **halting: Any) -> Callable:
  """A pure function (params, Batch) → Scores [B], repetitions [B] twice.

  The first are those that counted, mean over positions; the second those that
  the device ran for the batch.

  Args:
    model: one with halting.
    depth: repetitions at most.
    kind: `config.train.loss`.
    **halting: as of `with_halting`.
  """
  model = with_halting(model, **halting)

  def run(params, batch):
    output = model.apply({'params': params}, batch.inputs, depth=depth)
    scores = score(output.logits, batch, kind)
    executed = jnp.broadcast_to(output.executed, scores.loss.shape)
    return scores, output.ponder.mean(-1), executed

  return run
