"""The numbers of a run in one JSON file, to be kept under results/."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from reasoning_depth.report import runs


def write(folders: Sequence[pathlib.Path], path: pathlib.Path) -> pathlib.Path:
  """Writes config, surroundings, final scores, phases and rates of runs.

  Args:
    folders: run folders with an evaluation.
    path: the file to write.

  Raises:
    ValueError: naming a folder that is no run folder or has no evaluation.
  """
  entries = []
  for folder in folders:
    run = runs.load(folder)
    if run.evaluation is None:
      raise ValueError(f'{folder}: has no evaluation to record')
    environment = folder / 'environment.json'
    _, rates = run.series('train', 'steps_per_second')
    entries.append(
      {
        'config': run.config,
        'environment': runs.read_object(environment, {})
        if environment.exists()
        else None,
        'evaluation': _whole(run, run.evaluation),
        # The same at groups that were not trained on.
        'further': [_whole(run, evaluation) for evaluation in run.further],
        # Steps at which groups of the validation first pass a threshold.
        'phases': run.phases(),
        'steps_per_second_at_the_end': float(rates[-1]) if len(rates) else None,
      }
    )
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(entries, indent=2) + '\n')
  return path


def _whole(run: runs.Run, evaluation: runs.Evaluation) -> dict[str, Any]:
  name = f'evaluations/{evaluation.name}.json'
  return runs.read_object(run.folder / name, {})
