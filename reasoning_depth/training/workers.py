"""Processes that make batches on the host, for tasks of text.

A batch takes a core about a millisecond a sample, longer than a step on an
accelerator. Workers make the same batches as the run itself would.
"""

import concurrent.futures as futures
import dataclasses
import itertools
import multiprocessing
import signal

import jax
import numpy as np

from reasoning_depth import settings
from reasoning_depth.tasks import base


@dataclasses.dataclass(frozen=True)
class Settings(settings.Settings):
  """How a run uses its machine; no part of what it computes."""

  workers: int = settings.field(
    0, 'processes that make batches; 0: a thread of the run', most=128
  )
  cpu_devices: int = settings.field(
    0, 'devices that JAX takes the CPU as; 0: one, or what XLA_FLAGS say',
    most=256,
  )  # fmt: skip


class Pool:
  """Worker processes; each keeps a copy of the task."""

  def __init__(self, task: base.Task, workers: int):
    """Starts nothing before the first batch.

    Args:
      task: one with `on_host`.
      workers: number of processes.
    """
    self._workers = workers
    self._pool = futures.ProcessPoolExecutor(
      workers, multiprocessing.get_context('spawn'), _begin, (task,)
    )

  def sample(
    self,
    seed: int,
    step: int,
    batch_size: int,
    split: str = 'train',
    first: int = 0,
  ) -> base.Batch:
    """As `base.Task.host_sample`; each worker makes a share of the samples."""
    ends = np.linspace(first, first + batch_size, self._workers + 1, dtype=int)
    parts = [
      self._pool.submit(_sample, seed, step, stop - start, split, start)
      for start, stop in itertools.pairwise(ends.tolist())
      if stop > start
    ]
    made = [part.result() for part in parts]
    return jax.tree.map(lambda *x: np.concatenate(x), *made)

  def close(self) -> None:
    """Ends the workers."""
    self._pool.shutdown(cancel_futures=True)


_tasks: list[base.Task] = []  # of a worker: its one task


def _begin(task: base.Task) -> None:
  """Begins a worker."""
  # A signal is told to all processes of a run, which ends its workers itself.
  for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
  jax.config.update('jax_platforms', 'cpu')  # leaves accelerators alone
  _tasks.append(task)


def _sample(*args) -> base.Batch:
  return _tasks[0].host_sample(*args)
