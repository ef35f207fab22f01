"""Compares the run times of alternatives."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def alternate(
  runners: Mapping[str, Callable[[], Any]], rounds: int, seconds: float = 0.0
) -> dict[str, dict[str, float]]:
  """Times callables in turn, so that noise affects all alike.

  Args:
    runners: name to a callable that blocks until its work is done.
    rounds: least number of timed runs of each, after one warm-up run.
    seconds: least total time of the timed runs.

  Returns:
    name to seconds: 'median', 'least' and 'most'.
  """
  taken = {name: [] for name in runners}
  for run in runners.values():
    run()
  begun, done = time.perf_counter(), 0
  while done < rounds or time.perf_counter() - begun < seconds:
    for name, run in runners.items():
      started = time.perf_counter()
      run()
      taken[name].append(time.perf_counter() - started)
    done += 1
  return {
    name: {
      'median': float(np.median(s)),
      'least': float(min(s)),
      'most': float(max(s)),
    }
    for name, s in taken.items()
  }
