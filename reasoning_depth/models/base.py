"""What a model returns, whatever it is.

A model that can be run one depth step at a time (see `is_stepwise`) has three
methods beside `__call__`, for inference:

    state = begin(tokens)        before the first step
    state = again(state, n)      step n, from 0
    logits, halt = read(state)   the answer after the steps made so far

so that `read` after N steps gives the logits of `__call__(depth=N)`; `halt` is
the halting head's logit [B], None without such a head. Nothing in a state
depends on other samples.
"""

from typing import Any

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


@flax.struct.dataclass
class StepState:
  """What a stepwise model carries from one depth step to the next.

  Attributes:
    inputs: [B, L, D], what every step sees.
    latent: arrays [B, L, D], what the steps change.
  """

  inputs: jax.Array
  latent: Any


def is_stepwise(model: Any) -> bool:
  """Whether a model can be run one depth step at a time."""
  return hasattr(model, 'again')
