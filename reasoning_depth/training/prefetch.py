"""Prefetch of batches made on the host, one dispatch ahead."""

import concurrent.futures
import threading
from collections.abc import Callable

import jax
import numpy as np

from reasoning_depth.runtime import sharding
from reasoning_depth.tasks import base
from reasoning_depth.training import experiment, step, workers


def chunk(
  exp: experiment.Experiment,
  at: int,
  num_steps: int,
  stopped: Callable[[], bool] = lambda: False,
  sample: Callable[..., base.Batch] | None = None,
) -> tuple[step.Chunk, ...]:
  """The batches of a dispatch, on the devices.

  Each process makes only the samples of its own devices.

  Args:
    exp: the experiment, at the stage of its curriculum.
    at: the first step.
    num_steps: of the dispatch, n.
    stopped: called before each batch; on True, `chunk` returns () at once.
    sample: makes batches as the task's `host_sample`, which is the default.

  Returns:
    (chunk,) with batches [n, B, ...], or () for a task that makes its batches
    on the devices.
  """
  if not exp.task.on_host:
    return ()
  sample = sample or exp.task.host_sample
  seed, B = exp.config.seed, exp.config.train.batch_size
  where = sharding.batches(exp.mesh)
  indices = where.addressable_devices_indices_map((num_steps, B)).values()
  parts = {}
  for start, stop, _ in {samples.indices(B) for _, samples in indices}:
    made = []
    for i in range(num_steps):
      if stopped():
        return ()
      made.append(sample(seed, at + i, stop - start, 'train', start))
    parts[start] = jax.tree.map(lambda *x: np.stack(x), *made)

  def whole(*leaves: np.ndarray) -> jax.Array:
    """One array over all devices, from the parts of this host."""
    by_start = dict(zip(parts, leaves, strict=True))
    return jax.make_array_from_callback(
      (num_steps, B, *leaves[0].shape[2:]),
      where,
      lambda index: by_start[index[1].indices(B)[0]],
    )

  first = jax.device_put(np.int32(at), sharding.replicated(exp.mesh))
  return (step.Chunk(first, jax.tree.map(whole, *parts.values())),)


def shapes(
  exp: experiment.Experiment, num_steps: int
) -> tuple[step.Chunk, ...]:
  """Shapes and shardings of what `chunk` returns, to compile for."""
  if not exp.task.on_host:
    return ()
  B, mesh = exp.config.train.batch_size, exp.mesh
  sample = exp.task.host_sample(exp.config.seed, 0, 1)
  batches = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(
      (num_steps, B, *x.shape[1:]), x.dtype, sharding=sharding.batches(mesh)
    ),
    sample,
  )
  first = jax.ShapeDtypeStruct((), np.int32, sharding=sharding.replicated(mesh))
  return (step.Chunk(first, batches),)


class Prefetcher:
  """Makes the next dispatch's batches while the devices run this one.

  One thread, one chunk ahead, alone or with worker processes. An exception
  there is raised by `take` of that chunk.
  """

  def __init__(self, exp: experiment.Experiment, num_steps: int):
    """Args: exp, at the stage of its curriculum; num_steps, per dispatch."""
    self._exp, self._num_steps = exp, num_steps
    self._stop = threading.Event()
    self._thread = concurrent.futures.ThreadPoolExecutor(
      1, thread_name_prefix='batches'
    )
    self._ahead: dict[int, concurrent.futures.Future] = {}
    count = exp.config.host.workers if exp.task.on_host else 0
    self._pool = workers.Pool(exp.task, count) if count else None

  def take(self, at: int) -> tuple[step.Chunk, ...]:
    """As `chunk`, for the dispatch that begins at step `at`."""
    ready = self._ahead.pop(at, None)
    taken = ready.result() if ready else self._make(at)
    after = at + self._num_steps
    if taken and after < self._exp.config.train.num_steps:
      self._ahead[after] = self._thread.submit(self._make, after)
    return taken

  def close(self) -> None:
    """Stops making batches; waits for the one being made."""
    self._stop.set()
    self._thread.shutdown(cancel_futures=True)
    if self._pool:
      self._pool.close()

  def _make(self, at: int) -> tuple[step.Chunk, ...]:
    sample = self._pool.sample if self._pool else None
    return chunk(self._exp, at, self._num_steps, self._stop.is_set, sample)
