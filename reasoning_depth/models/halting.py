"""Adaptive computation: how often a step is repeated, position by position.

Each position has a halting probability p before every repetition, read off its
state. A rule turns the sequence of p into weights u of the states that the
repetitions leave, and the answer is blended from them:

- `act`: adaptive computation time (1603.08983, eq. 6 to 10). A position halts
  where its p add up to the threshold; the last weight is the remainder, so
  that the weights sum to one.
- `universal`: the blend of Universal Transformers (1807.03819) and of ARMT's
  public code: y ← u·state + (1 − u)·y. Its weights do not sum to one, and a
  position that the cap stops has no remainder.
- `ponder`: PonderNet (2107.05407, eq. 5): p is the probability of halting here
  if not before; the cost is the divergence from a geometric prior. Where the
  threshold is passed, the repetition has all that is left.
- `fixed`: every position takes all steps and the last state is the answer.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from reasoning_depth import settings
from reasoning_depth.models import windows

KINDS = ('none', 'layer', 'model')
RULES = ('act', 'universal', 'ponder', 'fixed')
_TINY = 1e-9


@dataclasses.dataclass(frozen=True)
class Halting(settings.Settings):
  """Choices of adaptive computation."""

  kind: str = settings.field(
    'none', 'what repeats: each layer, or the whole model', choices=KINDS
  )
  rule: str = settings.field('act', 'see `models.halting`', choices=RULES)
  max_steps: int = settings.field(4, 'N, repetitions at most', least=1)
  threshold: float = settings.field(
    0.9,
    'sum of halting probabilities at which a position halts',
    above=0,
    most=1,
  )
  bias: float = settings.field(
    1.0,
    'of the halting unit at the start; the sigmoid of 1 is 0.73',
    least=-20,
    most=20,
  )
  cost: float = settings.field(3e-4, 'weight of the ponder cost in the loss')
  prior: float = settings.field(
    0.3, 'ponder: probability of halting of the prior', above=0, most=1
  )

  @property
  def trained_depth(self) -> int:
    """Repetitions at most in training; 0 where nothing repeats."""
    return 0 if self.kind == 'none' else self.max_steps

  @property
  def why_not_early(self) -> str:
    """Why no position stops at the threshold; '' where one may."""
    if self.rule in ('act', 'universal'):
      return ''
    return f'halting.rule={self.rule} does not stop at a threshold'


@flax.struct.dataclass
class Progress:
  """How far each position has come; float32 arrays of one shape.

  Attributes:
    spent: probability of having halted, or the p added up.
    remainder: R, the weight of the step at which the position halted.
    steps: repetitions that counted; expected ones for 'ponder'.
    divergence: from the prior so far, in nats; 'ponder' only.
    running: 1 where the position has not halted.
  """

  spent: jax.Array
  remainder: jax.Array
  steps: jax.Array
  divergence: jax.Array
  running: jax.Array


def start(shape: tuple[int, ...]) -> Progress:
  """Progress before the first repetition."""
  zeros = jnp.zeros(shape, jnp.float32)
  return Progress(zeros, zeros, zeros, zeros, jnp.ones(shape, jnp.float32))


def advance(
  config: Halting, old: Progress, p: jax.Array, n: jax.Array, num_steps: int
) -> tuple[Progress, jax.Array]:
  """One repetition of every position.

  Args:
    config: the rule.
    old: progress before it.
    p: float32 halting probabilities, in (0, 1).
    n: index of the repetition, from 0.
    num_steps: N; the repetition N - 1 is the last.

  Returns:
    the progress after it and the weights u of the state that it leaves; zero
    where the position had halted before.
  """
  last = n == num_steps - 1
  if config.rule == 'fixed':
    u = jnp.broadcast_to(jnp.where(last, 1.0, 0.0), p.shape)
    return old.replace(steps=old.steps + 1), u
  if config.rule == 'ponder':
    left = old.running * (1 - old.spent)
    halts = last | (old.spent + p * left >= config.threshold)
    u = jnp.where(halts, left, p * left)
    prior = _prior(config.prior, n, num_steps)
    gain = u * (jnp.log(jnp.maximum(u, _TINY)) - jnp.log(prior))
    spent = old.spent + u
    return Progress(
      spent=spent,
      remainder=old.remainder,
      steps=old.steps + u * (n + 1),
      divergence=old.divergence + gain,
      running=old.running * ~halts,
    ), u
  # Only the sum is compared, so which positions halt has no gradient.
  reached = old.spent + p > config.threshold
  if config.rule == 'act':
    reached = reached | last
  halts = old.running * reached
  goes = old.running - halts
  u = p * goes + (1 - old.spent) * halts
  new = Progress(
    spent=old.spent + u,
    remainder=old.remainder + halts * (1 - old.spent),
    steps=old.steps + old.running,
    divergence=old.divergence,
    running=goes,
  )
  return new, u


def blend(
  config: Halting, y: jax.Array, state: jax.Array, u: jax.Array
) -> jax.Array:
  """Adds a state [..., D] to the answer so far, with weights u [...]."""
  u = u[..., None].astype(y.dtype)
  if config.rule == 'universal':
    return u * state + (1 - u) * y
  return y + u * state


def cost(config: Halting, progress: Progress) -> jax.Array:
  """Ponder cost of each position: the remainder, or the divergence.

  The number of steps is constant almost everywhere, so the remainder alone has
  the gradient of Graves's N + R.
  """
  if config.rule == 'ponder':
    return progress.divergence
  return progress.remainder


def _prior(probability: float, n: jax.Array, num_steps: int) -> jax.Array:
  """Geometric distribution cut at N steps and normalised, at step n."""
  weight = probability * (1 - probability) ** n
  total = 1 - (1 - probability) ** num_steps
  return jnp.maximum(weight / total, _TINY)


@flax.struct.dataclass
class Usage:
  """What repeating has cost.

  Attributes:
    steps: float32 [B, L], repetitions that counted.
    cost: float32 [B, L], ponder cost before its weight.
    executed: float32 scalar, repetitions that the device has run; it skips
      those that no position of the batch needs any more.
  """

  steps: jax.Array
  cost: jax.Array
  executed: jax.Array


def single_pass(shape: tuple[int, int]) -> Usage:
  """Usage where nothing is repeated."""
  return Usage(jnp.ones(shape), jnp.zeros(shape), jnp.float32(1))


def average(usage: Usage) -> Usage:
  """Means over the axes (layers, segments) before those of a `Usage`."""
  return Usage(
    usage.steps.reshape(-1, *usage.steps.shape[-2:]).mean(0),
    usage.cost.reshape(-1, *usage.cost.shape[-2:]).mean(0),
    usage.executed.mean(),
  )


def joined(usage: Usage, stride: int) -> Usage:
  """Usage [S, B, segment] of segments as that of the sequence."""
  return Usage(
    windows.join(usage.steps, stride),
    windows.join(usage.cost, stride),
    usage.executed.mean(),
  )


class Adaptive(nn.Module):
  """Repeats a module on hidden states until every position has halted.

  Attributes:
    body: makes the module (x [B, L, D], *context) → (x, extra).
    config: the rule.
    num_steps: N of this call; `config.max_steps` in training.
    unroll: whether the repetitions stand one after another in the program.
  """

  body: Callable[..., nn.Module]
  config: Halting
  num_steps: int
  unroll: bool = False

  @nn.compact
  def __call__(
    self, x: jax.Array, extra: Any, *context: Any
  ) -> tuple[jax.Array, Any, Usage]:
    """Runs the repetitions.

    Args:
      x: [B, L, D] hidden states.
      extra: what the module returns besides, of the same structure; that of
        the last repetition is returned.
      *context: passed to the module unchanged at each repetition.

    Returns:
      blended states [B, L, D], extra, and the usage.
    """
    scan = nn.scan(
      _Repetition,
      variable_broadcast='params',
      split_rngs={'params': False},
      in_axes=(0, *[nn.broadcast] * len(context)),
      length=self.num_steps,
      unroll=self.num_steps if self.unroll else 1,
    )
    carry = (x, jnp.zeros_like(x), extra, start(x.shape[:2]), jnp.float32(0))
    (_, y, extra, progress, executed), _ = scan(
      self.body, self.config, self.num_steps, name='repeated'
    )(carry, jnp.arange(self.num_steps), *context)
    usage = Usage(progress.steps, cost(self.config, progress), executed)
    return y, extra, usage


class _Repetition(nn.Module):
  """One repetition, in the form that `nn.scan` wants."""

  body: Callable[..., nn.Module]
  config: Halting
  num_steps: int

  @nn.compact
  def __call__(self, carry, n, *context):
    body = self.body(name='body')
    unit = nn.Dense(
      1,
      dtype=jnp.float32,
      bias_init=nn.initializers.constant(self.config.bias),
      name='halting',
    )

    def run(mdl, carry):
      del mdl
      x, y, _, progress, executed = carry
      p = jax.nn.sigmoid(unit(x.astype(jnp.float32))[..., 0])
      progress, u = advance(self.config, progress, p, n, self.num_steps)
      x, extra = body(x, *context)
      y = blend(self.config, y, x, u)
      return x, y, extra, progress, executed + 1

    if self.is_initializing():
      return run(self, carry), None
    needed = jnp.any(carry[3].running > 0)
    return nn.cond(needed, run, lambda mdl, carry: carry, self, carry), None
