"""What a model returns, whatever it is."""

import flax.struct
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class Output:
  """Logits and how much sequential compute went into them.

  Attributes:
    logits: float32 [B, L, V].
    depth_logits: float32 [N, B, L, V] where each depth step is read out.
    halting: float32 [N, B, L], the weight of each depth step.
    ponder: float32 [B, L], expected number of depth steps.
  """

  logits: jax.Array
  depth_logits: jax.Array | None
  halting: jax.Array | None
  ponder: jax.Array


def plain_output(logits: jax.Array) -> Output:
  """Output of a model that takes one depth step everywhere."""
  return Output(logits, None, None, jnp.ones(logits.shape[:2], jnp.float32))
