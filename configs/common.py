"""Shared by all configs: defaults, words after the colon, smoke and cpu."""

import difflib
from collections.abc import Callable, Collection, Sequence
from typing import Any

import ml_collections

from reasoning_depth import errors, settings, tasks
from reasoning_depth.tasks import orbit_tokens
from reasoning_depth.training import config as whole

# Words that every config understands.
FLAGS = {
  'smoke': 'under a minute on two CPU cores; tests the whole pipeline',
  'cpu': "minutes on two CPU cores; orbits: the paper's lattice, width 64",
  'small': 'radius 1, 12 cells, 6 states: for a first look',
  'gpu': 'one H100',
  'curriculum': 'stages over the look-ahead, from 1 up',
}
VALUES = {
  'k': 'look-ahead: k=2 for one value, k=1-4 for a range in one model',
  'task': 'variant of the orbits task, such as o_o, cot or ro_s',
  'layout': 'causal or masked',
  'act': 'adaptive computation: layer, model, or fixed (three times a layer)',
}


MOST_K = 9_999  # of the word k=; config.task.look_ahead takes any
WORDS = FLAGS | {f'{name}=…': meaning for name, meaning in VALUES.items()}


def at_full_size(arg: str) -> bool:
  """Whether the experiment has its full size, without `smoke` or `cpu`."""
  return not parse_arg(arg).keys() & {'smoke', 'cpu'}


def parse_arg(arg: str, own: Sequence[str] = ()) -> dict[str, str]:
  """Parses `word,word,name=value`, strictly.

  Args:
    arg: the words.
    own: additional flags of one config.

  Returns:
    flags as {'smoke': ''}, values as {'k': '2'}.

  Raises:
    UsageError: for a word that is not known, naming the nearest one.
  """
  words, flags = {}, (*FLAGS, *own)
  for word in filter(None, arg.split(',')):
    name, equals, value = word.partition('=')
    known = VALUES if equals else flags
    if name not in known or (equals and not value):
      allowed = [*flags, *(f'{v}=…' for v in VALUES)]
      near = difflib.get_close_matches(name, [*flags, *VALUES], 1, 0.5)
      hint = f'; did you mean {near[0]!r}?' if near else ''
      raise errors.UsageError(
        f'word {word!r} after the colon: allowed are {", ".join(allowed)}{hint}'
      )
    if name in words:
      raise errors.UsageError(
        f'word {word!r} after the colon: {name} stands twice'
      )
    words[name] = value
  return words


def split(arg: str, one_of: Collection[str], *own: str) -> tuple[str, str]:
  """Splits the words into a flag of one config and the others.

  Args:
    arg: the words.
    one_of: flags of which one may stand there.
    *own: further flags of the config.

  Returns:
    the one of `one_of`, '' if there is none, and the other words.

  Raises:
    UsageError: for two of `one_of`, and as `parse_arg`.
  """
  found = [word for word in parse_arg(arg, (*one_of, *own)) if word in one_of]
  if len(found) > 1:
    raise errors.UsageError(f'words {", ".join(found)}: allowed is one of them')
  rest = ','.join(word for word in arg.split(',') if word not in one_of)
  return ''.join(found), rest


def choose(name: str, text: str, allowed: Collection[str]) -> str:
  """The value of a word `name=…`; raises `UsageError` if it is not allowed."""
  if text not in allowed:
    raise errors.UsageError(
      f'word {name}={settings.shown(text)}: allowed are {", ".join(allowed)}'
    )
  return text


def refuse(arg: str, name: str, *words: str) -> None:
  """Raises `UsageError` for words that the config `name` does not support."""
  for word in words:
    if word in parse_arg(arg):
      shown = word if word in FLAGS else f'{word}=…'
      raise errors.UsageError(f'word {shown}: not of configs/{name}.py')


def build(
  arg: str,
  c: ml_collections.ConfigDict,
  cpu: Callable[[ml_collections.ConfigDict], None] = lambda c: None,
  smoke: Callable[[ml_collections.ConfigDict], None] = lambda c: None,
) -> ml_collections.ConfigDict:
  """Applies the words after the colon to a config.

  Args:
    arg: the words.
    c: the config without words, from `base`.
    cpu: changes for the word `cpu`, after the shared ones.
    smoke: changes for the word `smoke`, after the shared ones.

  Raises:
    UsageError: for a word that this config does not support.
  """
  words = parse_arg(arg)
  if 'gpu' in words:
    gpu(c)
  if 'cpu' in words:
    _cpu(c)
    cpu(c)
  if 'small' in words:
    _small(c)
  if 'smoke' in words:
    _shrink(c)
    smoke(c)
  if 'task' in words:
    variant(c, words['task'])
  if 'layout' in words:
    c.task.layout = words['layout']
  if 'k' in words:
    look_ahead(c, words['k'])
  if 'act' in words:
    act(c, words['act'])
  if 'curriculum' in words:
    staged(c)
  return c


def base(model: str, method: str = 'supervised') -> ml_collections.ConfigDict:
  """The defaults, with the paper's setting of the task (2508.16745).

  Fields are documented where their defaults are: in the task, the model,
  `training.config`, `scoring.evaluate`, `analysis`, `runtime.checkpoint` and
  `runtime.sharding`; `--mode=show` lists all.
  """
  c = whole.default('orbits', model, method)
  c.task.look_ahead = (1, 2, 3, 4)
  c.task.variant = 'multi_horizon'
  return c


def task(name: str, **fields: Any) -> ml_collections.ConfigDict:
  """The group `task` of a task, with its defaults but for `fields`."""
  return ml_collections.ConfigDict(
    {'name': name, **settings.values(tasks.TASKS[name](**fields))}
  )


def put(group: ml_collections.ConfigDict, **fields: Any) -> None:
  """Sets fields of a group, skipping those that it lacks."""
  for name, value in fields.items():
    if name in group:
      group[name] = value


def act(c: ml_collections.ConfigDict, text: str) -> None:
  """Sets halting from `layer`, `model` or `fixed`."""
  if 'halting' not in c.model:
    raise errors.UsageError(
      f'word act=…: the model {c.model.name} has no halting'
    )
  choose('act', text, ('layer', 'model', 'fixed'))
  c.model.halting.kind = 'layer' if text == 'fixed' else text
  if text == 'fixed':
    c.model.halting.rule = 'fixed'
    c.model.halting.max_steps = 3


def variant(c: ml_collections.ConfigDict, text: str) -> None:
  """Sets the task variant, with layout, look-ahead and loss that it allows."""
  c.task.variant = text
  c.task.layout = orbit_tokens.LAYOUT_OF.get(text, c.task.layout)
  if text in orbit_tokens.ONE_LOOK_AHEAD:
    c.task.look_ahead = c.task.look_ahead[:1]
  if text == 'by_depth':
    c.train.depth_loss = 'look_ahead'


def look_ahead(c: ml_collections.ConfigDict, text: str) -> None:
  """Sets k from `2` (one value) or `1-4` (a range in one model)."""
  known = {str(k): k for k in range(1, MOST_K + 1)}
  first, dash, last = text.partition('-')
  ends = [known.get(end, 0) for end in (first, last if dash else first)]
  if not 1 <= ends[0] <= ends[1]:
    raise errors.UsageError(
      f'word k={settings.shown(text)}: allowed are k=2 or k=1-4, up to {MOST_K}'
    )
  values = tuple(range(ends[0], ends[1] + 1))
  c.task.look_ahead = values
  if c.task.variant in ('o_s', 'multi_horizon'):
    c.task.variant = 'multi_horizon' if len(values) > 1 else 'o_s'


def staged(c: ml_collections.ConfigDict) -> None:
  """A curriculum over the look-ahead, each stage an equal share at most."""
  stages = tuple(range(1, max(c.task.look_ahead) + 1))
  c.train.curriculum.field = 'look_ahead'
  c.train.curriculum.stages = stages
  c.train.curriculum.most_steps = c.train.num_steps // len(stages)


def gpu(c: ml_collections.ConfigDict) -> None:
  """The same experiment on one H100: bfloat16 and longer dispatches."""
  c.model.dtype = 'bfloat16'
  c.train.steps_per_dispatch = 500


def _cpu(c: ml_collections.ConfigDict) -> None:
  """The paper's lattice in minutes on two CPU cores.

  Radius 2, 20 cells, 10 states, look-ahead 1, the masked layout; width 64. Each
  head starts at an offset of the light cone: from a start at zeros a
  transformer was slow to learn radius 2 (12 cells, 8 states: exact match 0.25
  in validation after 1,000 updates, and rising).
  """
  c.task.look_ahead = (1,)
  c.task.variant = 'o_s'
  c.task.layout = 'masked'
  c.model.width = 64
  if 'num_heads' in c.model:
    c.model.num_heads = 8
    c.model.mlp_width = 256
    c.model.positions = 'relative'
    c.model.relative_start = 'cone'
    c.model.parallel_residual = False
  c.train.num_steps = 1_000
  c.train.batch_size = 32
  c.train.steps_per_dispatch = 5  # two seconds, to react to signals
  c.train.learning_rate = 2e-3
  c.train.schedule = 'cosine'
  c.train.warmup_steps = 200
  c.train.decay_steps = 0
  c.train.b2 = 0.99
  c.train.weight_decay = 0.1
  c.host.cpu_devices = 2
  c.eval.every = 500
  c.eval.validation_samples = 512
  c.eval.test_samples = 4_000
  c.checkpoint.every = 500


def pair_block(c: ml_collections.ConfigDict) -> None:
  """One block, to be looped, whose tokens see themselves and the one before."""
  c.model.update(num_layers=1, width=128, num_heads=4, mlp_width=1024)
  c.model.norm = 'rms'
  c.model.relative_window = 1


def _small(c: ml_collections.ConfigDict) -> None:
  """A small lattice for a first look: radius 1, 12 cells, 6 states.

  It has only 256 rules: the 205 of the training split can be memorised, and the
  test score is over only the 26 of the test split.
  """
  c.task.width = 12
  c.task.radius = 1
  c.task.num_states = 6


def _shrink(c: ml_collections.ConfigDict) -> None:
  """Smoke test size: everything small, all parts of the pipeline run."""
  c.task.width = 8
  c.task.num_states = 6
  c.model.num_layers = 2
  c.model.width = 32
  put(c.model, num_heads=2, mlp_width=64)
  c.train.num_steps = 40
  c.train.batch_size = 16
  c.train.steps_per_dispatch = 10
  c.train.learning_rate = 1e-3
  c.train.warmup_steps = 10
  c.train.decay_steps = 0
  c.eval.every = 20
  c.eval.validation_samples = 64
  c.eval.test_samples = 256
  c.eval.batch_size = 64
  c.analyze.samples = 32
  c.checkpoint.every = 20
