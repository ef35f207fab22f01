"""Losses and their metrics, as sums that are divided once at the end."""

import flax.struct
import jax
import jax.numpy as jnp
import optax

from reasoning_depth.models import base as models_base
from reasoning_depth.tasks import base

KINDS = ('softmax', 'stablemax')
DEPTHS = ('last', 'every', 'look_ahead')


@flax.struct.dataclass
class Sums:
  """Sums over a batch, float32 scalars.

  Attributes:
    loss: weighted cross-entropy, in nats.
    weight: sum of the weights.
    correct: answer tokens that were right.
    exact: samples whose answer tokens were all right.
    samples: number of samples.
    steps: depth steps that counted, mean over positions, summed over samples.
    executed: depth steps that were run, summed over samples.
  """

  loss: jax.Array
  weight: jax.Array
  correct: jax.Array
  exact: jax.Array
  samples: jax.Array
  steps: jax.Array
  executed: jax.Array

  def means(self) -> dict[str, float]:
    """Loss per answer token, accuracies and depth steps, on the host."""
    return {
      'loss': float(self.loss / self.weight),
      'bit_accuracy': float(self.correct / self.weight),
      'exact_match': float(self.exact / self.samples),
      'depth_steps': float(self.steps / self.samples),
      'depth_executed': float(self.executed / self.samples),
    }


def answer(
  output: models_base.Output, batch: base.Batch, depth: str
) -> jax.Array:
  """The logits [B, L, V] that answer: the last ones, or those of step k.

  Args:
    output: what the model returned.
    batch: what was asked; its group is the look-ahead.
    depth: `train.depth_loss`.
  """
  if depth != 'look_ahead':
    return output.logits
  at = (batch.group - 1)[None, :, None, None]
  return jnp.take_along_axis(output.depth_logits, at, axis=0)[0]


def cross_entropy(
  logits: jax.Array, targets: jax.Array, kind: str
) -> jax.Array:
  """Cross-entropy in nats, logits [..., V] and targets [...] to [...].

  Args:
    logits: float32.
    targets: int32.
    kind: 'softmax', or 'stablemax' (2501.04697): probabilities in proportion to
      x + 1 for x >= 0 and to 1 / (1 - x) below.
  """
  return optax.softmax_cross_entropy_with_integer_labels(
    for_softmax(logits, kind), targets
  )


def for_softmax(logits: jax.Array, kind: str) -> jax.Array:
  """Logits whose softmax has the probabilities of a kind of loss."""
  if kind == 'softmax':
    return logits
  # Double where: no NaN gradient from the branch that is not taken.
  above, below = jnp.maximum(logits, 0), jnp.minimum(logits, 0)
  return jnp.log1p(above) - jnp.log1p(-below)


def score(
  output: models_base.Output,
  batch: base.Batch,
  depth: str = 'last',
  kind: str = 'softmax',
) -> tuple[jax.Array, Sums]:
  """Loss and accuracy on the answer tokens.

  Args:
    output: what the model returned.
    batch: targets and weights, aligned with the logits.
    depth: `train.depth_loss`: 'last', 'every' (the mean over the steps) or
      'look_ahead' (step k answers for look-ahead k).
    kind: as of `cross_entropy`.

  Returns:
    what training minimises, times the sum of the weights, with the model's
    penalty for its compute; and the sums, in which `loss` is the cross-entropy
    of the answer alone.
  """
  logits = answer(output, batch, depth)
  asked = batch.weights > 0

  def total(logits):
    return jnp.sum(cross_entropy(logits, batch.targets, kind), where=asked)

  loss, weight = total(logits), jnp.sum(batch.weights)
  objective = loss
  if depth == 'every':
    objective = jax.vmap(total)(output.depth_logits).mean()
  right = (logits.argmax(-1) == batch.targets) & asked
  samples = jnp.float32(batch.group.shape[0])
  return objective + weight * output.penalty, Sums(
    loss=loss,
    weight=weight,
    correct=jnp.sum(right, dtype=jnp.float32),
    exact=jnp.sum((right == asked).all(-1), dtype=jnp.float32),
    samples=samples,
    steps=output.ponder.mean() * samples,
    executed=output.executed * samples,
  )
