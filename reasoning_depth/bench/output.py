"""Output of benchmark results as JSON."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from reasoning_depth.runtime import environment


def report(name: str, result: Mapping[str, Any], out: str | None) -> None:
  """Prints a result with its environment as JSON, and writes it to a file.

  Args:
    name: of the benchmark.
    result: what was measured.
    out: path of the file, or None.
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
