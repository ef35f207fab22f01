"""What a report says in words and tables."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from reasoning_depth import settings
from reasoning_depth.report import (
  costs,
  depth_score,
  depth_table,
  lines,
  runs,
  tables,
)
from reasoning_depth.report.pages import html

# Runs by the name of what they have in common; they differ in seed and group.
Named = Mapping[str, Sequence[runs.Run]]
_MISSING = '–'
_MOST_SHOWN = 60  # characters of a field's value
_PACKAGES = ('jax', 'jaxlib', 'flax')


def by_setting(all_runs: Sequence[runs.Run]) -> dict[str, list[runs.Run]]:
  """Runs by the name of their line; those without an evaluation by their own.

  Raises:
    UsageError: as `lines.join`.
  """
  found: dict[str, list[runs.Run]] = {}
  for line in lines.join(all_runs):
    name = ' · '.join(filter(None, [line.label, line.panel]))
    found.setdefault(name, []).extend(line.members)
  for run in all_runs:
    if run.evaluation is None:
      name = run.folder.resolve().name
      found.setdefault(name, []).append(run)
  return found


def headline(named: Named) -> str:
  """One line that says what is shown."""
  members = [run for found in named.values() for run in found]
  if len(members) == 1:
    (run,) = members
    what = f'{run.model} on {run.task}'
    if run.evaluation is None:
      return f'{what}: not evaluated yet'
    score = run.evaluation.overall
    return f'{what}: exact match {score.exact_match:.3f}{_of(score)}'
  runs_of = f'{len(members)} runs of {len(named)} settings'
  if len(named) == 1:
    runs_of = f'{len(members)} runs of {next(iter(named))}'
  scores = _depth_scores(named)
  if not scores:
    return runs_of
  best = max(scores, key=scores.get)
  of = f', of {best}' if len(named) > 1 else ''
  return f'{runs_of}: the highest DepthScore is {scores[best]:.3f}{of}'


def _of(score: runs.Score) -> str:
  best = score.ceiling_exact_match
  return '' if best is None else f' of at most {best:.3f}'


def _depth_scores(named: Named) -> dict[str, float]:
  scores = {
    name: row.depth_scores(depth_score.exact_match)
    for name, row in depth_score.by_setting(named).items()
  }
  return {n: statistics.fmean(found) for n, found in scores.items() if found}


def tiles(run: runs.Run) -> dict[str, str]:
  """The numbers of a run that are looked for first."""
  found = {}
  if run.evaluation is not None:
    score = run.evaluation.overall
    low, high = score.exact_match_interval
    found['exact match'] = f'{score.exact_match:.3f}'
    found['95 % interval'] = f'{low:.3f}–{high:.3f}'
    if score.ceiling_exact_match is not None:
      found['ceiling'] = f'{score.ceiling_exact_match:.3f}'
    found[f'{run.evaluation.split} samples'] = f'{score.num_samples:,}'
    if (reached := depth_score.horizon([run])) is not None:
      found['horizon'] = f'look-ahead {reached}' if reached else 'none'
  cost = costs.of(run)
  if cost is not None:
    found['parameters'] = costs.short(cost.parameters)
    found['operations of training'] = str(cost.training)
    found['operations of an answer'] = str(cost.answer)
  if run.seconds is not None:
    found['training time'] = tables.duration(run.seconds)
  return found


def results(named: Named) -> str:
  """Scores by group, with intervals and ceiling; of several by setting too."""
  members = [run for found in named.values() for run in found]
  every = _scores(members, 'Scores by run and group')
  notes = html.paragraphs(tables.notes(members))
  if len(members) == 1:
    return every + notes
  rows = [
    _by_group(name, line)
    for name, found in named.items()
    for line in lines.join(found)
  ]
  joint = html.table(
    _filled(rows),
    'Exact match by setting and group: mean over seeds, its 95 % interval, '
    'and the ceiling on the same samples',
    ('setting',),
  )
  return joint + html.folded('Every run', every + notes)


def _scores(
  members: Sequence[runs.Run], caption: str, ahead: bool = False
) -> str:
  """The table of all scores; what the headline says of one run is left out."""
  rows = tables.cells(members, ahead)
  if len(members) == 1:
    rows = [{n: x for n, x in r.items() if n not in tables.TEXT} for r in rows]
  return html.table(rows, caption, tables.TEXT)


def _by_group(name: str, line: lines.Line) -> dict[str, str]:
  """A row of the table by setting."""
  row = {'setting': name, 'seeds': str(len({r.seed for r in line.members}))}
  what = 'k' if line.group_name == 'look_ahead' else line.group_name
  for point in line.points:
    low, high = point.interval
    text = f'{point.exact_match:.3f} ({low:.3f}–{high:.3f})'
    best = point.references.get('ceiling_exact_match')
    named = point.name != str(point.group)
    column = point.name if named else f'{what} = {point.group}'
    row[column] = text if best is None else f'{text} of {best:.3f}'
  return row


def _filled(rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
  """Rows with the same columns, those of all rows."""
  columns = dict.fromkeys(column for row in rows for column in row)
  return [{c: row.get(c, _MISSING) for c in columns} for row in rows]


def look_ahead(named: Named) -> str:
  """Scores at the look-aheads of `eval.look_ahead`."""
  members = [run for found in named.values() for run in found]
  table = _scores(members, 'Scores at further look-aheads', ahead=True)
  return table if len(members) == 1 else html.folded('Every run', table)


def depth(named: Named) -> str:
  """DepthScores, horizons and costs by setting."""
  rows = [
    {'setting': name} | depth_table.cells(row)
    for name, row in depth_score.by_setting(named).items()
    if row.depth_scores(depth_score.exact_match)
  ]
  return html.table(
    rows,
    'DepthScore: 1 + exact match at look-ahead 2, 3 and 4; at most: that of '
    'the ceiling. Mean over seeds, their range in parentheses. Training, '
    'answer: floating-point operations',
    ('setting',),
  )


def configs(named: Named) -> str:
  """Fields in which settings differ, side by side; of one, all fields."""
  columns = {
    name: [settings.flatten(run.config) for run in members]
    for name, members in named.items()
  }
  fields = dict.fromkeys(
    field for found in columns.values() for flat in found for field in flat
  )
  rows = [
    {'field': field}
    | {name: _values(found, field) for name, found in columns.items()}
    for field in fields
  ]
  if len(columns) == 1:
    table = html.table(rows, 'All fields of the config', tuple(rows[0]))
    return html.folded('Config', table)
  differ = [row for row in rows if len(set(list(row.values())[1:])) > 1]
  if not differ:
    return html.paragraphs(['All settings have the same config.'])
  return html.table(
    differ,
    f'{len(differ)} of {len(rows)} fields differ; a setting without a field '
    f'has {_MISSING}',
    tuple(differ[0]),
  )


def _values(found: Sequence[Mapping[str, Any]], field: str) -> str:
  """The value of a field, or those of several runs."""
  texts = dict.fromkeys(
    settings.shown(_plain(flat[field]), _MOST_SHOWN)
    for flat in found
    if field in flat
  )
  return '; '.join(texts) or _MISSING


def _plain(value: Any) -> str:
  if isinstance(value, list):
    return ', '.join(map(str, value)) or 'none'
  return 'empty' if value == '' else str(value)


def hardware(named: Named) -> str:
  """Where each run was made, with what, and how long it took."""
  rows = [
    _machine(name, run) for name, members in named.items() for run in members
  ]
  return html.table(
    rows,
    'Training time is by the clock, with compilation and evaluations',
    tuple(name for name in rows[0] if name not in ('seed', 'steps', 'minutes')),
  )


def _machine(name: str, run: runs.Run) -> dict[str, str]:
  found = run.environment
  packages = found.get('packages') or {}
  devices = found.get('devices') or []
  kinds = {kind: devices.count(kind) for kind in dict.fromkeys(devices)}
  step = run.evaluation.step if run.evaluation else None
  cost = costs.of(run)
  return {
    'setting': name,
    'seed': str(run.seed),
    'steps': _MISSING if step is None else f'{step:,}',
    'minutes': (
      f'{cost.minutes:.1f}'
      if cost is not None
      else _MISSING if run.seconds is None
      else f'{run.seconds / 60:.1f}'
    ),
    'devices': ', '.join(f'{n} × {kind}' for kind, n in kinds.items())
    or _MISSING,
    'processor': found.get('processor') or _MISSING,
    'cores': str(found.get('cores') or _MISSING),
    'python': found.get('python') or _MISSING,
    'packages': ', '.join(
      f'{name} {packages[name]}' for name in _PACKAGES if packages.get(name)
    )
    or _MISSING,
    'revision': settings.shown(found.get('revision') or _MISSING, 12),
  }  # fmt: skip
