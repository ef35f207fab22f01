"""What main.py can do with a run."""

import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import jax
import ml_collections

from reasoning_depth import analysis, errors
from reasoning_depth import show as showing
from reasoning_depth.runtime import sharding, writer
from reasoning_depth.training import (
  curriculum,
  divergence,
  experiment,
  final,
  loop,
  prefetch,
  pretrained,
  resume,
  state,
)

_LONGEST = 200  # bytes of a file's name that overrides may take


def train(
  config: ml_collections.ConfigDict,
  folder: pathlib.Path,
  overrides: Sequence[str],
) -> None:
  """Trains, or goes on, and ends with the final evaluation."""
  del overrides
  loop.train(experiment.build(config), folder)
  _tell(folder)


def show(
  config: ml_collections.ConfigDict,
  folder: pathlib.Path,
  overrides: Sequence[str],
) -> None:
  """Prints the config, the model's parameters and the cost of a step."""
  del folder, overrides
  print(showing.text(experiment.build(config)))


def evaluate(
  config: ml_collections.ConfigDict,
  folder: pathlib.Path,
  overrides: Sequence[str],
) -> None:
  """Scores the newest checkpoint of a run folder."""
  name = _suffix(overrides)
  exp = experiment.build(config)
  current = resume.restore(exp, folder)
  final.evaluate(exp, current, folder, name, _short(overrides))
  _tell(folder, f'test{name}')


def analyze(
  config: ml_collections.ConfigDict,
  folder: pathlib.Path,
  overrides: Sequence[str],
) -> None:
  """Looks inside the newest checkpoint of a run folder, in every way it can."""
  suffix = _suffix(overrides)
  exp = experiment.build(config)
  current = resume.restore(exp, folder)
  params = _whole(exp, current)
  head = {'seed': config.seed, 'step': int(current.step), 'split': 'test'}
  for name, look in analysis.ANALYSES.items():
    key = state.evaluation_key(config.seed)
    found = look(exp.model, exp.task, params, key, config)
    if found is None:
      print(f'{name}: not for this model and task')
      continue
    path = folder / 'evaluations' / f'{name}{suffix}.json'
    writer.write_json(path, {'analysis': name, **head, **found})
    print(path)
  _tell(folder)


def export(
  config: ml_collections.ConfigDict,
  folder: pathlib.Path,
  overrides: Sequence[str],
) -> None:
  """Writes the newest checkpoint as one of Hugging Face, without a memory.

  Raises:
    UsageError: where the folder is there already, or as `pretrained.save`.
  """
  del overrides
  target = folder / 'huggingface'
  if target.exists():
    raise errors.UsageError(f'{target}: is there already')
  exp = experiment.build(config)
  params = _whole(exp, resume.restore(exp, folder))
  if jax.process_index() == 0:
    unfinished = target.with_suffix('.unfinished')
    shutil.rmtree(unfinished, ignore_errors=True)
    pretrained.save(exp.model, params, unfinished)
    unfinished.rename(target)
    print(target)


def _whole(exp: experiment.Experiment, current: state.TrainState) -> Any:
  """The parameters to score, all of them on each device."""
  whole = jax.jit(lambda x: x, out_shardings=sharding.replicated(exp.mesh))
  return whole(current.best_params)


def _suffix(overrides: Sequence[str]) -> str:
  """Suffix of a file's name that names the fields overridden."""
  name = ''.join(f'-{o}' for o in _short(overrides))
  if len(os.fsencode(name)) > _LONGEST:
    raise errors.UsageError(
      f'{len(overrides)} overrides: too long for the name of an evaluation'
    )
  return name.replace('/', '_')


def _short(overrides: Sequence[str]) -> list[str]:
  return sorted(o.removeprefix('--config.') for o in overrides)


def replay(
  config: ml_collections.ConfigDict,
  folder: pathlib.Path,
  overrides: Sequence[str],
) -> None:
  """Makes the step at which a run diverged again, alone."""
  del overrides
  exp = experiment.build(config)
  current = resume.restore(exp, folder, divergence.FOLDER)
  at = int(current.step)
  exp = curriculum.at_stage(exp, int(current.stage))
  _, exp = experiment.scheduled(exp, current.params)
  dispatch = loop.compile_dispatch(exp, current, num_steps=1)
  _, metrics = dispatch(current, *prefetch.chunk(exp, at, num_steps=1))
  metrics = jax.tree.map(lambda x: x[0], jax.device_get(metrics))
  print(
    f'step {at}: {"finite" if metrics.finite else "not finite"}, loss '
    f'{metrics.sums.loss / metrics.sums.weight}, gradient norm '
    f'{metrics.grad_norm}'
  )


MODES = {
  'train': train,
  'show': show,
  'evaluate': evaluate,
  'analyze': analyze,
  'export': export,
  'replay': replay,
}


def _tell(folder: pathlib.Path, evaluation: str = '') -> None:
  if jax.process_index() == 0:
    # Matplotlib takes a while to load, and is needed at the end alone.
    from reasoning_depth import report

    report.write(folder)
    print(report.summary(folder, evaluation))
