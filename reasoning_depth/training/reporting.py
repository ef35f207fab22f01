"""Reports of training and validation; stops a run that diverges."""

from typing import Any

import jax
import numpy as np

from reasoning_depth import errors
from reasoning_depth.runtime import progress, writer
from reasoning_depth.training import experiment, optimizer, step


class Diverged(errors.Ending):
  """Loss or gradient was not finite; the update was not applied.

  Attributes:
    step: updates made before it.
    loss: mean over the answer tokens, in nats.
    grad_norm: global L2 norm of the gradient.
  """

  exit_code = 3

  def __init__(self, at: int, loss: float, grad_norm: float):
    super().__init__(
      f'step {at}: loss or gradient is not finite (loss {loss}, gradient norm '
      f'{grad_norm})'
    )
    self.step, self.loss, self.grad_norm = at, loss, grad_norm


class Report:
  """Reads metrics one dispatch late, so that the devices never wait."""

  def __init__(
    self,
    exp: experiment.Experiment,
    files: writer.Writer,
    show: progress.Progress,
  ):
    self._schedule = optimizer.schedule(exp.config.train)
    self._files = files
    self._show = show
    self._pending = None

  def next(self, at: int, metrics: step.StepMetrics) -> None:
    """Queues the metrics of the dispatch from step `at`; reports the last."""
    self.flush(ahead=metrics)
    self._pending = (at, metrics)

  def flush(self, ahead: step.StepMetrics | None = None) -> None:
    """Reports the dispatch that is pending, if any.

    Args:
      ahead: metrics of the next dispatch; the rates count it if it is done.

    Raises:
      Diverged: where one of its steps was not finite and not skipped.
    """
    if self._pending is None:
      return
    at, metrics = self._pending
    self._pending = None
    metrics = jax.device_get(metrics)
    self._look_for_divergence(at, metrics)
    end = done = at + len(metrics.finite)
    if ahead is not None and ahead.finite.is_ready():
      done += len(ahead.finite)
    good = metrics.finite
    sums = jax.tree.map(
      lambda x: x.sum(dtype=np.float64, where=good), metrics.sums
    )
    if good.any():
      values = {
        **sums.means(),
        **{k: float(v[good].mean()) for k, v in metrics.extra.items()},
        'grad_norm': float(metrics.grad_norm[good].mean()),
        'learning_rate': float(self._schedule(end - 1)),
        **self._show.rates(done),
      }
      self._files.write(end, 'train', values)
      self._show.train(end, values)

  def _look_for_divergence(self, at: int, metrics: step.StepMetrics) -> None:
    """Reports skipped steps; raises at a non-finite one that was not."""
    for i in np.flatnonzero(~metrics.finite):
      loss = float(metrics.sums.loss[i] / metrics.sums.weight[i])
      diverged = Diverged(at + int(i), loss, float(metrics.grad_norm[i]))
      if not metrics.skipped[i]:
        raise diverged
      self._show.say(f'skipped {diverged}')

  def validation(self, at: int, stage: int, summary: dict[str, Any]) -> None:
    """Reports a validation."""
    values = scores(summary)
    groups = {
      f'exact_match_{g.get("label", g["group"])}': g['exact_match']
      for g in summary['groups']
    }
    self._files.write(at, 'validation', {'stage': stage} | values | groups)
    text = '  '.join(f'{k} {v:.3f}' for k, v in (values | groups).items())
    self._show.say(f'step {at}  validation  {text.replace("_", " ")}')


def scores(summary: dict[str, Any]) -> dict[str, float]:
  """The overall scores of an evaluation."""
  overall = summary['overall']
  return {k: overall[k] for k in ('loss', 'exact_match', 'bit_accuracy')}
