"""Several processes as one run, through `jax.distributed`."""

import contextlib
import os
import sys
from collections.abc import Iterator

import jax

from reasoning_depth import errors

HEARTBEAT = 20  # seconds without a sign of life until a process counts as lost


def start(
  join: bool,
  coordinator: str | None,
  num_processes: int | None,
  process_id: int | None,
) -> None:
  """Joins the other processes, where there are any.

  Args:
    join: whether to; with nothing else, as Cloud TPU, Slurm or GKE say.
    coordinator: HOST:PORT of process 0, or None.
    num_processes: how many there are, or None.
    process_id: which this is, from 0, or None.

  Raises:
    UsageError: where only some of the three are given, or nobody answers.
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
  """Inside, the loss of another process ends this one with a clear message.

  It ends at once, since an ordinary exit waits for the others.
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
