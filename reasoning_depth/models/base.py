"""What a model is: tokens go in, logits come out.

A new model is a Linen module that derives from `Model`, in a file of its own
with a frozen dataclass of its settings whose `build(task)` makes it, and one
line in `models.MODELS`. `__call__` is all that it must have; every other method
has a default here, and what a default cannot do is left out with a word.

A model that can be run one depth step at a time (`stepwise = True`) has three
methods beside `__call__`, for inference:

  state = begin(tokens)        before the first step
  state = again(state, n)      step n, from 0
  logits, halt = read(state)   the answer after the steps made so far

so that `read` after N steps gives the logits of `__call__(depth=N)`; `halt` is
the halting head's logit [B], None without such a head. Nothing in a state
depends on other samples.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import flax.struct
import jax

from reasoning_depth import errors
from reasoning_depth.models import decoding


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


def plain_output(logits: jax.Array) -> Output:
  """Output of a model without depth steps, from logits [B, L, V]."""
  one = jax.numpy.float32(1)
  return Output(
    logits=logits,
    depth_logits=None,
    halting=None,
    ponder=jax.numpy.ones(logits.shape[:2]),
    executed=one,
    penalty=0 * one,
  )


class Model(nn.Module):
  """Maps tokens to logits; see the module docstring.

  What a model may have, with these defaults:

    depth_name: what a depth step, or a round through the layers, is called.
    stepwise: whether it has `begin`, `again` and `read`.
    schedule: order of layers and segments: 'scan', 'diagonal' or 'auto'.
    reads_segments: whether it has `read_segments`, as `segmented` says.
    trained_by: name in `training.METHODS` of its way of supervised training.
  """

  depth_name = 'loop'
  stepwise = False
  schedule = 'scan'
  reads_segments = False
  trained_by = 'supervised'

  def __call__(
    self,
    tokens: jax.Array,
    *,
    depth: int | None = None,
    deterministic: bool = True,
  ) -> Output:
    """int32 [B, L] to logits.

    Args:
      tokens: the sequence.
      depth: sequential steps at inference in the place of the config's.
      deterministic: False in training, where a key 'depth' is given.
    """
    raise NotImplementedError

  def trained_depth(self) -> int:
    """The most depth steps taken in training; 0 for a model without any."""
    return 0

  def depths_read(self) -> int:
    """Depth steps whose answers are read out in training; 0 for none."""
    return 0

  def with_halting(self, **fields: Any) -> 'Model':
    """The model with other values of fields of its `halting.Halting`.

    Raises:
      UsageError: for a model without halting units.
    """
    raise errors.UsageError('the model has no halting units')

  def stops_early(self) -> str:
    """Why it does not stop at a halting threshold; '' where it does."""
    return 'the model has no halting units'

  def decoder(self) -> decoding.Decoder:
    """How it is run token by token; by default all tokens are read again."""
    return decoding.ReadAgain(self)

  def own_tokens(self, positions: int) -> slice:
    """Which positions of a hook are tokens, and not memory around a segment."""
    return slice(0, positions)

  def lens_states(self, seen: dict[str, Any], length: int) -> jax.Array | None:
    """Hidden states that can be read out, [loops, layers, B, L, D].

    Args:
      seen: what each hook held, by name.
      length: L, of the whole sequence.

    Returns:
      None where there are none.
    """
    return None

  def lens_read_out(self, params: Any, x: jax.Array) -> jax.Array:
    """Logits [B, L, V] of hidden states [B, L, D], as if they were the last."""
    raise NotImplementedError

  def diagonal_cell(self, num_steps: int) -> Callable[..., Any]:
    """One layer over one segment, for `longcontext.diagonal`.

    Args:
      num_steps: repetitions at most.

    Returns:
      (parameters of the layer, hidden states, memory) to hidden states, memory
      and usage.

    Raises:
      UsageError: where two cells can never be run at once.
    """
    raise errors.UsageError(
      'needs a memory of its own in each layer, as ARMT has, so that a layer '
      'can read a segment while the next layer reads the one before'
    )
