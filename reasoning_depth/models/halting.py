"""Adaptive computation: a learned number of repetitions for each position.

A module (a layer, or a stack of them) is applied to the hidden states up to N
times with the same parameters. Before each repetition a halting unit computes
from each position's state a probability p of halting there. A rule turns a
position's sequence of p into one weight u per repetition, and the output blends
the states after the repetitions with these weights:

- `act`: adaptive computation time (1603.08983, eq. 6 to 10). A position halts
  where its p add up to the threshold; the last weight is the remainder, so
  that the weights sum to one.
- `universal`: the blend of Universal Transformers (1807.03819) and of ARMT's
  public code: y ← u·state + (1 − u)·y. Its weights do not sum to one, and a
  position that has not halted after N repetitions has remainder 0.
- `ponder`: PonderNet (2107.05407, eq. 5): p is the probability of halting here
  if not before; the cost is the divergence from a geometric prior. A position
  halts where the probability of having halted reaches the threshold; that
  repetition gets all probability that is left.
- `fixed`: all positions take N repetitions; the output is the last state.

A sample's output does not depend on its batch: once all its positions have
halted, its state is frozen. Until then its halted positions are still updated,
and attended to.
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
COST_OVER = ('tokens', 'all')
_TINY = 1e-9  # keeps logarithms finite


@dataclasses.dataclass(frozen=True)
class Halting(settings.Settings):
  """Settings of adaptive computation."""

  kind: str = settings.field(
    'none', 'what repeats: each layer, or the whole model', choices=KINDS
  )
  rule: str = settings.field('act', 'see `models.halting`', choices=RULES)
  max_steps: int = settings.field(
    4, 'N, maximum number of repetitions', least=1
  )
  threshold: float = settings.field(
    0.9,
    'sum of halting probabilities at which a position halts',
    above=0,
    most=1,
  )
  bias: float = settings.field(
    1.0,
    'initial bias of the halting unit; the sigmoid of 1 is 0.73',
    least=-20,
    most=20,
  )
  cost: float = settings.field(3e-4, 'weight of the ponder cost in the loss')
  cost_over: str = settings.field(
    'tokens',
    'positions that the ponder cost is averaged over: tokens of the sequence, '
    "or all of all segments, with memory tokens (ARMT's public code)",
    choices=COST_OVER,
  )
  prior: float = settings.field(
    0.3, 'ponder: halting probability of the geometric prior', above=0, most=1
  )

  @property
  def trained_depth(self) -> int:
    """Maximum number of repetitions in training; 0 for kind 'none'."""
    return 0 if self.kind == 'none' else self.max_steps

  @property
  def why_not_early(self) -> str:
    """Why no position stops at the threshold; '' if one may."""
    if self.rule in ('act', 'universal'):
      return ''
    return f'halting.rule={self.rule} does not stop at a threshold'


@flax.struct.dataclass
class Progress:
  """Halting state of each position; float32 arrays of one shape.

  Attributes:
    spent: sum of the weights so far; for 'ponder' the probability of having
      halted.
    remainder: R, the weight of the repetition at which the position halted.
    steps: repetitions until the position halted; for 'ponder' their expected
      number.
    divergence: KL divergence from the prior so far, in nats; 'ponder' only.
    running: 1 where the position has not halted, else 0.
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
  """Applies the rule to every position, for one repetition.

  Args:
    config: the rule.
    old: progress before it.
    p: float32 halting probabilities, in (0, 1).
    n: index of the repetition, from 0.
    num_steps: N; the repetition N - 1 is the last.

  Returns:
    the progress after it and the weights u of the state after it; zero where
    the position had halted before.
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
  # A comparison: no gradient through which positions halt.
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
  """Adds a state [..., D] to the output so far, y, with weights u [...]."""
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
  """Geometric distribution over N steps, normalised, at step n from 0."""
  weight = probability * (1 - probability) ** n
  total = 1 - (1 - probability) ** num_steps
  return jnp.maximum(weight / total, _TINY)


@flax.struct.dataclass
class Usage:
  """Number of repetitions and their ponder cost.

  Attributes:
    steps: float32 [B, L], `Progress.steps` of each token.
    cost: float32, unweighted ponder cost of the positions to average over:
      [B, L], or more if `Halting.cost_over` is 'all'.
    executed: float32 scalar, repetitions run on the device; those that no
      position of the batch needs are skipped.
  """

  steps: jax.Array
  cost: jax.Array
  executed: jax.Array


def single_pass(shape: tuple[int, int]) -> Usage:
  """Usage without repetitions."""
  return Usage(jnp.ones(shape), jnp.zeros(shape), jnp.float32(1))


def average(usage: Usage) -> Usage:
  """Means over the leading axes (layers, segments) of a `Usage`."""
  return Usage(
    usage.steps.reshape(-1, *usage.steps.shape[-2:]).mean(0),
    usage.cost.reshape(-1, *usage.cost.shape[-2:]).mean(0),
    usage.executed.mean(),
  )


def of_tokens(config: Halting, usage: Usage, tokens: slice) -> Usage:
  """Usage of a segment's tokens, from that of all its positions.

  Args:
    config: its `cost_over` decides whether memory tokens keep their cost.
    usage: of tokens and memory tokens, along the last axis.
    tokens: positions of the tokens.
  """
  cost = usage.cost
  if config.cost_over == 'tokens':
    cost = cost[..., tokens]
  return usage.replace(steps=usage.steps[..., tokens], cost=cost)


def joined(config: Halting, usage: Usage, stride: int) -> Usage:
  """Usage of segments [S, B, segment] as that of the sequence [B, L].

  The cost of all positions stays [S, B, segment and memory tokens].
  """
  cost = usage.cost
  if config.cost_over == 'tokens':
    cost = windows.join(cost, stride)
  return Usage(windows.join(usage.steps, stride), cost, usage.executed.mean())


class Adaptive(nn.Module):
  """Repeats a module on hidden states until every position has halted.

  Attributes:
    body: makes the module (x [B, L, D], *context) → (x, extra).
    config: the rule.
    num_steps: N of this call; `config.max_steps` in training.
    unroll: whether the scan over repetitions is unrolled.
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
      extra: initial value of the module's second output: arrays
        [layers, B, ...], or None.
      *context: passed to the module unchanged at each repetition.

    Returns:
      the blended states [B, L, D]; the module's second output, for each sample
      that of the last repetition that began before all its positions had
      halted; and the usage.
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
  """One repetition; the body of `nn.scan`."""

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
    needed = jnp.any(carry[3].running > 0, axis=1)  # [B]

    def run(mdl, carry):
      del mdl
      x, y, extra, progress, executed = carry
      p = jax.nn.sigmoid(unit(x.astype(jnp.float32))[..., 0])
      progress, u = advance(self.config, progress, p, n, self.num_steps)
      new_x, new_extra = body(x, *context)
      # Selected before blending: a state that overflows after its sample has
      # halted would give 0·inf in the output.
      x = _select(needed, new_x, x, axis=0)
      extra = _select(needed, new_extra, extra, axis=1)
      y = blend(self.config, y, x, u)
      return x, y, extra, progress, executed + 1

    if self.is_initializing():
      return run(self, carry), None
    carry = nn.cond(jnp.any(needed), run, lambda _, carry: carry, self, carry)
    return carry, None


def _select(which: jax.Array, new: Any, old: Any, axis: int) -> Any:
  """New arrays where `which` [B] holds, old ones elsewhere; B is at `axis`."""

  def select(new, old):
    shape = [1] * new.ndim
    shape[axis] = -1
    return jnp.where(which.reshape(shape), new, old)

  return jax.tree.map(select, new, old)
