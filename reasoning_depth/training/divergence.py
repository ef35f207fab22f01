"""Saves the state before a non-finite step, for `--mode=replay`."""

import pathlib

import jax

from reasoning_depth.runtime import checkpoint, writer
from reasoning_depth.training import experiment, reporting, state, step

FOLDER = 'diverged'  # of the run folder; holds <step>/ and <step>.json


def keep(
  exp: experiment.Experiment,
  folder: pathlib.Path,
  current: state.TrainState,
  diverged: reporting.Diverged,
) -> None:
  """Writes the state to `diverged/<step>/`; loss, norm and keys beside it.

  Args:
    exp: the experiment.
    folder: the run folder.
    current: the state before the step.
    diverged: the error of the step.
  """
  at = diverged.step
  batch = jax.random.fold_in(state.data_key(exp.config.seed), at)
  draws = jax.random.fold_in(batch, step.DRAWS)
  facts = {
    'step': at,
    'seed': exp.config.seed,
    'loss': str(diverged.loss),  # JSON has no NaN
    'gradient_norm': str(diverged.grad_norm),
    'key_of_batch': jax.random.key_data(batch).tolist(),
    'key_of_draws': jax.random.key_data(draws).tolist(),
    'replay': f'python main.py --mode=replay --workdir={folder}',
  }
  writer.write_json(folder / FOLDER / f'{at}.json', facts)
  saves = checkpoint.Checkpoints(folder, checkpoint.Keep(), name=FOLDER)
  if at not in saves.steps:  # the run has not diverged there before
    saves.save(at, current)
  saves.close()
