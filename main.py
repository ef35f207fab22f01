"""Trains, evaluates and analyses small models that reason in many steps.

  python main.py --config=configs/armt.py:cpu
  python main.py --mode=evaluate --workdir=runs/armt-cpu

The same command again resumes the run. `--config.GROUP.FIELD=…` sets any field
of the config; `--mode=show` lists them with their meaning.
"""

import gc
import pathlib
import sys

from absl import flags

from reasoning_depth import errors, usage

CONFIG = flags.DEFINE_string(
  'config', None, 'Config file and words: configs/armt.py:smoke'
)
WORKDIR = flags.DEFINE_string(
  'workdir',
  None,
  'Run folder; by default runs/ and the name of the config; for '
  'predict also a model that comes along: recall, transformer',
)
MODE = flags.DEFINE_enum('mode', 'train', list(usage.MODES), 'What to do')
DISTRIBUTED = flags.DEFINE_bool(
  'distributed', False, 'Join the other hosts of Cloud TPU, Slurm or GKE'
)
COORDINATOR = flags.DEFINE_string(
  'coordinator', None, 'HOST:PORT of process 0, on other clusters'
)
PROCESSES = flags.DEFINE_integer(
  'num_processes', None, 'Number of processes, with --coordinator'
)
PROCESS = flags.DEFINE_integer(
  'process_id', None, 'Number of this process from 0, with --coordinator'
)
ORBITS = flags.DEFINE_string(
  'orbits', None, 'For predict: a file of your own orbits, text or .npy'
)
K = flags.DEFINE_string(
  'k', None, 'For predict: steps to look ahead, as in --k=1,4,64'
)
PREDICTIONS = flags.DEFINE_string(
  'predictions', None, 'For score: JSON lines or Parquet of id and answer'
)
OF_MODE = {
  'predict': (ORBITS, K),
  'score': (PREDICTIONS,),
}  # flags of one mode alone


def main(argv: list[str]) -> int:
  """Runs a mode and returns the exit code; a failure keeps its traceback."""
  overrides = [a for a in argv[1:] if a.startswith('--config.')]
  try:
    if {'--help', '-help', '-h', '--helpfull'} & set(argv[1:]):
      return _help()
    rest = flags.FLAGS([a for a in argv if a not in overrides])
    if len(rest) > 1:
      raise errors.UsageError(f'{rest[1]}: not a flag; flags begin with --')
    _run(overrides)
  except (flags.Error, errors.Ending) as error:
    print('main.py:', *str(error).split(), file=sys.stderr)  # one line
    return getattr(error, 'exit_code', errors.UsageError.exit_code)
  return 0


def _run(overrides: list[str]) -> None:
  # Imported late, so that mistakes in flags are reported at once.
  from reasoning_depth import modes
  from reasoning_depth.runtime import (
    compilation,
    configuration,
    cpus,
    distributed,
  )
  from reasoning_depth.training import config as config_lib

  # Tracing makes objects by the million and few cycles: looking for them less
  # often saves a tenth of the start.
  gc.set_threshold(100_000)
  compilation.use_cache()
  distributed.start(
    DISTRIBUTED.value, COORDINATOR.value, PROCESSES.value, PROCESS.value
  )
  if CONFIG.value and MODE.value in ('train', 'show', 'dataset', 'score'):
    config = configuration.load(CONFIG.value)
    config_lib.change(config, lambda c: configuration.apply(c, overrides))
  elif MODE.value in ('train', 'dataset'):
    raise errors.UsageError('--config is missing: as --config=configs/armt.py')
  elif MODE.value == 'predict':
    config = None
  else:
    config = config_lib.read(_folder())
    configuration.apply(config, overrides)
  if config is not None:
    cpus.split(config.host.cpu_devices)
  with distributed.together():
    modes.MODES[MODE.value](config, _folder(), overrides, **_own_flags())


def _own_flags() -> dict[str, str | None]:
  """The flags of the mode; refuses those of others."""
  for mode, of_mode in OF_MODE.items():
    for flag in of_mode:
      if mode != MODE.value and flag.value is not None:
        raise errors.UsageError(f'--{flag.name}: only with --mode={mode}')
  return {flag.name: flag.value for flag in OF_MODE.get(MODE.value, ())}


def _folder() -> pathlib.Path:
  if WORKDIR.value:
    return pathlib.Path(WORKDIR.value)
  if CONFIG.value is None:
    raise errors.UsageError('--workdir is missing: the run folder to work on')
  path, _, words = CONFIG.value.partition(':')
  stem = pathlib.Path(path).stem
  return pathlib.Path('runs') / '-'.join(filter(None, [stem, words]))


def _help() -> int:
  from configs import common

  own = flags.FLAGS.get_key_flags_for_module(sys.modules[__name__])
  named = {f'--{flag.name}': flag.help for flag in own}
  print(usage.text(__doc__, named, common.WORDS))
  return 0


if __name__ == '__main__':
  sys.exit(main(sys.argv))
