"""Exact match against the depth steps at inference, and early-exit rules.

What is drawn here is `evaluations/depth.json`, as analysis/depth.py writes it.
"""

import pathlib
from typing import Any

import matplotlib
import matplotlib.figure
import matplotlib.ticker
import numpy as np

from reasoning_depth.report import plots, runs, style

_ANALYSIS = 'depth'
_NEEDED = (
  'group_name', 'trained_depth', 'depths', 'groups', 'overall', 'exits',
  'timing',
)  # fmt: skip
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


@matplotlib.rc_context(style.RC)
def draw(run: runs.Run) -> list[pathlib.Path]:
  """Draws every analysis of depth of a run; returns the paths.

  Raises:
    UsageError: in one line that names the file, where a field is missing.
  """
  paths = []
  title = f'{run.model} · {run.task} · seed {run.seed}'
  for suffix, found, path in run.analyses_of(_ANALYSIS, _NEEDED):
    _require_fields(found, path)
    path = run.plot_path(f'{_ANALYSIS}{suffix}')
    paths.append(style.save(heat_map(found, title), path))
    if any(found['exits'].values()):
      path = run.plot_path(f'exit_rules{suffix}')
      paths.append(style.save(exit_curves(found, title), path))
  return paths


def _require_fields(found: dict[str, Any], path: pathlib.Path) -> None:
  for group in (*found['groups'], found['overall']):
    runs.require(group, ('exact_match',), path)
  needed = ['mean_steps', 'exact_match'] + ['seconds'] * bool(found['timing'])
  for rule, points in found['exits'].items():
    for point in points:
      runs.require(point, needed, f'{path}: {rule}')


@matplotlib.rc_context({**style.RC, 'axes.grid': False})
def heat_map(found: dict[str, Any], title: str) -> matplotlib.figure.Figure:
  """Draws exact match by group and depth, and where each group peaks."""
  groups, depths = found['groups'], np.array(found['depths'])
  exact = np.array([group['exact_match'] for group in groups])
  G, N = exact.shape
  figure = matplotlib.figure.Figure(
    figsize=(max(5.5, 2.8 + 0.45 * N), 2.0 + 0.36 * G), layout='constrained'
  )
  ax = figure.subplots()
  image = ax.imshow(
    exact,
    vmin=0,
    vmax=1,
    cmap='viridis',
    aspect='auto',
    interpolation='nearest',
  )
  if G * N <= _MOST_CELLS:
    for (g, n), value in np.ndenumerate(exact):
      color = 'black' if value > _LIGHT else 'white'
      ax.text(
        n, g, f'{value:.2f}', ha='center', va='center', color=color, size=7
      )
  every = -(-N // 20)
  ax.set_xticks(range(0, N, every), depths[::every])
  ax.set_yticks(range(G), map(_row_label, groups))
  ax.set_xlabel('depth steps at inference')
  ax.set_ylabel(plots.group_label(found['group_name']))
  ax.scatter(
    exact.argmax(1), np.arange(G) - 0.36, 22, style.VERMILLION, marker='v',
    clip_on=False, label='best depth of each group',
  )  # fmt: skip
  trained = np.flatnonzero(depths == found['trained_depth'])
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


def _row_label(group: dict[str, Any]) -> str:
  name = str(group.get('label', group['group']))
  ceiling = group.get('ceiling_exact_match')
  return name if ceiling is None else f'{name} (ceiling {ceiling:.2f})'


@matplotlib.rc_context(style.RC)
def exit_curves(found: dict[str, Any], title: str) -> matplotlib.figure.Figure:
  """Draws exact match against mean steps, and seconds, for each exit rule."""
  overall, timing = found['overall']['exact_match'], found['timing']
  panels = 2 if timing else 1
  figure = matplotlib.figure.Figure(
    figsize=(1 + 4.6 * panels, 4.6), layout='constrained'
  )
  axes = figure.subplots(1, panels, squeeze=False, sharey=True)[0]
  ax = axes[0]
  ax.plot(
    found['depths'], overall, color=style.GREY, linestyle='--',
    label='the same steps for all samples',
  )  # fmt: skip
  ax.set_xlabel('depth steps, mean over samples')
  ax.set_ylabel('exact match (share of samples)')
  ax.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(8, integer=True))
  curves = {rule: points for rule, points in found['exits'].items() if points}
  top = max(overall)
  for i, (rule, points) in enumerate(curves.items()):
    exact = [point['exact_match'] for point in points]
    top = max(top, *exact)
    drawn = {
      'color': style.COLORS[i % len(style.COLORS)],
      'marker': style.MARKERS[i % len(style.MARKERS)],
      'markersize': 4,
    }
    name = _RULE_NAMES.get(rule, rule.replace('_', ' '))
    steps = [point['mean_steps'] for point in points]
    ax.plot(steps, exact, label=name, **drawn)
    if timing:
      axes[1].plot([1e3 * p['seconds'] for p in points], exact, **drawn)
  if timing:
    axes[1].plot(
      1e3 * timing['full_seconds'], overall[-1], '*', color=style.GREY,
      markersize=12, clip_on=False,
      label=f'all {found["depths"][-1]} steps, without a rule',
    )  # fmt: skip
    axes[1].set_xlabel(f'ms for {timing["batch_size"]} samples')
    axes[1].set_xlim(left=0)
  ax.set_ylim(0, min(1.02, 1.1 * max(top, 0.01)))
  style.legend_below(figure, 4)
  figure.suptitle(f'{title} · exit rules, one point for each threshold')
  return figure
