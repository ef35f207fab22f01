"""One process at a time trains in a run folder."""

import contextlib
import pathlib
from collections.abc import Iterator

import filelock
import jax

from reasoning_depth import errors

NAME = '.lock'  # in the run folder; it stays there and means nothing alone


@contextlib.contextmanager
def held(folder: pathlib.Path) -> Iterator[None]:
  """Holds the lock of a run folder that is there.

  Of several processes of one run, the first holds it for all. The system lets
  go of it when the process ends, however that happens.

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
