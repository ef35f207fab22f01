"""Models that read a sequence in segments and carry a memory between them."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth import settings
from reasoning_depth.models import (
  base,
  decoding,
  halting,
  hooks,
  layers,
  transformer,
  windows,
)


class SegmentModel(transformer.HaltingModel, kw_only=True):
  """Embedding, scan over segments with the memory as its carry, read-out.

  Attributes:
    config: shape of the stack.
    vocab_size: V.
    segment_length: tokens in a segment.
    stride: tokens from one segment's start to the next; below segment_length,
      segments overlap ('repeat state'), and a token's logits come from the
      first segment that contains it.
    truncate: segments per truncated backpropagation through the memory, counted
      from the last; 0 for all.
    unroll_segments: segments per iteration of the scan.
    adaptive: settings of halting.
    executor: replaces the scan over segments by another schedule, such as
      `longcontext.diagonal`. Maps the model, the parameters of its `segment`,
      the memory, hidden states [S, B, L, D] and the maximum number of
      repetitions to the new memory and (hidden states, usage of each segment).
      None for a scan.
  """

  config: layers.TransformerConfig
  vocab_size: int
  segment_length: int
  stride: int
  truncate: int = 0
  unroll_segments: int = 1
  adaptive: halting.Halting = halting.Halting()
  executor: Callable[..., Any] | None = None

  depth_name = 'segment'
  reads_segments = True

  def segment(self) -> tuple[type[nn.Module], tuple[Any, ...]]:
    """The module class that reads a segment, and its arguments but the last.

    The last is the maximum number of repetitions. The module maps a memory and
    (hidden states [B, L, D], whether to stop the gradient through the memory)
    to the new memory and (hidden states, usage).
    """
    raise NotImplementedError

  def first_memory(self, batch_size: int) -> Any:
    """The memory before the first segment."""
    raise NotImplementedError

  def read_out(self) -> nn.Module:
    """Maps hidden states [..., L, D] to logits [..., L, V]."""
    c = self.config
    return transformer.ReadOut(
      self.vocab_size, c.norm, c.norm_epsilon, name='read_out'
    )

  def __call__(
    self,
    tokens: jax.Array,
    *,
    depth: int | None = None,
    deterministic: bool = True,
  ) -> base.Output:
    """int32 [B, L] to logits; `depth` as in `transformer.Transformer`.

    Raises:
      ValueError: if the segments do not cover L tokens exactly.
    """
    del deterministic
    parts = windows.split(tokens, self.segment_length, self.stride)
    _, _, logits, usage = self._run(
      parts, None, lambda x: windows.join(x, self.stride), depth
    )
    usage = halting.joined(self.adaptive, usage, self.stride)
    return transformer.output(logits, self.adaptive, usage)

  def decoder(self) -> decoding.Decoder:
    """See `base.Model`."""
    return decoding.SegmentBySegment(self)

  def own_tokens(self, positions: int) -> slice:
    """See `base.Model`; memory tokens stand behind a segment."""
    del positions
    return slice(0, self.segment_length)

  def lens_states(self, seen: dict[str, Any], length: int) -> jax.Array | None:
    """See `base.Model`; the states of all segments, joined to one sequence."""
    del length
    x = seen.get('residual')
    if x is None:
      return None
    x = jnp.moveaxis(x[..., self.own_tokens(x.shape[-2]), :], 0, 1)
    return jax.vmap(lambda s: windows.join(s, self.stride))(x)[None]

  def read_segments(
    self, parts: jax.Array, memory: Any, position: jax.Array | None
  ) -> tuple[Any, Any, jax.Array]:
    """Reads segments, starting from a memory, for decoding or streaming.

    Args:
      parts: int32 [S, B, segment_length].
      memory: before them; None for the initial memory.
      position: of a token in the last segment, for its logits alone; None for
        the logits of all tokens.

    Returns:
      the memory before, the memory after, and logits [B, V], or
      [S, B, segment_length, V].
    """
    select = (
      (lambda x: x) if position is None else (lambda x: x[-1, :, position])
    )
    before, after, logits, _ = self._run(parts, memory, select, None)
    return before, after, logits

  @nn.compact
  def _run(
    self, parts: jax.Array, before: Any, select: Callable, depth: int | None
  ) -> tuple[Any, Any, jax.Array, halting.Usage]:
    if before is None:
      before = self.first_memory(parts.shape[1])
    embedding = transformer.Embedding(
      self.config, self.vocab_size, name='embedding'
    )
    x = embedding(parts)
    num_steps = depth or self.adaptive.max_steps
    if self.executor is None or self.is_initializing():
      after, (x, usage) = self._scan(before, x, num_steps)
    else:
      params = self.get_variable('params', 'segment')
      after, (x, usage) = self.executor(self, params, before, x, num_steps)
    logits = self.read_out()(select(x), embedding.table())
    return before, after, logits, usage

  def _scan(self, before, x, num_steps):
    module, arguments = self.segment()
    return nn.scan(
      module,
      variable_broadcast='params',
      variable_axes=hooks.AXES,
      split_rngs={'params': False},
      unroll=min(self.unroll_segments, len(x)),
    )(*arguments, num_steps, name='segment')(
      before, (x, np.asarray(windows.cuts(len(x), self.truncate)))
    )


@dataclasses.dataclass(frozen=True)
class Segments(settings.Settings):
  """Segmentation of a sequence; part of `config.model.memory`."""

  segment_states: int = settings.field(
    2, 'rows (tokens, for tasks without rows) in a segment', least=1
  )
  repeat_states: int = settings.field(1, 'rows by which segments overlap')
  truncate: int = settings.field(
    0, 'segments per truncated backpropagation through the memory; 0 for all'
  )
  unroll: int = settings.field(
    0, 'segments unrolled in the scan over segments; 0 by platform'
  )

  def __post_init__(self):
    super().__post_init__()
    if self.repeat_states >= self.segment_states:
      settings.complain(
        'repeat_states', self.repeat_states,
        f'must be below segment_states={self.segment_states}',
      )  # fmt: skip

  def for_task(self, task: Any) -> dict[str, int]:
    """Length, stride, truncation and unrolling, in tokens, for `SegmentModel`.

    Raises:
      UsageError: if segments do not divide the task's sequences.
    """
    shown, repeated = self.segment_states, self.repeat_states
    for tokens in (task.length, task.held_out_length):
      rest = tokens - shown * task.row_tokens
      if rest < 0 or rest % ((shown - repeated) * task.row_tokens):
        settings.complain(
          'memory.segment_states', shown,
          f'with memory.repeat_states={repeated} segments do not divide a '
          f'sequence of {tokens / task.row_tokens:g} states (the answer is one '
          'of them)',
        )  # fmt: skip
    count = (task.length // task.row_tokens - repeated) // (shown - repeated)
    return {
      'segment_length': shown * task.row_tokens,
      'stride': (shown - repeated) * task.row_tokens,
      'truncate': self.truncate,
      'unroll_segments': layers.scan_unroll(self.unroll, count),
    }
