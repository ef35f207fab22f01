"""Picture of a user's own orbits: what was predicted, what is determined."""

import pathlib
from collections.abc import Sequence
from typing import Any

import matplotlib
import matplotlib.axes
import matplotlib.figure
import matplotlib.patches
import numpy as np

from reasoning_depth.report import pictures, style

MOST = 6  # orbits drawn
_OPEN = pictures.FOREIGN  # its colour
_LEGEND = {
  pictures.SEEN + 1: 'observed 1',
  pictures.ASKED + 1: '1',
  pictures.ASKED: '0',
  _OPEN: 'open: the observed states do not determine it',
  pictures.WRONG: 'predicted wrong',
  pictures.FAINT: 'not known',
}
_GAP = 0.8  # cells between observed states and answers
_INCHES = 0.2  # of a cell, where there is room
_MOST_INCHES = 6.0  # of a panel's width


@matplotlib.rc_context({**style.RC, 'axes.grid': False})
def figure(rows: Sequence[dict[str, Any]]) -> matplotlib.figure.Figure:
  """Draws orbits, one below the other.

  Args:
    rows: a record for each orbit, as in `predictions/<name>.json` of a run
      folder; the first `MOST` are drawn.
  """
  rows = rows[:MOST]
  tall = [len(r['observed']) + _GAP + len(r['answers']) for r in rows]
  width = len(rows[0]['observed'][0])
  inches = min(_INCHES, _MOST_INCHES / width)
  made = matplotlib.figure.Figure(
    figsize=(
      max(2 * width * inches + 1.5, 7.5),
      sum(tall) * max(inches, 0.1) + 0.5 * len(rows) + 1,
    ),
    layout='constrained',
  )
  axes = made.subplots(len(rows), 2, squeeze=False, height_ratios=tall)
  used: set[int] = set()
  for i, (pair, row) in enumerate(zip(axes, rows, strict=True)):
    predicted, determined = cells(row)
    several = f'orbit {i + 1}: ' if len(rows) > 1 else ''
    used |= _draw(pair[0], row, predicted, f'{several}predicted')
    title = 'determined by the observed states'
    if determined is None:
      title = 'not known what is determined'
      if 'contradiction' in row:
        title = 'no rule makes the observed states'
    used |= _draw(pair[1], row, determined, title)
  handles = [
    matplotlib.patches.Patch(color=pictures.PALETTE.colors[code], label=label)
    for code, label in _LEGEND.items()
    if code in used
  ]
  style.legend_below(made, len(handles), handles=handles)
  return made


def draw(path: pathlib.Path, rows: Sequence[dict[str, Any]]) -> pathlib.Path:
  """Writes the picture of `figure`; returns its path."""
  return style.save(figure(rows), path)


def cells(row: dict[str, Any]) -> tuple[np.ndarray, np.ndarray | None]:
  """The answers of an orbit as indices into the palette.

  Returns:
    predicted int8 [K, W], and what is determined, likewise; None where that is
    not known at any look-ahead.
  """
  states = pictures.bits([a['state'] for a in row['answers']])
  determined = pictures.bits([a['determined'] for a in row['answers']])
  known = np.array([a['chance_of_1'] is not None for a in row['answers']])
  wrong = (states < 0) | ((determined >= 0) & (determined != states))
  predicted = np.where(wrong, pictures.WRONG, pictures.ASKED + states)
  if not known.any():
    return predicted, None
  painted = np.where(determined < 0, _OPEN, pictures.ASKED + determined)
  return predicted, np.where(known[:, None], painted, pictures.FAINT)


def _draw(
  ax: matplotlib.axes.Axes,
  row: dict[str, Any],
  answers: np.ndarray | None,
  title: str,
) -> set[int]:
  """Draws a panel; returns the palette indices it used."""
  observed = pictures.SEEN + pictures.bits(row['observed'])
  T, W = observed.shape
  blocks = [(observed, 0.0)]
  places = {0.5: '1', T - 0.5: str(T)}
  if answers is not None:
    blocks.append((answers, T + _GAP))
    for i, answer in enumerate(row['answers']):
      places[T + _GAP + i + 0.5] = f'+{answer["look_ahead"]}'
  for block, top in blocks:
    ax.pcolormesh(
      np.arange(W + 1),
      top + np.arange(len(block) + 1),
      block,
      cmap=pictures.PALETTE,
      vmin=-0.5,
      vmax=len(pictures.PALETTE.colors) - 0.5,
      edgecolors='white',
      linewidth=0.3,
    )
  ax.set_aspect('equal')
  ax.set_ylim(T + _GAP + len(row['answers']), 0)
  ax.spines[:].set_visible(False)
  ax.tick_params(length=0)
  ax.set_xticks([])
  ax.set_yticks(list(places), list(places.values()))
  ax.set_title(title, loc='left')
  return {int(code) for block, _ in blocks for code in block.flat}
