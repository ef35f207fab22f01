"""The whole config: its groups, their declared fields, and the checks.

A config has the groups `task`, `model`, `train`, `eval`, `analyze`,
`checkpoint`, `mesh`, `log`, `dataset` and `host`, and a `seed`. The fields of
`task` and `model` are those of the named task and model; `train` also has those
of the method.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import ml_collections

from reasoning_depth import (
  analysis,
  errors,
  models,
  settings,
  tasks,
  training,
)
from reasoning_depth.exchange import dataset
from reasoning_depth.runtime import (
  checkpoint,
  configuration,
  sharding,
  writer,
)
from reasoning_depth.scoring import evaluate, losses
from reasoning_depth.training import optimizer, workers

_TOKENS = 2**30  # in the longest text


@dataclasses.dataclass(frozen=True)
class Curriculum(settings.Settings):
  """Stages over one field of the task; see `training.curriculum`."""

  field: str = settings.field(
    '', 'numeric field of the task, such as look_ahead; empty: no stages'
  )
  stages: tuple[int, ...] = settings.field(
    (), "the field's value in each stage", most=_TOKENS
  )
  batch_multipliers: tuple[int, ...] = settings.field(
    (),
    'factor on train.batch_size in each stage; () is 1 in all',
    least=1,
    most=_TOKENS,
  )
  threshold: float = settings.field(
    0.95, 'exact match on the newest group at which a stage ends', most=1
  )
  most_steps: int = settings.field(0, 'most updates in a stage; 0: no limit')
  reset_optimizer: bool = settings.field(
    False, 'whether each stage starts with a fresh optimiser state'
  )


@dataclasses.dataclass(frozen=True)
class Train(settings.Settings):
  """How a model is trained."""

  num_steps: int = settings.field(40_000, 'updates', least=1)
  batch_size: int = settings.field(
    256, 'samples per update, over all devices', least=1
  )
  method: str = settings.field(
    'supervised', 'supervised, or grpo (rewards on generated answers)'
  )
  init_from: str = settings.field(
    '', 'run folder or Hugging Face checkpoint to begin from; empty: none'
  )
  loss: str = settings.field(
    'softmax', 'probabilities of the cross-entropy', choices=losses.KINDS
  )
  depth_loss: str = settings.field(
    'last',
    'depth steps in the loss: the last, every one, or step k for look-ahead k',
    choices=losses.DEPTHS,
  )
  gradient_accumulation: int = settings.field(
    1, 'microbatches per update; their gradients are summed', least=1
  )
  steps_per_dispatch: int = settings.field(
    100, 'updates per compiled call', least=1
  )
  learning_rate: float = settings.field(3e-4, 'at its peak', above=0)
  schedule: str = settings.field(
    'linear', 'learning rate after warm-up', choices=optimizer.SCHEDULES
  )
  warmup_steps: int = settings.field(1_000, 'updates of linear warm-up')
  decay_steps: int = settings.field(
    80_000, 'update at which the learning rate reaches 0; 0 for num_steps'
  )
  b1: float = settings.field(0.9, 'of Adam', below=1)
  b2: float = settings.field(0.999, 'of Adam', below=1)
  weight_decay: float = settings.field(0.01, 'of AdamW')
  clip: float = settings.field(1.0, 'gradient clipping; 0 for none')
  clip_by: str = settings.field(
    'norm', 'clip the global norm, or each value', choices=optimizer.CLIP_BY
  )
  max_skips: int = settings.field(
    0, 'non-finite updates skipped before the run stops'
  )
  ema: float = settings.field(
    0.0, "decay of the parameters' moving average; 0 for none", below=1
  )
  curriculum: Curriculum = settings.group(Curriculum)

  def __post_init__(self):
    super().__post_init__()
    _multiple(self, 'num_steps', 'steps_per_dispatch')
    _multiple(self, 'batch_size', 'gradient_accumulation')
    warmup, decay = self.warmup_steps, self.decay_steps
    if warmup > self.num_steps:
      settings.complain(
        'warmup_steps', warmup, f'must be at most num_steps={self.num_steps}'
      )
    if self.schedule != 'constant' and 0 < decay <= warmup:
      settings.complain(
        'decay_steps', decay, f'must be 0 or above warmup_steps={warmup}'
      )


def _multiple(group: settings.Settings, large: str, small: str) -> None:
  value, divisor = getattr(group, large), getattr(group, small)
  if value % divisor:
    settings.complain(large, value, f'must be a multiple of {small}={divisor}')


GROUPS: dict[str, type[settings.Settings]] = {
  'train': Train,
  'eval': evaluate.Settings,
  'analyze': analysis.Settings,
  'checkpoint': checkpoint.Settings,
  'mesh': sharding.Settings,
  'log': writer.Settings,
  'dataset': dataset.Settings,
  'host': workers.Settings,
}
# What a run may be gone on with in another way, and older run folders lack.
FREE = ('log', 'dataset', 'host')
_SEED = settings.Field(0, 'for initialisation, training data, held-out samples')


def declared(flat: Mapping[str, Any]) -> dict[str, settings.Field]:
  """The fields a config must have, by dotted name.

  Args:
    flat: its values by dotted name; task, model and method set the fields.

  Raises:
    UsageError: for an unknown task, model or method.
  """
  found = {'seed': _SEED}
  for group, kinds in (('task', tasks.TASKS), ('model', models.MODELS)):
    name = f'{group}.name'
    found[name] = settings.Field('', f'which {group}', choices=tuple(kinds))
    _check_choice(name, found[name], flat)
    found |= settings.declared(kinds[flat[name]], f'{group}.')
  for group, kind in GROUPS.items():
    found |= settings.declared(kind, f'{group}.')
  name = 'train.method'
  names = tuple(n for n, m in training.METHODS.items() if not m.by_model)
  found[name] = dataclasses.replace(found[name], choices=names)
  _check_choice(name, found[name], flat)
  own = training.METHODS[flat[name]].Settings
  if own is not None:
    found |= settings.declared(own, f'train.{flat[name]}.')
  return found


def _check_choice(
  name: str, field: settings.Field, flat: Mapping[str, Any]
) -> None:
  if name not in flat:
    raise errors.UsageError(f'config.{name}: is missing')
  if complaint := field.complaint(flat[name]):
    settings.complain(f'config.{name}', flat[name], complaint)


def default(
  task: str, model: str, method: str = 'supervised'
) -> ml_collections.ConfigDict:
  """A config with the default of every field."""
  c = ml_collections.ConfigDict({'seed': _SEED.default})
  c.task = {'name': task, **settings.values(tasks.TASKS[task]())}
  c.model = {'name': model, **settings.values(models.MODELS[model]())}
  for group, kind in GROUPS.items():
    c[group] = settings.values(kind())
  c.train.method = method
  own = training.METHODS[method].Settings
  if own is not None:
    c.train[method] = settings.values(own())
  return c


def read(folder: pathlib.Path) -> ml_collections.ConfigDict:
  """The config of a run folder; errors as `configuration.read`."""
  return configuration.read(folder, declared, FREE)


def parse(text: str) -> ml_collections.ConfigDict:
  """A config from JSON, of this or an earlier version.

  Fields that it lacks get their defaults. Errors as `configuration.parse`.
  """
  return configuration.parse(text, declared, ('task', 'model', *GROUPS))


def change(
  config: ml_collections.ConfigDict,
  apply: Callable[[ml_collections.ConfigDict], None],
) -> None:
  """Applies changes to a config, over what its data files decide."""
  apply(config)
  with settings.within('config.task.'):
    tasks.adopt(config.task)
  apply(config)


def check(config: ml_collections.ConfigDict) -> dict[str, settings.Settings]:
  """Checks names, types, ranges, and constraints between fields.

  The settings of task and model are checked when those are built.

  Returns:
    the settings of each group of `GROUPS`, and of the method by its name.

  Raises:
    UsageError: naming the field, its value and what is allowed.
  """
  flat = settings.flatten(config)
  fields = declared(flat)
  configuration.check_names(flat, fields)
  if complaint := _SEED.complaint(config.seed):
    settings.complain('config.seed', config.seed, complaint)
  made = {}
  for group, kind in GROUPS.items():
    values = config[group].to_dict()
    method = config.train.method
    if group == 'train' and method in values:
      own = training.METHODS[method].Settings
      with settings.within(f'config.train.{method}.'):
        made[method] = settings.build(own, values.pop(method))
    with settings.within(f'config.{group}.'):
      made[group] = settings.build(kind, values)
  for large in ('eval.every', 'checkpoint.every'):
    dispatch = config.train.steps_per_dispatch
    if flat[large] % dispatch:
      settings.complain(
        f'config.{large}', flat[large],
        f'must be a multiple of config.train.steps_per_dispatch={dispatch}',
      )  # fmt: skip
  return made
