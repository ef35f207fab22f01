"""Timing of alternatives against each other."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def alternate(
  runners: Mapping[str, Callable[[], Any]], rounds: int
) -> dict[str, dict[str, float]]:
  """Times callables in turn, so that all meet the same noise.

  Args:
    runners: name to a callable that returns when its work is done.
    rounds: times each is run, after one run that is not counted.

  Returns:
    name to seconds: 'median', 'least' and 'most'.
  """
  seconds = {name: [] for name in runners}
  for r in range(rounds + 1):
    for name, run in runners.items():
      started = time.perf_counter()
      run()
      if r:
        seconds[name].append(time.perf_counter() - started)
  return {
    name: {
      'median': float(np.median(s)),
      'least': float(min(s)),
      'most': float(max(s)),
    }
    for name, s in seconds.items()
  }
