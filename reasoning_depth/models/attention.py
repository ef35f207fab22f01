"""Rotary positions and softmax attention.

The 'xla' form is written for XLA on CPU, and accelerators do not mind: its
gradient is by hand (no pass over the scores that is not needed), softmax is
normalised after the product with the values, and under a causal mask queries
go in blocks, each against the keys up to its own end alone.
"""

import dataclasses
import functools

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth import settings

IMPLEMENTATIONS = ('xla', 'cudnn')
SCALINGS = ('none', 'linear', 'llama3')
QUERY_BLOCK = 77  # rows; 231 tokens make three blocks
_MASKED = -1e30  # finite, so that maximum and exponential stay defined


@dataclasses.dataclass(frozen=True)
class Rotary(settings.Settings):
  """How fast rotary positions turn.

  Scalings: 'linear' lets all frequencies fall by the factor (2306.15595),
  'llama3' only those of long waves, as in Llama 3.1 (2407.21783, 3.1).
  """

  base: float = settings.field(
    10_000.0, 'the slowest pair turns about this much slower', above=1
  )
  scaling: str = settings.field(
    'none', 'past the length trained on', choices=SCALINGS
  )
  factor: float = settings.field(
    1.0, 'by which scaled frequencies fall', least=1
  )
  low: float = settings.field(
    1.0, 'llama3: waves above length/low fall by the whole factor', above=0
  )
  high: float = settings.field(
    4.0, 'llama3: waves below length/high stay', above=0
  )
  length: int = settings.field(
    8192, 'tokens trained on before frequencies were scaled', least=1
  )

  def __post_init__(self):
    super().__post_init__()
    if self.low >= self.high:
      settings.complain('low', self.low, f'must be below high={self.high}')

  def frequencies(self, pairs: int) -> np.ndarray:
    """Angle by which each pair turns from token to token, [pairs]."""
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

  A sequence of states is read as rows of one separator and row - 1 cells. Half
  of the pairs turn with the column, in whole turns over the cells, so that the
  first cell is the right neighbour of the last; the others with the row.
  """
  column, line = np.arange(length) % row, np.arange(length) // row
  along = np.arange(1, pairs - pairs // 2 + 1)
  down = 2.0 ** (1 - np.arange(pairs // 2))
  return np.concatenate(
    [column[:, None] * along * (2 * np.pi / (row - 1)), line[:, None] * down],
    axis=1,
  )


def rotary(x: jax.Array, angles: np.ndarray | jax.Array) -> jax.Array:
  """Turns pairs of features of queries or keys by their positions.

  Args:
    x: [B, H, L, D/H]; feature i is paired with i + pairs, as in GPT-NeoX.
    angles: [L, pairs]; features past 2 * pairs are left alone.
  """
  width, pairs = x.shape[-1], angles.shape[-1]
  library = np if isinstance(angles, np.ndarray) else jnp
  rest = [(0, 0), (0, width - 2 * pairs)]
  cos = library.tile(library.cos(angles), 2)
  cos = library.pad(cos, rest, constant_values=1)
  sin = library.pad(library.tile(library.sin(angles), 2), rest)
  # A signed permutation brings each feature its partner. As slices and a
  # concatenation it would become a branch per element in XLA's CPU loops.
  turn = np.zeros((width, width))
  i = np.arange(pairs)
  turn[i + pairs, i], turn[i, i + pairs] = -1, 1
  cos, sin, turn = (jnp.asarray(t, x.dtype) for t in (cos, sin, turn))
  partner = jnp.matmul(x, turn, precision=jax.lax.Precision.HIGHEST)
  return x * cos + partner * sin


def relative_bias(table: jax.Array, length: int, row: int) -> jax.Array:
  """What a learned bias by relative place adds to the scores (2103.14030).

  Places are on a lattice of rows of one separator and row - 1 cells; the table
  has an entry for each distance in rows and, around the circle, in columns.
  Separators are apart: seen from a cell, from a separator, or seeing a cell.

  Args:
    table: [H, 2·R - 1, row + 2], of a lattice of R rows.
    length: L, at most R·row.
    row: tokens in a row.

  Returns:
    [H, L, L], from queries to keys.
  """
  R, W = (table.shape[1] + 1) // 2, row - 1
  here, there = np.arange(R)[:, None], np.arange(R)[None]
  down = there - here + R - 1
  here, there = np.arange(row)[:, None], np.arange(row)[None]
  across = (there - here) % W
  across = np.where(here == 0, W + 1, np.where(there == 0, W, across))
  across[0, 0] = W + 2
  # Spread over pairs of rows and of columns by products with 0-1 matrices:
  # gathers have a slow gradient on XLA's CPU.
  bias = jnp.einsum(
    'hdc,dij,ckl->hikjl', table, np.eye(2 * R - 1, dtype=table.dtype)[:, down],
    np.eye(W + 3, dtype=table.dtype)[:, across],
    precision=jax.lax.Precision.HIGHEST,
  )  # fmt: skip
  return bias.reshape(-1, R * row, R * row)[:, :length, :length]


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
    k: [B, G, L, D/H]; each of the G heads is seen by H/G of the queries'
      (grouped queries, 2305.13245).
    v: as k.
    causal: whether a position sees only itself and those before it.
    implementation: 'xla', or 'cudnn' (NVIDIA GPUs, bfloat16).
    bias: [H, L, L] added to the scaled scores, or None.

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
  if k.shape[1] < q.shape[1]:
    k, v = (jnp.repeat(t, q.shape[1] // t.shape[1], axis=1) for t in (k, v))
  return _attend(q, k, v, bias, causal)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _attend(q, k, v, bias, causal):
  return _attend_forward(q, k, v, bias, causal)[0]


def _blocks(length: int, causal: bool) -> list[tuple[int, int]]:
  """Start and end of each block of queries; it sees the keys to its end."""
  count = max(1, round(length / QUERY_BLOCK)) if causal else 1
  edges = [length * i // count for i in range(count + 1)]
  return list(zip(edges[:-1], edges[1:], strict=True))


def _attend_forward(q, k, v, bias, causal):
  L, width = q.shape[-2:]
  q = q * width**-0.5
  outs, exps, inverses = [], [], []
  for a, b in _blocks(L, causal):
    scores = jnp.einsum(
      'bhqd,bhkd->bhqk', q[:, :, a:b], k[:, :, :b],
      preferred_element_type=jnp.promote_types(q.dtype, jnp.float32),
    )  # fmt: skip
    if bias is not None:
      scores = scores + bias[:, a:b, :b]
    if causal:
      seen = np.arange(b) <= np.arange(a, b)[:, None]
      scores = jnp.where(seen, scores, _MASKED)
    exp = jnp.exp(scores - scores.max(-1, keepdims=True))
    inverse = 1 / exp.sum(-1, keepdims=True)
    exp = exp.astype(v.dtype)
    out = jnp.einsum('bhqk,bhkd->bhqd', exp, v[:, :, :b])
    outs.append(out * inverse.astype(v.dtype))
    exps.append(exp)
    inverses.append(inverse.astype(v.dtype))
  out = jnp.concatenate(outs, 2)
  saved = (q, k, v, bias, out, exps, jnp.concatenate(inverses, 2))
  return out, saved


def _attend_backward(causal, saved, grad):
  q, k, v, bias, out, exps, inverse = saved
  L, width = q.shape[-2:]
  grad = grad * inverse
  delta = (grad * out).sum(-1, keepdims=True)
  grad_t, q_t = jnp.swapaxes(grad, 2, 3), jnp.swapaxes(q, 2, 3)
  dqs, dk_t, dv_t = [], None, None
  dbias = None if bias is None else jnp.zeros_like(bias)
  # The last block sees every key, so it starts the sums over blocks.
  for (a, b), exp in reversed(list(zip(_blocks(L, causal), exps, strict=True))):
    dexp = jnp.einsum('bhqd,bhkd->bhqk', grad[:, :, a:b], v[:, :, :b])
    dscores = exp * (dexp - delta[:, :, a:b])
    if bias is not None:
      # The sum over the batch as a product: XLA on CPU is slow at sums over
      # the first axis.
      rows = dscores.astype(bias.dtype).reshape(len(dscores), -1)
      over_batch = jnp.ones((1, len(dscores)), bias.dtype) @ rows
      dbias = dbias.at[:, a:b, :b].set(over_batch.reshape(dscores.shape[1:]))
    dqs.insert(0, jnp.einsum('bhqk,bhkd->bhqd', dscores, k[:, :, :b]))
    dv = jnp.einsum('bhdq,bhqk->bhdk', grad_t[..., a:b], exp)
    dk = jnp.einsum('bhdq,bhqk->bhdk', q_t[..., a:b], dscores)
    dv_t = dv if dv_t is None else dv_t.at[..., :b].add(dv)
    dk_t = dk if dk_t is None else dk_t.at[..., :b].add(dk)
  dq = jnp.concatenate(dqs, 2) * width**-0.5
  return dq, jnp.swapaxes(dk_t, 2, 3), jnp.swapaxes(dv_t, 2, 3), dbias


_attend.defvjp(_attend_forward, _attend_backward)


@flax.struct.dataclass
class Cache:
  """Keys and values of the tokens so far, to decode step by step.

  Attributes:
    keys: [B, G, length, D/H], turned by their positions.
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
    q: [B, H, n, D/H] queries of the n new tokens, not turned yet.
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
    q, k = rotary(q, here), rotary(k, here)
  keys = jax.lax.dynamic_update_slice_in_dim(cache.keys, k, at, 2)
  values = jax.lax.dynamic_update_slice_in_dim(cache.values, v, at, 2)
  # The queries of a group one after another, as if they were more tokens.
  q = q.reshape(B, G, -1, width)
  scores = jnp.einsum(
    'bgqd,bgkd->bgqk', q * width**-0.5, keys,
    preferred_element_type=jnp.promote_types(q.dtype, jnp.float32),
  ).reshape(B, H, n, length)  # fmt: skip
  if bias is not None:
    scores = scores + jax.lax.dynamic_slice_in_dim(bias, at, n, 1)
  seen = jnp.arange(length) <= at + jnp.arange(n)[:, None]
  weights = jax.nn.softmax(jnp.where(seen, scores, _MASKED)).astype(v.dtype)
  weights = weights.reshape(B, G, -1, length)
  out = jnp.einsum('bgqk,bgkd->bgqd', weights, values).reshape(B, H, n, width)
  return out, Cache(keys, values, at + n)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def split_heads(
  qkv: jax.Array, batch_size: int, num_heads: int, num_kv_heads: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """[B * L, (H + 2·G)·D/H] to queries, keys and values.

  Args:
    qkv: the features of all heads of queries, then of keys, then of values.
    batch_size: B.
    num_heads: H.
    num_kv_heads: G.

  Returns:
    [B, H, L, D/H], [B, G, L, D/H] and the same.
  """
  rows, width = qkv.shape
  length, heads = rows // batch_size, num_heads + 2 * num_kv_heads
  head = width // heads
  if num_kv_heads == num_heads:
    # To the last bit as the results were measured.
    x = qkv.reshape(batch_size, length, 3, num_heads, head)
    q, k, v = jnp.transpose(x, (2, 0, 3, 1, 4))
    return q, k, v
  x = jnp.swapaxes(qkv.reshape(batch_size, length, heads, head), 1, 2)
  q, k, v = jnp.split(x, (num_heads, num_heads + num_kv_heads), axis=1)
  return q, k, v


def _split_forward(qkv, *shape):
  return split_heads(qkv, *shape), None


def _split_backward(batch_size, num_heads, num_kv_heads, saved, grads):
  del batch_size, num_heads, num_kv_heads, saved
  grads = [
    jnp.swapaxes(g, 1, 2).reshape(-1, g.shape[1] * g.shape[3]) for g in grads
  ]
  # Keeps XLA on CPU from fusing three transposes into one slow gather.
  grads = jax.lax.optimization_barrier(grads)
  return (jnp.concatenate(grads, 1),)


split_heads.defvjp(_split_forward, _split_backward)
