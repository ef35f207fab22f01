"""Heat maps of what `--mode=analyze` found inside of a model."""

import pathlib
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
import matplotlib.axes
import matplotlib.figure
import numpy as np

from reasoning_depth.report import runs, style

_MOST_ROWS, _MOST_COLUMNS = 6, 8
_MOST_TICKS = 8
_MOST_WRITTEN = 40  # cells of a panel that have their number in them
_RC = {**style.RC, 'axes.grid': False, 'xtick.labelsize': 8,
       'ytick.labelsize': 8}  # fmt: skip


def draw(run: runs.Run) -> list[pathlib.Path]:
  """Draws every lens and every patching sweep that a run has.

  Raises:
    ValueError: in one line that names the file, where it is damaged.
  """
  kinds = {'lens': _lenses, 'patching': _sweeps}
  paths = []
  for name, found in run.analyses.items():
    make = kinds.get(str(found['analysis']))
    if make:
      paths += make(run, name, found)
  return paths


@matplotlib.rc_context(_RC)
def _lenses(
  run: runs.Run, name: str, found: dict[str, Any]
) -> list[pathlib.Path]:
  """A picture for each lens and set of samples."""
  where = f'{run.folder / "evaluations" / name}.json'
  needed = {'positions': list, 'milestones': list, 'loop_name': str}
  runs.check(found, {**needed, 'logit': list}, where)
  K, P = len(found['milestones']), len(found['positions'])
  paths = []
  for lens in ('logit', 'tuned'):
    for entry in found.get(lens) or ():
      runs.check(
        entry, {'set': str, 'num_samples': int, 'probability': list}, where
      )
      values = _array(entry['probability'], 4, where)
      if (values.shape[0], values.shape[3]) != (K, P):
        raise ValueError(f'{where}: {lens}: not {K} milestones, {P} positions')
      title = (
        f'{run.model} · {run.task} · {lens} lens · {entry["set"]} '
        f'({entry["num_samples"]:,} samples)'
      )
      path = _path(run, name, lens, entry['set'])
      paths.append(style.save(_lens(found, values, title), path))
  return paths


def _lens(
  found: dict[str, Any], values: np.ndarray, title: str
) -> matplotlib.figure.Figure:
  """A row for each milestone, a panel a layer, position by loop."""
  loop = found['loop_name']
  columns = [f'layer {i + 1}' for i in range(values.shape[2])]
  if values.shape[1] == 1:  # nothing is looped: layers take the loops' place
    values, loop, columns = values.swapaxes(1, 2), 'layer', ['']
  rows = _some(len(values), _MOST_ROWS)
  across = _some(len(columns), _MOST_COLUMNS)
  positions = list(map(str, found['positions']))
  figure, axes = _grid(len(rows), len(across), values.shape[3], values.shape[1])
  for line, k in zip(axes, rows, strict=True):
    for ax, c in zip(line, across, strict=True):
      image = _panel(ax, values[k, :, c], 'viridis', (0, 1))
      _ticks(ax.set_xticks, positions)
      _ticks(ax.set_yticks, _numbers(values.shape[1]))
    line[0].set_ylabel(f'{found["milestones"][k]}\n\n{loop}')
  _frame(figure, axes, [columns[c] for c in across], 'position')
  figure.colorbar(image, ax=axes, label='probability (mean over samples)')
  figure.suptitle(title)
  return figure


@matplotlib.rc_context(_RC)
def _sweeps(
  run: runs.Run, name: str, found: dict[str, Any]
) -> list[pathlib.Path]:
  """A picture for each kind of pairs: a row a site, a panel a place."""
  where = f'{run.folder / "evaluations" / name}.json'
  runs.check(found, {'pairs': list, 'loop_name': str}, where)
  paths = []
  for entry in found['pairs']:
    needed = {'other': str, 'num_pairs': int, 'told_apart': int}
    runs.check(entry, {**needed, 'sites': list}, where)
    sites = []
    for site in entry['sites']:
      runs.check(site, {'site': str, 'places': list, 'recovered': list}, where)
      values = _array(site['recovered'], 3, where)
      if len(values) != len(site['places']):
        raise ValueError(f'{where}: {site["site"][:20]}: places do not fit')
      sites.append((site['site'], site['places'], values))
    if not sites:
      raise ValueError(f'{where}: sites is empty')
    title = (
      f'{run.model} · {run.task} · patching: other {entry["other"]} '
      f'({entry["told_apart"]:,} of {entry["num_pairs"]:,} pairs told apart)'
    )
    figure = _sweep(sites, found['loop_name'])
    figure.suptitle(title)
    paths.append(style.save(figure, _path(run, name, entry['other'])))
  return paths


def _sweep(
  sites: Sequence[tuple[str, list[Any], np.ndarray]], loop: str
) -> matplotlib.figure.Figure:
  """Layer by loop, the share recovered."""
  most = max(len(places) for _, places, _ in sites)
  loops = max(values.shape[1] for _, _, values in sites)
  layers = max(values.shape[2] for _, _, values in sites)
  columns = _some(most, _MOST_COLUMNS)
  figure, axes = _grid(len(sites), len(columns), loops, layers)
  for line, (name, places, values) in zip(axes, sites, strict=True):
    for ax, c in zip(line, columns, strict=True):
      if c >= len(places):
        ax.set_axis_off()
        continue
      image = _panel(ax, values[c].T, 'RdBu', (-1, 1))
      ax.set_title(str(places[c]))
      _ticks(ax.set_xticks, _numbers(values.shape[1]))
      _ticks(ax.set_yticks, _numbers(values.shape[2]))
    line[0].set_ylabel(f'{name}\n\nlayer')
  _frame(figure, axes, None, loop)
  label = 'share of the logit difference recovered'
  figure.colorbar(image, ax=axes, label=label)
  return figure


def _panel(
  ax: matplotlib.axes.Axes,
  values: np.ndarray,
  cmap: str,
  limits: tuple[float, float],
) -> Any:
  """values [rows, columns]; the first row is at the bottom."""
  low, high = limits
  image = ax.imshow(
    values, cmap, aspect='auto', origin='lower', vmin=low, vmax=high
  )
  if values.size <= _MOST_WRITTEN:
    for (y, x), value in np.ndenumerate(values):
      if np.isfinite(value):
        share = min(max((value - low) / (high - low), 0), 1)
        red, green, blue, _ = image.cmap(share)
        dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
        ax.text(
          x, y, f'{value:.2f}', ha='center', va='center', fontsize=7,
          color='white' if dark else 'black',
        )  # fmt: skip
  return image


def _grid(
  rows: int, columns: int, across: int, up: int
) -> tuple[matplotlib.figure.Figure, np.ndarray]:
  """Panels of so many cells across and up."""
  width = min(max(1.5, 0.38 * across), 5)
  height = min(max(1.2, 0.28 * up), 3.5)
  figure = matplotlib.figure.Figure(
    figsize=(max(2.2 + width * columns, 6.5), 1.1 + (height + 0.3) * rows),
    layout='constrained',
  )
  return figure, figure.subplots(rows, columns, squeeze=False)


def _frame(
  figure: matplotlib.figure.Figure,
  axes: np.ndarray,
  titles: list[str] | None,
  below: str,
) -> None:
  for ax, title in zip(axes[0], titles or (), strict=False):
    ax.set_title(title)
  figure.supxlabel(below, fontsize=style.RC['font.size'])


def _some(count: int, most: int) -> list[int]:
  """At most so many of the first `count` numbers, the ends among them."""
  return np.unique(
    np.linspace(0, count - 1, min(count, most)).round().astype(int)
  ).tolist()


def _numbers(count: int) -> list[str]:
  return [str(i + 1) for i in range(count)]


def _ticks(put: Any, names: list[str]) -> None:
  at = _some(len(names), _MOST_TICKS)
  long = max(len(names[i]) for i in at) > 3
  turned = {'rotation': 30, 'ha': 'right'} if long else {}
  put(at, [names[i] for i in at], **turned)


def _array(value: Any, ndim: int, where: str) -> np.ndarray:
  """Nested lists as an array; None is NaN.

  Raises:
    ValueError: where they are not numbers in so many axes, or there are none.
  """
  try:
    array = np.array(value, np.float64)
  except (ValueError, TypeError, OverflowError):
    array = np.zeros(0)
  if array.ndim != ndim or not array.size:
    raise ValueError(f'{where}: not numbers in {ndim} axes')
  return array


def _path(run: runs.Run, *names: str) -> pathlib.Path:
  name = '-'.join(names[1:])
  name = re.sub(r'\W+', '_', name)[:60]
  return run.folder / 'plots' / f'{names[0]}-{name}.png'
