"""Exact match against the depth steps at inference, and early-exit rules."""

import dataclasses
import pathlib
from typing import Any

import matplotlib
import matplotlib.figure
import matplotlib.ticker
import numpy as np

from reasoning_depth.report import plots, runs, style

_ANALYSIS = 'depth'
_RULE_NAMES = {
  'kl': 'KL',
  'entropy': 'entropy',
  'kl_entropy': 'KL and entropy',
  'latent': 'latent difference',
  'argmax': 'argmax stability',
  'q_head': 'Q-head',
  'act': 'ACT threshold',
}
_MOST_CELLS = 240  # of a heat map whose cells show their value as a number
_LIGHT = 0.6  # cells of a larger value are light, so their number is dark


@dataclasses.dataclass(frozen=True)
class RuleCurve:
  """Points of an exit rule from the loosest to the strictest; float [P].

  Attributes:
    steps: depth steps, mean over samples.
    exact_match: mean over samples.
    seconds: for a batch; None where no time was measured.
  """

  steps: np.ndarray
  exact_match: np.ndarray
  seconds: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class DepthAnalysis:
  """What `evaluations/depth.json` holds, as far as it is drawn.

  Attributes:
    group_name: what the groups count.
    trained_depth: the most depth steps in training.
    depths: int [N].
    names: names of the groups.
    exact_match: [G, N].
    ceilings: best possible exact match of each group, None where not known.
    overall: exact match over all samples, [N].
    curves: by exit rule.
    timing: batch size, device and seconds of all depth steps, or None.
  """

  group_name: str
  trained_depth: int
  depths: np.ndarray
  names: tuple[str, ...]
  exact_match: np.ndarray
  ceilings: tuple[float | None, ...]
  overall: np.ndarray
  curves: dict[str, RuleCurve]
  timing: dict[str, Any] | None


def load(run: runs.Run, name: str = _ANALYSIS) -> DepthAnalysis:
  """Takes an analysis of depth out of a run.

  Raises:
    ValueError: in one line that names the file, where a field is missing.
  """
  found, path = run.analyses[name], run.analysis_path(name)
  own = ('group_name', 'trained_depth')
  runs.require(found, (*own, 'depths', 'groups', 'overall', 'exits'), path)
  groups, timing = found['groups'], found.get('timing')
  runs.require(found['overall'], ('exact_match',), f'{path}: overall')
  for group in groups:
    runs.require(group, ('exact_match',), f'{path}: groups')
  return DepthAnalysis(
    **{name: found[name] for name in own},
    depths=np.array(found['depths'], np.int64),
    names=tuple(str(g.get('label') or g['group']) for g in groups),
    exact_match=np.array([g['exact_match'] for g in groups], np.float64),
    ceilings=tuple(g.get('ceiling_exact_match') for g in groups),
    overall=np.array(found['overall']['exact_match'], np.float64),
    curves={
      rule: _curve(points, bool(timing), f'{path}: {rule}')
      for rule, points in found['exits'].items()
      if points
    },
    timing=timing,
  )


def _curve(points: list[dict[str, Any]], timed: bool, where: str) -> RuleCurve:
  names = ['mean_steps', 'exact_match'] + ['seconds'] * timed
  for point in points:
    runs.require(point, names, where)
  columns = [np.array([p[name] for p in points], np.float64) for name in names]
  return RuleCurve(*columns[:2], columns[2] if timed else None)


@matplotlib.rc_context(style.RC)
def draw(run: runs.Run) -> list[pathlib.Path]:
  """Draws every analysis of depth of a run; returns the paths."""
  paths = []
  title = f'{run.model} · {run.task} · seed {run.seed}'
  for name, analysis in run.analyses.items():
    if analysis['analysis'] == _ANALYSIS:
      found, suffix = load(run, name), name.removeprefix(_ANALYSIS)
      paths.append(style.save(heat_map(found, title), run.plot_path(name)))
      if found.curves:
        path = run.plot_path(f'exit_rules{suffix}')
        paths.append(style.save(exit_curves(found, title), path))
  return paths


@matplotlib.rc_context({**style.RC, 'axes.grid': False})
def heat_map(found: DepthAnalysis, title: str) -> matplotlib.figure.Figure:
  """Draws exact match by group and depth, and where each group peaks."""
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
  ax.set_yticks(range(G), map(_row_label, found.names, found.ceilings))
  ax.set_xlabel('depth steps at inference')
  ax.set_ylabel(plots.group_label(found.group_name))
  peaks = found.exact_match.argmax(1)
  ax.scatter(
    peaks, np.arange(G) - 0.36, 22, style.VERMILLION, marker='v',
    clip_on=False, label='best depth of each group',
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
  figure.suptitle(f'{title} · exact match by depth')
  return figure


def _row_label(name: str, ceiling: float | None) -> str:
  return name if ceiling is None else f'{name} (ceiling {ceiling:.2f})'


@matplotlib.rc_context(style.RC)
def exit_curves(found: DepthAnalysis, title: str) -> matplotlib.figure.Figure:
  """Draws exact match against mean steps, and seconds, for each exit rule."""
  panels = 2 if found.timing else 1
  figure = matplotlib.figure.Figure(
    figsize=(1 + 4.6 * panels, 4.6), layout='constrained'
  )
  axes = figure.subplots(1, panels, squeeze=False, sharey=True)[0]
  ax = axes[0]
  ax.plot(
    found.depths, found.overall, color=style.GREY, linestyle='--',
    label='the same steps for all samples',
  )  # fmt: skip
  ax.set_xlabel('depth steps, mean over samples')
  ax.set_ylabel('exact match (share of samples)')
  ax.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(8, integer=True))
  for i, (rule, curve) in enumerate(found.curves.items()):
    name = _RULE_NAMES.get(rule, rule.replace('_', ' '))
    drawn = {
      'color': style.COLORS[i % len(style.COLORS)],
      'marker': style.MARKERS[i % len(style.MARKERS)],
      'markersize': 4,
    }
    ax.plot(curve.steps, curve.exact_match, label=name, **drawn)
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
  figure.suptitle(f'{title} · exit rules, one point for each threshold')
  return figure
