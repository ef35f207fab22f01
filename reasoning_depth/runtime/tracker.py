"""Weights & Biases beside a run's own files, where asked and installed.

A run never needs it: its files hold all that is sent, and what goes wrong on
the way there is said once and stops nothing.
"""

import contextlib
import json
import pathlib
import sys
import types
import uuid
from collections.abc import Iterator, Mapping

from reasoning_depth import errors

ID = 'wandb.json'  # in the run folder: which run a resumed one goes on with


def check(project: str) -> None:
  """Raises `UsageError` where a project is named and wandb not installed."""
  if project and _library() is None:
    raise errors.UsageError(
      f'config.log.wandb={project}: wandb is not installed: '
      "pip install '.[wandb]'"
    )


def _library() -> types.ModuleType | None:
  try:
    import wandb
  except ImportError:
    return None
  return wandb


class Tracker:
  """A run of a project; one without a project does nothing."""

  def __init__(self, folder: pathlib.Path, project: str):
    """Begins a run, or goes on with the one of a run folder.

    Args:
      folder: the run folder, whose name, config and id the run has.
      project: '' for none.
    """
    self._run = None
    self._wandb = _library() if project else None
    if self._wandb is None:
      return
    with self._told():
      path = folder / ID
      if not path.exists():
        path.write_text(json.dumps({'id': uuid.uuid4().hex[:12]}))
      config = json.loads((folder / 'config.json').read_text())
      self._run = self._wandb.init(
        project=project, id=json.loads(path.read_text())['id'], config=config,
        resume='allow', name=folder.resolve().name, dir=str(folder),
      )  # fmt: skip
      # A resumed run writes steps again, which wandb's own count refuses.
      self._run.define_metric('*', step_metric='step')

  def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
    """Adds the values of a step, under `split/name`."""
    if self._run is not None:
      named = {f'{split}/{name}': value for name, value in values.items()}
      with self._told():
        self._run.log({'step': step, **named})

  def close(self) -> None:
    """Sends what is left."""
    if self._run is not None:
      with self._told():
        self._run.finish()

  @contextlib.contextmanager
  def _told(self) -> Iterator[None]:
    """Tells what goes wrong in one line, and sends nothing more."""
    try:
      yield
    except (self._wandb.Error, OSError, ValueError, KeyError) as error:
      self._run = None
      reason = ' '.join(str(error).split())
      print(f'wandb: {reason}; going on without', file=sys.stderr)
