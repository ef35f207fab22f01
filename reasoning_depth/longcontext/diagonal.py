"""Diagonal batching: ARMT's cells of one anti-diagonal at once (2506.05229).

Where each layer has its own memory, cell (layer l, segment s) depends only on
(l - 1, s) and (l, s - 1). So the L·S cells, which the scan over segments runs
one by one, form L + S - 1 diagonals of equal l + s, and a diagonal is one
vmapped call of `models.armt`'s layer over stacked parameters. Only the order of
floating-point sums differs.

  model = diagonal.scheduled(model)  # same parameters, outputs and gradients
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth import settings
from reasoning_depth.models import base, halting, windows

RAMPS = ('whole', 'buckets', 'exact')


@dataclasses.dataclass(frozen=True)
class Phase:
  """Consecutive diagonals, run by one scan over a window of layers.

  Attributes:
    kind: 'entering' (each diagonal starts a segment at layer 0, where the
      window begins), 'moving' (fewer segments than layers, all started and none
      finished; the window moves up one layer per diagonal) or 'leaving' (each
      diagonal finishes a segment at the last layer, where the window ends).
    size: layers in the window.
    full: whether every layer of the window has a segment on every diagonal.
    diagonals: range, end exclusive.
  """

  kind: str
  size: int
  full: bool
  diagonals: tuple[int, int]


def phases(num_segments: int, num_layers: int, ramp: str) -> Iterator[Phase]:
  """The L + S - 1 diagonals in order.

  Args:
    num_segments: S.
    num_layers: L.
    ramp: window size for diagonals of fewer than min(L, S) cells: 'whole' (that
      maximum, unused layers masked), 'buckets' (the next power of two) or
      'exact'.
  """
  S, L = num_segments, num_layers
  longest = min(S, L)
  powers = (2**i for i in range(longest.bit_length()))
  sizes = {
    'whole': [],
    'buckets': [s for s in powers if s < longest],
    'exact': range(1, longest),
  }[ramp]
  sizes = [*sizes, longest]

  def form(d):
    cells = min(d + 1, longest, L + S - 1 - d)
    kind = 'leaving' if d >= L - 1 else 'moving'
    size = next(s for s in sizes if s >= cells)
    return 'entering' if d < S else kind, size, size == cells

  for (kind, size, full), run in itertools.groupby(range(L + S - 1), form):
    first, *rest = run
    yield Phase(kind, size, full, (first, first + len(rest) + 1))


@dataclasses.dataclass(frozen=True)
class Diagonal:
  """Runs the segments by diagonals; see `SegmentModel.executor`.

  Attributes:
    ramp: as of `phases`; `python -m reasoning_depth.bench diagonal` times all.
  """

  ramp: str = 'buckets'

  def __call__(
    self,
    model: base.Model,
    params: Any,
    before: Any,
    x: jax.Array,
    num_steps: int,
  ) -> tuple[Any, tuple[jax.Array, halting.Usage]]:
    """The new memory, hidden states [S, B, L, D] and usage of each segment."""
    S, B, length, _ = x.shape
    L = model.config.num_layers
    tokens = params['memory_tokens'].astype(x.dtype)
    tokens = jnp.broadcast_to(tokens, (S, B, *tokens.shape))
    entering = _start(model, jnp.concatenate([x, tokens], axis=2))
    work = _Work(
      _cell(model, num_steps),
      params['stack']['layers'],
      entering,
      windows.cuts(S, model.truncate),
    )
    made = jax.tree.map(
      lambda t: jnp.zeros((L, *t.shape[1:]), t.dtype), entering
    )
    grid, ended = _Grid(made, before), []
    for phase in phases(S, L, self.ramp):
      grid, out = _run_phase(phase, work, grid)
      ended.append(out)
    ended = [out for out in ended if out is not None]
    x, usage = jax.tree.map(lambda *t: jnp.concatenate(t), *ended)
    return grid.memory, _finish(model, x, usage, length)


def scheduled(model: base.Model, ramp: str = 'buckets') -> base.Model:
  """The model with the diagonal schedule.

  Raises:
    UsageError: for a model whose cells depend on more than the layer below and
      the previous segment.
  """
  if ramp not in RAMPS:
    raise ValueError(f'ramp={ramp!r}: allowed are {", ".join(RAMPS)}')
  with settings.within('diagonal: '):
    model.diagonal_cell(num_steps=1)
  return model.clone(executor=Diagonal(ramp))


@flax.struct.dataclass
class _Grid:
  """Outputs and memories of all n layers, or of those in a window.

  Attributes:
    made: output of each layer on the last diagonal: hidden states
      [n, B, T, D], and usage up to that layer or None.
    memory: of each layer, [n, ...].
  """

  made: Any
  memory: Any


@dataclasses.dataclass(frozen=True)
class _Work:
  """Constants of all diagonals.

  Attributes:
    cell: (parameters, output of the layer below, memory) to the layer's output
      and memory.
    params: of the layers, stacked along axis 0.
    entering: inputs of layer 0 for each segment, [S, ...].
    cuts: bool [S], segments before which the memory's gradient stops.
  """

  cell: Callable[..., Any]
  params: Any
  entering: Any
  cuts: np.ndarray


def _cell(model: base.Model, num_steps: int) -> Callable[..., Any]:
  """One layer over one segment, with usage added up over layers."""
  run = model.diagonal_cell(num_steps)

  def cell(params, made, memory):
    x, usage = made
    x, memory, more = run(params, x, memory)
    if usage is not None:
      usage = jax.tree.map(jnp.add, usage, more)
    return (x, usage), memory

  return cell


def _start(model: base.Model, x: jax.Array) -> Any:
  """Inputs of layer 0; usage is None unless layers repeat (adaptive depth)."""
  if model.adaptive.kind == 'none':
    return x, None
  S, B, T, _ = x.shape
  zeros = jnp.zeros((S, B, T))
  return x, halting.Usage(zeros, zeros, jnp.zeros(S))


def _finish(model, x, usage, length):
  """Hidden states and usage, without the memory tokens."""
  if usage is None:
    ones = jnp.ones(x.shape[:2] + (length,))
    usage = halting.Usage(ones, 0 * ones, ones[:, 0, 0])
  else:
    usage = jax.tree.map(lambda t: t / model.config.num_layers, usage)
    usage = halting.of_tokens(model.adaptive, usage, slice(length))
  return x[:, :, :length], usage


def _window(tree: Any, low: Any, size: int) -> Any:
  """`size` layers from `low` on."""
  return jax.tree.map(
    lambda t: jax.lax.dynamic_slice_in_dim(t, low, size), tree
  )


def _put(tree: Any, part: Any, low: Any) -> Any:
  """Writes a window back; the inverse of `_window`."""
  return jax.tree.map(
    lambda t, p: jax.lax.dynamic_update_slice_in_dim(t, p, low, 0), tree, part
  )


def _run_phase(phase: Phase, work: _Work, grid: _Grid) -> tuple[_Grid, Any]:
  """Runs the diagonals of a phase.

  Returns:
    the grid after them, and the last layer's outputs on each diagonal, or None
    where it has finished no segment.
  """
  S, L = len(work.cuts), len(jax.tree.leaves(work.params)[0])
  d = np.arange(*phase.diagonals)
  fixed = 0 if phase.kind == 'entering' else L - phase.size
  low = d - S + 1 if phase.kind == 'moving' else np.full_like(d, fixed)
  segment = (d - low)[:, None] - np.arange(phase.size)
  active = None if phase.full else (segment >= 0) & (segment < S)
  cut = work.cuts[segment.clip(0, S - 1)]
  run = functools.partial(_diagonal, work.cell)

  if phase.kind == 'moving':

    def move(grid, inputs):
      low, active, cut = inputs
      below = jax.tree.map(lambda t: t[low - 1], grid.made)
      params, here = _window((work.params, grid), low, phase.size)
      return _put(grid, run(params, here, below, active, cut), low), None

    return jax.lax.scan(move, grid, (low, active, cut))

  # The last layer's outputs before the first segment reaches it are dropped.
  ends = fixed + phase.size == L and (phase.full or phase.kind == 'leaving')
  params, here = _window((work.params, grid), fixed, phase.size)

  def step(here, inputs):
    here = run(params, here, *inputs)
    return here, jax.tree.map(lambda t: t[-1], here.made) if ends else None

  if phase.kind == 'entering':
    below = jax.tree.map(lambda t: t[d[0] : d[-1] + 1], work.entering)
  else:
    below = jax.tree.map(lambda t: _first(t, fixed, len(d)), grid.made)
  here, out = jax.lax.scan(step, here, (below, active, cut))
  return _put(grid, here, fixed), out


def _first(made: jax.Array, low: int, count: int) -> jax.Array:
  """Inputs of a window from `low` on: the layer below's output, then zeros."""
  below = jnp.zeros((count, *made.shape[1:]), made.dtype)
  return below.at[0].set(made[low - 1]) if low else below


def _diagonal(
  cell: Callable[..., Any],
  params: Any,
  grid: _Grid,
  below: Any,
  active: jax.Array | None,
  cut: jax.Array,
) -> _Grid:
  """Runs the cells of one diagonal.

  Args:
    cell: as in `_Work`.
    params: of the window's layers.
    grid: of the window.
    below: output of the layer below the window.
    active: bool [n], layers that have a segment; None for all.
    cut: bool [n], layers whose memory's gradient stops.
  """
  got = jax.tree.map(
    lambda b, t: jnp.concatenate([b[None], t[:-1]]), below, grid.made
  )
  memory = _where(cut, jax.lax.stop_gradient(grid.memory), grid.memory)
  made, memory = jax.vmap(cell)(params, got, memory)
  if active is not None:
    memory = _where(active, memory, grid.memory)
  return _Grid(made, memory)


def _where(which: jax.Array, a: Any, b: Any) -> Any:
  """Per layer, a where `which`, else b."""

  def choose(a, b):
    return jnp.where(which.reshape(-1, *[1] * (a.ndim - 1)), a, b)

  return jax.tree.map(choose, a, b)
