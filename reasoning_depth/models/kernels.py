"""Arithmetic of the layers, tuned for XLA on CPU.

Each function computes the formula in its docstring, with hand-written
gradients, copies as products with 0-1 matrices, and optimization barriers. All
run on accelerators too. Nothing else in `models` is tuned this way;
`python -m reasoning_depth.bench train_step` times a whole training step.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

# Queries in a chunk of causal attention. Smaller chunks compute fewer masked
# scores, and a chunk's scores fit the CPU's cache; larger chunks make fewer and
# larger matrix products.
QUERY_BLOCK = 80
MASKED = -1e30  # finite, so that maximum and exponential stay defined


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def layer_norm(
  x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float
) -> jax.Array:
  """(x - mean) / √(variance + ε)·scale + bias over the last axis.

  The hand-written gradient makes fewer passes over x than the automatic one.

  Args:
    x: [N, D], of any dtype; statistics are in the dtype of `scale`.
    scale: [D].
    bias: [D].
    epsilon: ε.

  Returns:
    [N, D] in the dtype of x.
  """
  return _norm_forward(x, scale, bias, epsilon)[0]


def _norm_forward(x, scale, bias, epsilon):
  wide = x.astype(scale.dtype)
  mean = wide.mean(-1, keepdims=True)
  centred = wide - mean
  variance = jnp.square(centred).mean(-1, keepdims=True)
  inverse = jax.lax.rsqrt(variance + epsilon)
  y = (centred * inverse * scale + bias).astype(x.dtype)
  return y, (x, mean, inverse, scale)


def _norm_backward(epsilon, saved, grad):
  del epsilon
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
  """Exact GELU, x·Φ(x) with the normal distribution Φ, of any shape.

  Φ is computed by erf, which XLA on CPU runs faster than the erfc of jax.nn;
  the gradient Φ(x) + x·φ(x) keeps x alone from the forward pass.
  """
  return 0.5 * x * (1 + jax.lax.erf(x * math.sqrt(0.5)))


def _gelu_backward(x, grad):
  cdf = 0.5 * (1 + jax.lax.erf(x * math.sqrt(0.5)))
  pdf = math.sqrt(0.5 / math.pi) * jnp.exp(-0.5 * x * x)
  return (grad * (cdf + x * pdf),)


gelu.defvjp(lambda x: (gelu(x), x), _gelu_backward)


@jax.custom_vjp
def matmul(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """x [N, D] times kernel [D, E], [N, E].

  The kernel's gradient xᵀ·grad is computed with the narrow side first, which is
  faster in XLA's CPU products.
  """
  return x @ kernel


def _matmul_backward(saved, grad):
  x, kernel = saved
  if kernel.shape[0] > kernel.shape[1]:
    dkernel = jnp.einsum('nm,nk->mk', grad, x)
    # Without the barrier XLA folds the transpose into the product.
    dkernel = jax.lax.optimization_barrier(dkernel).T
  else:
    dkernel = jnp.einsum('nk,nm->km', x, grad)
  return grad @ kernel.T, dkernel


matmul.defvjp(lambda x, kernel: (x @ kernel, (x, kernel)), _matmul_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def split_heads(
  qkv: jax.Array, batch_size: int, num_heads: int, num_kv_heads: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """q[b, h, l, i] = qkv[b·L + l, h·D/H + i], keys and values after it likewise.

  The hand-written gradient has a barrier, which keeps XLA on CPU from fusing
  three transposes into one slow gather.

  Args:
    qkv: [B * L, (H + 2·G)·D/H], the features of all heads of queries, then of
      keys, then of values.
    batch_size: B.
    num_heads: H.
    num_kv_heads: G.

  Returns:
    queries [B, H, L, D/H], keys and values [B, G, L, D/H].
  """
  rows, width = qkv.shape
  length, heads = rows // batch_size, num_heads + 2 * num_kv_heads
  head = width // heads
  if num_kv_heads == num_heads:
    # Bit for bit as in the measured results.
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
  grads = jax.lax.optimization_barrier(grads)
  return (jnp.concatenate(grads, 1),)


split_heads.defvjp(_split_forward, _split_backward)


def rotary(x: jax.Array, angles: np.ndarray | jax.Array) -> jax.Array:
  """Rotates pairs of features: (a, b) → (a·cos - b·sin, b·cos + a·sin).

  Partners are swapped by a product with a signed permutation; slices and a
  concatenation would become a branch per element in XLA's CPU loops.

  Args:
    x: [B, H, L, D/H]; feature i is paired with i + pairs, as in GPT-NeoX.
    angles: [L, pairs]; features past 2 * pairs are unchanged.

  Returns:
    as x.
  """
  width, pairs = x.shape[-1], angles.shape[-1]
  library = np if isinstance(angles, np.ndarray) else jnp
  rest = [(0, 0), (0, width - 2 * pairs)]
  cos = library.tile(library.cos(angles), 2)
  cos = library.pad(cos, rest, constant_values=1)
  sin = library.pad(library.tile(library.sin(angles), 2), rest)
  cos, sin = jnp.asarray(cos, x.dtype), jnp.asarray(sin, x.dtype)
  turn = np.zeros((width, width))
  i = np.arange(pairs)
  turn[i + pairs, i], turn[i, i + pairs] = -1, 1
  return x * cos + _select(x, turn) * sin


def look_up(
  table: jax.Array, rows: np.ndarray, columns: np.ndarray
) -> jax.Array:
  """out[h, i·C + k, j·C + l] = table[h, rows[i, j], columns[k, l]].

  Products with 0-1 matrices spread the table over pairs of rows and pairs of
  columns; gathers have a slow gradient on XLA's CPU.

  Args:
    table: [H, P, Q].
    rows: int [R, R], indices into P.
    columns: int [C, C], indices into Q.

  Returns:
    [H, R·C, R·C].
  """
  _, P, Q = table.shape
  size = len(rows) * len(columns)
  out = jnp.einsum(
    'hdc,dij,ckl->hikjl', table, np.eye(P, dtype=table.dtype)[:, rows],
    np.eye(Q, dtype=table.dtype)[:, columns],
    precision=jax.lax.Precision.HIGHEST,
  )  # fmt: skip
  return out.reshape(-1, size, size)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def attend(
  q: jax.Array,
  k: jax.Array,
  v: jax.Array,
  bias: jax.Array | None,
  causal: bool,
) -> jax.Array:
  """softmax(q·kᵀ/√(D/H) + bias)·v for each head.

  The weights are normalised after the product with v. With a causal mask each
  chunk of queries attends to the keys up to its own end, so that nearly half of
  the scores are never computed. The hand-written gradient saves the
  exponentials and makes few passes over the scores.

  Args:
    q: [B, H, L, D/H].
    k: [B, H, K, D/H]; K is L if causal.
    v: as k.
    bias: [H, L, K], from queries to keys, or None.
    causal: whether a position sees only itself and those before it.

  Returns:
    as q.
  """
  return _attend_forward(q, k, v, bias, causal)[0]


def _chunks(q, k, causal: bool) -> list[tuple[int, int, int]]:
  """Start and end of each chunk of queries, and the end of the keys it sees."""
  length, keys = q.shape[2], k.shape[2]
  if not causal:
    return [(0, length, keys)]
  count = max(1, round(length / QUERY_BLOCK))
  edges = [length * i // count for i in range(count + 1)]
  return list(zip(edges[:-1], edges[1:], edges[1:], strict=True))


def _attend_forward(q, k, v, bias, causal):
  q = q * q.shape[-1] ** -0.5
  outs, exps, inverses = [], [], []
  for a, b, end in _chunks(q, k, causal):
    scores = jnp.einsum(
      'bhqd,bhkd->bhqk', q[:, :, a:b], k[:, :, :end],
      preferred_element_type=jnp.promote_types(q.dtype, jnp.float32),
    )  # fmt: skip
    if bias is not None:
      scores = scores + bias[:, a:b, :end]
    if causal:
      seen = np.arange(end) <= np.arange(a, b)[:, None]
      scores = jnp.where(seen, scores, MASKED)
    exp = jnp.exp(scores - scores.max(-1, keepdims=True))
    inverse = 1 / exp.sum(-1, keepdims=True)
    exp = exp.astype(v.dtype)
    out = jnp.einsum('bhqk,bhkd->bhqd', exp, v[:, :, :end])
    outs.append(out * inverse.astype(v.dtype))
    exps.append(exp)
    inverses.append(inverse.astype(v.dtype))
  out = jnp.concatenate(outs, 2)
  saved = (q, k, v, bias, out, exps, jnp.concatenate(inverses, 2))
  return out, saved


def _attend_backward(causal, saved, grad):
  q, k, v, bias, out, exps, inverse = saved
  grad = grad * inverse
  delta = (grad * out).sum(-1, keepdims=True)
  grad_t, q_t = jnp.swapaxes(grad, 2, 3), jnp.swapaxes(q, 2, 3)
  dqs, dk_t, dv_t = [], None, None
  dbias = None if bias is None else jnp.zeros_like(bias)
  # The last chunk sees every key, so it starts the sums over chunks.
  chunks = zip(_chunks(q, k, causal), exps, strict=True)
  for (a, b, end), exp in reversed(list(chunks)):
    dexp = jnp.einsum('bhqd,bhkd->bhqk', grad[:, :, a:b], v[:, :, :end])
    dscores = exp * (dexp - delta[:, :, a:b])
    if bias is not None:
      # The sum over the batch as a product: XLA on CPU is slow at sums over
      # the first axis.
      flat = dscores.astype(bias.dtype).reshape(len(dscores), -1)
      over_batch = jnp.ones((1, len(dscores)), bias.dtype) @ flat
      dbias = dbias.at[:, a:b, :end].set(over_batch.reshape(dscores.shape[1:]))
    dqs.insert(0, jnp.einsum('bhqk,bhkd->bhqd', dscores, k[:, :, :end]))
    dv = jnp.einsum('bhdq,bhqk->bhdk', grad_t[..., a:b], exp)
    dk = jnp.einsum('bhdq,bhqk->bhdk', q_t[..., a:b], dscores)
    dv_t = dv if dv_t is None else dv_t.at[..., :end].add(dv)
    dk_t = dk if dk_t is None else dk_t.at[..., :end].add(dk)
  dq = jnp.concatenate(dqs, 2) * q.shape[-1] ** -0.5
  return dq, jnp.swapaxes(dk_t, 2, 3), jnp.swapaxes(dv_t, 2, 3), dbias


attend.defvjp(_attend_forward, _attend_backward)


def dpfp(x: jax.Array, nu: int) -> jax.Array:
  """Deterministic parameter-free projection (2102.11174, eq. 38).

  With u = relu([x, -x]), [u·roll(u, 1), …, u·roll(u, ν)]. Copies and rolls are
  products with 0-1 matrices; concatenations would become a branch per element
  in XLA's CPU loops.

  Args:
    x: [..., d].
    nu: ν, number of rolled copies.

  Returns:
    [..., 2·ν·d], non-negative.
  """
  d = x.shape[-1]
  eye = np.eye(2 * d)
  signs = np.concatenate([eye[:d, :d], -eye[:d, :d]], axis=1)
  rolls = [np.roll(eye, j, axis=1) for j in range(1, nu + 1)]
  u = jax.nn.relu(_select(x, signs))
  return _select(u, np.tile(eye, nu)) * _select(u, np.concatenate(rolls, 1))


def unit_length(x: jax.Array) -> jax.Array:
  """x / |x| over the last axis of [B, H, L, F]; zero where x is zero.

  The sum of squares is an einsum: XLA on CPU is slow at sums over the last axis
  of the features of many layers at once.
  """
  square = jnp.einsum(
    'bhlf,bhlf->bhl', x, x, precision=jax.lax.Precision.HIGHEST
  )
  return x * jax.lax.rsqrt(jnp.maximum(square, 1e-24))[..., None]


def _select(x: jax.Array, matrix: np.ndarray) -> jax.Array:
  """x [..., D] times a matrix [D, E] of 0, 1 and -1, exact on any device."""
  matrix = jnp.asarray(matrix, x.dtype)
  return jnp.matmul(x, matrix, precision=jax.lax.Precision.HIGHEST)
