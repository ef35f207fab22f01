"""Exit rules: after which depth step a sample needs no more of them.

A rule sees a sample's answer positions alone, and the sample stops where all of
them would:

- `kl`: KL(p_t ‖ p_{t-1}) of the predicted distributions, in nats, is below the
  threshold (2502.05171, section 6.1).
- `entropy`: the entropy of p_t, in nats, is below the threshold.
- `kl_entropy`: as `kl`, and the entropy is below a bound of its own
  (2604.07822 stops at 0.01 and 3.00; `kl` alone stops too early there).
- `latent`: ‖s_t − s_{t-1}‖ / ‖s_t‖ of a position's latent is below the
  threshold.
- `argmax`: the most likely tokens have been the same for `threshold` steps.
- `q_head`: the halting head's logit is above the threshold (2510.04871 stops
  above 0).

A new rule is one entry of `RULES`. Rules are pure functions of what a depth
step leaves; `early_exit` runs the steps. A looser threshold never takes more
steps.
"""

import dataclasses
from collections.abc import Callable, Iterable

import flax.struct
import jax
import jax.numpy as jnp

from reasoning_depth import settings

ENTROPY = 3.0  # nats, of `kl_entropy` in 2604.07822
KEPT = ('log_p', 'tokens', 'unchanged')  # fields of `Before`
_TINY = 1e-9


@flax.struct.dataclass
class Step:
  """What a depth step leaves.

  Attributes:
    log_p: float32 [B, L, V], normalised.
    latent: [B, L, D].
    halt: float32 [B], the halting head's logit, or None.
  """

  log_p: jax.Array
  latent: jax.Array
  halt: jax.Array | None


@flax.struct.dataclass
class Before:
  """What is kept of the step before; None where the rule does not need it.

  Attributes:
    log_p: as in `Step`.
    tokens: int32 [B, L], the most likely.
    unchanged: int32 [B], steps for which they have been the same.
  """

  log_p: jax.Array | None = None
  tokens: jax.Array | None = None
  unchanged: jax.Array | None = None


@flax.struct.dataclass
class Signals:
  """What rules compare, [..., B].

  Attributes:
    divergence: KL(p_t ‖ p_{t-1}) in nats, the largest over a sample's answer
      positions; infinite at the first step.
    entropy: of p_t, in nats, the largest over the answer positions.
    difference: ‖s_t − s_{t-1}‖ / ‖s_t‖, the largest over the answer positions.
    unchanged: int32, steps for which the most likely tokens of all answer
      positions have been the same.
    halt: the halting head's logit.
  """

  divergence: jax.Array | None
  entropy: jax.Array
  difference: jax.Array
  unchanged: jax.Array | None
  halt: jax.Array | None


@dataclasses.dataclass(frozen=True)
class Definition:
  """What an exit rule is.

  Attributes:
    stops: (signals, threshold, entropy bound) to bool, of the signals' shape.
    thresholds: that are tried by default, from the loosest to the strictest.
    needs: fields of `Before` that its signals are measured from.
    needs_head: whether it reads the logit of a halting head.
  """

  stops: Callable[[Signals, float, float], jax.Array]
  thresholds: tuple[float, ...]
  needs: tuple[str, ...] = ()
  needs_head: bool = False


RULES = {
  'kl': Definition(
    stops=lambda s, t, _: s.divergence < t,
    thresholds=(1.0, 0.3, 0.1, 0.03, 0.01, 0.003),
    needs=('log_p',),
  ),
  'entropy': Definition(
    stops=lambda s, t, _: s.entropy < t,
    thresholds=(1.0, 0.5, 0.2, 0.1, 0.03, 0.01),
  ),
  'kl_entropy': Definition(
    stops=lambda s, t, bound: (s.divergence < t) & (s.entropy < bound),
    thresholds=(1.0, 0.3, 0.1, 0.03, 0.01, 0.003),
    needs=('log_p',),
  ),
  'latent': Definition(
    stops=lambda s, t, _: s.difference < t,
    thresholds=(0.5, 0.3, 0.2, 0.1, 0.05, 0.02),
  ),
  'argmax': Definition(
    stops=lambda s, t, _: s.unchanged >= t,
    thresholds=(1, 2, 3, 4),
    needs=('tokens', 'unchanged'),
  ),
  'q_head': Definition(
    stops=lambda s, t, _: s.halt > t,
    thresholds=(-4.0, -2.0, -1.0, 0.0, 1.0, 2.0),
    needs_head=True,
  ),
}


@flax.struct.dataclass
class Rule:
  """A rule with its threshold.

  Attributes:
    name: one of `RULES`.
    threshold: nats, a relative length, steps or a logit, as the rule has it;
      it may be traced.
    entropy: bound of `kl_entropy`, in nats; it may be traced.
  """

  name: str = flax.struct.field(pytree_node=False)
  threshold: float
  entropy: float = ENTROPY

  @property
  def definition(self) -> Definition:
    """What the rule is; a `UsageError` where there is none of its name."""
    return settings.choose('rule', self.name, RULES)


def nothing_before(step: Step, needs: Iterable[str] = KEPT) -> Before:
  """What is kept before the first step.

  Args:
    step: a step, or its shapes.
    needs: the fields of `Before` to keep.
  """
  B, L, _ = step.log_p.shape
  every = {
    'log_p': jnp.zeros(step.log_p.shape, jnp.float32),
    'tokens': jnp.zeros((B, L), jnp.int32),
    'unchanged': jnp.zeros(B, jnp.int32),
  }
  return Before(**{name: every[name] for name in needs})


def measure(
  step: Step,
  before: Before,
  latent_before: jax.Array,
  asked: jax.Array,
  n: jax.Array,
) -> tuple[Signals, Before]:
  """Signals of step n, and what to keep of it.

  Args:
    step: what it left.
    before: what was kept of the step before. Signals that need a field of it
      that is None are None as well.
    latent_before: [B, L, D], which for the first step are the initial ones.
    asked: bool [B, L], the answer positions; at least one a sample.
    n: from 0.
  """

  def largest(x):
    return jnp.max(x, axis=-1, where=asked, initial=-jnp.inf)

  p = jnp.exp(step.log_p)
  divergence = unchanged = tokens = log_p = None
  if before.log_p is not None:
    log_p = step.log_p
    divergence = largest(_expected(p, log_p - before.log_p))
    divergence = jnp.where(n > 0, divergence, jnp.inf)
  if before.tokens is not None:
    tokens = step.log_p.argmax(-1).astype(jnp.int32)
    same = jnp.all((tokens == before.tokens) | ~asked, axis=-1) & (n > 0)
    unchanged = jnp.where(same, before.unchanged + 1, 0)
  signals = Signals(
    divergence=divergence,
    entropy=largest(-_expected(p, step.log_p)),
    difference=largest(_difference(step.latent, latent_before)),
    unchanged=unchanged,
    halt=step.halt,
  )
  return signals, Before(log_p, tokens, unchanged)


def stops(rule: Rule, signals: Signals) -> jax.Array:
  """Where a rule holds: bool, of the shape of the signals.

  Raises:
    ValueError: for a rule that needs a halting head, of a model without one.
  """
  definition = rule.definition
  if definition.needs_head and signals.halt is None:
    raise ValueError(f'rule {rule.name}: the model has no halting head')
  return definition.stops(signals, rule.threshold, rule.entropy)


def steps(stopped: jax.Array) -> jax.Array:
  """Steps taken, int32 [B]: to the first of [N, B] that holds, or all N."""
  N = len(stopped)
  first = jnp.argmax(stopped, axis=0) + 1
  return jnp.where(stopped.any(axis=0), first, N).astype(jnp.int32)


def _expected(p: jax.Array, x: jax.Array) -> jax.Array:
  """Mean of x [..., V] under p; where p is 0, x may be infinite."""
  return jnp.sum(jnp.where(p > 0, p * x, 0.0), axis=-1)


def _difference(latent: jax.Array, before: jax.Array) -> jax.Array:
  """Relative length of the change of [B, L, D], as [B, L]."""
  now, then = (x.astype(jnp.float32) for x in (latent, before))
  length = jnp.linalg.norm(now, axis=-1)
  return jnp.linalg.norm(now - then, axis=-1) / jnp.maximum(length, _TINY)
