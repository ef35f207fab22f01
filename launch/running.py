"""Runs the cells of a grid on this machine, several at once where asked."""

import concurrent.futures as futures
import contextlib
import os
import pathlib
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

from launch import cells
from reasoning_depth import errors
from reasoning_depth.report import records, runs
from reasoning_depth.runtime import gpus

STOPPED = errors.Stopped.exit_code
# Runs a command for some seconds at most (None: to its end); returns its exit
# code and whether it was stopped.
Runner = Callable[[Sequence[str], float | None], tuple[int, bool]]


def sweep(
  grid: Sequence[cells.Cell], jobs: int, minutes: float | None, run: Runner
) -> list[str]:
  """Runs the cells that have no result yet; returns the names of failed ones.

  Args:
    grid: the cells; one that another starts from stands before it.
    jobs: most cells at once.
    minutes: of a cell, as `train`; None for no limit.
    run: runs a command.
  """
  waiting = [cell for cell in grid if not cell.result.exists()]
  working: dict[futures.Future[bool], cells.Cell] = {}
  failed = set()
  with futures.ThreadPoolExecutor(jobs) as pool:
    while waiting or working:
      unfinished = {cell.name for cell in (*waiting, *working.values())}
      ready = [cell for cell in waiting if cell.after not in unfinished]
      for cell in ready[: jobs - len(working)]:
        waiting.remove(cell)
        at = f'[{grid.index(cell) + 1}/{len(grid)}]'
        print(at, cell.name, file=sys.stderr, flush=True)
        working[pool.submit(complete, cell, minutes, run)] = cell
      done, _ = futures.wait(working, return_when=futures.FIRST_COMPLETED)
      ended = {working.pop(future).name: future.result() for future in done}
      failed |= {name for name, well in ended.items() if not well}
  return [cell.name for cell in grid if cell.name in failed]


def complete(cell: cells.Cell, minutes: float | None, run: Runner) -> bool:
  """Trains and evaluates a cell and writes its result; whether that went well.

  Args:
    cell: the cell.
    minutes: after which its training is stopped and what it saved is scored;
      those it was trained for by an earlier command count. None for no limit.
    run: runs a command.
  """
  code = _train(cell, minutes, run)
  for extra in cell.evaluations:
    code = code or run(cell.evaluate(extra), None)[0]
  if code == 0:
    records.write([cell.folder], cell.result)
  return code == 0


def _train(cell: cells.Cell, minutes: float | None, run: Runner) -> int:
  """Trains a cell, and scores it where time ran out; returns the exit code."""
  if minutes is None:
    return run(cell.command, None)[0]
  code, late, left = STOPPED, True, 60 * minutes - _spent(cell.folder)
  if left > 0:
    code, late = run(cell.command, left)
  if late and code == STOPPED:
    code, _ = run(cell.evaluate(), None)
  return code


def _spent(folder: pathlib.Path) -> float:
  """Seconds that a run has been trained for."""
  there = (folder / 'config.json').exists()
  return (runs.load(folder).seconds or 0.0) if there else 0.0


class Processes:
  """Processes of main.py, in as many places as there are jobs.

  Each place has one of this machine's GPUs, which places share where there are
  more of them. A run that is stopped saves, and is told so once: the second
  time it would leave at once.
  """

  def __init__(self, jobs: int):
    self._places: queue.SimpleQueue[Mapping[str, str]] = queue.SimpleQueue()
    for place in places(jobs):
      self._places.put(place)
    self._lock = threading.Lock()
    self._running: set[subprocess.Popen] = set()
    self._stopped = False

  def run(
    self, command: Sequence[str], seconds: float | None
  ) -> tuple[int, bool]:
    """Runs a command in a free place; a `Runner`."""
    with self._place() as place:
      with self._lock:
        if self._stopped:
          return STOPPED, False
        process = subprocess.Popen(command, env={**os.environ, **place})
        self._running.add(process)
      try:
        return process.wait(seconds), False
      except subprocess.TimeoutExpired:
        self._terminate(process)
        return process.wait(), True
      finally:
        self._running.discard(process)

  def stop(self, tell: bool = True) -> None:
    """Stops what runs, unless it has been told, and starts nothing more."""
    with self._lock:
      self._stopped = True
    for process in list(self._running) if tell else ():
      self._terminate(process)

  @contextlib.contextmanager
  def _place(self) -> Iterator[Mapping[str, str]]:
    place = self._places.get()
    try:
      yield place
    finally:
      self._places.put(place)

  def _terminate(self, process: subprocess.Popen) -> None:
    with self._lock:
      if process in self._running:
        self._running.remove(process)
        process.terminate()


def places(jobs: int) -> list[dict[str, str]]:
  """Environment variables of each job: the GPU it sees, and its share of it."""
  found = gpus.visible()
  if jobs == 1 or not found:
    return [{}] * jobs
  share = 0.9 / -(-jobs // len(found))
  return [
    {
      'CUDA_VISIBLE_DEVICES': found[i % len(found)],
      'XLA_PYTHON_CLIENT_MEM_FRACTION': f'{share:.2f}',
    }
    for i in range(jobs)
  ]
