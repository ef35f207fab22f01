"""Scores answers at the end of a text of any length, read as a stream.

Segments of a sample are made as they are read and only the model's memory is
kept: neither all tokens nor all logits of a sample are held at once.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth import errors
from reasoning_depth.longcontext import streaming
from reasoning_depth.models import base as base_model
from reasoning_depth.runtime import sharding
from reasoning_depth.scoring import evaluate, losses
from reasoning_depth.tasks import base, splits

AT_ONCE = 16  # segments read per compiled call


def can(task: base.Task, model: base_model.Model) -> bool:
  """Whether the task streams its samples and the model can read them."""
  return (
    task.streams
    and model.reads_segments
    and model.segment_length == model.stride
  )


class Reader:
  """Scores streamed samples; compiles for a few shapes, each once."""

  def __init__(
    self,
    model: base_model.Model,
    task: base.Task,
    config: Mapping[str, Any],
    mesh: jax.sharding.Mesh,
  ):
    """As `evaluate.Evaluator`; `can` must be true of task and model."""
    self._model, self._task = model, task
    self._size = config['eval']['batch_size']
    self._loss = config['train']['loss']
    self._first = sharding.batched(mesh)
    whole = sharding.replicated(mesh)
    self._answer = jax.jit(self._score, out_shardings=whole)

  def run(
    self, params: Any, key: jax.Array, split: str, num_samples: int
  ) -> evaluate.Result:
    """Scores the samples that `draw_held_out` of the task would draw.

    Args:
      params: parameters of the model.
      key: the same key gives the same samples.
      split: 'train', 'validation' or 'test'.
      num_samples: N.

    Returns:
      the result on the last segments, which hold the answers.

    Raises:
      UsageError: where an answer begins before the last segment.
    """
    seed = splits.host_seed(key)
    num_samples = self._task.available(split, num_samples)
    parts, losses_, tokens = [], [], []
    for first in range(0, num_samples, self._size):
      count = min(self._size, num_samples - first)
      # A short batch is padded with its last sample.
      indices = first + np.minimum(np.arange(self._size), count - 1)
      batch, loss, predicted = self._batch(
        params, seed, split, indices.tolist()
      )
      parts.append(jax.tree.map(lambda x, n=count: x[:n], batch))
      losses_.append(loss[:count])
      tokens.append(predicted[:count])
    batch = jax.tree.map(lambda *x: np.concatenate(x), *parts)
    predicted = np.concatenate(tokens)
    return evaluate.Result(
      base.HeldOut(batch, group_name=self._task.group_name),
      np.concatenate(losses_),
      predicted,
      judged=self._task.judged(batch, predicted),
    )

  def _batch(
    self, params: Any, seed: int, split: str, indices: list[int]
  ) -> tuple[base.Batch, np.ndarray, np.ndarray]:
    """The samples' last segments, losses [B] and predictions [B, L]."""
    length = self._model.segment_length
    segments = self._segments(seed, split, indices)
    state = streaming.start(self._model, params, len(indices), self._first)
    left = self._task.length // length - 1
    while left:
      # The first call takes the remainder.
      count = left % AT_ONCE or AT_ONCE
      read = list(itertools.islice(segments, count))
      if any(part.weights.any() for part in read):
        raise errors.UsageError(
          f'config.model.memory.segment_states={length}: the answer does not '
          'fit into the last segment'
        )
      piece = np.concatenate([part.inputs for part in read], axis=1)
      state, _ = streaming.feed(
        self._model, params, state, piece, together=count, logits='none',
        sharding=self._first,
      )  # fmt: skip
      left -= count
    last = next(segments)
    _, logits = streaming.feed(
      self._model, params, state, last.inputs, sharding=self._first
    )
    on_devices = jax.device_put(last, self._first)
    return last, *jax.device_get(self._answer(on_devices, logits))

  def _segments(
    self, seed: int, split: str, indices: list[int]
  ) -> Iterator[base.Batch]:
    """Batches [B, segment length], from the first segment to the last."""
    length = self._model.segment_length
    streams = [self._task.stream(seed, 0, i, split, length) for i in indices]
    for parts in zip(*streams, strict=True):
      yield jax.tree.map(lambda *x: np.concatenate(x), *parts)

  def _score(self, batch, logits):
    """Losses [B] and predictions [B, L] of a last segment."""
    loss = losses.per_sample(logits, batch, self._loss)
    return loss, logits.argmax(-1).astype(jnp.int32)
