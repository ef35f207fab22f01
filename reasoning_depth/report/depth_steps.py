"""Accuracy against depth steps at inference: a heat map, and exit rules."""

import dataclasses
import pathlib
from typing import Any

import matplotlib
import matplotlib.axes
import matplotlib.figure
import matplotlib.ticker
import numpy as np

from reasoning_depth.report import plots, runs, style

_NAME = 'compute_scaling'
_NAMES = {
  'kl': 'KL',
  'entropy': 'entropy',
  'kl_entropy': 'KL and entropy',
  'latent': 'latent difference',
  'argmax': 'argmax stability',
  'q_head': 'Q-head',
  'act': 'ACT threshold',
}
_MOST_CELLS = 240  # with their number written into them
_LIGHT = 0.6  # cells above it are light, their numbers dark


@dataclasses.dataclass(frozen=True)
class Curve:
  """Points of an exit rule from the loosest to the strictest; float [P].

  Attributes:
    threshold: of the rule.
    steps: mean over samples.
    exact_match: mean over samples.
    seconds: for a batch; None where no time was measured.
  """

  threshold: np.ndarray
  steps: np.ndarray
  exact_match: np.ndarray
  seconds: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Scaling:
  """What `evaluations/compute_scaling.json` holds, as far as it is drawn.

  Attributes:
    group_name: what the groups count.
    trained_depth: the most depth steps in training.
    depths: int [N].
    names: of the groups.
    exact_match: [G, N].
    ceilings: best possible exact match of each group, None where not known.
    overall: [N], over all samples.
    curves: by exit rule.
    timing: batch size, device and seconds of all the steps, or None.
  """

  group_name: str
  trained_depth: int
  depths: np.ndarray
  names: tuple[str, ...]
  exact_match: np.ndarray
  ceilings: tuple[float | None, ...]
  overall: np.ndarray
  curves: dict[str, Curve]
  timing: dict[str, Any] | None


def load(run: runs.Run, name: str = _NAME) -> Scaling:
  """What an analysis of compute scaling found.

  Raises:
    ValueError: in one line that names the file, where it is damaged.
  """
  found = run.analyses[name]
  path = run.folder / 'evaluations' / f'{name}.json'
  needed = {
    'group_name': str, 'trained_depth': int, 'depths': list, 'groups': list,
    'overall': dict, 'exits': dict,
  }  # fmt: skip
  runs.check(found, needed, str(path))
  try:
    return _parsed(found)
  except (KeyError, TypeError, ValueError, AttributeError) as error:
    text = ' '.join(str(error).split())
    raise ValueError(f'{path}: damaged ({text})') from None


def _parsed(found: dict[str, Any]) -> Scaling:
  depths = np.array(found['depths'], np.int64)
  groups = found['groups']
  exact = _numbers([g['exact_match'] for g in groups])
  overall = _numbers(found['overall']['exact_match'])
  if overall.shape != depths.shape or exact.shape[1:] != depths.shape:
    raise ValueError('exact_match has not a value for each of depths')
  timing = found.get('timing')
  if timing:
    _numbers([timing['full_seconds'], timing['batch_size']])
  return Scaling(
    group_name=found['group_name'],
    trained_depth=found['trained_depth'],
    depths=depths,
    names=tuple(str(g.get('label') or g['group']) for g in groups),
    exact_match=exact,
    ceilings=tuple(g.get('ceiling_exact_match') for g in groups),
    overall=overall,
    curves={
      name: _curve(points, bool(timing))
      for name, points in found['exits'].items()
      if points
    },
    timing=timing,
  )


def _curve(points: list[dict[str, Any]], timed: bool) -> Curve:
  def column(name):
    return _numbers([point[name] for point in points])

  return Curve(
    column('threshold'),
    column('mean_steps'),
    column('exact_match'),
    column('seconds') if timed else None,
  )


def _numbers(values: list[Any]) -> np.ndarray:
  array = np.array(values, np.float64)
  if not array.size or not np.isfinite(array).all():
    raise ValueError('numbers are missing or not finite')
  return array


def draw(run: runs.Run) -> list[pathlib.Path]:
  """Draws every one that a run has; returns the paths. Errors as `load`."""
  paths = []
  for name, found in run.analyses.items():
    if found['analysis'] == _NAME:
      scaling, ending = load(run, name), name.removeprefix(_NAME)
      paths.append(heat_map(run, scaling, run.plot(name)))
      if scaling.curves:
        path = run.plot(f'exit_rules{ending}')
        paths.append(exit_curves(run, scaling, path))
  return paths


@matplotlib.rc_context({**style.RC, 'axes.grid': False})
def heat_map(run: runs.Run, found: Scaling, path: pathlib.Path) -> pathlib.Path:
  """Draws exact match by group and depth, and the peak of each group."""
  G, N = found.exact_match.shape
  figure = matplotlib.figure.Figure(
    figsize=(max(5.5, 2.8 + 0.45 * N), 2.0 + 0.36 * G), layout='constrained'
  )
  ax = figure.subplots()
  image = ax.imshow(
    found.exact_match,
    vmin=0,
    vmax=1,
    cmap='viridis',
    aspect='auto',
    interpolation='nearest',
  )
  if G * N <= _MOST_CELLS:
    for (g, n), value in np.ndenumerate(found.exact_match):
      color = 'black' if value > _LIGHT else 'white'
      ax.text(
        n, g, f'{value:.2f}', ha='center', va='center', color=color, size=7
      )
  every = -(-N // 20)
  ax.set_xticks(range(0, N, every), found.depths[::every])
  ax.set_yticks(range(G), map(_named, found.names, found.ceilings))
  ax.set_xlabel('depth steps at inference')
  ax.set_ylabel(plots.group_label(found.group_name))
  peaks = found.exact_match.argmax(1)
  ax.scatter(
    peaks, np.arange(G) - 0.36, 22, style.VERMILLION, marker='v',
    clip_on=False, label='peak of a row',
  )  # fmt: skip
  trained = np.flatnonzero(found.depths == found.trained_depth)
  if len(trained):
    ax.axvline(
      trained[0] + 0.5, color=style.VERMILLION, linestyle='--',
      label='most steps in training',
    )  # fmt: skip
  ax.spines[:].set_visible(False)
  figure.colorbar(image, label='exact match (share of samples)')
  style.legend_below(figure, 2)
  figure.suptitle(
    f'{run.model} · {run.task} · seed {run.seed} · exact match by depth'
  )
  return style.save(figure, path)


def _named(name: str, ceiling: float | None) -> str:
  return name if ceiling is None else f'{name} (ceiling {ceiling:.2f})'


@matplotlib.rc_context(style.RC)
def exit_curves(
  run: runs.Run, found: Scaling, path: pathlib.Path
) -> pathlib.Path:
  """Draws exact match of exit rules against steps, and against seconds."""
  panels = 2 if found.timing else 1
  figure = matplotlib.figure.Figure(
    figsize=(1 + 4.6 * panels, 4.6), layout='constrained'
  )
  axes = figure.subplots(1, panels, squeeze=False, sharey=True)[0]
  ax = axes[0]
  ax.plot(
    found.depths, found.overall, color=style.GREY, linestyle='--',
    label='the same steps for all',
  )  # fmt: skip
  ax.set_xlabel('depth steps, mean over samples')
  ax.set_ylabel('exact match (share of samples)')
  ax.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(8, integer=True))
  for i, (name, curve) in enumerate(found.curves.items()):
    drawn = {
      'color': style.COLORS[i % len(style.COLORS)],
      'marker': style.MARKERS[i % len(style.MARKERS)],
      'markersize': 4,
    }
    ax.plot(curve.steps, curve.exact_match, label=_NAMES.get(name), **drawn)
    if found.timing:
      axes[1].plot(1e3 * curve.seconds, curve.exact_match, **drawn)
  if found.timing:
    full = 1e3 * found.timing['full_seconds']
    axes[1].plot(
      full, found.overall[-1], '*', color=style.GREY, markersize=12,
      clip_on=False,
      label=f'all {found.depths[-1]} steps, without a rule',
    )  # fmt: skip
    axes[1].set_xlabel(f'ms for {found.timing["batch_size"]} samples')
    axes[1].set_xlim(left=0)
  top = max(c.exact_match.max() for c in found.curves.values())
  ax.set_ylim(0, min(1.02, 1.1 * max(top, found.overall.max(), 0.01)))
  style.legend_below(figure, 4)
  figure.suptitle(
    f'{run.model} · {run.task} · seed {run.seed} · exit rules, '
    'a point a threshold'
  )
  return style.save(figure, path)
