"""A trained model with its task: logits, answers, scores, its parameters."""

import copy
import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np
import numpy.typing as npt

from reasoning_depth import errors, settings
from reasoning_depth.exchange import archive, weights
from reasoning_depth.models import base as base_model
from reasoning_depth.runtime import configuration, sharding
from reasoning_depth.scoring import own_orbits
from reasoning_depth.tasks import base
from reasoning_depth.training import config as config_lib
from reasoning_depth.training import experiment, final, resume, state

# Files of trained models in the package, by name.
WEIGHTS = {
  path.stem: path
  for path in sorted((pathlib.Path(__file__).parent / 'weights').glob('*'))
}
SCORES = ('test', 'look_ahead')  # evaluations that are kept with parameters
ONE_DEVICE = {'mesh.data': 1, 'mesh.model': 1}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Trained:
  """A trained model, from `reasoning_depth.load` or `reasoning_depth.train`.

  Attributes:
    config: the whole config, read-only; `mesh` is one device, and
      `evaluate({'mesh.data': 0})` takes all.
    params: the parameters, a tree of NumPy arrays.
    scores: as recorded when it was scored, by the name of the evaluation:
      'test' and, where there is one, 'look_ahead'; each as the file of that
      name in `evaluations/` of a run folder.
    step: updates made in training.
    environment: what it was trained on: packages, devices, cores, revision.
  """

  config: ml_collections.ConfigDict
  params: Any
  scores: Mapping[str, Any]
  step: int
  environment: Mapping[str, Any]

  @property
  def task(self) -> base.Task:
    """What it was trained on; `task.sample(key, n, split)` makes a batch."""
    return self._experiment.task

  @property
  def model(self) -> base_model.Model:
    """The Linen module: `model.apply({'params': params}, tokens)`."""
    return self._experiment.model

  def logits(
    self, tokens: npt.ArrayLike, depth: int | None = None
  ) -> np.ndarray:
    """Logits, teacher-forced where the task is causal.

    Args:
      tokens: int32 [B, L], as the field `inputs` of a batch of `task`.
      depth: depth steps; None for those of the config.

    Returns:
      float32 [B, L, V], aligned with the field `targets`.
    """
    return np.asarray(self._run(self.params, np.asarray(tokens), depth))

  def predict(
    self, states: npt.ArrayLike, look_ahead: int | Sequence[int] = 1
  ) -> own_orbits.Prediction:
    """Predicts how orbits of your own go on, and what they leave open.

    Args:
      states: observed states of 0 and 1, [T, W], or [N, T, W] of N orbits.
        Other sizes than those of training are allowed where the parameters do
        not depend on them.
      look_ahead: steps after the last state, ascending; a model that was
        trained on one step alone is fed its answers.

    Returns:
      with `states` int8 [N, K, W] and `determined` bool [N, K, W]; printed, it
      shows both, and `report.predictions.figure(prediction.rows())` draws them.

    Raises:
      UsageError: for anything else than such states, or a model that cannot be
        asked for them.
    """
    with settings.within('states: '):
      observed = own_orbits.checked(states)
    ks = own_orbits.check_ks(look_ahead)
    N, T, W = observed.shape
    groups = self.config.to_dict()
    before = groups['task'].get('num_states'), groups['task'].get('width')
    with settings.within(f'{T} states of {W} cells: '):
      self.task.for_states(T, W)
      exp = self._with(
        {
          'task.num_states': T,
          'task.width': W,
          'task.data': '',  # files that it was trained on are not needed
          'eval.batch_size': min(N, groups['eval']['batch_size']),
          **ONE_DEVICE,
        }
      )
    notes = ()
    if before != (T, W):
      notes = (
        f'{T} states of {W} cells; trained on {before[0]} of {before[1]}',
      )
    params = jax.device_put(self.params, sharding.replicated(exp.mesh))
    evaluator = experiment.evaluator(exp)
    return own_orbits.predict(evaluator, params, observed, ks, notes)

  def evaluate(
    self, overrides: Mapping[str, Any] | None = None
  ) -> dict[str, Any]:
    """Scores it on the test split, as `--mode=evaluate`; writes nothing.

    Args:
      overrides: fields of the config by dotted name, to ask something else or
        fewer samples: `{'eval.test_samples': 500}`.

    Returns:
      as `scores`.

    Raises:
      UsageError: for a field or value that the config does not allow, or where
        the parameters do not fit what is asked.
    """
    exp = self._with(overrides or {})
    where = sharding.replicated(exp.mesh)
    params = jax.device_put(self.params, where)
    found = dict(final.score(exp, params))
    return {name: result.summary() for name, result in found.items()}

  def save(self, path: str | os.PathLike[str], dtype: str = 'float32') -> None:
    """Writes one safetensors file that `reasoning_depth.load` reads.

    Config, scores, step and environment are in its metadata.

    Args:
      path: of the file, `.safetensors`; one that is there is replaced.
      dtype: float32; or float16 or bfloat16, of half the size: the scores in
        the file are then still those of the parameters before rounding.

    Raises:
      UsageError: for another dtype, or where a value does not fit it.
    """
    facts = {
      'config': self.config.to_dict(),
      'scores': self.scores,
      'step': self.step,
      'environment': self.environment,
    }
    weights.write(pathlib.Path(path), self.params, facts, dtype)

  def __repr__(self) -> str:
    count = sum(x.size for x in jax.tree.leaves(self.params))
    groups = self.config.to_dict()
    name, of = (groups[group]['name'] for group in ('model', 'task'))
    return f'<{name} on {of}: {count:,} parameters, {self.step:,} updates>'

  @functools.cached_property
  def _experiment(self) -> experiment.Experiment:
    return experiment.build(self.config)

  @functools.cached_property
  def _run(self) -> Any:
    def run(params, tokens, depth):
      output: Any = self.model.apply({'params': params}, tokens, depth=depth)
      return output.logits

    return jax.jit(run, static_argnums=2)

  def _with(self, overrides: Mapping[str, Any]) -> experiment.Experiment:
    """The experiment with other fields, for the same parameters."""
    config = copy.deepcopy(self.config)
    configuration.update(config, overrides)
    exp = experiment.build(config)
    check_shapes(exp, self.params)
    return exp


def load(name: str | os.PathLike[str]) -> Trained:
  """As `reasoning_depth.load`."""
  if name in WEIGHTS:
    return of_file(WEIGHTS[str(name)])
  path = pathlib.Path(name)
  if path.suffix == '.safetensors':
    return of_file(path)
  if not path.exists():
    near = settings.suggest(str(name), WEIGHTS)
    raise errors.UsageError(
      f'{settings.shown(name)}: no run folder, and not one of '
      f'{", ".join(WEIGHTS)}{near}'
    )
  return of_run(path)


def of_run(
  folder: pathlib.Path, config: ml_collections.ConfigDict | None = None
) -> Trained:
  """The newest checkpoint of a run folder; scores as they stand there.

  Args:
    folder: the run folder.
    config: its config, with changes that the checkpoint allows; None for its
      own, on one device.

  Raises:
    UsageError: where the folder is no run folder or has no checkpoint.
  """
  if config is None:
    config = config_lib.read(folder)
    configuration.update(config, ONE_DEVICE)
  exp = experiment.build(config)
  current = resume.restore(exp, folder)
  params = jax.device_get(replicated(exp, current))
  scores = {
    name: archive.read_json(path)
    for name in SCORES
    if (path := folder / 'evaluations' / f'{name}.json').is_file()
  }
  environment = archive.read_json(folder / 'environment.json')
  environment.pop('command', None)  # with paths of one machine
  return Trained(config, params, scores, int(current.step), environment)


def replicated(exp: experiment.Experiment, current: state.TrainState) -> Any:
  """The parameters to evaluate, replicated on all devices."""
  where = sharding.replicated(exp.mesh)
  return jax.jit(lambda x: x, out_shardings=where)(current.best_params)


def of_file(path: pathlib.Path) -> Trained:
  """What `Trained.save` wrote, on one device.

  Raises:
    UsageError: where the file is missing, damaged, or of another kind.
  """
  params, facts = weights.read(path)
  with settings.within(f'{archive.line(path)}: '):
    try:
      config = config_lib.parse(facts['config'])
      scores, environment, step = (
        _json(facts, name, kind)
        for name, kind in (
          ('scores', dict),
          ('environment', dict),
          ('step', int),
        )
      )
    except KeyError as error:
      raise errors.UsageError(f'metadata: {error} is missing') from None
    configuration.update(config, ONE_DEVICE)
    check_shapes(experiment.build(config), params)
  return Trained(config, params, scores, step, environment)


def _json(facts: Mapping[str, str], name: str, kind: type) -> Any:
  """A fact of a file; raises `UsageError` if it is of another type."""
  try:
    value = json.loads(facts[name])
  except (ValueError, RecursionError):
    value = None
  if type(value) is not kind:
    raise errors.UsageError(f'metadata: {name} is damaged')
  return value


def check_shapes(exp: experiment.Experiment, params: Any) -> None:
  """Raises `UsageError` unless parameters are those of a model in shape."""
  tokens = jax.ShapeDtypeStruct((1, exp.task.held_out_length), np.int32)
  made = jax.eval_shape(exp.model.init, jax.random.key(0), tokens)['params']
  needed, given = (
    {jax.tree_util.keystr(path): x.shape for path, x in leaves}
    for leaves in map(jax.tree_util.tree_leaves_with_path, (made, params))
  )
  for name in sorted(needed.keys() | given.keys()):
    if needed.get(name) != given.get(name):
      raise errors.UsageError(
        f'the parameters do not fit: {name} has the shape {given.get(name)}, '
        f'{needed.get(name)} is needed'
      )
