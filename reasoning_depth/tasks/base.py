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
    row_tokens: tokens in a row, a state with its separator; segments are whole
      rows.
    causal: whether the answer is predicted left to right (True) or asked for
      by mask tokens all at once (False).

  A task may have `group_name`, what its groups count, `group_labels`, the names
  of the groups from 0 on, and `held_out_length`, tokens in a sequence of the
  splits that are not trained on, where those are shorter.
  """

  vocab_size: int
  length: int
  row_tokens: int
  causal: bool

  def sample(
    self, key: jax.Array, batch_size: int, split: str = 'train'
  ) -> Batch:
    """Draws a batch of `split`, one of 'train', 'validation', 'test'."""
    ...


class HostTask(Protocol):
  """A task whose batches are made on the host, such as text; see `Task`.

  It has `host_sample` in the place of `sample`, and all else. Where sequences
  may be too long for the memory it also has `stream`, as `babilong` does.
  """

  def host_sample(
    self,
    seed: int,
    step: int,
    batch_size: int,
    split: str = 'train',
    first: int = 0,
  ) -> Batch:
    """NumPy arrays that follow from the arguments alone.

    Args:
      seed: of the run.
      step: the number of the batch.
      batch_size: samples to make.
      split: 'train', 'validation' or 'test'.
      first: of them, counted in the batch; each depends on its own number
        alone, so that a host makes those that it needs.
    """
    ...


def on_host(task: Task | HostTask) -> bool:
  """Whether a task's batches are made on the host."""
  return hasattr(task, 'host_sample')
