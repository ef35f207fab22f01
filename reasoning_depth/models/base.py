"""What a model returns, whatever it is."""

import flax.struct
import jax


@flax.struct.dataclass
class Output:
  """Logits and how much sequential compute went into them.

  Attributes:
    logits: float32 [B, L, V].
    depth_logits: float32 [N, B, L, V] where each depth step is read out.
    halting: float32 [N, B, L], the weight of each depth step.
    ponder: float32 [B, L], expected number of depth steps.
    executed: float32 scalar, depth steps that were run, the same for every
      position; at least the mean of `ponder`, apart from rounding.
    penalty: float32 scalar, what the model adds to the loss for its compute.
  """

  logits: jax.Array
  depth_logits: jax.Array | None
  halting: jax.Array | None
  ponder: jax.Array
  executed: jax.Array
  penalty: jax.Array
