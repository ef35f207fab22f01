"""Tasks: batches of token sequences from PRNG keys; no model code here."""

from collections.abc import Mapping
from typing import Any

from reasoning_depth import settings
from reasoning_depth.tasks import (
  association,
  babilong,
  base,
  composition,
  extrapolation,
  groups,
  orbits,
  stored,
)

TASKS: dict[str, type[base.Task]] = {
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
    UsageError: for an unknown name, or a field out of range.
  """
  fields = dict(config)
  kind = settings.choose('name', fields.pop('name'), TASKS)
  if fields.get('data') and not kind.reads_data:
    kind = stored.of(kind)
  return settings.build(kind, fields)


def adopt(config: Any) -> None:
  """Sets the fields of `config.task` that its data files decide, if any.

  Raises:
    UsageError: where the files cannot be read.
  """
  kind = settings.choose('name', config['name'], TASKS)
  if config.get('data'):
    for name, value in kind.found(config['data']).items():
      config[name] = value
