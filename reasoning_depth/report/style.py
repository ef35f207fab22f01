"""Colours, fonts and legends of all figures, and their saving."""

import pathlib
import textwrap
from typing import Any

import matplotlib
import matplotlib.figure

# Okabe and Ito's colours, told apart by colour-blind readers too.
BLUE, VERMILLION, GREEN = '#0072B2', '#D55E00', '#009E73'
PURPLE, ORANGE, SKY = '#CC79A7', '#E69F00', '#56B4E9'
COLORS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
MARKERS = 'osD^v'  # one less than colours, so that pairs repeat late
GREY = '#666666'
_SPARE = 0.9  # share of the room that a name may fill: letters differ in width
RC = {
  'font.size': 10,
  'axes.titlesize': 10,
  'axes.spines.top': False,
  'axes.spines.right': False,
  'axes.grid': True,
  'grid.color': '#e6e6e6',
  'axes.axisbelow': True,
  'legend.frameon': False,
  'legend.handlelength': 2.6,
  'lines.markersize': 5,
  'figure.constrained_layout.w_pad': 0.12,
  'figure.titlesize': 11,
  'figure.dpi': 150,
  'text.parse_math': False,  # a $ in a name is a dollar sign
}


def legend_below(
  figure: matplotlib.figure.Figure, most: int, **named: Any
) -> None:
  """Puts a legend under the panels, in as many columns as fit.

  A name that is wider than the figure is broken into several rows.

  Args:
    figure: with its panels drawn.
    most: columns at most.
    **named: `handles` and `labels` of `Figure.legend`; by default, those of all
      panels.
  """
  for columns in range(most, 0, -1):
    legend = figure.legend(loc='outside lower center', ncols=columns, **named)
    excess = legend.get_window_extent().width - figure.bbox.width
    if excess <= 0:
      return
    if columns > 1:
      legend.remove()
  texts = legend.get_texts()
  widths = [text.get_window_extent().width for text in texts]
  room = _SPARE * (max(widths) - excess)
  for text, width in zip(texts, widths, strict=True):
    if width > room:
      name = text.get_text()
      text.set_text(textwrap.fill(name, max(1, int(len(name) * room / width))))


def save(figure: matplotlib.figure.Figure, path: pathlib.Path) -> pathlib.Path:
  """Writes a figure as PNG, and beside it as SVG for pages.

  The SVG has letters as text and no background, and is the same each time.

  Args:
    figure: what to write.
    path: of the PNG; its folder is made if need be.

  Returns:
    the path.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  if engine := figure.get_layout_engine():
    engine.execute(figure)
    figure.set_layout_engine(None)  # it stays so, and is drawn once a file
  figure.savefig(path)
  with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': 'salt'}):
    figure.savefig(
      path.with_suffix('.svg'), transparent=True, metadata={'Date': None}
    )
  return path
