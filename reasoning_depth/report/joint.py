"""Plots of several runs together."""

import pathlib
from collections.abc import Mapping, Sequence

from reasoning_depth.report import (
  ahead,
  compute,
  depth_bars,
  depth_score,
  learning,
  lines,
  plots,
  runs,
)


def draw(
  all_runs: Sequence[runs.Run],
  named: Mapping[str, Sequence[runs.Run]],
  out: pathlib.Path,
  groups: Sequence[int] | None,
) -> list[pathlib.Path]:
  """Draws the plots of runs; returns the paths.

  Args:
    all_runs: to draw.
    named: the same, by setting.
    out: folder of the plots.
    groups: of the plots at equal compute; None for look-aheads alone, [] for
      the default ones.
  """
  joint = lines.join(all_runs)
  drawn = [
    plots.exact_match(joint, out / 'exact_match_joint.png'),
    ahead.draw(ahead.join(all_runs), out / 'look_ahead_joint.png'),
    depth_bars.draw(
      {'': depth_score.by_setting(named)},
      'DepthScore',
      out / 'depth_score_joint.png',
    ),
    learning.draw(joint, out / 'learning_joint.png'),
  ]
  if groups is not None or all(
    line.group_name == 'look_ahead' for line in joint
  ):
    drawn += compute.draw(named, out, groups or compute.GROUPS)
  return [path for path in drawn if path is not None]
