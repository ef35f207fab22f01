"""Names beside points, placed so that they do not overlap."""

from collections.abc import Sequence

import matplotlib.axes
import numpy as np
from matplotlib.backends import backend_agg

# All in points, 1/72 inch.
_MARK = 4  # half the side of a point's square
_GAP = 2  # around a name
_RADII = (7, 14, 24, 36, 50, 66, 84, 104, 128, 156, 190, 230)
_LEADER = 14  # a name farther from its point gets a line to it
_DIRECTIONS = 16
# To the right first, then a step down, a step up, two down, ….
_TURNS = np.array([(i + 1) // 2 * (-1) ** i for i in range(_DIRECTIONS)])
_ANGLES = np.tile(2 * np.pi * _TURNS / _DIRECTIONS, len(_RADII))
_TOWARDS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)  # [O, 2]
_MOVES = np.repeat(_RADII, _DIRECTIONS)[:, None] * _TOWARDS
_ALONG = np.linspace(0.1, 1, 10)[:, None]  # of a line to a name
# Keeps letters apart from lines behind them.
_BEHIND = {'facecolor': 'white', 'alpha': 0.7, 'edgecolor': 'none', 'pad': 0}
_OUTSIDE = 1e6  # cost of each point that a name leaves the panel by


def place(
  points: np.ndarray, sizes: np.ndarray, panel: np.ndarray
) -> np.ndarray:
  """Chooses where each name goes, one after another.

  A name takes the nearest free place; where there is none, the one with the
  least overlap.

  Args:
    points: float [N, 2].
    sizes: float [N, 2], width and height of each name.
    panel: [4], left, bottom, right and top of the room there is.

  Returns:
    float [N, 4], left, bottom, right and top of each name.
  """
  marks = np.concatenate([points - _MARK, points + _MARK], axis=1)
  names = np.zeros((0, 4))
  for i, (point, size) in enumerate(zip(points, sizes, strict=True)):
    taken = np.concatenate([np.delete(marks, i, axis=0), names])
    options = _options(point, size)
    costs = _costs(options, point, taken, names, panel)
    names = np.concatenate([names, options[[np.argmin(costs)]]])
  return names


def _options(point: np.ndarray, size: np.ndarray) -> np.ndarray:
  """Boxes around a point [O, 4]: the nearest first, to the right first."""
  corners = point + _MOVES - size * (1 - _TOWARDS) / 2
  return np.concatenate([corners, corners + size], axis=1)


def _costs(
  boxes: np.ndarray,
  point: np.ndarray,
  taken: np.ndarray,
  names: np.ndarray,
  panel: np.ndarray,
) -> np.ndarray:
  """Overlap of each box, and of the line to it, with what is there; 0: free.

  Args:
    boxes: [O, 4] to choose from.
    point: [2], that the name belongs to.
    taken: [M, 4], other points and names.
    names: [N, 4], those placed so far.
    panel: [4].
  """
  wide = boxes + np.array([-_GAP, -_GAP, _GAP, _GAP])
  low = np.maximum(wide[:, None, :2], taken[:, :2])
  high = np.minimum(wide[:, None, 2:], taken[:, 2:])
  overlap = np.prod(np.maximum(high - low, 0), axis=-1).sum(-1)
  outside = np.maximum(panel[:2] - boxes[:, :2], 0).sum(-1)
  outside += np.maximum(boxes[:, 2:] - panel[2:], 0).sum(-1)
  ends = np.clip(point, boxes[:, :2], boxes[:, 2:])
  lines = point + _ALONG * (ends - point)[:, None]  # [O, .., 2]
  at = lines[:, :, None]
  inside = ((at > names[:, :2]) & (at < names[:, 2:])).all(-1)
  area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=-1)
  crossed = inside.any(1).sum(-1) * area
  return overlap + crossed + _OUTSIDE * outside


def _nearest(box: np.ndarray, point: np.ndarray) -> np.ndarray:
  """The place of a box that is nearest to a point."""
  return np.clip(point, box[:2], box[2:])


def write(
  ax: matplotlib.axes.Axes,
  x: Sequence[float],
  y: Sequence[float],
  names: Sequence[str],
  colors: Sequence[str],
  size: float = 8,
) -> None:
  """Writes names beside points, with a line to those that are far.

  Call it last, with scales, limits and the figure's layout as they will be.

  Args:
    ax: the panel.
    x: of each point, in the panel's units.
    y: likewise.
    names: one for each point.
    colors: likewise.
    size: of the letters, in points.
  """
  if not names:
    return
  scale = ax.figure.dpi / 72  # pixels per point
  texts = [
    ax.text(x[0], y[0], name, size=size, color=color, va='bottom', bbox=_BEHIND)
    for name, color in zip(names, colors, strict=True)
  ]
  # One for all names: by default each makes a canvas of its own.
  renderer = backend_agg.FigureCanvasAgg(ax.figure).get_renderer()
  sizes = [text.get_window_extent(renderer).size for text in texts]
  points = ax.transData.transform(np.column_stack([x, y])) / scale
  panel = np.array(ax.bbox.extents) / scale
  found = place(points, np.array(sizes) / scale, panel)
  back = ax.transData.inverted()
  ax.autoscale(False)
  for text, box, point in zip(texts, found, points, strict=True):
    end = _nearest(box, point)
    corner, *line = back.transform(np.array([box[:2], point, end]) * scale)
    text.set_position(corner)
    if np.linalg.norm(end - point) > _LEADER:
      ax.plot(
        *np.array(line).T, color=text.get_color(), linewidth=0.6, alpha=0.6
      )
