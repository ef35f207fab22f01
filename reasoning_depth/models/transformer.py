"""A GPT-NeoX-shaped transformer."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from reasoning_depth.models import base, layers


class Embedding(nn.Module):
  """Token embedding, with learned positions where the config has them."""

  config: layers.Backbone
  vocab_size: int

  @nn.compact
  def __call__(self, tokens: jax.Array) -> jax.Array:
    """int32 [..., L] to [..., L, D]."""
    c = self.config
    init = nn.initializers.normal(layers.EMBED_STD)
    x = nn.Embed(self.vocab_size, c.width, embedding_init=init, name='tokens')(
      tokens
    )
    if c.positions == 'learned':
      x = x + self.param('positions', init, (tokens.shape[-1], c.width))
    return x.astype(c.dtype)


class ReadOut(nn.Module):
  """Final norm and projection to logits."""

  vocab_size: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """[B, L, D] to float32 [B, L, V]."""
    B, L, D = x.shape
    x = layers.Norm(name='norm')(x.reshape(B * L, D))
    x = layers.Dense(self.vocab_size, use_bias=False, name='logits')(x)
    return x.reshape(B, L, -1).astype(jnp.float32)


class _Layer(nn.Module):
  """A block in the form that `nn.scan` wants."""

  config: layers.Backbone
  causal: bool

  @nn.compact
  def __call__(self, x, _):
    return layers.Block(self.config, self.causal, name='block')(x), None


class Transformer(nn.Module):
  """Embedding, stack of blocks, final norm, read-out.

  Attributes:
    config: shape of the stack of blocks.
    vocab_size: V.
    causal: whether attention sees earlier tokens only.
  """

  config: layers.Backbone
  vocab_size: int
  causal: bool

  @nn.compact
  def __call__(
    self,
    tokens: jax.Array,
    *,
    depth: int | None = None,
    deterministic: bool = True,
  ) -> base.Output:
    """int32 [B, L] to logits; `depth` and `deterministic` have no effect."""
    del depth, deterministic
    c = self.config
    x = Embedding(c, self.vocab_size, name='embedding')(tokens)
    x, _ = nn.scan(
      layers.remat(_Layer, c.remat),
      variable_axes={'params': 0},
      split_rngs={'params': True},
      length=c.num_layers,
      unroll=c.unroll,
    )(c, self.causal, name='layers')(x, None)
    logits = ReadOut(self.vocab_size, name='read_out')(x)
    return base.plain_output(logits)
