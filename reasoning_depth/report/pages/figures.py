"""Drawings of a page: where each belongs, and what it shows."""

import dataclasses
import pathlib
from collections.abc import Iterable, Sequence

from reasoning_depth.report.pages import html, svg

# Section and caption, by how the name of the file begins; the first that fits.
_KINDS = {
  'exact_match': (
    'Results',
    'Exact match by group, with 95 % intervals, beside ceiling and baselines.',
  ),
  'orbits': (
    'Results',
    'Single answers, right and wrong ones side by side; time runs downward.',
  ),
  'look_ahead': (
    'Look-ahead',
    'Exact match against the look-ahead, far beyond training. Bands: 95 % '
    'intervals, with the spread of seeds where there are several.',
  ),
  'depth_score': (
    'DepthScore and horizon',
    'DepthScore, from 1 to 4, and horizon, the look-ahead up to which exact '
    'match is close to the ceiling; a dot is a seed.',
  ),
  'layers': (
    'Equal compute',
    'Share of the ceiling against layers applied one after another.',
  ),
  'compute_parameters': (
    'Equal compute',
    'Share of the ceiling against parameters; bars: range of seeds.',
  ),
  'compute_training': (
    'Equal compute',
    'Share of the ceiling against floating-point operations of training.',
  ),
  'compute_answer': (
    'Equal compute',
    'Share of the ceiling against floating-point operations of one answer.',
  ),
  'curves': ('Training', 'Loss and accuracies over training.'),
  'learning': (
    'Training',
    'Exact match on the validation split over training, a line for each run.',
  ),
  'exit_rules': (
    'Depth steps',
    'Exact match against the depth steps taken, for each exit rule.',
  ),
  'depth': (
    'Depth steps',
    'Exact match by group and number of depth steps at inference.',
  ),
  'halting': (
    'Halting',
    'Depth steps taken at each position, mean over samples.',
  ),
  'lens': (
    'Inside',
    'Logit lens: how likely intermediate results are after each layer and '
    'loop.',
  ),
  'patching': (
    'Inside',
    'Activation patching: share of the logit difference that an activation '
    'brings back.',
  ),
}


@dataclasses.dataclass(frozen=True)
class Figure:
  """A drawing in a page.

  Attributes:
    section: title of the section that it belongs to.
    html: the drawing with its caption.
    path: the file that it was made from.
  """

  section: str
  html: str
  path: pathlib.Path


def load(paths: Iterable[pathlib.Path]) -> list[Figure]:
  """Reads drawings, in the order of sections.

  Args:
    paths: of the PNG files; `style.save` wrote an SVG beside each.
  """
  found = []
  order = list(_KINDS)
  for i, path in enumerate(paths):
    kind = next((k for k in order if path.stem.startswith(k)), '')
    section, caption = _KINDS.get(kind, ('Other plots', path.stem))
    drawing = svg.read(path.with_suffix('.svg'), f'f{i}', caption)
    place = order.index(kind) if kind else len(order)
    figure = Figure(section, html.figure(drawing, caption), path)
    found.append((place, i, figure))
  return [figure for *_, figure in sorted(found, key=lambda f: f[:2])]


def fitting(
  found: Sequence[Figure], most: int
) -> tuple[list[Figure], list[Figure]]:
  """The figures that fit into so many bytes, and those that do not."""
  kept, left_out = [], []
  for figure in found:
    size = len(figure.html.encode())
    if size <= most:
      kept.append(figure)
      most -= size
    else:
      left_out.append(figure)
  return kept, left_out
