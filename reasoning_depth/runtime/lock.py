"""A lock file: one run at a time trains in a run folder."""

import contextlib
import pathlib
from collections.abc import Iterator

import filelock
import jax

from reasoning_depth import errors

NAME = '.lock'  # in the run folder; the file remains after the lock is released


@contextlib.contextmanager
def held(folder: pathlib.Path) -> Iterator[None]:
  """Holds the lock of an existing run folder.

  In a run of several processes, process 0 holds it for all. The operating
  system releases it when the process ends, even if it is killed.

  Raises:
    UsageError: where another run holds it.
  """
  if jax.process_index() > 0:
    yield
    return
  lock = filelock.FileLock(folder / NAME, timeout=0)
  try:
    lock.acquire()
  except filelock.Timeout:
    raise errors.UsageError(
      f'--workdir={folder}: another process is training in it'
    ) from None
  try:
    yield
  finally:
    lock.release()
