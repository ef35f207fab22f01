"""Scores answers at the end of text of any length, read segment by segment.

A sample is made piece by piece and only the memory of what was read is kept, so
that neither its tokens nor its logits are ever held at once.
"""

import itertools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth.models import segmented
from reasoning_depth.runtime import sharding
from reasoning_depth.scoring import evaluate, losses
from reasoning_depth.tasks import base

AT_ONCE = 16  # segments read in one call of the devices


def can(task: base.Task, model: nn.Module) -> bool:
  """Whether a task streams its samples and a model reads streams of them."""
  return (
    hasattr(task, 'stream')
    and isinstance(model, segmented.SegmentModel)
    and model.segment_length == model.stride
  )


class Reader:
  """Reads streams of samples with a memory; compiles a few shapes once."""

  def __init__(
    self,
    model: segmented.SegmentModel,
    task: base.Task,
    config: Mapping[str, Any],
    mesh: jax.sharding.Mesh,
  ):
    """As `evaluate.Evaluator`; `can` must be true of task and model."""
    self._model, self._task = model, task
    self._size = config['eval']['batch_size']
    self._loss = config['train']['loss']
    self._first = sharding.batched(mesh)
    self._second = sharding.batches(mesh)
    whole = sharding.replicated(mesh)
    self._read = jax.jit(self._pass_by)
    self._answer = jax.jit(self._score, out_shardings=whole)

  def run(
    self, params: Any, key: jax.Array, split: str, num_samples: int
  ) -> evaluate.Result:
    """Scores the samples that `evaluate.held_out` would draw.

    Args:
      params: parameters of the model.
      key: the same key gives the same samples.
      split: 'train', 'validation' or 'test'.
      num_samples: N.

    Returns:
      the result of the last segments, which hold the answers.

    Raises:
      ValueError: where an answer begins before the last segment.
    """
    seed = evaluate.host_seed(key)
    parts, losses_, tokens = [], [], []
    for first in range(0, num_samples, self._size):
      count = min(self._size, num_samples - first)
      # A short batch is filled up with its last sample.
      indices = first + np.minimum(np.arange(self._size), count - 1)
      batch, loss, said = self._batch(params, seed, split, indices.tolist())
      parts.append(jax.tree.map(lambda x, n=count: x[:n], batch))
      losses_.append(loss[:count])
      tokens.append(said[:count])
    batch = jax.tree.map(lambda *x: np.concatenate(x), *parts)
    name = getattr(self._task, 'group_name', 'group')
    return evaluate.Result(
      evaluate.HeldOut(batch, None, {}, name),
      np.concatenate(losses_),
      np.concatenate(tokens),
    )

  def _batch(
    self, params: Any, seed: int, split: str, indices: list[int]
  ) -> tuple[base.Batch, np.ndarray, np.ndarray]:
    """Last segments of samples, their losses [B] and predictions [B, L]."""
    length = self._model.segment_length
    segments = map(
      _rows,
      zip(
        *(self._task.stream(seed, 0, i, split, length) for i in indices),
        strict=True,
      ),
    )
    memory, left = None, self._task.length // length - 1
    while left:
      # The first call takes what does not fill a whole one.
      count = left % AT_ONCE or AT_ONCE
      read = list(itertools.islice(segments, count))
      if any(part.weights.any() for part in read):
        raise ValueError(
          f'config.model.memory.segment_states={length}: the answer does not '
          'fit into the last segment'
        )
      inputs = np.stack([part.inputs for part in read])
      memory = self._read(params, jax.device_put(inputs, self._second), memory)
      left -= count
    last = next(segments)
    on_devices = jax.device_put(last, self._first)
    return last, *jax.device_get(self._answer(params, on_devices, memory))

  def _pass_by(self, params, parts, memory):
    """The memory after segments [S, B, L]."""
    return self._model.apply(
      {'params': params}, parts, memory, 0, method='read_segments'
    )[1]

  def _score(self, params, batch, memory):
    """Losses [B] and predictions [B, L] of a last segment."""
    L = batch.inputs.shape[1]
    _, _, logits = self._model.apply(
      {'params': params},
      batch.inputs[None],
      memory,
      jnp.arange(L),
      method='read_segments',
    )
    logits = logits.swapaxes(0, 1)  # positions come first
    entropy = losses.cross_entropy(logits, batch.targets, self._loss)
    loss = jnp.mean(entropy, axis=-1, where=batch.weights > 0)
    return loss, logits.argmax(-1).astype(jnp.int32)


def _rows(parts: tuple[base.Batch, ...]) -> base.Batch:
  """Batches of one sample each as one batch."""
  return jax.tree.map(lambda *x: np.concatenate(x), *parts)
