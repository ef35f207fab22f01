"""Pictures of single orbits: ground truth, prediction and error."""

import itertools
import pathlib
from collections.abc import Iterable
from typing import Any

import matplotlib
import matplotlib.axes
import matplotlib.colors
import matplotlib.figure
import matplotlib.patches
import numpy as np

from reasoning_depth.report import runs, style

# Indices into the palette; a cell adds its value, 0 or 1, to the first three.
# Observed states are paler than the answer.
SEEN, ASKED, FAINT, WRONG, FOREIGN = 0, 2, 4, 6, 7
PALETTE = matplotlib.colors.ListedColormap(
  [
    *('#f1f1f1', '#8d8d8d'),  # observed 0 and 1
    *('#d9e8f3', '#0b3c5d'),  # answer 0 and 1
    *('#f7f7f7', '#dcdcdc'),  # 0 and 1 where nothing is wrong
    style.VERMILLION,
    style.ORANGE,  # predicted a token that is neither 0 nor 1
  ]
)
_LEGEND = {
  SEEN + 1: 'observed 1',
  ASKED + 1: 'answer 1',
  ASKED: 'answer 0',
  FOREIGN: 'not a cell',
  WRONG: 'wrong cell',
}
_LINES = 3  # at least, each of two samples
_MAX_GROUPS = 8
_MARGIN = 3.0  # cells between panels
_PANELS = ('truth', 'prediction', 'error')


def choose(
  rows: Iterable[dict[str, Any]], per_group: int
) -> dict[int, list[dict[str, Any]]]:
  """Picks samples of each group, right and wrong ones in turn.

  Takes the first of each kind in the order of the rows; where one kind runs
  out, the other fills up.

  Returns:
    At most `per_group` rows of each group, by group in ascending order.
  """
  found: dict[int, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {}
  for row in rows:
    right, wrong = found.setdefault(row['group'], ([], []))
    kind = right if row['exact'] else wrong
    if len(kind) < per_group:
      kind.append(row)
  chosen = {}
  for group in sorted(found):
    turns = itertools.zip_longest(*found[group])
    picked = [row for turn in turns for row in turn if row is not None]
    chosen[group] = picked[:per_group]
  return chosen


def cells(row: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
  """The three panels of one sample as indices into the palette.

  Returns:
    observed int8 [3, T, W] and answer int8 [3, A, W], where A is the number
    of states that were asked; both in the order truth, prediction, error.
  """
  W = len(row['observed'][0])
  seen = bits(row['observed'])
  truth = bits([row['target']]).reshape(-1, W)
  prediction = bits([row['prediction']]).reshape(-1, W)
  painted = np.where(prediction < 0, FOREIGN, ASKED + prediction)
  error = np.where(prediction != truth, WRONG, FAINT + truth)
  observed = np.stack([SEEN + seen, SEEN + seen, FAINT + seen])
  return observed, np.stack([ASKED + truth, painted, error])


def bits(rows: Iterable[str]) -> np.ndarray:
  """Rows of text as int8 [rows, W]: 0, 1, or -1 for any other character."""
  return np.array([['01'.find(c) for c in row] for row in rows], np.int8)


@matplotlib.rc_context({**style.RC, 'axes.grid': False})
def orbits(run: runs.Run) -> pathlib.Path | None:
  """Draws some samples of the run's evaluation, right and wrong ones.

  Returns:
    The path written, or None where no rows with observed states were written.
  """
  if run.evaluation is None:
    return None
  seen = (row for row in runs.rows(run.evaluation) if row.get('observed'))
  lines = -(-_LINES // len(run.evaluation.groups))  # of each group
  chosen = list(choose(seen, 2 * lines).values())[:_MAX_GROUPS]
  if not chosen:
    return None
  observed, answer = cells(chosen[0][0])
  W = observed.shape[2]
  rows = observed.shape[1] + _gap(W) + answer.shape[1]
  height = 6 * rows / (3 * W + 2 * _MARGIN) + 0.5
  num_lines = lines * len(chosen)
  figure = matplotlib.figure.Figure(
    figsize=(13, num_lines * height + 0.8), layout='constrained'
  )
  axes = figure.subplots(num_lines, 2, squeeze=False)
  for ax in axes.flat:
    ax.set_axis_off()
  used = set()
  for i, samples in enumerate(chosen):
    own = axes[i * lines : (i + 1) * lines].flat
    for ax, row in zip(own, samples, strict=False):
      used |= _draw(ax, row, run.evaluation.group_name)
  overall = run.evaluation.overall
  figure.suptitle(
    f'{run.model} · {run.task} · right and wrong answers side by side '
    f'(exact match is {overall.exact_match:.3f} on '
    f'{overall.num_samples:,} samples)'
  )
  handles = [
    matplotlib.patches.Patch(color=PALETTE.colors[code], label=label)
    for code, label in _LEGEND.items()
    if code in used
  ]
  style.legend_below(figure, len(handles), handles=handles)
  return style.save(figure, run.plot_path('orbits'))


def _gap(width: int) -> float:
  """Cells between observed states and answer: room for both tick labels."""
  return max(0.7, (3 * width + 2 * _MARGIN) / 40 - 1)


def _draw(
  ax: matplotlib.axes.Axes, row: dict[str, Any], group_name: str
) -> set[int]:
  """Draws the panels of one sample; returns the palette indices it used."""
  ax.set_axis_on()
  ax.spines[:].set_visible(False)
  observed, answer = cells(row)
  T, W = observed.shape[1:]
  A = answer.shape[1]
  centres, gap = [], _gap(W)
  for panel in range(3):
    left = panel * (W + _MARGIN)
    centres.append(left + W / 2)
    for block, top in ((observed[panel], 0), (answer[panel], T + gap)):
      ax.pcolormesh(
        left + np.arange(W + 1),
        top + np.arange(len(block) + 1),
        block,
        cmap=PALETTE,
        vmin=-0.5,
        vmax=len(PALETTE.colors) - 0.5,
        edgecolors='white',
        linewidth=0.3,
        rasterized=True,  # in the SVG: thousands of cells
      )
  ax.set_aspect('equal')
  ax.invert_yaxis()
  ax.tick_params(length=0)
  ax.set_xticks(centres, _PANELS)
  k = row['group'] if group_name == 'look_ahead' else A
  times = [0, T - 1, T - 1 + k]
  ax.set_yticks([0.5, T - 0.5, T + gap + A - 0.5], times)
  ax.set_ylabel('time step')
  ax.set_title(_verdict(row, group_name), loc='left')
  return {*observed.flat, *answer.flat}


def _verdict(row: dict[str, Any], group_name: str) -> str:
  name = 'k' if group_name == 'look_ahead' else group_name
  pairs = zip(row['prediction'], row['target'], strict=True)
  wrong = sum(a != b for a, b in pairs)
  verdict = (
    '✓ right'
    if row['exact']
    else f'✗ wrong in {wrong} of {len(row["target"])} cells'
  )
  text = f'{name} = {row["group"]}   {verdict}'
  ceiling = row.get('ceiling_exact_match')
  if ceiling is not None and ceiling < 1:
    text += f'   (undetermined: ceiling {ceiling:.2f})'
  return text
