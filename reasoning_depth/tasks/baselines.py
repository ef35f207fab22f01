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
