"""Dense layer and norms, on tokens flattened to [N, D]."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from reasoning_depth.models import kernels

NORM_EPSILON = 1e-5


class Norm(nn.Module):
  """Layer norm with float32 parameters.

  Attributes:
    epsilon: added to the variance.
  """

  epsilon: float = NORM_EPSILON

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """[N, D] to [N, D] in the dtype of x."""
    scale = self.param('scale', nn.initializers.ones, x.shape[-1:])
    bias = self.param('bias', nn.initializers.zeros, x.shape[-1:])
    return kernels.layer_norm(x, scale, bias, self.epsilon)


class RMSNorm(nn.Module):
  """Root-mean-square norm (1910.07467) with a float32 scale.

  Attributes:
    epsilon: added to the mean square.
  """

  epsilon: float = NORM_EPSILON

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """[N, D] to [N, D] in the dtype of x."""
    scale = self.param('scale', nn.initializers.ones, x.shape[-1:])
    wide = x.astype(jnp.float32)
    square = jnp.mean(jnp.square(wide), -1, keepdims=True)
    return (wide * jax.lax.rsqrt(square + self.epsilon) * scale).astype(x.dtype)


def make_norm(kind: str, epsilon: float, name: str) -> nn.Module:
  """The norm of a config's `norm` and `norm_epsilon`."""
  return {'layer': Norm, 'rms': RMSNorm}[kind](epsilon, name=name)


class Dense(nn.Module):
  """Dense layer on [N, D], with float32 parameters.

  Attributes:
    width: output units.
    use_bias: whether to add a bias.
    zero: zero-init of the kernel.
  """

  width: int
  use_bias: bool = True
  zero: bool = False

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """[N, D] to [N, width], computed in the dtype of x."""
    shape = (x.shape[-1], self.width)
    init = nn.initializers.lecun_normal()
    if self.zero:
      init = nn.initializers.zeros
    kernel = self.param('kernel', init, shape)
    y = kernels.matmul(x, kernel.astype(x.dtype))
    if self.use_bias:
      bias = self.param('bias', nn.initializers.zeros, (self.width,))
      y = (y + bias).astype(x.dtype)
    return y
