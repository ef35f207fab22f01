"""What a run cost, from `evaluations/cost.json`."""

import dataclasses
from collections.abc import Sequence

from reasoning_depth.report import runs

NAME = 'cost'
_PREFIXES = ('', 'k', 'M', 'G', 'T', 'P', 'E')
_BOUNDS = {'': '', 'at most': '≤ ', 'at least': '≥ '}


@dataclasses.dataclass(frozen=True)
class Amount:
  """Floating-point operations; `bound` is '', 'at most' or 'at least'."""

  operations: float
  bound: str = ''

  def __add__(self, other: 'Amount') -> 'Amount':
    return Amount(self.operations + other.operations, self.bound or other.bound)

  def __mul__(self, times: float) -> 'Amount':
    return Amount(self.operations * times, self.bound)

  def __str__(self) -> str:
    return _BOUNDS[self.bound] + short(self.operations)


@dataclasses.dataclass(frozen=True)
class Cost:
  """Costs of a run.

  Attributes:
    parameters: their number.
    training: operations of all updates.
    answer: operations of one answer.
    minutes: of training, by the clock; None where not written.
    depth_steps: expected number at the end of training, or None.
  """

  parameters: int
  training: Amount
  answer: Amount
  minutes: float | None
  depth_steps: float | None


def of(run: runs.Run) -> Cost | None:
  """The costs of a run; None where they were not written.

  Raises:
    UsageError: naming the file and the field that it lacks.
  """
  found, where = run.analyses.get(NAME), run.analysis_path(NAME)
  if found is None:
    return None
  runs.require(
    found, ('parameters', 'training', 'answer', 'depth_steps'), where
  )
  runs.require(found['training'], ('minutes',), where)
  for part in ('training', 'answer'):
    runs.require(found[part], ('operations', 'bound'), where)
  amounts = {
    part: Amount(found[part]['operations'], found[part]['bound'])
    for part in ('training', 'answer')
  }
  return Cost(
    parameters=found['parameters'],
    minutes=found['training']['minutes'],
    depth_steps=found['depth_steps'],
    **amounts,
  )


def together(all_runs: Sequence[runs.Run]) -> Cost | None:
  """Costs of training several runs, and of the most expensive answer.

  None where the costs of one are not known.
  """
  found = [of(run) for run in all_runs]
  if None in found:
    return None
  most = max(found, key=lambda cost: cost.answer.operations)
  minutes = [cost.minutes for cost in found]
  return dataclasses.replace(
    most,
    training=sum((cost.training for cost in found), Amount(0)),
    minutes=None if None in minutes else sum(minutes),
  )


def short(value: float) -> str:
  """A number with three digits and a prefix: 121k, 3.14G, 52T."""
  power = 0
  while abs(value) >= 999.5 and power + 1 < len(_PREFIXES):
    value, power = value / 1000, power + 1
  return f'{value:.3g}{_PREFIXES[power]}'
