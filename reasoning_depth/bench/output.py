"""Output of benchmark results as JSON."""

import argparse
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from reasoning_depth.runtime import environment, writer


def setting(flags: argparse.Namespace) -> dict[str, Any]:
  """The flags that say what is measured, not where it is written."""
  where = ('out', 'plot')
  return {name: v for name, v in vars(flags).items() if name not in where}


def report(name: str, result: Mapping[str, Any], out: str | None) -> None:
  """Prints a result with its environment as JSON, and writes it to a file.

  Args:
    name: of the benchmark.
    result: what was measured.
    out: path of the file, or None.
  """
  print(json.dumps(_record(name, result), indent=2))
  save(name, result, out)


def save(name: str, result: Mapping[str, Any], out: str | None) -> None:
  """Writes what `report` does, also in between; the file is always whole."""
  if out:
    writer.write_json(pathlib.Path(out), _record(name, result))


def _record(name: str, result: Mapping[str, Any]) -> dict[str, Any]:
  head = {'benchmark': name, 'environment': environment.record()}
  return {**head, **result}
