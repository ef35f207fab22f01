"""Base class of models: maps tokens to logits.

A new model is a Linen module that derives from `Model`, in a file of its own
with a frozen dataclass of its settings whose `build(task)` makes it, and one
line in `models.MODELS`. It must have `__call__`; all other methods are optional
and have a default here.

A model that can run one depth step at a time (`stepwise = True`) also has three
methods for inference:

  state = begin(tokens)        before the first step
  state = again(state, n)      step n, from 0
  logits, halt = read(state)   the answer after the steps made so far

so that `read` after N steps gives the logits of `__call__(depth=N)`; `halt` is
the halting head's logit [B], None without such a head. A sample's state does
not depend on other samples.
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
  """Logits and the sequential compute used for them.

  Attributes:
    logits: float32 [B, L, V].
    depth_logits: float32 [N, B, L, V], logits after each depth step, or None.
    halting: float32 [N, B, L], weight of each depth step, or None.
    ponder: float32 [B, L], expected number of depth steps.
    executed: float32 scalar, depth steps that were run for the batch; at least
      the mean of `ponder`, apart from rounding.
    penalty: float32 scalar, ponder cost added to the loss.
  """

  logits: jax.Array
  depth_logits: jax.Array | None
  halting: jax.Array | None
  ponder: jax.Array
  executed: jax.Array
  penalty: jax.Array


@flax.struct.dataclass
class StepState:
  """State of a stepwise model between depth steps.

  Attributes:
    inputs: arrays [B, ...], the same for all steps.
    latent: arrays [B, L, D], updated by each step; of other shapes if the model
      has its own `latents`.
  """

  inputs: Any
  latent: Any


def plain_output(
  logits: jax.Array,
  steps: int | jax.Array = 1,
  depth_logits: jax.Array | None = None,
) -> Output:
  """Output of a model that takes the same number of steps for all samples.

  Args:
    logits: [B, L, V].
    steps: depth steps; 1 for a model without any.
    depth_logits: [N, B, L, V], or None; see `Output`.
  """
  count = jax.numpy.float32(steps)
  return Output(
    logits=logits,
    depth_logits=depth_logits,
    halting=None,
    ponder=jax.numpy.broadcast_to(count, logits.shape[:2]),
    executed=count,
    penalty=jax.numpy.float32(0),
  )


class Model(nn.Module):
  """Maps tokens to logits; see the module docstring.

  Optional attributes, with the defaults below:

    depth_name: name of a depth step in plots, such as 'loop'.
    stepwise: whether it has `begin`, `again` and `read`.
    by_answer: whether a step depends on the input and on the most likely tokens
      of the step before alone, so that where an answer returns all returns; it
      has `answered` then.
    schedule: order of layers and segments: 'scan', 'diagonal' or 'auto'.
    reads_segments: whether it has `read_segments`; see `segmented`.
    trained_by: its supervised training method, a name in `training.METHODS`.
  """

  depth_name = 'loop'
  stepwise = False
  by_answer = False
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
      depth: depth steps at inference; None for the config's.
      deterministic: False in training, with an rng named 'depth'.
    """
    raise NotImplementedError

  def trained_depth(self) -> int:
    """The most depth steps taken in training; 0 for a model without any."""
    return 0

  def depths_read(self) -> int:
    """Depth steps with logits of their own in training; 0 for none."""
    return 0

  def with_halting(self, **fields: Any) -> 'Model':
    """A copy of the model with changed fields of its `halting.Halting`.

    Raises:
      UsageError: for a model without halting units.
    """
    raise errors.UsageError('the model has no halting units')

  def stops_early(self) -> str:
    """Why it cannot stop at a halting threshold; '' if it can."""
    return 'the model has no halting units'

  def decoder(self) -> decoding.Decoder:
    """Runs it token by token; by default without a cache."""
    return decoding.ReadAgain(self)

  def latents(self, state: StepState) -> jax.Array:
    """All that a step of a stepwise model changes, by position, [B, L, D]."""
    return jax.numpy.concatenate(jax.tree.leaves(state.latent), axis=-1)

  def answered(self, state: StepState, tokens: jax.Array) -> StepState:
    """The state after a step with the most likely tokens int32 [B, A].

    Args:
      state: of the same samples, at any step.
      tokens: at the answer positions.
    """
    raise NotImplementedError

  def own_tokens(self, positions: int) -> slice:
    """Positions of a hook that are tokens, not memory tokens of a segment."""
    return slice(0, positions)

  def lens_states(self, seen: dict[str, Any], length: int) -> jax.Array | None:
    """Hidden states for the logit lens, [loops, layers, B, L, D].

    Args:
      seen: activations recorded by hooks, by name.
      length: L, of the whole sequence.

    Returns:
      None if the model has none.
    """
    return None

  def lens_read_out(self, params: Any, x: jax.Array) -> jax.Array:
    """Logits [B, L, V] of hidden states [B, L, D], by the final read-out."""
    raise NotImplementedError

  def diagonal_cell(self, num_steps: int) -> Callable[..., Any]:
    """One layer over one segment, for `longcontext.diagonal`.

    Args:
      num_steps: maximum number of repetitions.

    Returns:
      function from (parameters of the layer, hidden states, memory) to hidden
      states, memory and usage.

    Raises:
      UsageError: if no two cells (layer, segment) can run in parallel.
    """
    raise errors.UsageError(
      'needs a memory of its own in each layer, as ARMT has, so that a layer '
      'can read a segment while the next layer reads the one before'
    )
