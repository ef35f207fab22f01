"""The project from Python: a config by name, training, a trained model."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_collections

from reasoning_depth import modes, settings, trained, usage
from reasoning_depth.runtime import compilation, configuration, cpus
from reasoning_depth.training import config as config_lib


def config(
  name: str, overrides: Mapping[str, Any] | None = None
) -> ml_collections.ConfigDict:
  """A config by name and words, as `--config` takes it.

  Args:
    name: of a file in configs/, with words after a colon; or the path of a
      Python file of your own with `get_config`.
    overrides: fields by dotted name. `python main.py --mode=show` lists them
      with their ranges.

  Returns:
    the config, locked against unknown fields.

  Raises:
    UsageError: for an unknown name, word or field, naming the nearest one.

  Example::

    >>> import reasoning_depth as rd
    >>> c = rd.config('recall:smoke', {'train.num_steps': 80})
    >>> c.model.name, c.task.width, c.train.num_steps
    ('recall', 8, 80)
    >>> rd.config('recal:smoke')
    Traceback (most recent call last):
    ...
    reasoning_depth.errors.UsageError: config=recal: allowed are armt, ...
  """
  path, colon, words = name.partition(':')
  if not path.endswith('.py'):
    settings.choose('config', path, usage.configs())
    path = str(usage.CONFIGS / f'{path}.py')
  found = configuration.load(f'{path}{colon}{words}')
  config_lib.change(found, lambda c: configuration.update(c, overrides or {}))
  return found


def train(
  config: ml_collections.ConfigDict, workdir: str | os.PathLike[str]
) -> trained.Trained:
  """Trains or resumes a run, with its evaluation and plots, as main.py does.

  A signal (in a notebook: to interrupt) saves, and the same call goes on;
  while nothing is there to save, it ends the process.

  Args:
    config: from `config`.
    workdir: the run folder, made if it does not exist.

  Raises:
    UsageError: for a value out of range, or where the folder is not this run's.
    training.reporting.Diverged: at a non-finite loss or gradient.
    errors.Stopped: after a signal; the state is saved.

  Example::

    >>> import tempfile
    >>> import reasoning_depth as rd
    >>> few = {'train.num_steps': 10, 'eval.every': 10, 'checkpoint.every': 10}
    >>> tiny = {'model.num_layers': 1, 'eval.test_samples': 64, 'mesh.data': 1}
    >>> c = rd.config('transformer:smoke,k=1', few | tiny)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...   run = rd.train(c, folder)
    writing to ...
    >>> run
    <transformer on orbits: 9,632 parameters, 10 updates>
    >>> 0 <= run.scores['test']['overall']['exact_match'] <= 1
    True
  """
  compilation.use_cache()
  cpus.split(config.to_dict()['host']['cpu_devices'])
  folder = pathlib.Path(workdir)
  modes.train(config, folder, ())
  return trained.of_run(folder)


def load(name: str | os.PathLike[str]) -> trained.Trained:
  """A trained model: one of the package, of a run folder, or of a file.

  Args:
    name: one of `trained.WEIGHTS`, which come with the package, as 'recall';
      else a run folder, or a file that `Trained.save` or `--mode=export` wrote.
      A folder of such a name is given as a `Path`, or as `./recall`.

  Raises:
    UsageError: where there is none, or it is damaged.

  Example::

    >>> import reasoning_depth as rd
    >>> recall = rd.load('recall')
    >>> recall
    <recall on orbits: 123,216 parameters, 1,000 updates>
    >>> orbit = ['0001000', '0011100', '0110010', '1101111', '1001000']
    >>> told = recall.predict([list(map(int, row)) for row in orbit], [1, 2])
    >>> told.states.shape, told.determined.shape
    ((1, 2, 7), (1, 2, 7))
  """
  compilation.use_cache()
  return trained.load(name)
