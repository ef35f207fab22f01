"""What a run cost, from `evaluations/cost.json`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from reasoning_depth.report import runs

NAME = 'cost'
_PREFIXES = ('', 'k', 'M', 'G', 'T', 'P', 'E')
_BOUNDS = {'': '', 'at most': '≤ ', 'at least': '≥ '}


@dataclasses.dataclass(frozen=True)
class Amount:
  """Floating-point operations; `bound` is '', 'at most' or 'at least'."""

  operations: float = 0
  bound: str = ''

  def __add__(self, other: Amount) -> Amount:
    return Amount(self.operations + other.operations, self.bound or other.bound)

  def __mul__(self, times: float) -> Amount:
    return Amount(self.operations * times, self.bound)

  def __str__(self) -> str:
    return _BOUNDS[self.bound] + short(self.operations)


@dataclasses.dataclass(frozen=True)
class Cost:
  """Costs of a run, or of several.

  Attributes:
    parameters: their number.
    training: operations of all updates, with those of runs that it starts from.
    minutes: of the same, by the clock.
    answer: operations of one answer.
    depth_steps: expected number at the end of training; None: not reported.
  """

  parameters: int
  training: Amount
  minutes: float
  answer: Amount
  depth_steps: float | None


def of(run: runs.Run) -> Cost | None:
  """The costs of a run; None where they were not written."""
  return together([run])


def together(all_runs: Sequence[runs.Run]) -> Cost | None:
  """Costs of several runs and of their most expensive answer.

  A run that several start from was trained once.

  Returns:
    the costs; parameters and depth steps are those of one of the runs; None
    where the costs of one were not written.

  Raises:
    UsageError: naming the file and the field that it lacks.
  """
  found = [_read(run) for run in all_runs]
  if None in found:
    return None
  starts = {
    run.config['train'].get('init_from', ''): cost['start']
    for run, cost in zip(all_runs, found, strict=True)
    if cost['start']
  }
  parts = [cost['training'] for cost in found] + list(starts.values())
  answers = [_amount(cost['answer']) for cost in found]
  return Cost(
    parameters=found[0]['parameters'],
    training=sum(map(_amount, parts), Amount()),
    minutes=sum(part['minutes'] for part in parts),
    answer=max(answers, key=lambda answer: answer.operations),
    depth_steps=found[0]['depth_steps'],
  )


def _read(run: runs.Run) -> dict[str, Any] | None:
  """The content of the file, with all fields that are needed."""
  found, where = run.analyses.get(NAME), run.analysis_path(NAME)
  if found is None:
    return None
  own = ('parameters', 'training', 'start', 'answer', 'depth_steps')
  runs.require(found, own, where)
  for part in ('training', 'start'):
    if found[part]:
      needed = ('operations', 'bound', 'minutes')
      runs.require(found[part], needed, f'{where}: {part}')
  runs.require(found['answer'], ('operations', 'bound'), f'{where}: answer')
  return found


def _amount(part: dict[str, Any]) -> Amount:
  return Amount(part['operations'], part['bound'])


def short(value: float) -> str:
  """A number of three digits with a prefix: 121k, 3.14G, 52T."""
  power = 0
  while abs(value) >= 999.5 and power + 1 < len(_PREFIXES):
    value, power = value / 1000, power + 1
  return f'{value:.3g}{_PREFIXES[power]}'
