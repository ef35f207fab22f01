"""Predictors without learning, as baselines of the scores."""

import numpy as np


def repeat_last(observed: np.ndarray) -> np.ndarray:
  """The last observed state; [N, T, W] to [N, W]."""
  return observed[:, -1]


def majority(observed: np.ndarray) -> np.ndarray:
  """Each cell's most frequent observed value, 1 on a tie; as `repeat_last`."""
  return (2 * observed.sum(axis=1, dtype=np.int64) >= observed.shape[1]).astype(
    observed.dtype
  )


PREDICTORS = {'repeat_last': repeat_last, 'majority': majority}


def scores(observed: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
  """Scores [..., N] of each predictor, by name.

  Args:
    observed: [N, T, W].
    answers: [..., N, W], the right states.
  """
  found = {}
  for name, predict in PREDICTORS.items():
    right = predict(observed) == answers
    found[f'{name}_exact_match'] = right.all(-1)
    found[f'{name}_bit_accuracy'] = right.mean(-1)
  return found
