"""Progress display: a live bar on a terminal, plain lines elsewhere."""

import contextlib
import time
from collections.abc import Iterator, Mapping

import jax
import rich.console
import rich.progress


class Progress:
  """Steps and examples per second, time left and the latest metrics.

  Attributes:
    batch_size: examples in a step, for the rates; the caller sets it.
  """

  def __init__(self, first_step: int, num_steps: int):
    """Starts the clock.

    Args:
      first_step: step the run starts from.
      num_steps: step it ends at.
    """
    self._console = rich.console.Console(
      highlight=False, soft_wrap=True, quiet=jax.process_index() > 0
    )
    self._num_steps = num_steps
    self.batch_size = 0
    self._since = (first_step, time.monotonic())
    self._bar = rich.progress.Progress(
      rich.progress.TextColumn('{task.description}'),
      rich.progress.BarColumn(),
      rich.progress.TimeRemainingColumn(),
      console=self._console,
      transient=True,
      disable=not self._console.is_terminal,
    )
    self._task = self._bar.add_task(
      'step', completed=first_step, total=num_steps
    )
    self._bar.start()

  def rates(self, done: int) -> dict[str, float]:
    """Steps and examples per second since the start or the last pause.

    Args:
      done: number of steps done.
    """
    before, then = self._since
    rate = (done - before) / max(time.monotonic() - then, 1e-9)
    return {
      'steps_per_second': rate,
      'examples_per_second': rate * self.batch_size,
    }

  @contextlib.contextmanager
  def pause(self, at: int) -> Iterator[None]:
    """Excludes the time inside from the rates; `at` steps are done."""
    yield
    self._since = (at, time.monotonic())

  def train(self, step: int, values: Mapping[str, float]) -> None:
    """Shows a training line."""
    rate = values['steps_per_second']
    left = (self._num_steps - step) / max(rate, 1e-9)
    text = (
      f'step {step}/{self._num_steps}  loss {values["loss"]:.4f}  '
      f'exact match {values["exact_match"]:.3f}  {rate:.2f} steps/s  '
      f'{values["examples_per_second"]:.0f} examples/s'
    )
    self._bar.update(self._task, completed=step, description=text)
    if not self._console.is_terminal:
      self.say(f'{text}  {_duration(left)} left')

  def say(self, text: str) -> None:
    """Prints text above the live bar."""
    self._console.print(text, markup=False)

  def close(self) -> None:
    """Removes the live bar."""
    self._bar.stop()


def _duration(seconds: float) -> str:
  seconds = round(seconds)
  if seconds < 60:
    return f'{seconds} s'
  if seconds < 3600:
    return f'{seconds // 60} min {seconds % 60} s'
  return f'{seconds // 3600} h {seconds % 3600 // 60} min'
