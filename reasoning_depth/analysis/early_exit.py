"""Early exit: a sample gets no more depth steps once a rule says stop.

Steps are run in a `while_loop`. Samples that have stopped are masked, which
alone saves no compute before all have stopped; so once half of them have, the
others are gathered into a bucket of half the size, and so on. The host loops
over the buckets; each size is compiled once.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth.analysis import exits
from reasoning_depth.models import base
from reasoning_depth.scoring import losses

_HALVINGS = 4


@flax.struct.dataclass
class _Carry:
  """Samples in a bucket.

  Attributes:
    state: of the model; of samples that have stopped, as it was then.
    before: what the rule keeps of the last step.
    asked: bool [B, L], answer positions.
    steps: int32 [B], that a sample has taken.
    done: bool [B], whether it has stopped.
  """

  state: base.StepState
  before: exits.Before
  asked: jax.Array
  steps: jax.Array
  done: jax.Array


@dataclasses.dataclass(frozen=True)
class Answer:
  """What B samples were answered, on the host.

  Attributes:
    tokens: int32 [B, L], the most likely ones where a sample stopped.
    steps: int32 [B], depth steps that it took.
    executed: depth steps run per sample, counting samples that had stopped and
      those that fill up a bucket; at least the mean of `steps`.
  """

  tokens: np.ndarray
  steps: np.ndarray
  executed: float


def halved(size: int) -> tuple[int, ...]:
  """Bucket sizes for a batch: the whole, and halves of it a few times."""
  return tuple(
    sorted({-(-size // 2**i) for i in range(_HALVINGS + 1)}, reverse=True)
  )


def begin(
  model: base.Model,
  params: Any,
  inputs: jax.Array,
  loss: str,
  needs: Sequence[str] = exits.KEPT,
) -> tuple[base.StepState, exits.Before]:
  """The state before the first step, and what is kept for exit rules.

  Args:
    model: a stepwise one.
    params: its parameters.
    inputs: int32 [B, L].
    loss: `config.train.loss`.
    needs: the fields of `exits.Before` to keep.
  """
  state = model.apply({'params': params}, inputs, method='begin')
  _, shapes = jax.eval_shape(lambda s: _read(model, params, s, loss), state)
  return state, exits.nothing_before(shapes, needs)


def advance(
  model: base.Model,
  params: Any,
  state: base.StepState,
  before: exits.Before,
  asked: jax.Array,
  n: jax.Array,
  loss: str,
) -> tuple[base.StepState, exits.Before, jax.Array, exits.Signals]:
  """One depth step of every sample.

  Args:
    model: a stepwise one.
    params: its parameters.
    state: before the step.
    before: what was kept of the step before.
    asked: bool [B, L], answer positions.
    n: the number of the step, from 0.
    loss: `config.train.loss`, which says what the probabilities are.

  Returns:
    the new state, what to keep of the step, its logits [B, L, V], and what exit
    rules compare.
  """
  new = model.apply({'params': params}, state, n, method='again')
  logits, step = _read(model, params, new, loss)
  signals, before = exits.measure(step, before, model.latents(state), asked, n)
  return new, before, logits, signals


def _read(model, params, state, loss):
  """Logits [B, L, V] of a state, and what exit rules see of it."""
  logits, halt = model.apply({'params': params}, state, method='read')
  log_p = jax.nn.log_softmax(losses.for_softmax(logits, loss))
  return logits, exits.Step(log_p, model.latents(state), halt)


class EarlyExit:
  """A stepwise model that stops by rules.

  It is compiled once for each rule and bucket size, whatever the thresholds.
  """

  def __init__(self, model: base.Model, most: int, loss: str):
    """Prepares; nothing is compiled before the first call.

    Args:
      model: a stepwise one.
      most: steps after which every sample stops.
      loss: `config.train.loss`.
    """
    self._model, self._most, self._loss = model, most, loss
    self._first = jax.jit(self._begin)
    self._go_on = jax.jit(self._run)
    self._take = jax.jit(
      lambda carry, chosen: jax.tree.map(lambda x: x[chosen], carry)
    )
    self._tokens = jax.jit(self._read_tokens)

  def __call__(
    self,
    params: Any,
    inputs: jax.Array,
    asked: jax.Array,
    rule: exits.Rule,
    buckets: Sequence[int],
  ) -> Answer:
    """Answers a batch.

    Args:
      params: of the model.
      inputs: int32 [B, L].
      asked: bool [B, L], answer positions.
      rule: when a sample stops.
      buckets: sizes in descending order, from B; (B,) only masks.
    """
    B, L = inputs.shape
    tokens, steps = np.zeros((B, L), np.int32), np.zeros(B, np.int32)
    carry, n, executed = self._first(params, inputs, asked, rule), 0, 0
    index = np.arange(B)  # of the samples in the bucket
    while True:
      fewer = max((b for b in buckets if b < len(index)), default=0)
      carry, at = self._go_on(params, carry, rule, n, fewer)
      found, taken, done, at = jax.device_get(
        (self._tokens(params, carry.state), carry.steps, carry.done, at)
      )
      executed, n = executed + len(index) * (int(at) - n), int(at)
      tokens[index[done]], steps[index[done]] = found[done], taken[done]
      going = int((~done).sum())
      if not going:
        return Answer(tokens, steps, executed / B)
      size = min(b for b in buckets if b >= going)
      # Those that go on come first; the others fill up the bucket.
      chosen = np.argsort(done, kind='stable')[:size]
      carry, index = self._take(carry, chosen), index[chosen]

  def _begin(self, params, inputs, asked, rule):
    state, before = begin(
      self._model, params, inputs, self._loss, rule.definition.needs
    )
    B = len(inputs)
    return _Carry(
      state=state,
      before=before,
      asked=asked,
      steps=jnp.zeros(B, jnp.int32),
      done=jnp.zeros(B, bool),
    )

  def _run(self, params, carry, rule, n, fewer):
    """Steps until at most `fewer` samples go on; returns their number too."""

    def goes_on(loop):
      carry, n = loop
      return (n < self._most) & (jnp.sum(~carry.done) > fewer)

    def body(loop):
      carry, n = loop
      return self._one_step(params, carry, rule, n), n + 1

    return jax.lax.while_loop(goes_on, body, (carry, jnp.int32(n)))

  def _one_step(self, params, carry, rule, n):
    new, before, _, signals = advance(
      self._model, params, carry.state, carry.before, carry.asked, n, self._loss
    )
    stop = exits.stops(rule, signals) | (n + 1 == self._most)

    def kept(old, x):
      frozen = carry.done.reshape(-1, *[1] * (x.ndim - 1))
      return jnp.where(frozen, old, x)

    latent = jax.tree.map(kept, carry.state.latent, new.latent)
    return _Carry(
      state=new.replace(latent=latent),
      before=before,
      asked=carry.asked,
      steps=jnp.where(carry.done, carry.steps, n + 1),
      done=carry.done | stop,
    )

  def _read_tokens(self, params, state):
    logits, _ = _read(self._model, params, state, self._loss)
    return logits.argmax(-1).astype(jnp.int32)
