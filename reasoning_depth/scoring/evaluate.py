"""Exact match and bit accuracy on frozen held-out samples, per group.

The samples depend on seed, split and index alone, and the last batch is padded,
so that neither batch size nor number of devices changes a score.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth import settings
from reasoning_depth.models import base as base_model
from reasoning_depth.models import decoding
from reasoning_depth.runtime import sharding
from reasoning_depth.scoring import horizon, losses
from reasoning_depth.tasks import base

Z95 = 1.959964  # half-width of a 95 % interval in standard deviations


@dataclasses.dataclass(frozen=True)
class Settings(settings.Settings):
  """How a run is scored."""

  every: int = settings.field(2_000, 'updates between validations', least=1)
  validation_samples: int = settings.field(
    1_024, 'samples per validation', least=1
  )
  test_samples: int = settings.field(
    10_000, 'samples of the final evaluation', least=1
  )
  batch_size: int = settings.field(
    256, 'samples on the devices at once; changes no result', least=1
  )
  rows: int = settings.field(64, 'samples written out one by one')
  look_ahead: tuple[int, ...] = settings.field(
    (),
    'further look-aheads, at each of which every test sample is scored; () for '
    'none',
    least=1,
    ascending=True,
  )
  ceiling: bool = settings.field(
    True, 'whether to compute the best possible score'
  )


def make_eval_step(model: nn.Module, config: Mapping[str, Any]) -> Callable:
  """A pure function (params, Batch) → (loss [B] in nats, tokens [B, L]).

  The loss is the mean over a sample's answer tokens; the tokens are the argmax,
  under teacher forcing where the task is causal.

  Args:
    model: maps tokens to logits.
    config: `config.train`; `depth_loss` and `loss`.
  """

  def eval_step(params, batch):
    output = model.apply({'params': params}, batch.inputs)
    logits = losses.answer(output, batch, config['depth_loss'])
    loss = losses.per_sample(logits, batch, config['loss'])
    return loss, logits.argmax(-1).astype(jnp.int32)

  return eval_step


class Evaluator:
  """An evaluation step compiled once, for any number of samples."""

  def __init__(
    self,
    model: base_model.Model,
    task: base.Task,
    config: Mapping[str, Any],
    mesh: Any,
    generates: bool = False,
    completion: np.ndarray | None = None,
  ):
    """Compiles nothing before the first call.

    Args:
      model: maps tokens to logits.
      task: that the samples are from.
      config: the whole config; `eval.batch_size` changes no result.
      mesh: devices to use.
      generates: whether to generate answers even if `task.generates` is False.
      completion: int [n], tokens that are set in what is generated, as in
        `decoding.generate`; None to generate the task's answer.
    """
    self.task = task
    self.batch_size = config['eval']['batch_size']
    self._batched = sharding.batched(mesh)
    # Every host reads the outputs.
    self._replicated = sharding.replicated(mesh)
    self._generates = generates or task.generates
    self._completion = completion
    self.model, self.train = model, config['train']
    self._eval_step = make_eval_step(model, config['train'])
    self.step = self.compile(self._eval_step)

  @property
  def scored_by(self) -> str:
    """How `run` gets its answers: 'generation' or 'teacher forcing'."""
    return 'generation' if self._generates else 'teacher forcing'

  def compile(self, step: Callable) -> Callable:
    """A function (params, batch) → arrays [B, ...] as `predict` takes it."""
    return jax.jit(step, out_shardings=self._replicated)

  def predict(
    self, params: Any, batch: Any, step: Callable | None = None
  ) -> Any:
    """Loss [N] and predicted tokens [N, L] of N samples on the host.

    Args:
      params: parameters of the model.
      batch: arrays [N, ...], a `Batch` or what else `step` takes.
      step: (params, batch) to a tree of arrays [B, ...], returned instead; None
        for the evaluation step.
    """
    step = step or self.step
    N = len(jax.tree.leaves(batch)[0])
    padding = -N % self.batch_size
    batch = jax.tree.map(
      lambda x: np.pad(x, [(0, padding)] + [(0, 0)] * (x.ndim - 1), 'edge'),
      batch,
    )
    outputs = []
    for start in range(0, N, self.batch_size):
      end = start + self.batch_size
      part = jax.tree.map(lambda x, s=start, e=end: x[s:e], batch)
      outputs.append(step(params, jax.device_put(part, self._batched)))
    return jax.tree.map(
      lambda *parts: np.concatenate(parts)[:N], *jax.device_get(outputs)
    )

  def run(self, params: Any, samples: base.HeldOut) -> 'Result':
    """Scores held-out samples; see `scored_by`."""
    if self._generates:
      return self.run_generated(params, samples)
    loss, tokens = self.predict(params, samples.batch)
    judged = self.task.judged(samples.batch, tokens)
    return Result(samples, loss, tokens, judged=judged)

  def run_generated(self, params: Any, samples: base.HeldOut) -> 'Result':
    """Scores answers generated token by token; the loss is teacher-forced."""
    loss, tokens = self.predict(params, samples.batch, self._generating)
    judged = self.task.judged(samples.batch, tokens)
    return Result(samples, loss, tokens, 'generation', judged)

  @functools.cached_property
  def _generating(self) -> Callable:
    return self.compile(self._generate)

  @functools.cached_property
  def answers(self) -> Callable[[Any, base.Batch], jax.Array]:
    """(params, batch) to the tokens [B, L] that `run` scores, jitted."""
    return jax.jit(self._answers)

  def _answers(self, params, batch):
    if self._generates:
      return self._generated(params, batch)
    return self._eval_step(params, batch)[1]

  def _generate(self, params, batch):
    loss, _ = self._eval_step(params, batch)
    return loss, self._generated(params, batch)

  def _generated(self, params, batch):
    P, given = self.task.prompt_length, self._completion
    length = self.task.length + 1 if given is None else P + len(given)
    tokens, _ = decoding.generate(
      self.model, params, batch.inputs[:, :P], length, given=given
    )
    return self.task.read_generated(tokens)


@dataclasses.dataclass(frozen=True)
class Result:
  """A model's answers on held-out samples.

  Attributes:
    samples: that were scored.
    loss: [N] mean over the answer tokens, in nats; None where it is not known.
    tokens: [N, L] predicted tokens.
    scored_by: 'teacher forcing' (each token given the true ones before it),
      'generation', 'depth steps' or 'its own answers fed back' (see
      `look_ahead`), or 'answers from a file'.
    judged: further scores [N] by name, see `base.Task.judged`.
  """

  samples: base.HeldOut
  loss: np.ndarray | None
  tokens: np.ndarray
  scored_by: str = 'teacher forcing'
  judged: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

  @property
  def asked(self) -> np.ndarray:
    """Bool [N, L]: the answer tokens."""
    return self.samples.batch.weights > 0

  @property
  def right(self) -> np.ndarray:
    """Bool [N, L]: answer tokens predicted right."""
    return (self.tokens == self.samples.batch.targets) & self.asked

  def summary(self) -> dict[str, Any]:
    """Scores over all samples and per group, with 95 % intervals.

    Where a ceiling is known also the `horizon` of the groups, and scores on the
    samples whose answer is determined.
    """
    scores = self.samples.by_group(self._scores)
    reach = horizon.horizon(scores['groups'])
    return {
      'num_samples': len(self.samples.batch.group),
      'scored_by': self.scored_by,
      'group_name': self.samples.group_name,
      **({} if reach is None else {'horizon': reach}),
      **scores,
    }

  def _scores(self, chosen: np.ndarray) -> dict[str, Any]:
    right, asked = self.right[chosen], self.asked[chosen]
    exact = (right == asked).all(-1)
    bits = right.sum(-1) / asked.sum(-1)
    scores = {
      'num_samples': int(chosen.sum()),
      'exact_match': float(exact.mean()),
      'exact_match_interval': wilson(int(exact.sum()), len(exact)),
      'bit_accuracy': float(bits.mean()),
      'bit_accuracy_interval': mean_interval(bits),
    }
    if self.loss is not None:
      scores['loss'] = float(self.loss[chosen].mean(dtype=np.float64))
    scores |= {n: float(x[chosen].mean()) for n, x in self.judged.items()}
    scores |= self.samples.known_means(chosen)
    if scores.get('ceiling_exact_match'):
      scores['share_of_ceiling'] = (
        scores['exact_match'] / scores['ceiling_exact_match']
      )
    if scores.get('determined_share'):
      only = exact[self.samples.known['determined_share'][chosen] == 1]
      scores['determined_exact_match'] = float(only.mean())
      scores['determined_exact_match_interval'] = wilson(
        int(only.sum()), len(only)
      )
    return scores

  def rows(self, count: int) -> list[dict[str, Any]]:
    """The first `count` samples, one record each."""
    rows = []
    cells = self.samples.observed is not None
    for i, asked in enumerate(self.asked[:count]):
      predicted = self.tokens[i][asked]
      target = self.samples.batch.targets[i][asked]
      row = {
        'index': i,
        'group': int(self.samples.batch.group[i]),
        'exact': bool((predicted == target).all()),
        'correct': int((predicted == target).sum()),
        'answers': len(target),
        'prediction': _text(predicted) if cells else _numbers(predicted),
        'target': _text(target) if cells else _numbers(target),
      }
      if not cells:
        row['inputs'] = self.samples.batch.inputs[i].tolist()
      states = self.samples.observed
      if states is not None and len(target) % states.shape[-1] == 0:
        row['observed'] = [_text(s) for s in self.samples.observed[i]]
      if 'ceiling_exact_match' in self.samples.known:
        best = self.samples.known['ceiling_exact_match'][i]
        row['ceiling_exact_match'] = float(best)
      rows.append(row)
    return rows


def wilson(successes: int, trials: int) -> list[float]:
  """Wilson's 95 % interval of a proportion."""
  p = successes / trials
  centre = p + Z95**2 / (2 * trials)
  spread = Z95 * np.sqrt(p * (1 - p) / trials + (Z95 / (2 * trials)) ** 2)
  scale = 1 + Z95**2 / trials
  low, high = (centre - spread) / scale, (centre + spread) / scale
  return [float(max(low, 0.0)), float(min(high, 1.0))]


def mean_interval(values: np.ndarray) -> list[float]:
  """95 % interval of the mean of values [N] in 0 to 1, by their deviation."""
  half = Z95 * values.std() / np.sqrt(len(values))
  mean = values.mean()
  return [float(max(mean - half, 0.0)), float(min(mean + half, 1.0))]


def _text(tokens: np.ndarray) -> str:
  """Cells as '0110'; any other token as '?'."""
  return ''.join(str(t) if t in (0, 1) else '?' for t in tokens.tolist())


def _numbers(tokens: np.ndarray) -> str:
  """Tokens as numbers of five digits, so that columns align."""
  return ' '.join(f'{t:05d}' for t in tokens.tolist())
