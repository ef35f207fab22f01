"""Models: tokens to logits; no task code here."""

from collections.abc import Mapping
from typing import Any

from reasoning_depth import settings
from reasoning_depth.models import (
  armt,
  base,
  looped,
  lstm,
  mamba,
  recall,
  rmt,
  transformer,
  trm,
)

# Settings of each model; `build(task)` makes it.
MODELS: dict[str, type[settings.Settings]] = {
  'transformer': transformer.Settings,
  'lstm': lstm.Settings,
  'mamba': mamba.Settings,
  'rmt': rmt.Settings,
  'armt': armt.Settings,
  'looped': looped.Settings,
  'trm': trm.Settings,
  'recall': recall.Settings,
}


def make(config: Mapping[str, Any], task: Any) -> base.Model:
  """Builds a model from `config.model` for a task.

  Args:
    config: the name of the model and its fields.
    task: a `tasks.base.Task`.

  Raises:
    UsageError: for an unknown name, or fields that contradict each other.
  """
  fields = dict(config)
  kind = settings.choose('name', fields.pop('name'), MODELS)
  return settings.build(kind, fields).build(task)
