"""Losses and metrics, kept as sums and divided at the end."""

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
    steps: expected depth steps, mean over positions, summed over samples.
    executed: depth steps computed, summed over samples.
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
  """The logits [B, L, V] of the answer: the last ones, or those of step k.

  Args:
    output: of the model.
    batch: for 'look_ahead', its `group` is the look-ahead k.
    depth: `train.depth_loss`.
  """
  if depth != 'look_ahead':
    return output.logits
  at = (batch.group - 1)[None, :, None, None]
  return jnp.take_along_axis(output.depth_logits, at, axis=0)[0]


def cross_entropy(
  logits: jax.Array, targets: jax.Array, kind: str
) -> jax.Array:
  """Cross-entropy in nats, [...].

  Args:
    logits: float32 [..., V].
    targets: int32 [...].
    kind: 'softmax', or 'stablemax' (2501.04697): probabilities proportional to
      x + 1 for x >= 0, else to 1 / (1 - x).
  """
  return optax.softmax_cross_entropy_with_integer_labels(
    for_softmax(logits, kind), targets
  )


def per_sample(logits: jax.Array, batch: base.Batch, kind: str) -> jax.Array:
  """Mean cross-entropy [B] over each sample's answer tokens, in nats."""
  entropy = cross_entropy(logits, batch.targets, kind)
  return jnp.mean(entropy, axis=-1, where=batch.weights > 0)


def for_softmax(logits: jax.Array, kind: str) -> jax.Array:
  """Logits whose softmax gives the probabilities of `kind`."""
  if kind == 'softmax':
    return logits
  # Clamped, as a double where: no NaN gradient from the untaken branch.
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
    output: of the model.
    batch: targets and weights, aligned with the logits.
    depth: `train.depth_loss`: 'last', 'every' (the mean over the steps) or
      'look_ahead' (step k answers for look-ahead k).
    kind: as of `cross_entropy`.

  Returns:
    the training loss times the sum of the weights, with the model's compute
    penalty; and the sums, whose `loss` is the answer's cross-entropy alone.
  """
  logits = answer(output, batch, depth)
  mask = batch.weights > 0

  def total(logits):
    return jnp.sum(cross_entropy(logits, batch.targets, kind), where=mask)

  loss, weight = total(logits), jnp.sum(batch.weights)
  objective = loss
  if depth == 'every':
    objective = jax.vmap(total)(output.depth_logits).mean()
  right = (logits.argmax(-1) == batch.targets) & mask
  samples = jnp.float32(batch.group.shape[0])
  return objective + weight * output.penalty, Sums(
    loss=loss,
    weight=weight,
    correct=jnp.sum(right, dtype=jnp.float32),
    exact=jnp.sum((right == mask).all(-1), dtype=jnp.float32),
    samples=samples,
    steps=output.ponder.mean() * samples,
    executed=output.executed * samples,
  )
