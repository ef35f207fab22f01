"""Writes a run's metrics, as JSON lines and as TensorBoard events.

Only process 0 writes.
"""

import contextlib
import dataclasses
import json
import pathlib
import sys
import time
from collections.abc import Mapping
from typing import Any

import jax
import tensorboardX

from reasoning_depth import settings
from reasoning_depth.runtime import tracker


@dataclasses.dataclass(frozen=True)
class Settings(settings.Settings):
  """Where metrics go besides; no part of what a run computes."""

  wandb: str = settings.field(
    '', 'project of Weights & Biases, the extra [wandb]; empty: none'
  )


class Writer:
  """Appends to `metrics.jsonl` and to TensorBoard event files."""

  def __init__(self, folder: pathlib.Path, from_step: int = 0, wandb: str = ''):
    """Opens the files of a run folder.

    Args:
      folder: the run folder.
      from_step: step the run resumes from; later lines of an interrupted run
        are dropped, since they will be written again.
      wandb: as in `Settings`.
    """
    self._writes = jax.process_index() == 0
    self._begun, self._before = time.monotonic(), 0.0
    if not self._writes:
      return
    path = folder / 'metrics.jsonl'
    if path.exists():
      kept = lines(path, from_step)
      write_text(path, ''.join(line + '\n' for line in kept))
      if kept:
        self._before = json.loads(kept[-1]).get('seconds', 0.0)
    self._file = path.open('a')
    self._write_failed = False
    self._events = tensorboardX.SummaryWriter(
      str(folder), purge_step=from_step + 1 if from_step else None
    )
    self._tracker = tracker.Tracker(folder, wandb)

  def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
    """Adds one line of named values, and the run's wall-clock seconds.

    The seconds include earlier, interrupted processes, compilation, evaluation
    and checkpoints.
    """
    if not self._writes:
      return
    seconds = self._before + time.monotonic() - self._begun
    values = {**values, 'seconds': round(seconds, 2)}
    line = {'step': step, 'split': split, **values}
    self._file.write(json.dumps(line) + '\n')
    self._flush()
    for name, value in values.items():
      self._events.add_scalar(f'{split}/{name}', value, step)
    self._tracker.write(step, split, values)

  def _flush(self) -> None:
    """Flushes; on an error (a full disk) keeps the lines for the next try."""
    try:
      self._file.flush()
      self._write_failed = False
    except OSError as error:
      if not self._write_failed:
        print(f'metrics.jsonl: {error.strerror}; trying on', file=sys.stderr)
      self._write_failed = True

  def close(self) -> None:
    """Flushes and closes."""
    if self._writes:
      self._flush()
      with contextlib.suppress(OSError):
        self._file.close()
      self._events.close()
      self._tracker.close()


def lines(path: pathlib.Path, last: float) -> list[str]:
  """The lines of a `metrics.jsonl` up to a step, without damaged ones."""
  text = path.read_text(errors='replace')
  return [line for line in text.splitlines() if _step(line) <= last]


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes a file atomically."""
  if jax.process_index() > 0:
    return
  path.parent.mkdir(parents=True, exist_ok=True)
  partial = path.with_name(path.name + '.partial')
  partial.write_text(text)
  partial.replace(path)


def write_json(path: pathlib.Path, value: Any) -> None:
  """Writes a JSON file atomically."""
  write_text(path, json.dumps(value, indent=2) + '\n')


def write_rows(path: pathlib.Path, rows: list[Mapping[str, Any]]) -> None:
  """Writes a JSON-lines file atomically."""
  write_text(path, ''.join(json.dumps(row) + '\n' for row in rows))


def _step(line: str) -> float:
  try:
    return float(json.loads(line)['step'])
  except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
    return float('inf')  # cut off when the run was killed
