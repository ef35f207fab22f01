"""Checkpoints of a run folder: orbax arrays, checked against a manifest.

`checkpoints/<step>/` holds `state/`, written by orbax, and `manifest.json` with
the SHA-256 of every file. A save is written to `<step>.partial` and renamed at
the end, so a folder named by a number is complete. A killed run may leave
`<step>.partial` or `<step>.deleting`. A checkpoint that does not match its
manifest is renamed to `<step>.damaged`.
"""

import dataclasses
import hashlib
import logging as python_logging
import pathlib
import shutil
import sys
import threading
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from jax.experimental import multihost_utils

from reasoning_depth import errors, settings
from reasoning_depth.runtime import manifest

_LEFT_OVER = ('*.partial', '*.deleting')


@dataclasses.dataclass(frozen=True)
class Settings(settings.Settings):
  """When a run is saved, and which checkpoints are kept."""

  every: int = settings.field(2_000, 'updates between checkpoints', least=1)
  keep: int = settings.field(2, 'newest checkpoints kept', least=1)
  keep_best: int = settings.field(0, 'best checkpoints kept besides')
  metric: str = settings.field(
    'exact_match',
    'validation score that keep_best goes by',
    choices=('exact_match', 'bit_accuracy', 'loss'),
  )
  keep_every: int = settings.field(
    0, 'updates between checkpoints never deleted; 0 for none'
  )
  grace: float = settings.field(
    9.0, 'seconds from SIGTERM or SIGINT to a forced exit', least=1
  )


@dataclasses.dataclass(frozen=True)
class Keep:
  """Which checkpoints are kept.

  Attributes:
    newest: number of the newest.
    best: number of the best by `metric`.
    every: keep those at multiples of this many steps; 0 for none.
    metric: of the validation at the same step, such as 'exact_match'.
  """

  newest: int = 1
  best: int = 0
  every: int = 0
  metric: str = 'exact_match'

  def spare(self, found: Mapping[int, Mapping[str, float]]) -> list[int]:
    """Steps to delete, given the metrics of each saved step."""
    steps = sorted(found)
    kept = set(steps[-self.newest :])
    scored = [s for s in steps if self.metric in found[s]]
    scored.sort(key=lambda s: found[s][self.metric])
    if self.metric != 'loss':
      scored.reverse()
    kept.update(scored[: self.best])
    if self.every:
      kept.update(s for s in steps if s % self.every == 0)
    return [s for s in steps if s not in kept]


class Checkpoints:
  """Saves and restores train states; several processes share one folder."""

  def __init__(
    self,
    folder: pathlib.Path,
    keep: Keep | None = None,
    name: str = 'checkpoints',
  ):
    """Opens the checkpoints of a run folder.

    Args:
      folder: the run folder.
      keep: which to keep; None for read-only, which changes nothing on disk.
      name: of the checkpoints' folder in the run folder.
    """
    self.run = folder
    self._folder = (folder / name).absolute()
    self._keep = keep
    self._checkpointer = _checkpointer()
    self._thread = None
    self._saving = (-1, None)  # step being saved, and its error
    self._last = -1
    if keep and jax.process_index() == 0:
      for pattern in _LEFT_OVER:
        for path in self._folder.glob(pattern):
          shutil.rmtree(path)

  @property
  def steps(self) -> list[int]:
    """Steps of the saved checkpoints, ascending."""
    names = (p.name for p in self._folder.glob('*'))
    return sorted(int(n) for n in names if n.isdecimal())

  def save(
    self, step: int, state: Any, metrics: Mapping[str, float] | None = None
  ) -> None:
    """Saves in the background, unless this step was the last one saved.

    Errors are printed to stderr, at the next `save` or `wait`.

    Args:
      step: names the checkpoint.
      state: arrays; may be donated as soon as this returns.
      metrics: scores of the state, for `Keep.best`.
    """
    if step == self.wait():
      return
    self._saving = (step, None)
    try:
      self._checkpointer.save(self._at(step, '.partial') / 'state', state)
    except Exception as error:  # anything that orbax's storage raises
      self._saving = (step, error)
    self._thread = threading.Thread(
      target=self._finish, args=(dict(metrics or {}),)
    )
    self._thread.start()

  def wait(self) -> int:
    """Waits for the save in progress, if any.

    Returns:
      the last step saved to disk, or -1.
    """
    if self._thread is None:
      return self._last
    self._thread.join()
    self._thread = None
    step, error = self._saving
    failed = error is not None
    if jax.process_count() > 1:
      failed = multihost_utils.process_allgather(np.bool_(failed)).any()
    if failed:
      self._failed(step, error or OSError('another process failed'))
    else:
      self._last = step
    return self._last

  def close(self) -> None:
    """Waits for the save in progress and closes orbax's checkpointer."""
    self.wait()
    self._checkpointer.close()

  def restore(self, abstract: Any) -> Any | None:
    """The newest checkpoint that matches its manifest.

    Damaged ones are reported on stderr, renamed unless read-only, and skipped.

    Args:
      abstract: tree of `jax.ShapeDtypeStruct` with the shardings to restore
        to.

    Returns:
      the state, or None where nothing was ever saved.

    Raises:
      UsageError: where all are damaged, or the newest undamaged one is of
        another config or version of the code.
    """
    step = self._newest_whole() if jax.process_index() == 0 else -1
    if jax.process_count() > 1:
      step = int(multihost_utils.broadcast_one_to_all(np.int32(step)))
    if step < 0:
      if self.steps or any(self._folder.glob('*.damaged*')):
        raise errors.UsageError(
          f'--workdir={self.run}: no checkpoint can be loaded; remove its '
          f'{self._folder.name}/ to begin again'
        )
      return None
    self._last = step
    try:
      return self._checkpointer.restore(self._at(step) / 'state', abstract)
    except (ValueError, TypeError, KeyError) as error:
      raise errors.UsageError(
        f'--workdir={self.run}: checkpoint {step} does not fit this version '
        f'of the code: {_first_line(error)}'
      ) from None

  def _newest_whole(self) -> int:
    """The newest step that matches its manifest, or -1."""
    for step in reversed(self.steps):
      try:
        facts = manifest.verify(self._at(step))
      except manifest.Damaged as error:
        self._reject(step, str(error))
        continue
      if facts['config'] != self._digest():
        raise errors.UsageError(
          f'--workdir={self.run}: config.json is not the one that checkpoint '
          f'{step} was made with'
        )
      return step
    return -1

  def _reject(self, step: int, problem: str) -> None:
    aside = ''
    if self._keep:
      path = self._at(step, '.damaged')
      while path.exists():
        path = path.with_name(path.name + '+')
      self._at(step).rename(path)
      aside = f', set aside as {path.name}'
    _warn(f'checkpoint {step} is damaged{aside}: {problem}')

  def _finish(self, metrics: dict[str, float]) -> None:
    """In a thread: waits for orbax, renames, and deletes old checkpoints."""
    step, error = self._saving
    if error:
      return
    try:
      self._checkpointer.wait_until_finished()
      if jax.process_index() > 0:
        return
      partial = self._at(step, '.partial')
      facts = {'step': step, 'config': self._digest(), 'metrics': metrics}
      manifest.write(partial, facts)
      manifest.verify(partial)
      partial.rename(self._at(step))
      found = {s: self._metrics(s) for s in self.steps}
      for spare in self._keep.spare(found):
        self._delete(self._at(spare))
    except Exception as error:
      self._saving = (step, error)

  def _metrics(self, step: int) -> Mapping[str, float]:
    try:
      return manifest.read(self._at(step))['metrics']
    except manifest.Damaged:
      return {}

  def _failed(self, step: int, error: Exception) -> None:
    _warn(f'checkpoint {step} could not be saved: {_first_line(error)}')
    self._checkpointer.close()
    self._checkpointer = _checkpointer()
    if jax.process_index() == 0:
      shutil.rmtree(self._at(step, '.partial'), ignore_errors=True)

  def _delete(self, path: pathlib.Path) -> None:
    doomed = path.with_name(path.name + '.deleting')
    path.rename(doomed)
    shutil.rmtree(doomed)

  def _at(self, step: int, suffix: str = '') -> pathlib.Path:
    return self._folder / f'{step}{suffix}'

  def _digest(self) -> str:
    """SHA-256 of the run's `config.json`."""
    text = (self.run / 'config.json').read_bytes()
    return hashlib.sha256(text).hexdigest()


def _not_of_orbax(record: python_logging.LogRecord) -> bool:
  """Drops orbax's own log: its errors are printed here, in one line."""
  return 'orbax' not in record.pathname


logging.get_absl_handler().addFilter(_not_of_orbax)


def _checkpointer() -> ocp.StandardCheckpointer:
  # Folders made in the background would hide errors of the disk.
  options = ocp.AsyncOptions(create_directories_asynchronously=False)
  return ocp.StandardCheckpointer(async_options=options)


def digest(tree: Any) -> str:
  """SHA-256 over names, dtypes, shapes and bytes of a tree's arrays."""
  total = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(jax.device_get(tree)):
    array = np.asarray(leaf)
    head = f'{jax.tree_util.keystr(path)} {array.dtype} {array.shape}\n'
    total.update(head.encode())
    total.update(np.ascontiguousarray(array).tobytes())
  return total.hexdigest()


def _first_line(error: Exception) -> str:
  return str(error).partition('\n')[0][:300] or type(error).__name__


def _warn(text: str) -> None:
  print(text, file=sys.stderr, flush=True)
