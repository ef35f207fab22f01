"""Timing of alternatives against each other, and a file for the result."""

import json
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from reasoning_depth.runtime import environment


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


def report(name: str, result: Mapping[str, Any], out: str | None) -> None:
  """Prints a result with its surroundings as JSON, and writes it to a file.

  Args:
    name: of the benchmark.
    result: what was measured.
    out: path of the file, or None for none.
  """
  record = {
    'benchmark': name,
    'environment': environment.record(),
    **result,
  }
  text = json.dumps(record, indent=2)
  print(text)
  if out:
    path = pathlib.Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + '\n')
