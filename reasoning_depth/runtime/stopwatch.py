"""Timing of alternatives against each other."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def alternate(
  runners: Mapping[str, Callable[[], Any]], rounds: int, seconds: float = 0.0
) -> dict[str, dict[str, float]]:
  """Times callables in turn, so that all meet the same noise.

  Args:
    runners: name to a callable that returns when its work is done.
    rounds: times each is run at least, after one run that is not counted.
    seconds: spent at least on the runs that are counted.

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
