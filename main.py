"""Trains and evaluates: `python main.py --config=configs/armt.py`."""

import pathlib
import sys

from absl import flags, logging

CONFIG = flags.DEFINE_string(
  'config', None, 'Config file and words: configs/armt.py:smoke'
)
WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Run folder; by default runs/ and the name of the config'
)
MODES = ('train', 'evaluate', 'analyze', 'export', 'replay')
MODE = flags.DEFINE_enum('mode', 'train', MODES, 'What to do with the run')
DISTRIBUTED = flags.DEFINE_bool(
  'distributed', False, 'Join the other hosts, as Cloud TPU, Slurm or GKE say'
)
COORDINATOR = flags.DEFINE_string('coordinator', None, 'HOST:PORT elsewhere')
PROCESSES = flags.DEFINE_integer('num_processes', None, 'How many join')
PROCESS = flags.DEFINE_integer('process_id', None, 'Which this is, from 0')

EXIT_FAILED, EXIT_USAGE = 1, 2  # such as a full disk; a mistake


def main(argv: list[str]) -> int:
  """Runs a mode and returns the exit code."""
  overrides = [a for a in argv[1:] if a.startswith('--config.')]
  try:
    rest = flags.FLAGS([a for a in argv if a not in overrides])
    if len(rest) > 1:
      raise ValueError(f'{rest[1]}: not a flag; flags begin with --')
    return _run(overrides)
  except (flags.Error, ValueError, OSError) as error:
    # One line, also where a library takes several.
    print('main.py:', *str(error).split(), file=sys.stderr)
    return EXIT_FAILED if isinstance(error, OSError) else EXIT_USAGE


def _run(overrides: list[str]) -> int:
  # Imported late, so that mistakes in flags are told at once.
  from reasoning_depth import errors, modes
  from reasoning_depth.runtime import (
    compilation,
    configuration,
    distributed,
  )

  # A checkpoint that fails is told in one line, not in orbax's own way.
  logging.set_verbosity(logging.FATAL)
  compilation.use_cache()
  distributed.start(
    DISTRIBUTED.value, COORDINATOR.value, PROCESSES.value, PROCESS.value
  )
  if MODE.value != 'train':
    config = configuration.read(_folder())
  elif CONFIG.value:
    config = configuration.load(CONFIG.value)
  else:
    raise ValueError('--config is missing: such as --config=configs/armt.py')
  configuration.apply(config, overrides)
  try:
    with distributed.together():
      modes.MODES[MODE.value](config, _folder(), overrides)
  except errors.Ending as error:
    print(f'main.py: {error}', file=sys.stderr)
    return error.exit_code
  return 0


def _folder() -> pathlib.Path:
  if WORKDIR.value:
    return pathlib.Path(WORKDIR.value)
  if CONFIG.value is None:
    raise ValueError('--workdir is missing: the run folder to work on')
  path, _, words = CONFIG.value.partition(':')
  stem = pathlib.Path(path).stem
  return pathlib.Path('runs') / '-'.join(filter(None, [stem, words]))


if __name__ == '__main__':
  sys.exit(main(sys.argv))
