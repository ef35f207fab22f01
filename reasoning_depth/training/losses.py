"""Losses and their metrics, as sums that are divided once at the end."""

import flax.struct
import jax
import jax.numpy as jnp
import optax

from reasoning_depth.tasks import base


@flax.struct.dataclass
class Sums:
  """Sums over a batch, float32 scalars.

  Attributes:
    loss: weighted cross-entropy, in nats.
    weight: sum of the weights.
    correct: answer tokens that were right.
    exact: samples whose answer tokens were all right.
    samples: number of samples.
  """

  loss: jax.Array
  weight: jax.Array
  correct: jax.Array
  exact: jax.Array
  samples: jax.Array

  def means(self) -> dict[str, float]:
    """Loss per answer token, bit accuracy and exact match, on the host."""
    return {
      'loss': float(self.loss / self.weight),
      'bit_accuracy': float(self.correct / self.weight),
      'exact_match': float(self.exact / self.samples),
    }


def score(logits: jax.Array, batch: base.Batch) -> Sums:
  """Cross-entropy and accuracy on the answer tokens.

  Args:
    logits: float32 [B, L, V].
    batch: targets and weights, aligned with the logits.
  """
  entropy = optax.softmax_cross_entropy_with_integer_labels(
    logits, batch.targets
  )
  asked = batch.weights > 0
  right = (logits.argmax(-1) == batch.targets) & asked
  return Sums(
    loss=jnp.sum(entropy, where=asked),
    weight=jnp.sum(batch.weights),
    correct=jnp.sum(right, dtype=jnp.float32),
    exact=jnp.sum((right == asked).all(-1), dtype=jnp.float32),
    samples=jnp.float32(batch.group.shape[0]),
  )
