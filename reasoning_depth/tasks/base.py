"""What a task is: a key goes in, a batch with its answers comes out."""

from typing import Protocol

import flax.struct
import jax


@flax.struct.dataclass
class Batch:
  """A batch of token sequences with the answers to learn.

  Attributes:
    inputs: int32 [B, L] tokens the model reads.
    targets: int32 [B, L], aligned with the logits that predict them.
    weights: float32 [B, L], 1 on answer tokens and 0 elsewhere.
    group: int32 [B], what accuracy is split by, such as the look-ahead k.
  """

  inputs: jax.Array
  targets: jax.Array
  weights: jax.Array
  group: jax.Array


class Task(Protocol):
  """Makes batches from keys; `sample` can be jitted.

  Attributes:
    vocab_size: number of token ids.
    length: tokens in a sequence, L.
    block: tokens in one state with its separator; segments are whole blocks.
    causal: whether the answer is predicted left to right (True) or asked for
      by mask tokens all at once (False).

  A task may have `group_name`, what its groups count, and `group_labels`, the
  names of the groups from 0 on.
  """

  vocab_size: int
  length: int
  block: int
  causal: bool

  def sample(
    self, key: jax.Array, batch_size: int, split: str = 'train'
  ) -> Batch:
    """Draws a batch of `split`, one of 'train', 'validation', 'test'."""
    ...
