"""Rotary positions and softmax attention.

The 'xla' form is written for XLA on CPU, and accelerators do not mind: its
gradient is by hand (no pass over the scores that is not needed), softmax is
normalised after the product with the values, and under a causal mask queries
go in blocks, each against the keys up to its own end alone.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

IMPLEMENTATIONS = ('xla', 'cudnn')
QUERY_BLOCK = 77  # rows; 231 tokens make three blocks
_MASKED = -1e30  # finite, so that maximum and exponential stay defined


def sequence_angles(length: int, pairs: int) -> np.ndarray:
  """Angles of rotary positions (2104.09864, eq. 15), [L, pairs]."""
  return np.arange(length)[:, None] * 10000.0 ** (-np.arange(pairs) / pairs)


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


def rotary(x: jax.Array, angles: np.ndarray) -> jax.Array:
  """Turns pairs of features of queries or keys by their positions.

  Args:
    x: [B, H, L, D/H]; feature i is paired with i + pairs, as in GPT-NeoX.
    angles: [L, pairs]; features past 2 * pairs are left alone.
  """
  width, pairs = x.shape[-1], angles.shape[-1]
  cos, sin = np.ones((len(angles), width)), np.zeros((len(angles), width))
  cos[:, : 2 * pairs] = np.tile(np.cos(angles), 2)
  sin[:, : 2 * pairs] = np.tile(np.sin(angles), 2)
  # A signed permutation brings each feature its partner. As slices and a
  # concatenation it would become a branch per element in XLA's CPU loops.
  turn = np.zeros((width, width))
  i = np.arange(pairs)
  turn[i + pairs, i], turn[i, i + pairs] = -1, 1
  cos, sin, turn = (jnp.asarray(t, x.dtype) for t in (cos, sin, turn))
  partner = jnp.matmul(x, turn, precision=jax.lax.Precision.HIGHEST)
  return x * cos + partner * sin


def attend(
  q: jax.Array, k: jax.Array, v: jax.Array, causal: bool, implementation: str
) -> jax.Array:
  """Softmax attention, scores scaled by 1/√(D/H).

  Args:
    q: [B, H, L, D/H].
    k: as q.
    v: as q.
    causal: whether a position sees only itself and those before it.
    implementation: 'xla', or 'cudnn' (NVIDIA GPUs, bfloat16).

  Returns:
    as q.
  """
  if implementation == 'cudnn':
    q, k, v = (jnp.swapaxes(x, 1, 2) for x in (q, k, v))
    out = jax.nn.dot_product_attention(
      q, k, v, is_causal=causal, implementation='cudnn'
    )
    return jnp.swapaxes(out, 1, 2)
  return _attend(q, k, v, causal)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _attend(q, k, v, causal):
  return _attend_forward(q, k, v, causal)[0]


def _blocks(length: int, causal: bool) -> list[tuple[int, int]]:
  """Start and end of each block of queries; it sees the keys to its end."""
  count = max(1, round(length / QUERY_BLOCK)) if causal else 1
  edges = [length * i // count for i in range(count + 1)]
  return list(zip(edges[:-1], edges[1:], strict=True))


def _attend_forward(q, k, v, causal):
  L, width = q.shape[-2:]
  q = q * width**-0.5
  outs, exps, inverses = [], [], []
  for a, b in _blocks(L, causal):
    scores = jnp.einsum(
      'bhqd,bhkd->bhqk', q[:, :, a:b], k[:, :, :b],
      preferred_element_type=jnp.promote_types(q.dtype, jnp.float32),
    )  # fmt: skip
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
  return out, (q, k, v, out, exps, jnp.concatenate(inverses, 2))


def _attend_backward(causal, saved, grad):
  q, k, v, out, exps, inverse = saved
  L, width = q.shape[-2:]
  grad = grad * inverse
  delta = (grad * out).sum(-1, keepdims=True)
  grad_t, q_t = jnp.swapaxes(grad, 2, 3), jnp.swapaxes(q, 2, 3)
  dqs, dk_t, dv_t = [], None, None
  # The last block sees every key, so it starts the sums over blocks.
  for (a, b), exp in reversed(list(zip(_blocks(L, causal), exps, strict=True))):
    dexp = jnp.einsum('bhqd,bhkd->bhqk', grad[:, :, a:b], v[:, :, :b])
    dscores = exp * (dexp - delta[:, :, a:b])
    dqs.insert(0, jnp.einsum('bhqk,bhkd->bhqd', dscores, k[:, :, :b]))
    dv = jnp.einsum('bhdq,bhqk->bhdk', grad_t[..., a:b], exp)
    dk = jnp.einsum('bhdq,bhqk->bhdk', q_t[..., a:b], dscores)
    dv_t = dv if dv_t is None else dv_t.at[..., :b].add(dv)
    dk_t = dk if dk_t is None else dk_t.at[..., :b].add(dk)
  dq = jnp.concatenate(dqs, 2) * width**-0.5
  return dq, jnp.swapaxes(dk_t, 2, 3), jnp.swapaxes(dv_t, 2, 3)


_attend.defvjp(_attend_forward, _attend_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def split_heads(
  qkv: jax.Array, batch_size: int, num_heads: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """[B * L, 3 * D] to queries, keys and values, each [B, H, L, D/H]."""
  rows, width = qkv.shape
  length, head = rows // batch_size, width // (3 * num_heads)
  x = qkv.reshape(batch_size, length, 3, num_heads, head)
  q, k, v = jnp.transpose(x, (2, 0, 3, 1, 4))
  return q, k, v


def _split_forward(qkv, batch_size, num_heads):
  return split_heads(qkv, batch_size, num_heads), None


def _split_backward(batch_size, num_heads, saved, grads):
  del batch_size, saved
  width = num_heads * grads[0].shape[-1]
  grads = [jnp.swapaxes(g, 1, 2).reshape(-1, width) for g in grads]
  # Keeps XLA on CPU from fusing three transposes into one slow gather.
  grads = jax.lax.optimization_barrier(grads)
  return (jnp.concatenate(grads, 1),)


split_heads.defvjp(_split_forward, _split_backward)
