"""Long short-term memory (Hochreiter and Schmidhuber, 1997) as a layer."""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from reasoning_depth import settings
from reasoning_depth.models import dense, halting, layers, transformer


@flax.struct.dataclass
class LSTMState:
  """State between tokens; float32.

  Attributes:
    hidden: [B, D], h.
    cell: [B, D], c.
  """

  hidden: jax.Array
  cell: jax.Array


class LSTMLayer(nn.Module):
  """One LSTM over the sequence, left to right.

  Attributes:
    config: its width; the other fields have no effect.
  """

  config: layers.StackConfig

  @nn.compact
  def __call__(
    self, x: jax.Array, state: LSTMState | None = None
  ) -> tuple[jax.Array, LSTMState | None]:
    """[B, L, D] to the hidden states [B, L, D], and the new state."""
    B, L, D = x.shape
    # The input part of the gates for all tokens at once; the scan adds h's.
    gates = dense.Dense(4 * D, name='input')(x.reshape(B * L, D))
    gates = gates.reshape(B, L, 4 * D).swapaxes(0, 1).astype(jnp.float32)
    kernel = self.param(
      'recurrent', nn.initializers.orthogonal(), (D, 4 * D)
    ).astype(x.dtype)

    def step(state, gate):
      gate = gate + (state.hidden.astype(x.dtype) @ kernel)
      forget, write, read, value = jnp.split(gate, 4, axis=-1)
      # Forget bias 1: at the start a cell forgets about a quarter per step.
      cell = jax.nn.sigmoid(forget + 1) * state.cell
      cell = cell + jax.nn.sigmoid(write) * jnp.tanh(value)
      new = LSTMState(jax.nn.sigmoid(read) * jnp.tanh(cell), cell)
      return new, new.hidden

    first = self.init_state(B, L) if state is None else state
    last, hidden = jax.lax.scan(step, first, gates)
    return hidden.swapaxes(0, 1).astype(x.dtype), state and last

  def init_state(self, batch_size: int, length: int) -> LSTMState:
    """The state before the first token; `length` has no effect."""
    del length
    zeros = jnp.zeros((batch_size, self.config.width), jnp.float32)
    return LSTMState(zeros, zeros)


@dataclasses.dataclass(frozen=True)
class Settings(layers.StackConfig):
  """Settings of `model.name=lstm`."""

  halting: 'halting.Halting' = settings.group(halting.Halting)

  def build(self, task: Any) -> transformer.Transformer:
    """The model for a task."""
    config = self.for_task(task)
    layer = functools.partial(LSTMLayer, config)
    return transformer.Transformer(config, task.vocab_size, layer, self.halting)
