"""Trains and evaluates: `python main.py --config=configs/armt.py`."""

import pathlib
import sys

from absl import flags

CONFIG = flags.DEFINE_string(
  'config', None, 'Config file and words: configs/armt.py:smoke'
)
WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Run folder; by default runs/ and the name of the config'
)
MODE = flags.DEFINE_enum(
  'mode', 'train', ['train', 'evaluate'], 'What to do with the run'
)

EXIT_USAGE, EXIT_DIVERGED = 2, 3


def main(argv: list[str]) -> int:
  """Runs a mode and returns the exit code."""
  overrides = [a for a in argv[1:] if a.startswith('--config.')]
  try:
    rest = flags.FLAGS([a for a in argv if a not in overrides])
    if len(rest) > 1:
      raise ValueError(f'{rest[1]}: not a flag; flags begin with --')
    return _run(overrides)
  except (flags.Error, ValueError) as error:
    print(f'main.py: {error}', file=sys.stderr)
    return EXIT_USAGE


def _run(overrides: list[str]) -> int:
  # Imported late, so that mistakes in flags are told at once.
  from reasoning_depth import report
  from reasoning_depth.runtime import configuration
  from reasoning_depth.training import experiment, loop

  if MODE.value == 'train':
    if CONFIG.value is None:
      raise ValueError('--config is missing: such as --config=configs/armt.py')
    config = configuration.load(CONFIG.value)
  else:
    config = configuration.read(_folder())
  folder = _folder()
  for text in overrides:
    name, _, value = text.removeprefix('--config.').partition('=')
    configuration.override(config, name, value)
  exp = experiment.build(config)
  if MODE.value == 'train':
    try:
      loop.train(exp, folder)
    except loop.Diverged as error:
      print(f'main.py: {error}', file=sys.stderr)
      return EXIT_DIVERGED
  else:
    # An evaluation of something else does not take the place of the run's own.
    name = ''.join(f'-{o.removeprefix("--config.")}' for o in sorted(overrides))
    current = loop.restore(exp, folder)
    loop.final_evaluation(exp, current, folder, name.replace('/', '_'))
  report.write(folder)
  print(report.summary(folder))
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
