"""Relative positions: a learned bias of attention scores by offset.

Each head has a table with an entry for each offset from query to key: in rows
and columns of a circular lattice (2103.14030), or in tokens of a sequence.
Offsets beyond the reach share an entry (1803.02155, section 3.2), so the shape
of a table depends neither on the lattice nor on the length, and a model trained
at one size runs at another.

With the light-cone start each head begins by looking at one of the offsets on
which an answer depends, as in the convolutional initialisation of 2103.10697;
nothing is fixed, and the tables are trained like everything else.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth.models import kernels

STARTS = ('cone', 'zeros')
# Factor from a table to the scores: an optimiser that moves entries by 1e-3 a
# step can make attention sharp in hundreds of steps.
GAIN = 16.0
# Score of an offset of the light cone at the start; all others have 0. Among a
# few hundred keys a score of 8 takes nearly all of the attention.
CONE_SCORE = 8.0
Offset = tuple[int, int]  # rows and columns, from query to key


@dataclasses.dataclass(frozen=True)
class Places:
  """Where the tokens of a sequence are.

  Attributes:
    row: tokens in a row of the lattice; 0 for a sequence without rows.
    separated: whether the first token of each row is a separator. As a query it
      has the place of the cell before the first one, so that it can predict the
      first cell; as a key it has entries of its own.
    before: memory tokens in front of the sequence. On a lattice they, and those
      behind it, have the places of the last row's tokens, repeated where they
      are more.
    behind: memory tokens behind it.
  """

  row: int = 0
  separated: bool = True
  before: int = 0
  behind: int = 0

  @property
  def columns(self) -> int:
    """Cells in a row of the lattice."""
    return self.row - self.separated

  def with_memory(self, x: Any, axis: int) -> Any:
    """An axis of the sequence's tokens, with those of the memory tokens."""
    if not self.row or not (self.before or self.behind):
      return x
    library = np if isinstance(x, np.ndarray) else jnp
    last = library.split(x, [x.shape[axis] - self.row], axis)[1]

    def memory(count):
      whole = library.concatenate([last] * -(-count // self.row), axis)
      return library.split(whole, [count], axis)[0]

    parts = [memory(n) for n in (self.before, self.behind) if n]
    parts.insert(1 if self.before else 0, x)
    return library.concatenate(parts, axis)

  def shape(self, num_heads: int, reach: int) -> tuple[int, int, int]:
    """Shape of the table, [H, offsets in rows, offsets in columns]."""
    span = 2 * reach + 1
    if not self.row:
      return num_heads, 1, span
    # Last: from a cell to a separator, from a separator to a separator.
    return num_heads, span, span + 2 * self.separated

  def indices(self, length: int, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Table indices of pairs of rows [R, R] and pairs of columns [C, C].

    Args:
      length: L; R·C is at least L, and token i is in row i // C.
      reach: offsets beyond it share the entry of the farthest.
    """

    def clipped(offset):
      return np.clip(offset, -reach, reach) + reach

    if not self.row:
      place = np.arange(length)
      across = clipped(place[None] - place[:, None])
      return np.zeros((1, 1), int), across
    line = np.arange(-(-length // self.row))
    down = clipped(line[None] - line[:, None])
    W = self.columns
    column = np.arange(self.row) - self.separated
    across = clipped((column[None] - column[:, None] + W // 2) % W - W // 2)
    if self.separated:
      across[:, 0] = 2 * reach + 1
      across[0, 0] = 2 * reach + 2
    return down, across


def start(
  kind: str,
  cone: tuple[Offset, ...],
  places: Places,
  num_heads: int,
  reach: int,
) -> np.ndarray:
  """The table before training, float32 of `places.shape`.

  Args:
    kind: 'zeros', or 'cone': head h starts at offset h of the cone. Heads past
      the last offset start at zeros; with fewer heads than offsets, head h also
      has the offsets h + H, h + 2·H, ….
    cone: offsets, each within the reach.
    places: where the tokens are.
    num_heads: H.
    reach: see `Places.indices`.
  """
  table = np.zeros(places.shape(num_heads, reach), np.float32)
  if kind == 'cone':
    for i, (down, across) in enumerate(cone):
      line = down + reach if places.row else 0
      table[i % num_heads, line, across + reach] = CONE_SCORE / GAIN
  return table


def bias(
  table: jax.Array, places: Places, length: int, reach: int, window: int = 0
) -> jax.Array:
  """The bias of the scores, [H, L, L], from queries to keys.

  Args:
    table: of `places.shape`.
    places: where the tokens are.
    length: L, with memory tokens.
    reach: see `Places.indices`.
    window: of a lattice; keys more than this many rows or columns away are
      masked; 0 for none. At most the reach.
  """
  own = length - bool(places.row) * (places.before + places.behind)
  down, across = places.indices(own, reach)
  scores = kernels.look_up(GAIN * table, down, across)[:, :own, :own]
  scores = places.with_memory(places.with_memory(scores, 1), 2)
  if not window:
    return scores
  near = [abs(i - reach) <= window for i in (down, across)]
  if places.separated:
    near[1] |= across > 2 * reach
  seen = np.kron(*near)[:own, :own]
  seen = places.with_memory(places.with_memory(seen, 0), 1)
  return jnp.where(seen, scores, kernels.MASKED)


def near(table: jax.Array, reach: int, window: int) -> jax.Array:
  """The bias of a sequence without rows at 0 to `window` tokens before, [H, n].

  Args:
    table: of `Places.shape`.
    reach: see `Places.indices`.
    window: at most the reach.
  """
  return GAIN * table[:, 0, reach - np.arange(window + 1)]
