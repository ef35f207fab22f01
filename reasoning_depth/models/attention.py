"""Positions and softmax attention, without and with a key-value cache."""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth import settings
from reasoning_depth.models import kernels

IMPLEMENTATIONS = ('xla', 'cudnn')
SCALINGS = ('none', 'linear', 'llama3')


@dataclasses.dataclass(frozen=True)
class Rotary(settings.Settings):
  """Frequencies of rotary positions.

  Scalings: 'linear' divides all frequencies by the factor (2306.15595),
  'llama3' only those of long wavelengths, as in Llama 3.1 (2407.21783, 3.1).
  """

  base: float = settings.field(
    10_000.0, 'ratio of highest to lowest frequency, about', above=1
  )
  scaling: str = settings.field(
    'none', 'of frequencies, for longer contexts', choices=SCALINGS
  )
  factor: float = settings.field(1.0, 'divisor of scaled frequencies', least=1)
  low: float = settings.field(
    1.0, 'llama3: wavelengths above length/low take the whole factor', above=0
  )
  high: float = settings.field(
    4.0, 'llama3: wavelengths below length/high are unscaled', above=0
  )
  length: int = settings.field(
    8192, 'llama3: context length before scaling, tokens', least=1
  )

  def __post_init__(self):
    super().__post_init__()
    if self.low >= self.high:
      settings.complain('low', self.low, f'must be below high={self.high}')

  def frequencies(self, pairs: int) -> np.ndarray:
    """Rotation angle per token of each pair of features, [pairs]."""
    frequency = float(self.base) ** (-np.arange(pairs) / pairs)
    if self.scaling == 'none':
      return frequency
    kept = 0.0
    if self.scaling == 'llama3':
      waves = self.length * frequency / (2 * np.pi)
      kept = np.clip((waves - self.low) / (self.high - self.low), 0, 1)
    return frequency * (kept + (1 - kept) / self.factor)


def sequence_angles(
  length: int, pairs: int, rotary: Rotary = Rotary()
) -> np.ndarray:
  """Angles of rotary positions (2104.09864, eq. 15), [L, pairs]."""
  return np.arange(length)[:, None] * rotary.frequencies(pairs)


def lattice_angles(length: int, pairs: int, row: int) -> np.ndarray:
  """Angles of positions on a circular lattice, [L, pairs].

  The sequence consists of rows of one separator and row - 1 cells. The angles
  of half of the pairs grow with the column, by a multiple of 2π over the cells,
  so that the first cell is the right neighbour of the last; the other pairs'
  with the row.
  """
  column, line = np.arange(length) % row, np.arange(length) // row
  along = np.arange(1, pairs - pairs // 2 + 1)
  down = 2.0 ** (1 - np.arange(pairs // 2))
  return np.concatenate(
    [column[:, None] * along * (2 * np.pi / (row - 1)), line[:, None] * down],
    axis=1,
  )


def attend(
  q: jax.Array,
  k: jax.Array,
  v: jax.Array,
  causal: bool,
  implementation: str,
  bias: jax.Array | None = None,
) -> jax.Array:
  """Softmax attention, scores scaled by 1/√(D/H).

  Args:
    q: [B, H, L, D/H].
    k: [B, G, K, D/H]; each of the G heads serves H/G query heads
      (grouped-query attention, 2305.13245). K is L if causal.
    v: as k.
    causal: whether a position sees only itself and those before it.
    implementation: 'xla', or 'cudnn' (NVIDIA GPUs, bfloat16).
    bias: [H, L, K] added to the scaled scores, or None.

  Returns:
    as q.
  """
  if implementation == 'cudnn':
    q, k, v = (jnp.swapaxes(x, 1, 2) for x in (q, k, v))
    out = jax.nn.dot_product_attention(
      q, k, v, None if bias is None else bias[None].astype(q.dtype),
      is_causal=causal, implementation='cudnn',
    )  # fmt: skip
    return jnp.swapaxes(out, 1, 2)
  k, v = _for_each_query_head(q, k, v)
  return kernels.attend(q, k, v, bias, causal)


def _for_each_query_head(q, k, v):
  """Keys and values [B, H, K, D/H] of grouped ones [B, G, K, D/H]."""
  if k.shape[1] == q.shape[1]:
    return k, v
  return (jnp.repeat(t, q.shape[1] // t.shape[1], axis=1) for t in (k, v))


def attend_near(
  q: jax.Array,
  k: jax.Array,
  v: jax.Array,
  bias: jax.Array,
  stride: int | jax.Array = 1,
) -> jax.Array:
  """Softmax attention to the token itself and a few before it.

  A token sees those at 0, 1, …, n - 1 strides before it, so that time and
  memory are linear in L. Keys and values before the first token are zeros, as
  in a causal convolution: so a token knows where there is nothing before it.

  Args:
    q: [B, H, L, D/H].
    k: [B, G, L, D/H]; see `attend`.
    v: as k.
    bias: [H, n] added to the scaled scores, by strides.
    stride: tokens.

  Returns:
    as q.
  """
  k, v = _for_each_query_head(q, k, v)
  here = jnp.arange(q.shape[2])[:, None]

  def before(x, n):
    shifted = jnp.roll(x, n * stride, axis=2)
    return jnp.where(here >= n * stride, shifted, 0)

  count = bias.shape[-1]
  keys, values = (
    jnp.stack([before(x, n) for n in range(count)], 3) for x in (k, v)
  )
  scores = jnp.einsum(
    'bhld,bhlnd->bhln', q * q.shape[-1] ** -0.5, keys,
    preferred_element_type=jnp.promote_types(q.dtype, jnp.float32),
  )  # fmt: skip
  weights = jax.nn.softmax(scores + bias[:, None]).astype(v.dtype)
  return jnp.einsum('bhln,bhlnd->bhld', weights, values)


@flax.struct.dataclass
class Cache:
  """Key-value cache, to decode step by step.

  Attributes:
    keys: [B, G, length, D/H], with rotary positions applied.
    values: as keys.
    position: int32, number of tokens in the cache.
  """

  keys: jax.Array
  values: jax.Array
  position: jax.Array


def empty_cache(shape: tuple[int, int, int, int], dtype) -> Cache:
  """Cache of [B, G, length, D/H]."""
  zeros = jnp.zeros(shape, dtype)
  return Cache(zeros, zeros, jnp.zeros((), jnp.int32))


def attend_cached(
  q: jax.Array,
  k: jax.Array,
  v: jax.Array,
  angles: np.ndarray | None,
  bias: jax.Array | None,
  cache: Cache,
) -> tuple[jax.Array, Cache]:
  """Causal attention of new tokens to the cache and to each other.

  Args:
    q: [B, H, n, D/H] queries of the n new tokens, before rotary positions.
    k: [B, G, n, D/H] their keys.
    v: their values.
    angles: [length, pairs] of the whole sequence, or None.
    bias: [H, length, length] of the whole sequence, or None.
    cache: the tokens before them; the new ones must fit.

  Returns:
    [B, H, n, D/H] and the cache with the new tokens.
  """
  B, H, n, width = q.shape
  G, length = cache.keys.shape[1:3]
  at = cache.position
  if angles is not None:
    here = jax.lax.dynamic_slice_in_dim(jnp.asarray(angles, jnp.float32), at, n)
    q, k = kernels.rotary(q, here), kernels.rotary(k, here)
  keys = jax.lax.dynamic_update_slice_in_dim(cache.keys, k, at, 2)
  values = jax.lax.dynamic_update_slice_in_dim(cache.values, v, at, 2)
  # The query heads of a group become more tokens of one head.
  q = q.reshape(B, G, -1, width)
  scores = jnp.einsum(
    'bgqd,bgkd->bgqk', q * width**-0.5, keys,
    preferred_element_type=jnp.promote_types(q.dtype, jnp.float32),
  ).reshape(B, H, n, length)  # fmt: skip
  if bias is not None:
    scores = scores + jax.lax.dynamic_slice_in_dim(bias, at, n, 1)
  seen = jnp.arange(length) <= at + jnp.arange(n)[:, None]
  weights = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf)).astype(v.dtype)
  weights = weights.reshape(B, G, -1, length)
  out = jnp.einsum('bgqk,bgkd->bgqd', weights, values).reshape(B, H, n, width)
  return out, Cache(keys, values, at + n)
