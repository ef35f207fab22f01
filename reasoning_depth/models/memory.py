"""Associative memory of ARMT as pure functions: features, init, read, write.

The memory of one layer is a matrix W from features to values and a normaliser
z (2407.04841, section 3). All schedules of the model use this `read` and
`write`.
"""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp

from reasoning_depth import settings
from reasoning_depth.models import kernels

FEATURES = ('normalised', 'plain')
EPSILON = 1e-5


@dataclasses.dataclass(frozen=True)
class MemoryConfig(settings.Settings):
  """Settings of the associative memory."""

  num_tokens: int = settings.field(
    16, 'M, memory tokens that write at the end of a segment', least=1
  )
  key_width: int = settings.field(
    32, 'd_mem, of keys and queries before the feature map', least=1
  )
  nu: int = settings.field(3, 'ν of the feature map DPFP-ν', least=1)
  num_heads: int = settings.field(
    1, 'heads that keys and values are split into', least=1
  )
  features: str = settings.field(
    'normalised',
    'normalised (divided by their L2 norm, the later public code), or plain '
    '(the code of the paper)',
    choices=FEATURES,
  )
  correction: bool = settings.field(
    True, 'the normaliser grows only by the part of a key not yet stored'
  )
  use_denominator: bool = settings.field(
    True, 'reads are divided by the normaliser'
  )
  equal_start: bool = settings.field(
    False, 'keys start as a copy of the queries, so that what is equal matches'
  )
  gating: bool = settings.field(
    False, 'a write strength per value channel, not per head'
  )


@flax.struct.dataclass
class Memory:
  """Memory of one layer; float32 even if the layers compute in bfloat16.

  Attributes:
    matrix: [B, H, F, Dv], features to values; F = 2·ν·d_mem/H, Dv = D/H.
    normaliser: [B, H, F], z.
  """

  matrix: jax.Array
  normaliser: jax.Array


@flax.struct.dataclass
class Projections:
  """Weights of one associative layer; matrices are [in, out].

  Attributes:
    query: [D, d_mem].
    key: [D, d_mem].
    value: [D, D], zero-init.
    strength: [D, H], or [D, D] with gating.
    strength_bias: [H], or [D] with gating.
  """

  query: jax.Array
  key: jax.Array
  value: jax.Array
  strength: jax.Array
  strength_bias: jax.Array


def init(
  config: MemoryConfig, batch_size: int, width: int, dtype=jnp.float32
) -> Memory:
  """Empty memory for hidden states of width D."""
  H = config.num_heads
  F = 2 * config.nu * config.key_width // H
  return Memory(
    jnp.zeros((batch_size, H, F, width // H), dtype),
    jnp.zeros((batch_size, H, F), dtype),
  )


def features(config: MemoryConfig, x: jax.Array) -> jax.Array:
  """Splits heads and maps keys or queries [B, L, d_mem] to [B, H, L, F]."""
  B, L, _ = x.shape
  x = _at_least_float32(x.reshape(B, L, config.num_heads, -1))
  phi = jnp.moveaxis(kernels.dpfp(x, config.nu), 2, 1)
  if config.features == 'normalised':
    phi = kernels.unit_length(phi)
  return phi


def read(
  config: MemoryConfig, weights: Projections, memory: Memory, x: jax.Array
) -> jax.Array:
  """Reads the memory at each position (2407.04841, eq. 6).

  Args:
    config: settings of the memory.
    weights: projections of this layer.
    memory: its state.
    x: [B, L, D] hidden states.

  Returns:
    [B, L, D] in the dtype of x; zero from an empty memory.
  """
  B, L, D = x.shape
  query = features(config, x @ weights.query.astype(x.dtype))
  out = jnp.einsum('bhlf,bhfv->bhlv', query, memory.matrix)
  if config.use_denominator:
    overlap = jnp.einsum('bhlf,bhf->bhl', query, memory.normaliser)
    out = out / (overlap + EPSILON)[..., None]
  return jnp.moveaxis(out, 1, 2).reshape(B, L, D).astype(x.dtype)


def write(
  config: MemoryConfig, weights: Projections, memory: Memory, tokens: jax.Array
) -> Memory:
  """Stores memory tokens by the delta rule (2407.04841, eq. 3 to 5).

  All tokens are written at once, against the memory before this write.

  Args:
    config: settings of the memory.
    weights: projections of this layer.
    memory: its state.
    tokens: [B, M, D], output of the layer at the memory positions.
  """
  B, M, D = tokens.shape
  H = config.num_heads
  key = features(config, tokens @ weights.key.astype(tokens.dtype))
  value = tokens @ weights.value.astype(tokens.dtype)
  value = _split_heads(_at_least_float32(value), H)  # [B, H, M, Dv]
  strength = tokens @ weights.strength.astype(tokens.dtype)
  strength = jax.nn.sigmoid(_at_least_float32(strength) + weights.strength_bias)
  strength = _split_heads(strength, H)  # [B, H, M, 1 or Dv]

  stored = jnp.einsum('bhmf,bhfv->bhmv', key, memory.matrix)
  normaliser = memory.normaliser
  if config.use_denominator:
    overlap = jnp.einsum('bhmf,bhf->bhm', key, normaliser)
    stored = stored / (overlap + EPSILON)[..., None]
    growth = _growth(config, key, overlap)
    normaliser = normaliser + jnp.einsum('bhm,bhmf->bhf', growth, key)
  change = strength * (value - stored)
  matrix = memory.matrix + jnp.einsum('bhmf,bhmv->bhfv', key, change)
  return Memory(matrix, normaliser)


def _growth(
  config: MemoryConfig, key: jax.Array, overlap: jax.Array
) -> jax.Array:
  """γ [B, H, M]: the share of a key that the normaliser does not hold yet."""
  if not config.correction:
    return jnp.ones_like(overlap)
  length = jnp.sum(key**2, axis=-1)
  if config.features == 'plain':
    length = length + EPSILON
  growth = 1 - (overlap + EPSILON) / jnp.maximum(length, 1e-12)
  # An empty memory holds nothing of any key.
  growth = jnp.where(overlap > 0, jnp.clip(growth, 0, 1), 1.0)
  return jax.lax.stop_gradient(growth)


def _split_heads(x: jax.Array, num_heads: int) -> jax.Array:
  """[B, M, H·d] to [B, H, M, d]."""
  B, M, _ = x.shape
  return jnp.moveaxis(x.reshape(B, M, num_heads, -1), 2, 1)


def _at_least_float32(x: jax.Array) -> jax.Array:
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))
