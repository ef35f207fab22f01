"""What main.py can do with a run: train, evaluate, replay."""

import os
import pathlib
from collections.abc import Sequence

import jax
import ml_collections

from reasoning_depth.training import (
  curriculum,
  divergence,
  experiment,
  feed,
  loop,
  resume,
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


def evaluate(
  config: ml_collections.ConfigDict,
  folder: pathlib.Path,
  overrides: Sequence[str],
) -> None:
  """Scores the newest checkpoint of a run folder."""
  # An evaluation of something else does not take the place of the run's own.
  name = ''.join(f'-{o.removeprefix("--config.")}' for o in sorted(overrides))
  if len(os.fsencode(name)) > _LONGEST:
    raise ValueError(
      f'{len(overrides)} overrides: too long for the name of an evaluation'
    )
  exp = experiment.build(config)
  current = resume.restore(exp, folder)
  loop.final_evaluation(exp, current, folder, name.replace('/', '_'))
  _tell(folder)


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
  dispatch = loop.compile_dispatch(exp, current, num_steps=1)
  _, metrics = dispatch(current, *feed.given(exp, at, num_steps=1))
  metrics = jax.tree.map(lambda x: x[0], jax.device_get(metrics))
  print(
    f'step {at}: {"finite" if metrics.finite else "not finite"}, loss '
    f'{metrics.sums.loss / metrics.sums.weight}, gradient norm '
    f'{metrics.grad_norm}'
  )


MODES = {'train': train, 'evaluate': evaluate, 'replay': replay}


def _tell(folder: pathlib.Path) -> None:
  if jax.process_index() == 0:
    # Matplotlib takes a while to load, and is needed at the end alone.
    from reasoning_depth import report

    report.write(folder)
    print(report.summary(folder))
