"""Mamba's selective state-space model as a layer of a stack (2312.00752).

The recurrence h_t = a_t·h_{t-1} + b_t runs as an associative scan over time,
forward and backward: its gradient is the same recurrence in reverse. The
sequence is cut into spans, and the backward pass recomputes the states of each
span, so that states of the whole sequence are never in memory (section 3.3.2).
"""

import dataclasses
import functools
import math
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from reasoning_depth import settings
from reasoning_depth.models import dense, halting, layers, transformer

KERNEL = 4  # tokens of the causal convolution
EXPAND = 2  # inner width over D
SPANS = {'cpu': 16}  # tokens with states in memory at once, by platform
SPAN = 128  # on other platforms
CHUNK = 8  # steps of the scan over time that run sequentially
STEP_RANGE = (1e-3, 1e-1)  # Δ at initialisation


@flax.struct.dataclass
class MambaState:
  """State between tokens.

  Attributes:
    recent: [B, KERNEL - 1, E] inputs of the convolution.
    hidden: float32 [B, E, N].
  """

  recent: jax.Array
  hidden: jax.Array


@jax.custom_vjp
def linear_scan(a: jax.Array, b: jax.Array) -> jax.Array:
  """h_t = a_t·h_{t-1} + b_t along axis 1, with initial h = 0.

  Args:
    a: [B, L, ...].
    b: as a.

  Returns:
    h, as a.
  """
  return _chunked_scan(a, b, reverse=False)


def _chunked_scan(a: jax.Array, b: jax.Array, reverse: bool) -> jax.Array:
  """`linear_scan`, or in reverse: h_t = a_t·h_{t+1} + b_t.

  Steps within a chunk run one after another, for all chunks at once; an
  associative scan joins the chunks. This makes fewer passes over memory than an
  associative scan over all steps.
  """
  B, L = a.shape[:2]
  size = min(CHUNK, L)
  padding = [(0, 0), (0, -L % size)] + [(0, 0)] * (a.ndim - 2)
  shape = (B, -1, size, *a.shape[2:])
  a, b = (jnp.pad(x, padding).reshape(shape) for x in (a, b))
  order = range(size - 1, -1, -1) if reverse else range(size)
  products, sums = [], []
  for i in order:
    first = not sums
    products.append(a[:, :, i] if first else products[-1] * a[:, :, i])
    sums.append(b[:, :, i] if first else a[:, :, i] * sums[-1] + b[:, :, i])

  def combine(left, right):
    return left[0] * right[0], right[0] * left[1] + right[1]

  _, ends = jax.lax.associative_scan(
    combine, (products[-1], sums[-1]), reverse=reverse, axis=1
  )
  start = _shift(ends, -1 if reverse else 1)
  h = [s + p * start for p, s in zip(products, sums, strict=True)]
  h = jnp.stack(h[::-1] if reverse else h, axis=2)
  return h.reshape(B, -1, *h.shape[3:])[:, :L]


def _shift(x: jax.Array, by: int) -> jax.Array:
  """Moves x along axis 1 by one place, filling with zeros."""
  rest = [(0, 0)] * (x.ndim - 2)
  if by > 0:
    return jnp.pad(x[:, :-1], [(0, 0), (1, 0), *rest])
  return jnp.pad(x[:, 1:], [(0, 0), (0, 1), *rest])


def _scan_forward(a, b):
  h = linear_scan(a, b)
  return h, (a, h)


def _scan_backward(saved, grad):
  a, h = saved
  # Gradient of h_t: its own, plus that of h_{t+1} times a_{t+1}.
  total = _chunked_scan(_shift(a, -1), grad, reverse=True)
  return total * _shift(h, 1), total


linear_scan.defvjp(_scan_forward, _scan_backward)


def sequential_scan(a: jax.Array, b: jax.Array) -> jax.Array:
  """`linear_scan`, sequentially; for tests and benchmarks."""

  def step(h, ab):
    h = ab[0] * h + ab[1]
    return h, h

  _, h = jax.lax.scan(
    step, jnp.zeros_like(b[:, 0]), (a.swapaxes(0, 1), b.swapaxes(0, 1))
  )
  return h.swapaxes(0, 1)


def selective_scan(
  u: jax.Array,
  delta: jax.Array,
  a: jax.Array,
  b: jax.Array,
  c: jax.Array,
  hidden: jax.Array,
  span: int = 0,
) -> tuple[jax.Array, jax.Array]:
  """The selective state-space model (2312.00752, algorithm 2).

  Args:
    u: [B, L, E] inputs.
    delta: [B, L, E] step sizes, positive.
    a: [E, N] negative decay rates.
    b: [B, L, N] input projection, B of the paper.
    c: [B, L, N] output projection, C of the paper.
    hidden: [B, E, N] state before the first token.
    span: tokens with states in memory at once; 0 by platform.

  Returns:
    [B, L, E] outputs and the state [B, E, N] after the last token.
  """
  B, L, E = u.shape
  span = span or SPANS.get(jax.default_backend(), SPAN)
  if L <= span:
    return _span(u, delta, a, b, c, hidden, linear_scan)

  def spans(t):  # a step of size zero leaves the state as it is
    t = jnp.pad(t, [(0, 0), (0, -L % span), (0, 0)])
    return t.reshape(B, -1, span, t.shape[-1]).swapaxes(0, 1)

  @jax.checkpoint
  def body(hidden, part):
    u, delta, b, c = part
    y, hidden = _span(u, delta, a, b, c, hidden, linear_scan)
    return hidden, y

  hidden, y = jax.lax.scan(body, hidden, tuple(map(spans, (u, delta, b, c))))
  return y.swapaxes(0, 1).reshape(B, -1, E)[:, :L], hidden


def sequential_selective_scan(u, delta, a, b, c, hidden):
  """`selective_scan`, sequentially; for tests and benchmarks."""
  return _span(u, delta, a, b, c, hidden, sequential_scan)


def _span(u, delta, a, b, c, hidden, scan):
  decay = jnp.exp(delta[..., None] * a)
  written = (delta * u)[..., None] * b[:, :, None, :]
  written = written.at[:, 0].add(decay[:, 0] * hidden)
  h = scan(decay, written)
  return jnp.einsum('blen,bln->ble', h, c), h[:, -1]


class MambaLayer(nn.Module):
  """Norm, convolution, selective scan, gate, residual.

  Attributes:
    config: its width and norm.
    state_size: N, hidden units for each inner channel.
  """

  config: layers.StackConfig
  state_size: int = 16

  @nn.compact
  def __call__(
    self, x: jax.Array, state: MambaState | None = None
  ) -> tuple[jax.Array, MambaState | None]:
    """[B, L, D] to the same, and the new state."""
    B, L, D = x.shape
    E, N, rank = EXPAND * D, self.state_size, math.ceil(D / 16)
    c = self.config
    norm = dense.make_norm(c.norm, c.norm_epsilon, 'norm')
    rows = norm(x.reshape(B * L, D))
    u, gate = jnp.split(
      dense.Dense(2 * E, use_bias=False, name='in')(rows), 2, axis=-1
    )
    first = self.init_state(B, L) if state is None else state
    u = u.reshape(B, L, E)
    recent = jnp.concatenate([first.recent.astype(u.dtype), u], axis=1)
    u = jax.nn.silu(self._convolution(recent, L)).reshape(B * L, E)
    mixed = dense.Dense(rank + 2 * N, use_bias=False, name='select')(u)
    step, b, c = jnp.split(mixed, [rank, rank + N], axis=-1)
    delta = self._step_size(step)
    rate = self.param('log_rate', _log_rates, (E, N))
    skip = self.param('skip', nn.initializers.ones, (E,))

    def wide(t):
      return t.reshape(B, L, -1).astype(jnp.float32)

    y, hidden = selective_scan(
      wide(u), wide(delta), -jnp.exp(rate), wide(b), wide(c), first.hidden
    )
    y = y.reshape(B * L, E) + skip * u.astype(jnp.float32)
    y = (y * jax.nn.silu(gate.astype(jnp.float32))).astype(x.dtype)
    y = dense.Dense(D, use_bias=False, name='out')(y)
    last = MambaState(recent[:, -(KERNEL - 1) :], hidden)
    return x + y.reshape(B, L, D), state and last

  def _convolution(self, recent, length):
    """Depthwise causal convolution over time."""
    kernel = self.param(
      'convolution', nn.initializers.uniform(KERNEL**-0.5), (KERNEL, 1)
      + recent.shape[-1:],
    )  # fmt: skip
    bias = self.param('bias', nn.initializers.zeros, recent.shape[-1:])
    kernel = (kernel - 0.5 * KERNEL**-0.5).astype(recent.dtype)
    taps = [recent[:, i : i + length] * kernel[i] for i in range(KERNEL)]
    return sum(taps) + bias.astype(recent.dtype)

  def _step_size(self, step):
    """Δ [B·L, E], positive; initially log-uniform over STEP_RANGE."""
    E = EXPAND * self.config.width

    def init(key, shape):
      low, high = (math.log(s) for s in STEP_RANGE)
      start = jnp.exp(jax.random.uniform(key, shape, minval=low, maxval=high))
      return start + jnp.log(-jnp.expm1(-start))  # inverse of softplus

    bias = self.param('step_bias', init, (E,))
    step = dense.Dense(E, use_bias=False, name='step')(step)
    return jax.nn.softplus(step.astype(jnp.float32) + bias)

  def init_state(self, batch_size: int, length: int) -> MambaState:
    """The state before the first token; `length` has no effect."""
    del length
    E = EXPAND * self.config.width
    return MambaState(
      jnp.zeros((batch_size, KERNEL - 1, E), self.config.dtype),
      jnp.zeros((batch_size, E, self.state_size), jnp.float32),
    )


def _log_rates(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
  """log of 1, 2, …, N for every channel (S4D-real)."""
  del key
  return jnp.broadcast_to(jnp.log(jnp.arange(1.0, shape[1] + 1)), shape)


@dataclasses.dataclass(frozen=True)
class Settings(layers.StackConfig):
  """Settings of `model.name=mamba`."""

  state_size: int = settings.field(
    16, 'N, hidden units for each inner channel', least=1
  )
  halting: 'halting.Halting' = settings.group(halting.Halting)

  def build(self, task: Any) -> transformer.Transformer:
    """The model for a task."""
    config = self.for_task(task)
    layer = functools.partial(MambaLayer, config, self.state_size)
    return transformer.Transformer(config, task.vocab_size, layer, self.halting)
