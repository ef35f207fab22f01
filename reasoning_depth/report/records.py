"""The numbers of runs in one JSON file, to be kept under results/."""

import json
import pathlib
import re
from collections.abc import Sequence
from typing import Any

from reasoning_depth.report import costs, runs

ROOT = pathlib.Path(__file__).parents[2]


def write(sources: Sequence[pathlib.Path], path: pathlib.Path) -> pathlib.Path:
  """Writes config, environment, final scores, costs and phases of runs.

  Args:
    sources: run folders with an evaluation, and records, whose runs are taken
      as they are.
    path: the file to write; it may be one of the records.

  Raises:
    UsageError: naming a folder that is no run folder or has no evaluation, or a
      file that is no record.
  """
  entries = []
  for source in sources:
    entries += _entries(source) if source.is_file() else [_entry(source)]
  path.parent.mkdir(parents=True, exist_ok=True)
  unfinished = path.with_name(path.name + '.partial')
  unfinished.write_text(json.dumps(entries, indent=2) + '\n')
  unfinished.replace(path)
  return path


def _entry(folder: pathlib.Path) -> dict[str, Any]:
  run = runs.load(folder)
  if run.evaluation is None:
    runs.refuse(folder, 'has no evaluation to record')
  step, asked = run.cut_off or (None, None)
  return {
    'config': run.config,
    'environment': _environment(folder),
    'evaluation': _evaluation(run, run.evaluation.name),
    # All others of the same step, with their names.
    'further': [
      {'name': name, **_evaluation(run, name)} for name in _others(run)
    ],
    # At the look-aheads of `eval.look_ahead`.
    'look_ahead': run.ahead and _evaluation(run, run.ahead.evaluation.name),
    'cost': run.analyses.get(costs.NAME),
    # Where a run was scored before its last step: that step.
    'cut_off': run.cut_off and {'step': step, 'of': asked},
    # Steps at which each group of validation first passes a threshold.
    'phases': run.phases(),
    # Of training, by the clock.
    'seconds': run.seconds,
  }


def _environment(folder: pathlib.Path) -> dict[str, Any] | None:
  """As written, but for where the folders are on the machine."""
  found = _as_written(folder / 'environment.json')
  if not found or 'command' not in found:
    return found
  command = re.sub(r'--workdir=\S+', '--workdir=RUN', found['command'])
  return found | {'command': command.replace(f'{ROOT}/', '')}


def _others(run: runs.Run) -> list[str]:
  """Evaluations beside the one to report and the one of `Run.ahead`."""
  own = [
    e.name for e in (run.evaluation, run.ahead and run.ahead.evaluation) if e
  ]
  return [
    name
    for name, e in sorted(run.evaluations.items())
    if name not in own
    and (e.split, e.step) == (run.evaluation.split, run.evaluation.step)
  ]


def _evaluation(run: runs.Run, name: str) -> dict[str, Any] | None:
  return _as_written(run.folder / 'evaluations' / f'{name}.json')


def _as_written(path: pathlib.Path) -> dict[str, Any] | None:
  """The content of a JSON file, None where there is none."""
  return runs.read_json(path) if path.exists() else None


def read(path: pathlib.Path) -> list[runs.Run]:
  """The runs of a file that `write` wrote, now or before it had all fields.

  A run's `folder` is the file; of its metrics there are seconds alone.

  Raises:
    UsageError: naming the file, where it holds something else.
  """
  return [_run(path, entry) for entry in _entries(path)]


def _entries(path: pathlib.Path) -> list[dict[str, Any]]:
  try:
    entries = json.loads(path.read_bytes())
  except (OSError, ValueError) as error:
    runs.refuse(path, f'not readable as JSON ({error})')
  if not isinstance(entries, list):
    runs.refuse(path, 'not a record of runs')
  return entries


def _run(path: pathlib.Path, entry: dict[str, Any]) -> runs.Run:
  runs.require(entry, ('config', 'evaluation'), path)
  evaluation = entry['evaluation']
  runs.require(evaluation, ('split', 'step'), path)
  found = {evaluation['split']: evaluation}
  for i, further in enumerate(entry.get('further', ())):
    # Before they had their names, all were on other groups.
    name = f'{evaluation["split"]}-{i}'
    found[further.get('name', name)] = further
  for name in (runs.AHEAD, costs.NAME):
    if entry.get(name):
      found[name] = entry[name]
  metrics = []
  if entry.get('seconds') is not None:
    last = {'step': evaluation['step'], 'seconds': entry['seconds']}
    metrics.append({'split': 'train', **last})
  environment = entry.get('environment') or {}
  return runs.assemble(path, entry['config'], metrics, found, environment)
