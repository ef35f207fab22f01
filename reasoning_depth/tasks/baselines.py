"""Predictors without learning, as baselines of the scores."""

from collections.abc import Sequence

import numpy as np

from reasoning_depth.tasks import automata, cases


def repeat_last(observed: np.ndarray) -> np.ndarray:
  """The last observed state; [N, T, W] to [N, W]."""
  return observed[:, -1]


def majority(observed: np.ndarray) -> np.ndarray:
  """Each cell's most frequent observed value, 1 on a tie; as `repeat_last`."""
  return (2 * observed.sum(axis=1, dtype=np.int64) >= observed.shape[1]).astype(
    observed.dtype
  )


def read_table(observed: np.ndarray, radius: int) -> np.ndarray:
  """The rule as the observed transitions show it.

  An entry gets the value that came of it most often; one that no transition
  reads gets the value that most of the other entries have. Ties give 0.

  Args:
    observed: [N, T, W].
    radius: r.

  Returns:
    uint8 [N, 2**(2r+1)].
  """
  N, size = len(observed), automata.table_size(radius)
  index = cases.neighbourhoods(observed[:, :-1], radius).astype(np.int64)
  index = (index + size * np.arange(N)[:, None, None]).ravel()
  came = observed[:, 1:].ravel()
  zeros, ones = (
    np.bincount(index[came == value], minlength=N * size).reshape(N, size)
    for value in (0, 1)
  )
  filled = ((ones > zeros).sum(-1) > (zeros > ones).sum(-1))[:, None]
  return np.where(ones + zeros > 0, ones > zeros, filled).astype(np.uint8)


def table(
  observed: np.ndarray, radius: int, look_ahead: Sequence[int]
) -> np.ndarray:
  """Rolls `read_table` out; [N, T, W] to [K, N, W] at K ascending values."""
  rule = read_table(observed, radius)
  state, found = observed[:, -1].astype(np.uint8), []
  for k in range(1, max(look_ahead) + 1):
    state = cases.take(rule, cases.neighbourhoods(state, radius))
    if k in look_ahead:
      found.append(state)
  return np.stack(found)


def scores(
  observed: np.ndarray,
  answers: np.ndarray,
  radius: int,
  look_ahead: Sequence[int],
) -> dict[str, np.ndarray]:
  """Scores [K, N] of each predictor, by name.

  Args:
    observed: [N, T, W].
    answers: [K, N, W], the right states.
    radius: r, of the table.
    look_ahead: K values, ascending.
  """
  predicted = {
    'repeat_last': repeat_last(observed),
    'majority': majority(observed),
    'table': table(observed, radius, look_ahead),
  }
  found = {}
  for name, states in predicted.items():
    right = states == answers
    found[f'{name}_exact_match'] = right.all(-1)
    found[f'{name}_bit_accuracy'] = right.mean(-1)
  return found
