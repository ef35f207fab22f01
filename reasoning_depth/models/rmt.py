"""Recurrent Memory Transformer (2207.06881).

Each segment is read with memory tokens in front of and behind it. Those in
front carry the memory of earlier segments; the outputs at those behind are the
memory of the next segment.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from reasoning_depth import settings
from reasoning_depth.models import (
  dense,
  halting,
  hooks,
  layers,
  segmented,
  transformer,
)


class Segment(nn.Module):
  """All layers over one segment; the body of the scan over segments.

  Attributes:
    config: shape of the stack.
    layer: makes a layer, by name.
    adaptive: settings of halting.
    num_tokens: M, memory tokens at each end.
    num_steps: maximum number of repetitions.
  """

  config: layers.TransformerConfig
  layer: Callable[..., nn.Module]
  adaptive: halting.Halting
  num_tokens: int
  num_steps: int = 1

  @nn.compact
  def __call__(
    self, memory: jax.Array, segment: tuple[jax.Array, jax.Array]
  ) -> tuple[jax.Array, tuple[jax.Array, halting.Usage]]:
    """Reads a segment.

    Args:
      memory: [B, M, D].
      segment: hidden states [B, L, D] and a boolean, whether to stop the
        gradient through `memory`.

    Returns:
      the new memory, the normalised hidden states [B, L, D] and the usage.
    """
    x, cut = segment
    M, (B, L, D) = self.num_tokens, x.shape
    memory = jnp.where(cut, jax.lax.stop_gradient(memory), memory)
    x = jnp.concatenate([memory, x, memory], axis=1)
    x = hooks.hook(self, 'input', x)
    x, _, usage = transformer.Stack(
      self.config, self.layer, self.adaptive, name='stack'
    )(x, None, self.num_steps)
    c = self.config
    norm = dense.make_norm(c.norm, c.norm_epsilon, 'norm')
    x = norm(x.reshape(-1, D)).reshape(B, L + 2 * M, D)
    usage = halting.of_tokens(self.adaptive, usage, slice(M, -M))
    return x[:, -M:], (x[:, M:-M], usage)


class RMT(segmented.SegmentModel, kw_only=True):
  """Recurrent memory transformer; see `segmented.SegmentModel`.

  Attributes:
    layer: makes a layer, by name.
    num_tokens: M, memory tokens at each end of a segment.
  """

  layer: Callable[..., nn.Module]
  num_tokens: int

  def segment(self) -> tuple[type[nn.Module], tuple[Any, ...]]:
    """See `segmented.SegmentModel`."""
    return Segment, (self.config, self.layer, self.adaptive, self.num_tokens)

  def first_memory(self, batch_size: int) -> jax.Array:
    """The learned memory tokens, [B, M, D]."""
    init = nn.initializers.normal(layers.EMBED_STD)
    shape = (self.num_tokens, self.config.width)
    memory = self.param('memory_tokens', init, shape)
    return jnp.broadcast_to(
      memory.astype(self.config.dtype), (batch_size, *shape)
    )

  def own_tokens(self, positions: int) -> slice:
    """See `base.Model`; memory tokens stand at both ends of a segment."""
    del positions
    return slice(self.num_tokens, self.num_tokens + self.segment_length)

  def lens_read_out(self, params: Any, x: jax.Array) -> jax.Array:
    """See `base.Model`; the norm is the segment's."""
    norm = {'norm': params['segment']['norm']}
    weights = params | {'read_out': params['read_out'] | norm}
    return super().lens_read_out(weights, x)

  def read_out(self) -> nn.Module:
    """Projection alone: `Segment` has applied the norm."""
    return transformer.ReadOut(self.vocab_size, 'none', name='read_out')


@dataclasses.dataclass(frozen=True)
class Memory(segmented.Segments):
  """Settings of `config.model.memory`."""

  num_tokens: int = settings.field(
    16, 'M, memory tokens at each end of a segment', least=1
  )


@dataclasses.dataclass(frozen=True)
class Settings(layers.TransformerConfig):
  """Settings of `model.name=rmt`."""

  memory: Memory = settings.group(Memory)
  halting: 'halting.Halting' = settings.group(halting.Halting)

  def build(self, task: Any) -> RMT:
    """The model for a task."""
    M = self.memory.num_tokens
    config = self.for_task(task, whole=False).with_memory(M, M)
    return RMT(
      config=config,
      vocab_size=task.vocab_size,
      layer=functools.partial(layers.Block, config, task.causal),
      num_tokens=M,
      adaptive=self.halting,
      **self.memory.for_task(task),
    )
