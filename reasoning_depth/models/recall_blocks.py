"""The looped core of recall, and what it reads of the encoded states."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from reasoning_depth.models import attention, dense, hooks, layers


class Core(layers.Block):
  """A block that also attends to the encoded states."""

  @nn.compact
  def __call__(
    self, x: jax.Array, encoded: tuple[jax.Array, jax.Array]
  ) -> tuple[jax.Array, None]:
    """Hidden states [B, W, D] to the same.

    Args:
      x: of the cells of the current state.
      encoded: keys and values from `Encoded`.
    """
    c = self.config
    B, W, D = x.shape
    x = x.reshape(B * W, D)
    mixed, _ = self._attention(self._norm('attention_norm', x), B, None)
    x = x + hooks.hook(self, 'attention', mixed, B)
    q = dense.Dense(c.width, c.bias, name='query')(self._norm('query_norm', x))
    q = jnp.swapaxes(q.reshape(B, W, c.num_heads, -1), 1, 2)
    read = attention.attend(q, *encoded, False, 'xla')
    read = jnp.swapaxes(read, 1, 2).reshape(B * W, D)
    read = dense.Dense(c.width, c.bias, name='recall_out')(read)
    x = x + hooks.hook(self, 'memory_read', read, B)
    update = self._mlp(self._norm('mlp_norm', x))
    x = x + hooks.hook(self, 'mlp', update, B)
    return hooks.hook(self, 'residual', x.reshape(B, W, D)), None


class Encoded(nn.Module):
  """Keys and values of the encoded states for one block of the core."""

  config: layers.TransformerConfig

  @nn.compact
  def __call__(self, e: jax.Array, _) -> tuple[jax.Array, tuple]:
    """[B, N, D], the same and keys and values [B, H, N, D/H]."""
    c = self.config
    B, N, D = e.shape
    x = dense.make_norm(c.norm, c.norm_epsilon, 'norm')(e.reshape(B * N, D))
    k, v = (
      dense.Dense(c.width, c.bias, name=name)(x) for name in ('key', 'value')
    )
    heads = (
      jnp.swapaxes(t.reshape(B, N, c.num_heads, -1), 1, 2) for t in (k, v)
    )
    return e, tuple(heads)


class Blocks(nn.Module):
  """A module scanned over the blocks of the core.

  Attributes:
    module: its class; maps (x, input) to (x, output).
    config: shape of a block, and their number.
    arguments: further ones of the module.
  """

  module: Any
  config: layers.TransformerConfig
  arguments: tuple[Any, ...] = ()

  @nn.compact
  def __call__(self, x: jax.Array, inputs: Any) -> tuple[jax.Array, Any]:
    """[B, N, D], inputs [B, blocks, ...] to the same and such outputs."""
    return nn.scan(
      self.module,
      variable_axes={'params': 0, **hooks.AXES},
      split_rngs={'params': True},
      in_axes=1,
      out_axes=1,
      length=self.config.num_layers,
      unroll=max(self.config.unroll, 1),
    )(self.config, *self.arguments, name='layers')(x, inputs)
