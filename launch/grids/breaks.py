"""Where recall breaks: what it needs, and what is only faster.

With --words cpu, on the paper's lattice: recall as it is; without the
light-cone start, relative places or equal starts of encoder and core; with
observed cells flipped. Then rules of radius 3, on the same 20 cells with as
many observed states as a ceiling of 0.9 one step ahead takes: 33 (0.905 on
20,000 orbits of the validation split; 32: 0.894). And the first model at other
widths and numbers of observed states than the 20 and 10 it was trained at.
"""

import dataclasses
import math
from typing import Any

from launch.grids import base

ASKED = (1, 2, 3, 4, 8, 16, 64)
WIDTH, NUM_STATES = 20, 10  # W and T of the paper
WIDE = {'task.radius': 3, 'task.num_states': 33}
_NUM_HEADS = 8
# Of the scores of the encoder's attention, float32 [B, H, T·W, T·W]: an eighth
# of 4 GiB, as several such arrays are held at once.
_MOST_BYTES = 2**29


def batch_size(width: int, num_states: int) -> int:
  """Samples to evaluate at once: a power of two that fits, at most 256."""
  each = 4 * _NUM_HEADS * (width * num_states) ** 2
  return min(256, 2 ** int(math.log2(_MOST_BYTES / each)))


def _row(fields: dict[str, Any]) -> base.Row:
  flags = base.flags({'eval.look_ahead': ASKED} | fields)
  return base.Row('recall', 'task=by_depth', 'one', flags)


def _at(width: int = WIDTH, num_states: int = NUM_STATES) -> tuple[str, ...]:
  """Flags of an evaluation at another size."""
  size = {'task.width': width, 'task.num_states': num_states}
  return base.flags(size | {'eval.batch_size': batch_size(width, num_states)})


SIZES = {f'W = {W}': _at(width=W) for W in (12, 40, 100)} | {
  f'T = {T}': _at(num_states=T) for T in (6, 8, 14, 20)
}
ROWS = {
  'recall': dataclasses.replace(_row({}), evaluations=SIZES),
  'zero_start': _row({'model.relative_start': 'zeros'}),
  'rotary': _row({'model.positions': 'rotary'}),
  'copies_none': _row({'model.recurrence.copies': 'none'}),
  'copies_keys': _row({'model.recurrence.copies': 'keys'}),
  **{f'flip_{p}': _row({'task.flip': p}) for p in (0.01, 0.03, 0.1)},
  'radius_3': _row(
    WIDE
    | {'model.relative_window': 3}  # whether it needs this is not measured
    | {'eval.batch_size': batch_size(WIDTH, WIDE['task.num_states'])}
  ),
}
GRID = base.Grid(
  'recall without its starts, with noise, at radius 3 and at other sizes',
  ROWS,
  table=base.look_aheads,
)
