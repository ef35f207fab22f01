"""The numbers of runs in one JSON file, to be kept under results/."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from reasoning_depth.report import runs


def write(folders: Sequence[pathlib.Path], path: pathlib.Path) -> pathlib.Path:
  """Writes config, environment, final scores, phases and seconds of runs.

  Args:
    folders: run folders with an evaluation.
    path: the file to write.

  Raises:
    UsageError: naming a folder that is no run folder or has no evaluation.
  """
  entries = []
  for folder in folders:
    run = runs.load(folder)
    if run.evaluation is None:
      runs.refuse(folder, 'has no evaluation to record')
    environment = folder / 'environment.json'
    entries.append(
      {
        'config': run.config,
        'environment': runs.read_json(environment)
        if environment.exists()
        else None,
        'evaluation': _as_written(run, run.evaluation),
        # Evaluations on other groups; see `runs.Run.further`.
        'further': [_as_written(run, e) for e in run.further],
        # At the look-aheads of `eval.look_ahead`.
        'look_ahead': _as_written(run, run.ahead.evaluation)
        if run.ahead
        else None,
        # Steps at which each group of validation first passes a threshold.
        'phases': run.phases(),
        # Of training, by the clock.
        'seconds': run.seconds,
      }
    )
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(entries, indent=2) + '\n')
  return path


def _as_written(run: runs.Run, evaluation: runs.Evaluation) -> dict[str, Any]:
  name = f'evaluations/{evaluation.name}.json'
  return runs.read_json(run.folder / name)
