"""Runs of several processes, through `jax.distributed`."""

import contextlib
import os
import sys
from collections.abc import Iterator

import jax

from reasoning_depth import errors

HEARTBEAT = 20  # seconds without a heartbeat after which a process is lost


def start(
  join: bool,
  coordinator: str | None,
  num_processes: int | None,
  process_id: int | None,
) -> None:
  """Joins the other processes of the run, if there are any.

  Args:
    join: whether to join; without the others, JAX detects Cloud TPU, Slurm or
      GKE.
    coordinator: HOST:PORT of process 0, or None.
    num_processes: in the run, or None.
    process_id: of this process, from 0, or None.

  Raises:
    UsageError: where only some of the three are given, or joining fails.
  """
  given = {
    '--coordinator': coordinator,
    '--num_processes': num_processes,
    '--process_id': process_id,
  }
  missing = [name for name, value in given.items() if value is None]
  if 0 < len(missing) < len(given):
    raise errors.UsageError(
      f'{missing[0]} is missing: {", ".join(given)} go together'
    )
  if not missing and not 0 <= process_id < num_processes:
    raise errors.UsageError(
      f'--process_id={process_id}: must be below --num_processes='
      f'{num_processes}, and at least 0'
    )
  if missing and not join:
    return
  try:
    jax.distributed.initialize(
      coordinator, num_processes, process_id,
      heartbeat_timeout_seconds=HEARTBEAT,
      shutdown_timeout_seconds=HEARTBEAT,
    )  # fmt: skip
  except (RuntimeError, ValueError) as error:
    raise errors.UsageError(
      f'--distributed: the processes did not find each other: {error}'
    ) from None


@contextlib.contextmanager
def together() -> Iterator[None]:
  """If another process is lost, prints a message and ends this one.

  By `os._exit`, since an ordinary exit waits for the other processes.
  """
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    if jax.process_count() == 1:
      raise
    reason = str(error).partition('\n')[0]
    sys.stdout.flush()
    print(
      f'main.py: process {jax.process_index()} of {jax.process_count()}: lost '
      f'touch with the others; run all again to go on ({reason})',
      file=sys.stderr,
      flush=True,
    )
    os._exit(errors.Stopped.exit_code)
