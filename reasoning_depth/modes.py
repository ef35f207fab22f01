"""The modes of main.py."""

import functools
import os
import pathlib
import shutil
from collections.abc import Sequence

import jax
import ml_collections

from reasoning_depth import analysis, errors, settings, trained
from reasoning_depth import show as showing
from reasoning_depth.exchange import answers as answer_files
from reasoning_depth.exchange import data_files
from reasoning_depth.exchange import dataset as data_out
from reasoning_depth.exchange import states as states_files
from reasoning_depth.runtime import environment, writer
from reasoning_depth.scoring import answers, own_orbits
from reasoning_depth.training import config as config_lib
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

_LONGEST = 200  # most bytes of overrides in a file name


def train(
  config: ml_collections.ConfigDict,
  folder: pathlib.Path,
  overrides: Sequence[str],
) -> None:
  """Trains or resumes a run; ends with the final evaluation."""
  del overrides
  exp = _build(config)
  loop.train(exp, folder)
  _report(folder)


def show(
  config: ml_collections.ConfigDict,
  folder: pathlib.Path,
  overrides: Sequence[str],
) -> None:
  """Prints the config, the model's parameters and the cost of a step."""
  del folder, overrides
  print(showing.text(_build(config)))


def evaluate(
  config: ml_collections.ConfigDict,
  folder: pathlib.Path,
  overrides: Sequence[str],
) -> None:
  """Scores the newest checkpoint of a run folder."""
  name = _suffix(overrides)
  exp = _build(config)
  current = resume.restore(exp, folder)
  final.evaluate(exp, current, folder, name, _short(overrides))
  _report(folder, f'test{name}')


def analyze(
  config: ml_collections.ConfigDict,
  folder: pathlib.Path,
  overrides: Sequence[str],
) -> None:
  """Runs every analysis that applies to a run folder's newest checkpoint."""
  suffix = _suffix(overrides)
  exp = _build(config)
  current = resume.restore(exp, folder)
  params = trained.replicated(exp, current)
  head = {'seed': config.seed, 'step': int(current.step), 'split': 'test'}
  for name, run in analysis.ANALYSES.items():
    key = state.evaluation_key(config.seed)
    found = run(exp.model, exp.task, params, key, config)
    if found is None:
      print(f'{name}: not for this model and task')
      continue
    path = folder / 'evaluations' / f'{name}{suffix}.json'
    writer.write_json(path, {'analysis': name, **head, **found})
    print(path)
  _report(folder)


def export(
  config: ml_collections.ConfigDict,
  folder: pathlib.Path,
  overrides: Sequence[str],
) -> None:
  """Writes the newest checkpoint as `weights.safetensors`.

  Where the model has the shapes of LLaMA or GPT-NeoX, also in Hugging Face
  form, without a memory.

  Raises:
    UsageError: where one of the two is there already.
  """
  del overrides
  path, target = folder / 'weights.safetensors', folder / 'huggingface'
  for there in (path, target):
    if there.exists():
      raise errors.UsageError(f'{there}: is there already')
  made = trained.of_run(folder, config)
  if jax.process_index() > 0:
    return
  made.save(path)
  print(path)
  unfinished = target.with_suffix('.unfinished')
  shutil.rmtree(unfinished, ignore_errors=True)
  try:
    pretrained.save(made.model, made.params, unfinished)
  except errors.UsageError as error:
    shutil.rmtree(unfinished, ignore_errors=True)
    print(f'not in Hugging Face form: {error}')
    return
  unfinished.rename(target)
  print(target)


def dataset(
  config: ml_collections.ConfigDict,
  folder: pathlib.Path,
  overrides: Sequence[str],
) -> None:
  """Writes the splits of the task to a folder of data files.

  Validation and test splits are the samples that a run with this config and
  seed is scored on.

  Raises:
    UsageError: where the folder is taken.
  """
  del overrides
  exp = _build(config)
  asked: data_out.Settings = config_lib.check(config)['dataset']
  key = state.evaluation_key(config.seed)
  rows = exp.task.records
  if asked.format == 'text':
    rows = exp.task.text_records
  if jax.process_index() == 0:
    card = data_out.write(
      folder,
      config.task.name,
      asked.format,
      {
        split: functools.partial(rows, key, split, count)
        for split, count in asked.counts.items()
      },
      {
        'seed': config.seed,
        'config': config.task.to_dict(),
        'version': environment.version(),
        'revision': environment.revision(),
      },
      exp.task.text_columns,
      exp.task.answer_pattern,
    )
    print(f'{folder}: {card["samples"]}')


def _build(config: ml_collections.ConfigDict) -> experiment.Experiment:
  """Builds the experiment and says what data files it has."""
  exp = experiment.build(config)
  if exp.task.data_record and jax.process_index() == 0:
    print(exp.task.data_record['summary'])
  return exp


def _suffix(overrides: Sequence[str]) -> str:
  """File suffix naming the overrides."""
  name = ''.join(f'-{o}' for o in _short(overrides))
  if len(os.fsencode(name)) > _LONGEST:
    raise errors.UsageError(
      f'{len(overrides)} overrides: too long for the name of an evaluation'
    )
  return name.replace('/', '_')


def _short(overrides: Sequence[str]) -> list[str]:
  return sorted(o.removeprefix('--config.') for o in overrides)


def score(
  config: ml_collections.ConfigDict,
  folder: pathlib.Path,
  overrides: Sequence[str],
  predictions: str | None,
) -> None:
  """Scores answers to the test split that were made elsewhere.

  Prints a table and writes NAME.score.json beside the file of answers.

  Args:
    config: of the samples; its model is not used.
    folder: not used.
    overrides: recorded.
    predictions: path of the answers; see `exchange.answers`.
  """
  # Imported late: Matplotlib is slow to load.
  from reasoning_depth import report

  del folder
  if not predictions:
    raise errors.UsageError('--predictions is missing: a file of answers')
  path = pathlib.Path(predictions)
  task = _build(config).task
  with settings.within('--predictions='):
    given = answer_files.read(path)
    key = state.evaluation_key(config.seed)
    known = 'generation' if config.eval.ceiling else ''
    samples = task.draw_held_out(key, 'test', config.eval.test_samples, known)
    with settings.within(f'{settings.shown_path(path)}: '):
      result = answers.result(task, samples, given)
  found = {
    'split': 'test',
    'step': 0,
    'seed': config.seed,
    'task': config.task.to_dict(),
    'overrides': _short(overrides),
    'predictions': {'file': path.name, 'sha256': data_files.sha256(path)},
    **result.summary(),
  }
  target = path.with_suffix('.score.json')
  writer.write_json(target, found)
  print(report.summary_of_answers(path.stem, found))
  print(target)


def replay(
  config: ml_collections.ConfigDict,
  folder: pathlib.Path,
  overrides: Sequence[str],
) -> None:
  """Runs the step at which a run diverged again."""
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


def predict(
  config: None,
  folder: pathlib.Path,
  overrides: Sequence[str],
  orbits: str | None,
  k: str | None,
) -> None:
  """Predicts a user's own orbits; writes `predictions/` in the run folder.

  Args:
    config: not needed.
    folder: the run folder; or, as of `trained.load`, the name of a model that
      comes along, whose predictions go into a folder of that name in `runs`.
    overrides: none are allowed.
    orbits: path of the orbits; see `exchange.states`.
    k: look-aheads, as `1,4,64`; None for those of training.
  """
  # Imported late: Matplotlib is slow to load.
  from reasoning_depth.report import predictions

  if overrides:
    raise errors.UsageError(f'{overrides[0]}: not with --mode=predict')
  if not orbits:
    raise errors.UsageError('--orbits is missing: a file of 0 and 1')
  path, ks = pathlib.Path(orbits), own_orbits.parse_ks(k) if k else ()
  with settings.within('--orbits='):
    given = states_files.read(path)
    with settings.within(f'{path}: '):
      given = own_orbits.checked(given)
  made = trained.load(str(folder))
  ks = ks or tuple(made.config.task.get('look_ahead', ()))
  found = made.predict(given, ks)
  print(found)
  if not folder.is_dir():
    folder = pathlib.Path('runs') / folder.stem
  target = folder / 'predictions' / path.stem
  writer.write_json(target.with_name(f'{path.stem}.json'), found.rows())
  print(predictions.draw(target.with_name(f'{path.stem}.png'), found.rows()))


MODES = {
  'train': train,
  'show': show,
  'evaluate': evaluate,
  'analyze': analyze,
  'dataset': dataset,
  'predict': predict,
  'score': score,
  'export': export,
  'replay': replay,
}


def _report(folder: pathlib.Path, evaluation: str = '') -> None:
  """Writes the run's report and prints its summary."""
  if jax.process_index() == 0:
    # Imported late: Matplotlib is slow to load.
    from reasoning_depth import report

    report.write(folder)
    print(report.summary(folder, evaluation))
