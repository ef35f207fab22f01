"""What is asked: tasks make batches from keys and know no model."""

from collections.abc import Mapping
from typing import Any

from reasoning_depth.tasks import (
  association,
  babilong,
  base,
  composition,
  extrapolation,
  groups,
  orbits,
)

TASKS = {
  'association': association.Association,
  'babilong': babilong.BABILong,
  'composition': composition.Composition,
  'extrapolation': extrapolation.Extrapolation,
  'groups': groups.Groups,
  'orbits': orbits.Orbits,
}


def make(config: Mapping[str, Any]) -> base.Task:
  """Builds a task from `config.task`: its name and its fields.

  Raises:
    ValueError: for an unknown name, or a field out of range.
  """
  fields = dict(config)
  name = fields.pop('name')
  if name not in TASKS:
    raise ValueError(f'name={name!r}: allowed are {", ".join(TASKS)}')
  return TASKS[name](**fields)
