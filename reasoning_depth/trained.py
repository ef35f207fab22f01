"""A trained model with its task: logits, answers, scores, its parameters."""

import copy
import dataclasses
import functools
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import ml_collections
import numpy as np
import numpy.typing as npt

from reasoning_depth import errors, settings
from reasoning_depth.models import base as base_model
from reasoning_depth.runtime import configuration, sharding
from reasoning_depth.tasks import base
from reasoning_depth.training import config as config_lib
from reasoning_depth.training import experiment, final, resume

SCORES = ('test', 'look_ahead')  # evaluations that are kept with parameters


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Trained:
  """A trained model, from `reasoning_depth.load` or `reasoning_depth.train`.

  Attributes:
    config: the whole config, read-only.
    params: the parameters, a tree of NumPy arrays.
    scores: as recorded when it was scored, by the name of the evaluation:
      'test' and, where there is one, 'look_ahead'; each as the file of that
      name in `evaluations/` of a run folder.
    step: updates made in training.
  """

  config: ml_collections.ConfigDict
  params: Any
  scores: Mapping[str, Any]
  step: int

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

  def __repr__(self) -> str:
    count = sum(x.size for x in jax.tree.leaves(self.params))
    flat = settings.flatten(self.config)
    name, of = flat['model.name'], flat['task.name']
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


def of_run(folder: pathlib.Path) -> Trained:
  """The newest checkpoint of a run folder; scores as they stand there.

  Raises:
    UsageError: where the folder is no run folder or has no checkpoint.
  """
  config = config_lib.read(folder)
  exp = experiment.build(config)
  current = resume.restore(exp, folder)
  params = jax.device_get(current.best_params)
  scores = {}
  for name in SCORES:
    path = folder / 'evaluations' / f'{name}.json'
    if path.is_file():
      scores[name] = _read_scores(path)
  return Trained(config, params, scores, int(current.step))


def _read_scores(path: pathlib.Path) -> dict[str, Any]:
  try:
    return json.loads(path.read_bytes())
  except (ValueError, RecursionError) as error:
    raise errors.UsageError(f'{path}: {settings.shown(error)}') from None


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
        f'the parameters are of another model: {name} has the shape '
        f'{given.get(name)}, {needed.get(name)} is needed'
      )
