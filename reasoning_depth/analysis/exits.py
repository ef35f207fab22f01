"""Exit rules: after which depth step a sample needs no more of them.

A rule looks at the answer positions of a sample alone, and the worst of them
decides: a sample stops where all its answer positions would.

- `kl`: KL(p_t ‖ p_{t-1}) of the predicted distributions, in nats, is below the
  threshold (2502.05171, section 6.1).
- `entropy`: the entropy of p_t, in nats, is below it.
- `kl_entropy`: `kl`, and the entropy is below a bound of its own (2604.07822
  stops at 0.01 and 3.00; `kl` alone stops too early there).
- `latent`: ‖s_t − s_{t-1}‖ / ‖s_t‖ of a position's latent is below it.
- `argmax`: the most likely tokens have stayed the same for so many steps.
- `q_head`: the halting head's logit is above it (2510.04871 stops above 0).

Rules are pure functions of what a step leaves; who runs the steps is no matter
of theirs. A threshold that is looser never takes more steps.
"""

import flax.struct
import jax
import jax.numpy as jnp

RULES = ('kl', 'entropy', 'kl_entropy', 'latent', 'argmax', 'q_head')
# From the loosest to the strictest.
THRESHOLDS = {
  'kl': (1.0, 0.3, 0.1, 0.03, 0.01, 0.003),
  'entropy': (1.0, 0.5, 0.2, 0.1, 0.03, 0.01),
  'kl_entropy': (1.0, 0.3, 0.1, 0.03, 0.01, 0.003),
  'latent': (0.5, 0.3, 0.2, 0.1, 0.05, 0.02),
  'argmax': (1, 2, 3, 4),
  'q_head': (-4.0, -2.0, -1.0, 0.0, 1.0, 2.0),
}
ENTROPY = 3.0  # nats, of `kl_entropy` in 2604.07822
_TINY = 1e-9


@flax.struct.dataclass
class Rule:
  """A rule and its thresholds, which may be traced.

  Attributes:
    name: one of `RULES`.
    threshold: nats, a relative length, steps or a logit, as the rule has it.
    entropy: bound of `kl_entropy`, in nats.
  """

  name: str = flax.struct.field(pytree_node=False)
  threshold: float
  entropy: float = ENTROPY


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
    log_p: as of `Step`.
    tokens: int32 [B, L], the most likely.
    unchanged: int32 [B], steps for which they have been the same.
  """

  log_p: jax.Array | None = None
  tokens: jax.Array | None = None
  unchanged: jax.Array | None = None


@flax.struct.dataclass
class Signals:
  """What rules compare, [..., B], worst over the answer positions of a sample.

  Attributes:
    divergence: KL(p_t ‖ p_{t-1}) in nats; infinite at the first step.
    entropy: of p_t, in nats.
    difference: ‖s_t − s_{t-1}‖ / ‖s_t‖.
    unchanged: int32, steps for which the most likely tokens are the same.
    halt: the halting head's logit.
  """

  divergence: jax.Array | None
  entropy: jax.Array
  difference: jax.Array
  unchanged: jax.Array | None
  halt: jax.Array | None


def nothing_before(step: Step, name: str | None = None) -> Before:
  """What is kept before the first step.

  Args:
    step: a step, or its shapes.
    name: of the rule; None for all of them.
  """
  B, L, _ = step.log_p.shape
  before = Before()
  if name in ('kl', 'kl_entropy', None):
    before = before.replace(log_p=jnp.zeros(step.log_p.shape, jnp.float32))
  if name in ('argmax', None):
    before = before.replace(
      tokens=jnp.zeros((B, L), jnp.int32), unchanged=jnp.zeros(B, jnp.int32)
    )
  return before


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
    before: what was kept of the step before; what it lacks is not measured.
    latent_before: [B, L, D], which for the first step are the initial ones.
    asked: bool [B, L], the answer positions; at least one a sample.
    n: from 0.
  """

  def worst(x):
    return jnp.max(x, axis=-1, where=asked, initial=-jnp.inf)

  p = jnp.exp(step.log_p)
  divergence = unchanged = tokens = log_p = None
  if before.log_p is not None:
    log_p = step.log_p
    divergence = worst(_expected(p, log_p - before.log_p))
    divergence = jnp.where(n > 0, divergence, jnp.inf)
  if before.tokens is not None:
    tokens = step.log_p.argmax(-1).astype(jnp.int32)
    same = jnp.all((tokens == before.tokens) | ~asked, axis=-1) & (n > 0)
    unchanged = jnp.where(same, before.unchanged + 1, 0)
  signals = Signals(
    divergence=divergence,
    entropy=worst(-_expected(p, step.log_p)),
    difference=worst(_difference(step.latent, latent_before)),
    unchanged=unchanged,
    halt=step.halt,
  )
  return signals, Before(log_p, tokens, unchanged)


def stops(rule: Rule, signals: Signals) -> jax.Array:
  """Where a rule holds: bool, of the shape of the signals.

  Raises:
    ValueError: for a rule that is not known, or a halting head that the model
      does not have.
  """
  t = rule.threshold
  if rule.name == 'kl':
    return signals.divergence < t
  if rule.name == 'entropy':
    return signals.entropy < t
  if rule.name == 'kl_entropy':
    return (signals.divergence < t) & (signals.entropy < rule.entropy)
  if rule.name == 'latent':
    return signals.difference < t
  if rule.name == 'argmax':
    return signals.unchanged >= t
  if rule.name == 'q_head':
    if signals.halt is None:
      raise ValueError('rule q_head: the model has no halting head')
    return signals.halt > t
  raise ValueError(f'rule {rule.name!r}: allowed are {", ".join(RULES)}')


def steps(stopped: jax.Array) -> jax.Array:
  """Steps taken, int32 [B]: to the first of [N, B] that holds, or all N."""
  N = len(stopped)
  first = jnp.argmax(stopped, axis=0) + 1
  return jnp.where(stopped.any(axis=0), first, N).astype(jnp.int32)


def _expected(p: jax.Array, x: jax.Array) -> jax.Array:
  """Mean of x [..., V] under p; where p is 0, x may be infinite."""
  return jnp.sum(jnp.where(p > 0, p * x, 0.0), axis=-1)


def _difference(latent: jax.Array, before: jax.Array) -> jax.Array:
  """[B, L, D] to [B, L]."""
  now, then = (x.astype(jnp.float32) for x in (latent, before))
  length = jnp.linalg.norm(now, axis=-1)
  return jnp.linalg.norm(now - then, axis=-1) / jnp.maximum(length, _TINY)
