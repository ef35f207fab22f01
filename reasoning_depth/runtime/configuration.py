"""Loads, overrides, checks and compares configs, with clear errors."""

import ast
import difflib
import importlib.util
import json
import pathlib
from collections.abc import Iterable
from typing import Any

import ml_collections

# Least allowed value of number fields, and the choices of word fields.
LEAST = {
  'seed': 0,
  'task.width': 1,
  'task.num_states': 1,
  'task.word_length': 1,
  'model.num_layers': 1,
  'model.width': 1,
  'model.num_heads': 1,
  'model.mlp_width': 1,
  'model.rotary_fraction': 0,
  'model.unroll': 0,
  'model.state_size': 1,
  'model.halting.max_steps': 1,
  'model.halting.threshold': 0,
  'model.halting.bias': -20,
  'model.halting.prior': 0,
  'model.halting.cost': 0,
  'model.recurrence.prelude': 0,
  'model.recurrence.coda': 0,
  'model.recurrence.mean': 1,
  'model.recurrence.least': 1,
  'model.recurrence.most': 1,
  'model.recurrence.spread': 0,
  'model.recurrence.truncate': 0,
  'model.recursion.inner_steps': 1,
  'model.recursion.cycles': 1,
  'model.recursion.supervision': 1,
  'model.recursion.exploration': 0,
  'model.recursion.halt_weight': 0,
  'model.memory.num_tokens': 1,
  'model.memory.key_width': 1,
  'model.memory.nu': 1,
  'model.memory.num_heads': 1,
  'model.memory.segment_states': 1,
  'model.memory.repeat_states': 0,
  'model.memory.truncate': 0,
  'model.memory.unroll': 0,
  'train.num_steps': 1,
  'train.batch_size': 1,
  'train.accumulate': 1,
  'train.steps_per_dispatch': 1,
  'train.learning_rate': 0,
  'train.warmup_steps': 0,
  'train.decay_steps': 0,
  'train.b1': 0,
  'train.b2': 0,
  'train.weight_decay': 0,
  'train.clip': 0,
  'train.ema': 0,
  'train.max_skips': 0,
  'train.grpo.generations': 2,
  'train.grpo.thinking': 0,
  'train.grpo.temperature': 0,
  'train.grpo.clip_ratio': 0,
  'train.grpo.kl': 0,
  'train.grpo.format_reward': 0,
  'train.grpo.updates': 1,
  'train.curriculum.threshold': 0,
  'train.curriculum.most_steps': 0,
  'eval.every': 1,
  'eval.validation_samples': 1,
  'eval.test_samples': 1,
  'eval.batch_size': 1,
  'eval.rows': 0,
  'eval.rollout': 0,
  'checkpoint.every': 1,
  'checkpoint.keep': 1,
  'checkpoint.keep_best': 0,
  'checkpoint.keep_every': 0,
  'checkpoint.grace': 1,
  'mesh.data': 0,
  'mesh.model': 1,
}
MOST = {
  'model.rotary_fraction': 1,
  'model.halting.threshold': 1,
  'model.halting.prior': 1,
  'model.recursion.exploration': 1,
  'train.b1': 1,
  'train.b2': 1,
  'train.ema': 1,
}
CHOICES = {
  'train.method': ('supervised', 'grpo'),
  'train.loss': ('softmax', 'stablemax'),
  'train.depth_loss': ('last', 'every', 'look_ahead'),
  'train.schedule': ('constant', 'linear', 'cosine'),
  'train.clip_by': ('norm', 'value'),
  'checkpoint.metric': ('exact_match', 'bit_accuracy', 'loss'),
  'mesh.parameters': ('replicated', 'fsdp'),
}
MULTIPLES = (  # the first is a multiple of the second
  ('train.num_steps', 'train.steps_per_dispatch'),
  ('eval.every', 'train.steps_per_dispatch'),
  ('checkpoint.every', 'train.steps_per_dispatch'),
  ('train.batch_size', 'train.accumulate'),
)


def load(path_and_words: str) -> ml_collections.ConfigDict:
  """Runs `get_config(words)` of `path.py:words`.

  Raises:
    ValueError: where the file is not there or is no config.
  """
  path, _, words = path_and_words.partition(':')
  file = pathlib.Path(path)
  if not file.is_file():
    near = suggest(file.stem, [p.stem for p in file.parent.glob('*.py')])
    raise ValueError(f'--config={path}: no such file{near}')
  spec = importlib.util.spec_from_file_location(file.stem, file)
  if spec is None or spec.loader is None:
    raise ValueError(f'--config={path}: not a Python file')
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  if not hasattr(module, 'get_config'):
    raise ValueError(f'--config={path}: has no get_config')
  return module.get_config(words).lock()


def read(folder: pathlib.Path) -> ml_collections.ConfigDict:
  """Reads `config.json` of a run folder.

  Raises:
    ValueError: where the folder is no run folder or the file is damaged.
  """
  path = folder / 'config.json'
  try:
    value = json.loads(path.read_text())
    return ml_collections.ConfigDict(_with_tuples(value)).lock()
  except (OSError, ValueError, TypeError) as error:
    raise ValueError(
      f'--workdir={folder}: not a run folder ({path.name}: {error})'
    ) from None


def override(config: ml_collections.ConfigDict, name: str, text: str) -> None:
  """Sets one field from the command line: `train.num_steps`, `'100'`.

  Raises:
    ValueError: for an unknown field, or a value of another type.
  """
  fields = flatten(config)
  if name not in fields:
    raise ValueError(f'config.{name}: no such field{suggest(name, fields)}')
  old = fields[name]
  value = _parse(old, text)
  if value is None:
    raise ValueError(
      f'config.{name}={text}: must be {_DESCRIPTIONS[type(old)]}, such as {old}'
    )
  config.update_from_flattened_dict({name: value})


_DESCRIPTIONS = {
  bool: 'True or False',
  int: 'a whole number',
  float: 'a number',
  str: 'a word',
  tuple: 'whole numbers in parentheses',
}


def _parse(old: Any, text: str) -> Any:
  """The value of `text` in the type of `old`, or None."""
  if isinstance(old, str):
    return text
  try:
    value = ast.literal_eval(text.capitalize())
  except (ValueError, SyntaxError, MemoryError, RecursionError):
    return None
  if isinstance(old, float) and type(value) is int:
    return float(value)
  if isinstance(old, tuple):
    value = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return value if all(type(v) is int for v in value) else None
  return value if type(value) is type(old) else None


def check(config: ml_collections.ConfigDict) -> None:
  """Checks ranges and what fields must have to do with each other.

  Raises:
    ValueError: naming the field, its value and what is allowed.
  """
  fields = flatten(config)
  for name, value in fields.items():
    if name in LEAST and not value >= LEAST[name]:
      raise ValueError(f'config.{name}={value}: must be at least {LEAST[name]}')
    if name in MOST and not value <= MOST[name]:
      raise ValueError(f'config.{name}={value}: must be at most {MOST[name]}')
    if name in CHOICES and value not in CHOICES[name]:
      raise ValueError(
        f'config.{name}={value!r}: allowed are {", ".join(CHOICES[name])}'
        f'{suggest(value, CHOICES[name])}'
      )
  for large, small in MULTIPLES:
    if fields[large] % fields[small]:
      raise ValueError(
        f'config.{large}={fields[large]}: must be a multiple of '
        f'config.{small}={fields[small]}'
      )


def same(
  config: ml_collections.ConfigDict, saved: ml_collections.ConfigDict
) -> None:
  """Raises ValueError naming the first field in which two configs differ."""
  ours, theirs = flatten(config), flatten(saved)
  for name in sorted(ours.keys() | theirs.keys()):
    if ours.get(name) != theirs.get(name):
      raise ValueError(
        f'config.{name}={ours.get(name)}: the run folder was made with '
        f'{theirs.get(name)}; take another --workdir'
      )


def flatten(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """Fields by dotted name."""
  flat = {}
  for name, value in config.items():
    if isinstance(value, ml_collections.ConfigDict):
      flat |= {f'{name}.{k}': v for k, v in flatten(value).items()}
    else:
      flat[name] = value
  return flat


def suggest(word: str, allowed: Iterable[str]) -> str:
  """'; did you mean …?', or nothing where no word is near."""
  near = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.6)
  return f'; did you mean {near[0]!r}?' if near else ''


def _with_tuples(value: Any) -> Any:
  if isinstance(value, dict):
    return {k: _with_tuples(v) for k, v in value.items()}
  return tuple(value) if isinstance(value, list) else value
