"""Parts of a transformer: norm, dense layer, MLP, block.

Tokens are flattened to rows [B * L, D] around every matrix product, and the
gradients of norm, GELU and dense layer are written by hand, in the form that
XLA on CPU runs fastest; `python -m reasoning_depth.bench train_step` times it.
"""

import dataclasses
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from reasoning_depth.models import attention

POSITIONS = ('rotary', 'lattice', 'learned', 'none')
REMAT = ('none', 'full', 'dots')
DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}
EMBED_STD = (
  0.02  # of token embeddings, positions and memory tokens at the start
)
NORM_EPSILON = 1e-5


@dataclasses.dataclass(frozen=True)
class Backbone:
  """Shape and execution of a stack of transformer blocks.

  Attributes:
    num_layers: blocks.
    width: D, a multiple of num_heads.
    num_heads: H.
    mlp_width: hidden units of the MLP.
    positions: 'rotary' (by place in the sequence), 'lattice' (rotary by column
      and row of a circular lattice), 'learned' (added to the embedding) or
      'none'.
    rotary_fraction: part of the head width that rotary positions turn.
    row: tokens in a row of the lattice, a state and its separator.
    parallel_residual: attention and MLP read the same input (GPT-NeoX).
    dtype: compute type; parameters and logits stay float32.
    remat: what the backward pass recomputes: 'none', 'full' (each block), or
      'dots' (all but matrix products).
    attention: 'xla' or 'cudnn' (flash attention on NVIDIA GPUs, bfloat16).
    unroll: blocks per iteration of the scan over layers.
  """

  num_layers: int
  width: int
  num_heads: int
  mlp_width: int
  positions: str = 'rotary'
  rotary_fraction: float = 0.25
  row: int = 0
  parallel_residual: bool = True
  dtype: Any = jnp.float32
  remat: str = 'none'
  attention: str = 'xla'
  unroll: int = 1


@jax.custom_vjp
def layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
  """Layer norm over the last axis of x [N, D]; statistics in float32."""
  return _norm_forward(x, scale, bias)[0]


def _norm_forward(x, scale, bias):
  wide = x.astype(scale.dtype)
  mean = wide.mean(-1, keepdims=True)
  centred = wide - mean
  variance = jnp.square(centred).mean(-1, keepdims=True)
  inverse = jax.lax.rsqrt(variance + NORM_EPSILON)
  y = (centred * inverse * scale + bias).astype(x.dtype)
  return y, (x, mean, inverse, scale)


def _norm_backward(saved, grad):
  x, mean, inverse, scale = saved
  normal = (x.astype(scale.dtype) - mean) * inverse
  grad = grad.astype(scale.dtype)
  dnormal = grad * scale
  along = (dnormal * normal).mean(-1, keepdims=True)
  dx = inverse * (dnormal - dnormal.mean(-1, keepdims=True) - normal * along)
  return dx.astype(x.dtype), (grad * normal).sum(0), grad.sum(0)


layer_norm.defvjp(_norm_forward, _norm_backward)


@jax.custom_vjp
def gelu(x: jax.Array) -> jax.Array:
  """Exact GELU, x·Φ(x), by erf, which XLA on CPU runs faster than erfc."""
  return 0.5 * x * (1 + jax.lax.erf(x * math.sqrt(0.5)))


def _gelu_backward(x, grad):
  cdf = 0.5 * (1 + jax.lax.erf(x * math.sqrt(0.5)))
  pdf = math.sqrt(0.5 / math.pi) * jnp.exp(-0.5 * x * x)
  return (grad * (cdf + x * pdf),)


gelu.defvjp(lambda x: (gelu(x), x), _gelu_backward)


@jax.custom_vjp
def matmul(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """[N, D] @ [D, E]."""
  return x @ kernel


def _matmul_backward(saved, grad):
  x, kernel = saved
  if kernel.shape[0] > kernel.shape[1]:
    # The narrow side first: faster in XLA's CPU products.
    dkernel = jnp.einsum('nm,nk->mk', grad, x)
    dkernel = jax.lax.optimization_barrier(dkernel).T
  else:
    dkernel = jnp.einsum('nk,nm->km', x, grad)
  return grad @ kernel.T, dkernel


matmul.defvjp(lambda x, kernel: (x @ kernel, (x, kernel)), _matmul_backward)


class Norm(nn.Module):
  """Layer norm with float32 parameters."""

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """[N, D] to [N, D] in the dtype of x."""
    scale = self.param('scale', nn.initializers.ones, x.shape[-1:])
    bias = self.param('bias', nn.initializers.zeros, x.shape[-1:])
    return layer_norm(x, scale, bias)


class Dense(nn.Module):
  """Dense layer on rows, with float32 parameters.

  Attributes:
    width: output units.
    use_bias: whether to add a bias.
  """

  width: int
  use_bias: bool = True

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """[N, D] to [N, width], computed in the dtype of x."""
    shape = (x.shape[-1], self.width)
    kernel = self.param('kernel', nn.initializers.lecun_normal(), shape)
    y = matmul(x, kernel.astype(x.dtype))
    if self.use_bias:
      bias = self.param('bias', nn.initializers.zeros, (self.width,))
      y = (y + bias).astype(x.dtype)
    return y


class Block(nn.Module):
  """Pre-norm transformer block.

  Attributes:
    config: shape of the block.
    causal: whether attention sees earlier tokens only.
  """

  config: Backbone
  causal: bool

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Hidden states [B, L, D] to the same."""
    B, L, D = x.shape
    x = x.reshape(B * L, D)
    mixed = self._attention(Norm(name='attention_norm')(x), B)
    if self.config.parallel_residual:
      x = x + mixed + self._mlp(Norm(name='mlp_norm')(x))
    else:
      x = x + mixed
      x = x + self._mlp(Norm(name='mlp_norm')(x))
    return x.reshape(B, L, D)

  def _attention(self, x, batch_size):
    c = self.config
    qkv = Dense(3 * c.width, name='qkv')(x)
    q, k, v = attention.split_heads(qkv, batch_size, c.num_heads)
    pairs = int(c.width // c.num_heads * c.rotary_fraction) // 2
    if c.positions == 'rotary' and pairs:
      angles = attention.sequence_angles(q.shape[2], pairs)
      q, k = (attention.rotary(t, angles) for t in (q, k))
    elif c.positions == 'lattice' and pairs:
      angles = attention.lattice_angles(q.shape[2], pairs, c.row)
      q, k = (attention.rotary(t, angles) for t in (q, k))
    mixed = attention.attend(q, k, v, self.causal, c.attention)
    mixed = jnp.swapaxes(mixed, 1, 2).reshape(-1, c.width)
    return Dense(c.width, name='attention_out')(mixed)

  def _mlp(self, x):
    hidden = gelu(Dense(self.config.mlp_width, name='mlp_in')(x))
    return Dense(self.config.width, name='mlp_out')(hidden)


def remat(body: Any, policy: str) -> Any:
  """Wraps a scanned module class in rematerialisation, by policy name."""
  if policy == 'none':
    return body
  chosen = {
    'full': None,
    'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
  }[policy]
  return nn.remat(body, prevent_cse=False, policy=chosen)
