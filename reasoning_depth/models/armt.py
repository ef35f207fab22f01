"""Associative Recurrent Memory Transformer (2407.04841).

The sequence is read in segments. Each layer has an associative memory of its
own: it reads the memory and adds the result to the hidden states, runs a
transformer block, and writes the block's output at M memory tokens, which end
the segment, to the memory. Only the memories pass from segment to segment, so
cell (layer, segment) depends on (layer - 1, segment) and (layer, segment - 1)
alone.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from reasoning_depth import errors, settings
from reasoning_depth.models import halting, hooks, layers, segmented
from reasoning_depth.models import memory as memory_lib


class ReadAndBlock(nn.Module):
  """Adds a read of the memory, then runs a transformer block.

  Attributes:
    config: shape of the block.
    memory: settings of the associative memory.
    causal: whether attention sees earlier tokens of the segment only.
  """

  config: layers.TransformerConfig
  memory: memory_lib.MemoryConfig
  causal: bool

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    weights: memory_lib.Projections,
    state: memory_lib.Memory,
  ) -> tuple[jax.Array, None]:
    """Hidden states [B, L + M, D] to the same."""
    read = memory_lib.read(self.memory, weights, state, x)
    x = x + hooks.hook(self, 'memory_read', read)
    return layers.Block(self.config, self.causal, name='block')(x)


class AssociativeLayer(nn.Module):
  """Reads the layer's memory, applies a block, writes the memory.

  With halting of kind 'layer', read and block repeat; the memory is written
  once, from the blended states.

  Attributes:
    config: shape of the block.
    memory: settings of the associative memory.
    causal: whether attention sees earlier tokens of the segment only.
    adaptive: settings of halting.
    num_steps: maximum number of repetitions.
  """

  config: layers.TransformerConfig
  memory: memory_lib.MemoryConfig
  causal: bool
  adaptive: halting.Halting = halting.Halting()
  num_steps: int = 1

  @nn.compact
  def __call__(
    self, x: jax.Array, state: memory_lib.Memory
  ) -> tuple[jax.Array, tuple[memory_lib.Memory, halting.Usage]]:
    """Hidden states [B, L + M, D] and memory to their new values."""
    weights = self._projections(x.shape[-1])
    body = functools.partial(
      ReadAndBlock, self.config, self.memory, self.causal
    )
    if self.adaptive.kind == 'layer':
      x, _, usage = halting.Adaptive(
        body, self.adaptive, self.num_steps, name='adaptive'
      )(x, None, weights, state)
    else:
      x, _ = body(name='step')(x, weights, state)
      usage = halting.single_pass(x.shape[:2])
    x = hooks.hook(self, 'residual', x)
    tokens = x[:, -self.memory.num_tokens :]
    state = memory_lib.write(self.memory, weights, state, tokens)
    return x, (hooks.hook(self, 'memory', state), usage)

  def _projections(self, width: int) -> memory_lib.Projections:
    c = self.memory
    normal = nn.initializers.lecun_normal()
    zeros = nn.initializers.zeros
    strengths = width if c.gating else c.num_heads
    query = self.param('query', normal, (width, c.key_width))
    key_init = (lambda *_: query) if c.equal_start else normal
    return memory_lib.Projections(
      query=query,
      key=self.param('key', key_init, (width, c.key_width)),
      value=self.param('value', zeros, (width, width)),
      strength=self.param('strength', normal, (width, strengths)),
      strength_bias=self.param('strength_bias', zeros, (strengths,)),
    )


class MemoryStack(nn.Module):
  """All layers over one segment.

  With halting of kind 'model', each repetition of the stack reads the memory as
  it was before the segment. A sample keeps the writes of the last repetition
  that began before all its positions, memory tokens included, had halted. So
  its memory does not depend on the other samples of the batch.

  Attributes:
    config: shape of the stack of blocks.
    memory: settings of the associative memory.
    causal: whether attention sees earlier tokens of the segment only.
    adaptive: settings of halting.
    num_steps: maximum number of repetitions.
  """

  config: layers.TransformerConfig
  memory: memory_lib.MemoryConfig
  causal: bool
  adaptive: halting.Halting = halting.Halting()
  num_steps: int = 1

  @nn.compact
  def __call__(
    self, x: jax.Array, states: memory_lib.Memory
  ) -> tuple[jax.Array, tuple[memory_lib.Memory, halting.Usage]]:
    """Hidden states [B, L + M, D] and stacked memories to the same."""
    c = self.config
    if self.adaptive.kind == 'model':
      body = functools.partial(_Whole, c, self.memory, self.causal)
      x, states, usage = halting.Adaptive(
        body, self.adaptive, self.num_steps, name='adaptive'
      )(x, states, states)
      return x, (states, usage)
    x, (states, usage) = nn.scan(
      layers.remat(AssociativeLayer, c.remat),
      variable_axes={'params': 0, **hooks.AXES},
      split_rngs={'params': True},
      length=c.num_layers,
      unroll=max(c.unroll, 1),
    )(
      c, self.memory, self.causal, self.adaptive, self.num_steps, name='layers'
    )(x, states)
    return x, (states, halting.average(usage))


class _Whole(nn.Module):
  """A stack as the body of `halting.Adaptive`."""

  config: layers.TransformerConfig
  memory: memory_lib.MemoryConfig
  causal: bool

  @nn.compact
  def __call__(self, x, states):
    stack = MemoryStack(self.config, self.memory, self.causal, name='stack')
    x, (states, _) = stack(x, states)
    return x, states


class Segment(nn.Module):
  """A segment with its memory tokens; the body of the scan over segments.

  Attributes: as of `MemoryStack`.
  """

  config: layers.TransformerConfig
  memory: memory_lib.MemoryConfig
  causal: bool
  adaptive: halting.Halting = halting.Halting()
  num_steps: int = 1

  @nn.compact
  def __call__(
    self, states: memory_lib.Memory, segment: tuple[jax.Array, jax.Array]
  ) -> tuple[memory_lib.Memory, tuple[jax.Array, halting.Usage]]:
    """Reads a segment.

    Args:
      states: memories of all layers, stacked along axis 0.
      segment: hidden states [B, L, D] and a boolean, whether to stop the
        gradient through `states`.

    Returns:
      the new memories, the hidden states [B, L, D] and the usage.
    """
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
    x = hooks.hook(self, 'input', x)
    x, (states, usage) = MemoryStack(
      self.config, self.memory, self.causal, self.adaptive, self.num_steps,
      name='stack',
    )(x, states)  # fmt: skip
    usage = halting.of_tokens(self.adaptive, usage, slice(L))
    return states, (x[:, :L], usage)


class ARMT(segmented.SegmentModel, kw_only=True):
  """Associative recurrent memory transformer; see `segmented.SegmentModel`.

  Attributes:
    memory: settings of the associative memory.
    causal: whether attention sees earlier tokens of the segment only.
    schedule: as of `base.Model`; see `longcontext.schedule`.
  """

  memory: memory_lib.MemoryConfig
  causal: bool
  schedule: str = 'scan'

  def segment(self) -> tuple[type[nn.Module], tuple[Any, ...]]:
    """See `segmented.SegmentModel`."""
    return Segment, (self.config, self.memory, self.causal, self.adaptive)

  def first_memory(self, batch_size: int) -> memory_lib.Memory:
    """Empty memories of all layers, stacked along axis 0."""
    c = self.config
    dtype = jnp.promote_types(c.dtype, jnp.float32)
    empty = memory_lib.init(self.memory, batch_size, c.width, dtype)
    return jax.tree.map(lambda s: jnp.stack([s] * c.num_layers), empty)

  def diagonal_cell(self, num_steps: int) -> Callable[..., Any]:
    """See `base.Model`."""
    if self.adaptive.kind == 'model':
      raise errors.UsageError(
        'not with halting.kind=model, which repeats all layers on one segment '
        'before the memory goes on; halting.kind=layer can be'
      )
    layer = layers.remat(AssociativeLayer, self.config.remat)(
      self.config, self.memory, self.causal, self.adaptive, num_steps,
      parent=None,
    )  # fmt: skip

    def cell(params, x, memory):
      x, (memory, usage) = layer.apply({'params': params}, x, memory)
      return x, memory, usage

    return cell


SCHEDULES = ('scan', 'diagonal', 'auto')


@dataclasses.dataclass(frozen=True)
class Memory(memory_lib.MemoryConfig, segmented.Segments):
  """Settings of `config.model.memory`."""

  schedule: str = settings.field(
    'scan',
    'order of layers and segments: one segment after another (scan), all cells '
    'of a diagonal in parallel (2506.05229), or the faster by timing (auto)',
    choices=SCHEDULES,
  )

  def __post_init__(self):
    super().__post_init__()
    if self.key_width % self.num_heads:
      settings.complain(
        'key_width', self.key_width,
        f'must be a multiple of num_heads={self.num_heads}',
      )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Settings(layers.TransformerConfig):
  """Settings of `model.name=armt`."""

  memory: Memory = settings.group(Memory)
  halting: 'halting.Halting' = settings.group(halting.Halting)

  def __post_init__(self):
    super().__post_init__()
    if self.width % self.memory.num_heads:
      settings.complain(
        'width', self.width,
        f'must be a multiple of memory.num_heads={self.memory.num_heads}',
      )  # fmt: skip

  def build(self, task: Any) -> ARMT:
    """The model for a task."""
    return ARMT(
      config=self.for_task(task, whole=False).with_memory(
        0, self.memory.num_tokens
      ),
      memory=self.memory,
      vocab_size=task.vocab_size,
      causal=task.causal,
      adaptive=self.halting,
      schedule=self.memory.schedule,
      **self.memory.for_task(task),
    )
