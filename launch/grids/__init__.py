"""Grids of runs for `launch.sweep`, a file for each."""

from launch.grids import base, breaks, carry, figure5, law

GRIDS: dict[str, base.Grid] = {
  'figure5': figure5.GRID,
  'law': law.GRID,
  'carry': carry.GRID,
  'breaks': breaks.GRID,
}
