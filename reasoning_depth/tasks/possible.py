"""What the observed states of an orbit leave possible, its rule not given.

As `ceiling`, of which the true rule is known; here nobody knows it, so where
there are too many cases nothing is said.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from reasoning_depth.tasks import cases as cases_lib

MOST_CASES = 2**14  # held at once; at most 150 bytes each


@dataclasses.dataclass(frozen=True)
class Possible:
  """The states that an orbit may reach, at K look-aheads.

  All rules that make the observed states are taken as equally likely.

  Attributes:
    chance: float64 [K, W], probability that a cell is 1: 0 or 1 where the
      observed states determine it. NaN where there are more than `MOST_CASES`
      cases, or where no rule makes the observed states.
    count: int [K], number of possible states; 0 where `chance` is NaN.
    contradiction: why no rule makes the observed states, or ''.
  """

  chance: np.ndarray
  count: np.ndarray
  contradiction: str = ''


def possible(
  states: np.ndarray, look_ahead: Sequence[int], radius: int
) -> Possible:
  """Rolls out all rules that make the observed states.

  Args:
    states: uint8 [T, W], T >= 1, W >= 2r+1.
    look_ahead: K values of k >= 1, ascending.
    radius: r, 1 to 4.

  Example, rule 30 from a single live cell: three states do not show what
  follows 101, and one cell two steps on depends on it::

    >>> states = np.array([[0, 0, 0, 1, 0, 0, 0],
    ...                    [0, 0, 1, 1, 1, 0, 0],
    ...                    [0, 1, 1, 0, 0, 1, 0]])
    >>> possible(states, (1, 2), radius=1).chance
    array([[1. , 1. , 0. , 1. , 1. , 1. , 1. ],
           [0. , 0. , 0.5, 1. , 0. , 0. , 0. ]])
  """
  states = np.asarray(states, np.uint8)
  K, W = len(look_ahead), states.shape[1]
  chance, count = np.full((K, W), np.nan), np.zeros(K, int)
  if wrong := contradiction(states, radius):
    return Possible(chance, count, wrong)
  cases = cases_lib.observe(states[None], radius)
  step = 0
  for i, k in enumerate(look_ahead):
    while cases is not None and step < k:
      cases, step = cases_lib.branched(cases, radius, MOST_CASES), step + 1
    if cases is None:
      break
    chance[i] = (cases.weight[:, None] * cases.state).sum(0)
    chance[i] /= cases.weight.sum()
    count[i] = len(np.unique(cases.state, axis=0))
  return Possible(chance, count)


def contradiction(states: np.ndarray, radius: int) -> str:
  """The first cell [T, W] that no rule makes with those before; '' if none."""
  W = states.shape[1]
  read = cases_lib.neighbourhoods(states[:-1], radius).ravel()
  made = states[1:].ravel()
  _, first, entry = np.unique(read, return_index=True, return_inverse=True)
  wrong = np.flatnonzero(made != made[first][entry])
  if not len(wrong):
    return ''
  at, before = wrong[0], first[entry[wrong[0]]]
  seen = f'{read[at]:0{2 * radius + 1}b}'
  return (
    f'no rule of radius {radius} makes these states: {seen} gives '
    f'{made[before]} at row {before // W + 2}, cell {before % W + 1} and '
    f'{made[at]} at row {at // W + 2}, cell {at % W + 1}'
  )
