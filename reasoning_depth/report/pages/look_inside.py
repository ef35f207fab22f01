"""`look_inside.html`: single samples, to step through by loop, layer and cell.

Its data is `evaluations/samples.json`, as analysis/samples.py writes it, with
the overrides of the analysis in its name.
"""

import json
import pathlib
from typing import Any

from reasoning_depth.report import halting, runs
from reasoning_depth.report.pages import html

NAME = 'look_inside'
_MOST_BYTES = 900_000  # of samples
_NEEDED = (
  'group_name', 'labels', 'loop_name', 'layers', 'loops', 'trained_loops',
  'row_tokens', 'positions', 'milestones', 'samples', 'step', 'split',
)  # fmt: skip
_OF_SAMPLE = (
  'group', 'scored_after', 'at', 'target', 'answer', 'milestones', 'said',
  'percent',
)  # fmt: skip


def write(run: runs.Run) -> list[pathlib.Path]:
  """Writes a page for each analysis of samples of a run; returns the paths.

  Raises:
    UsageError: in one line that names the file, where a field is missing.
  """
  paths = []
  for suffix, found, where in run.analyses_of(halting.ANALYSIS, _NEEDED):
    for i, sample in enumerate(found['samples']):
      runs.require(sample, _OF_SAMPLE, f'{where}: samples[{i}]')
    path = run.folder / f'{NAME}{suffix}.html'
    paths.append(html.write(path, page(run, found)))
  return paths


def page(run: runs.Run, found: dict[str, Any]) -> str:
  """The page of one analysis, with as many samples as stay below 900 kB."""
  samples = _fitting(found['samples'])
  shown = {name: found[name] for name in _NEEDED} | {'samples': samples}
  shown['lattice'] = all('observed' in sample for sample in samples)
  right = sum(s['answer'] == s['target'] for s in samples)
  headline = (
    f'Inside {run.model} on {run.task}: {len(samples)} answers, {right} right'
  )
  layered, loop = found['layers'] > 1, found['loop_name']
  row = 'layer' if layered and found['loops'] == 1 else loop
  each = f'{loop} and layer' if layered and row == loop else row
  how = ' as if the model ended there (logit lens)' if layered else ''
  lead = (
    f'Samples of the {found["split"]} split at step {found["step"]:,}, seed '
    f'{run.seed}. Read out after each {each}{how}.'
  )
  body = html.packaged('look_inside.html')
  for name, text in (
    ('headline', headline), ('lead', lead), ('loop', loop),
    ('row', row),
  ):  # fmt: skip
    body = body.replace(f'${name}$', html.escape(text))
  body += html.data('data', shown)
  return html.document(headline, body, html.packaged('look_inside.js'))


def _fitting(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
  """The first samples that fit."""
  left, kept = _MOST_BYTES, []
  for sample in samples:
    left -= len(json.dumps(sample, separators=(',', ':'))) + 1
    if left < 0:
      break
    kept.append(sample)
  return kept
