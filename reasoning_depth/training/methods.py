"""Methods of training: the train step and what it carries to the next.

A new method derives from `Method`, in a file of its own, with one line in
`training.METHODS`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import optax

from reasoning_depth import settings
from reasoning_depth.models import base as base_model
from reasoning_depth.tasks import base
from reasoning_depth.training import state, step

TrainStep = Callable[
  [state.TrainState, base.Batch, jax.Array],
  tuple[state.TrainState, step.StepMetrics],
]


class Method:
  """A way to train; one object for a run.

  Attributes:
    Settings: dataclass of the fields under `config.train.<name>`, or None.
    by_model: whether models select it (`trained_by`), not `train.method`.
    generates: whether evaluation generates the answers.
    accumulates: whether `train.gradient_accumulation` may be above 1.
    carries_samples: whether samples stay in the batch over several steps, so
      that batches must keep their shape.
  """

  Settings: type[settings.Settings] | None = None
  by_model = False
  generates = False
  accumulates = False
  carries_samples = False

  def __init__(self, own: Any = None):
    """Args: own, the method's settings, or None."""
    self.settings = own

  def check(self, task: base.Task) -> None:
    """Raises `UsageError` for a task that cannot be trained this way."""

  def completion(self, task: base.Task) -> np.ndarray | None:
    """Tokens that evaluation sets in what it generates; see `decoding`.

    Returns:
      int [n], as many as are generated; None for as many as the task's answer
      has, all of them chosen by the model.
    """
    return None

  def make_train_step(
    self,
    model: base_model.Model,
    task: base.Task,
    optimizer: optax.GradientTransformation,
    config: Mapping[str, Any],
  ) -> TrainStep:
    """A pure function (state, batch, key) → (state, metrics).

    Args:
      model: maps tokens to logits.
      task: that the batches are from.
      optimizer: turns gradients into updates.
      config: `config.train`.
    """
    raise NotImplementedError

  def first_carry(
    self,
    model: base_model.Model,
    params: Any,
    sample: Callable[[jax.Array], base.Batch],
  ) -> Any:
    """The `carry` of a fresh train state; can be jitted.

    Args:
      model: the model.
      params: its parameters.
      sample: makes a batch from a key.
    """
    return None

  def carry_from(self, params: Any, carry: Any) -> Any:
    """The `carry` of a state initialised from a checkpoint's parameters."""
    return carry


class Supervised(Method):
  """One batch, one loss on its answers, one update."""

  accumulates = True

  def make_train_step(self, model, task, optimizer, config):
    """See `Method`."""
    return step.make_train_step(model, optimizer, config)
