"""SIGTERM and SIGINT: save, then exit; a second signal exits at once.

Schedulers signal a process and its parent, which passes the signal on: what
comes within `SAME` seconds of the first is the first.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils

from reasoning_depth import errors

SIGNALS = (signal.SIGTERM, signal.SIGINT)
SAME = 0.5  # seconds


class Watch:
  """Handles signals, even while the main thread waits for a device.

  A context manager for the main thread. A second thread reads the signals, so
  that the process exits in time even from a long compilation; checkpoints
  already renamed are safe.
  """

  def __init__(self, grace: float):
    """Args: grace, seconds from the first signal to a forced exit."""
    self._grace = grace
    self._signalled = threading.Event()
    self._may_exit = threading.Event()

  def __enter__(self) -> 'Watch':
    self._reader, self._writer = socket.socketpair()
    self._writer.setblocking(False)
    self._before = {s: signal.signal(s, lambda *_: None) for s in SIGNALS}
    self._fd = signal.set_wakeup_fd(self._writer.fileno())
    threading.Thread(target=self._listen, daemon=True).start()
    return self

  def __exit__(self, *_) -> None:
    signal.set_wakeup_fd(self._fd)
    for number, handler in self._before.items():
      signal.signal(number, handler)
    self._writer.close()  # ends the thread

  def asked(self) -> bool:
    """Whether any process got a signal; the same in all processes.

    A collective: all processes must call it equally often.
    """
    if jax.process_count() == 1:
      return self._signalled.is_set()
    mine = np.int32(self._signalled.is_set())
    return bool(multihost_utils.process_allgather(mine).any())

  @contextlib.contextmanager
  def nothing_to_save(self) -> Iterator[None]:
    """In this context, a signal ends the process at once."""
    if self._signalled.is_set() and jax.process_count() == 1:
      raise errors.Stopped('stopped by a signal; the same command goes on')
    self._may_exit.set()
    try:
      yield
    finally:
      self._may_exit.clear()

  def _listen(self) -> None:
    timer, first = None, 0.0
    while received := self._reader.recv(1):
      if received[0] not in SIGNALS:
        continue
      name = signal.Signals(received[0]).name
      if self._signalled.is_set():
        if time.monotonic() - first < SAME:
          continue
        os._exit(128 + received[0])
      self._signalled.set()
      first = time.monotonic()
      if self._may_exit.is_set():
        _exit(name)
      print(f'{name}: saving; again leaves at once', file=sys.stderr)
      late = f' after {self._grace:g} s (checkpoint.grace), not saved'
      timer = threading.Timer(self._grace, _exit, [name, late])
      timer.daemon = True
      timer.start()
    self._reader.close()
    if timer:
      timer.cancel()


def _exit(name: str, late: str = '') -> None:
  sys.stdout.flush()
  print(
    f'stopped by {name}{late}; the same command goes on',
    file=sys.stderr,
    flush=True,
  )
  os._exit(errors.Stopped.exit_code)
