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
  print(_text(name, result))
  save(name, result, out)


def save(name: str, result: Mapping[str, Any], out: str | None) -> None:
  """Writes what `report` does, also in between; the file is always whole."""
  if out:
    path = pathlib.Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + '.partial')
    partial.write_text(_text(name, result) + '\n')
    partial.replace(path)


def _text(name: str, result: Mapping[str, Any]) -> str:
  head = {'benchmark': name, 'environment': environment.record()}
  return json.dumps({**head, **result}, indent=2)
