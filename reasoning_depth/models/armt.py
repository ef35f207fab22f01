"""Associative Recurrent Memory Transformer (2407.04841).

The sequence is read in segments. Each layer has an associative memory of its
own: it adds what the memory holds to the hidden states, runs a transformer
block, and stores what the block made of M memory tokens at the segment's end.
Only the memories go from segment to segment, so that cell (layer, segment)
depends on (layer - 1, segment) and (layer, segment - 1) alone.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth.models import base, layers, memory, transformer


class AssociativeLayer(nn.Module):
  """Reads the layer's memory, applies a block, writes the memory.

  Attributes:
    config: shape of the block.
    memory: choices of the associative memory.
    causal: whether attention sees earlier tokens of the segment only.
  """

  config: layers.Backbone
  memory: memory.MemoryConfig
  causal: bool

  @nn.compact
  def __call__(
    self, x: jax.Array, state: memory.Memory
  ) -> tuple[jax.Array, memory.Memory]:
    """Hidden states [B, L + M, D] and memory to the same, one segment on."""
    weights = self._projections(x.shape[-1])
    x = x + memory.read(self.memory, weights, state, x)
    x = layers.Block(self.config, self.causal, name='block')(x)
    tokens = x[:, -self.memory.num_tokens :]
    return x, memory.write(self.memory, weights, state, tokens)

  def _projections(self, width: int) -> memory.Projections:
    c = self.memory
    normal = nn.initializers.lecun_normal()
    zeros = nn.initializers.zeros
    strengths = width if c.gating else c.num_heads
    return memory.Projections(
      query=self.param('query', normal, (width, c.key_width)),
      key=self.param('key', normal, (width, c.key_width)),
      value=self.param('value', zeros, (width, width)),
      strength=self.param('strength', normal, (width, strengths)),
      strength_bias=self.param('strength_bias', zeros, (strengths,)),
    )


class Segment(nn.Module):
  """All layers over one segment; the body of the scan over segments."""

  config: layers.Backbone
  memory: memory.MemoryConfig
  causal: bool

  @nn.compact
  def __call__(
    self, states: memory.Memory, segment: tuple[jax.Array, jax.Array]
  ) -> tuple[memory.Memory, jax.Array]:
    """Reads a segment.

    Args:
      states: memories of all layers, stacked along axis 0.
      segment: hidden states [B, L, D] and a boolean: whether the gradient of
        the memory stops here.

    Returns:
      the new memories and the hidden states [B, L, D].
    """
    c = self.config
    x, cut = segment
    B, L, D = x.shape
    states = jax.tree.map(
      lambda s: jnp.where(cut, jax.lax.stop_gradient(s), s), states
    )
    tokens = self.param(
      'memory_tokens',
      nn.initializers.normal(layers.EMBED_STD),
      (self.memory.num_tokens, D),
    )
    tokens = jnp.broadcast_to(tokens.astype(x.dtype), (B, *tokens.shape))
    x = jnp.concatenate([x, tokens], axis=1)
    x, states = nn.scan(
      layers.remat(AssociativeLayer, c.remat),
      variable_axes={'params': 0},
      split_rngs={'params': True},
      length=c.num_layers,
      unroll=c.unroll,
    )(c, self.memory, self.causal, name='layers')(x, states)
    return states, x[:, :L]


class ARMT(nn.Module):
  """Embedding, scan over segments, final norm, read-out.

  Attributes:
    config: shape of the stack of blocks.
    memory: choices of the associative memory.
    vocab_size: V.
    causal: whether attention sees earlier tokens of the segment only.
    segment_length: tokens in a segment.
    stride: tokens from one segment's start to the next; below segment_length,
      the end of a segment is read again at the start of the next ('repeat
      state'), and a token's logits come from the last segment that adds it.
    truncate: the gradient through the memory covers this many segments,
      counted from the last; 0 for all.
    unroll_segments: segments per iteration of the scan.
  """

  config: layers.Backbone
  memory: memory.MemoryConfig
  vocab_size: int
  causal: bool
  segment_length: int
  stride: int
  truncate: int = 0
  unroll_segments: int = 1

  @nn.compact
  def __call__(
    self,
    tokens: jax.Array,
    *,
    depth: int | None = None,
    deterministic: bool = True,
  ) -> base.Output:
    """int32 [B, L] to logits; `depth` and `deterministic` have no effect.

    Raises:
      ValueError: where the segments do not cover L tokens exactly.
    """
    del depth, deterministic
    c = self.config
    starts = segment_starts(tokens.shape[1], self.segment_length, self.stride)
    windows = starts[:, None] + np.arange(self.segment_length)  # [S, L]
    x = transformer.Embedding(c, self.vocab_size, name='embedding')(
      tokens[:, windows].swapaxes(0, 1)
    )  # [S, B, L, D]
    S, B, L, D = x.shape
    ends = S - np.arange(S)
    cuts = (ends % self.truncate == 0) if self.truncate else np.zeros(S, bool)
    empty = memory.init(self.memory, B, D, jnp.promote_types(x.dtype, 'f4'))
    states = jax.tree.map(lambda s: jnp.stack([s] * c.num_layers), empty)
    _, x = nn.scan(
      Segment,
      variable_broadcast='params',
      split_rngs={'params': False},
      unroll=self.unroll_segments,
    )(c, self.memory, self.causal, name='segment')(states, (x, cuts))
    head = x[0, :, : L - self.stride]
    tail = x[:, :, L - self.stride :].swapaxes(0, 1).reshape(B, -1, D)
    x = jnp.concatenate([head, tail], axis=1)
    logits = transformer.ReadOut(self.vocab_size, name='read_out')(x)
    return base.plain_output(logits)


def segment_starts(length: int, segment: int, stride: int) -> np.ndarray:
  """First token of each segment, int [S].

  Raises:
    ValueError: where segments of this length and stride do not cover the
      sequence exactly.
  """
  if segment > length or (length - segment) % stride:
    raise ValueError(
      f'segments of {segment} tokens every {stride} do not cover a sequence '
      f'of {length} tokens exactly'
    )
  return np.arange(0, length - segment + 1, stride)
