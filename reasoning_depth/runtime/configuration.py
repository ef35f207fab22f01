"""Loads, overrides, checks and compares configs, with clear errors."""

import difflib
import importlib.util
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import ml_collections

from reasoning_depth.runtime import fields

MULTIPLES = (  # the first is a multiple of the second
  ('train.num_steps', 'train.steps_per_dispatch'),
  ('eval.every', 'train.steps_per_dispatch'),
  ('checkpoint.every', 'train.steps_per_dispatch'),
  ('train.batch_size', 'train.gradient_accumulation'),
)
_SHOWN = 80  # characters of what was given, in an error


def load(path_and_words: str) -> ml_collections.ConfigDict:
  """Runs `get_config(words)` of `path.py:words`.

  Raises:
    ValueError: where the file is not there or is no config.
  """
  path, _, words = path_and_words.partition(':')
  file = pathlib.Path(path)
  where = f'--config={shown(path)}'
  try:
    if not file.is_file():
      near = suggest(file.stem, [p.stem for p in file.parent.glob('*.py')])
      raise ValueError(f'{where}: no such file{near}')
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
      raise ValueError(f'{where}: not a Python file')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
  except OSError as error:
    raise ValueError(f'{where}: {error.strerror}') from None
  except SyntaxError as error:
    raise ValueError(f'{where}: not a Python file ({error})') from None
  if not hasattr(module, 'get_config'):
    raise ValueError(f'{where}: has no get_config')
  return module.get_config(words).lock()


def read(folder: pathlib.Path) -> ml_collections.ConfigDict:
  """Reads `config.json` of a run folder.

  Raises:
    ValueError: where the folder is no run folder or the file is damaged: not
      JSON, or fields that are missing, unknown or of another type.
  """
  path = folder / 'config.json'
  try:
    value = json.loads(path.read_bytes(), object_pairs_hook=_once)
    if not isinstance(value, dict):
      raise ValueError('holds no named values')
    flat = flatten(value)
    _check_shape(flat)
    config = ml_collections.ConfigDict(value)
    # JSON writes some floats like whole numbers.
    with config.ignore_type():
      for name, v in flat.items():
        field = fields.FIELDS[name]
        if field.kind is float and not field.complaint(v):
          config.update_from_flattened_dict({name: float(v)})
    return config.lock()
  except (OSError, ValueError, RecursionError) as error:
    reason = shown(getattr(error, 'strerror', None) or error, 10 * _SHOWN)
    raise ValueError(
      f'--workdir={shown(folder)}: not a run folder ({path.name}: {reason})'
    ) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  """An object of JSON, each name once and without a dot, lists as tuples."""
  value = {}
  for name, v in pairs:
    if name in value or '.' in name:
      raise ValueError(f'{shown(name)}: twice in one group, or with a dot')
    value[name] = tuple(v) if isinstance(v, list) else v
  return value


def apply(config: ml_collections.ConfigDict, flags: Iterable[str]) -> None:
  """Sets fields from flags of the form `--config.train.num_steps=100`.

  Raises:
    ValueError: as `override`, or for a flag without a value.
  """
  for flag in flags:
    name, equals, value = flag.removeprefix('--config.').partition('=')
    if not equals:
      raise ValueError(f'{flag}: a value is missing, as in {flag}=1')
    override(config, name, value)


def override(config: ml_collections.ConfigDict, name: str, text: str) -> None:
  """Sets one field from the command line: `train.num_steps`, `'100'`.

  Raises:
    ValueError: for an unknown field, or a value of another type.
  """
  known = flatten(config)
  if name not in known:
    near = suggest(name, known)
    raise ValueError(f'config.{shown(name)}: no such field{near}')
  old = known[name]
  value = _parse(old, text)
  if value is None:
    allowed = fields.DESCRIPTIONS[type(old)]
    complain(name, text, f'must be {allowed}, such as {old}')
  config.update_from_flattened_dict({name: value})


def _parse(old: Any, text: str) -> Any:
  """The value of `text` in the type of `old`, or None."""
  if isinstance(old, bool):
    return {'true': True, 'false': False}.get(text.lower())
  try:
    if not isinstance(old, tuple):
      return type(old)(text)
    bare = text.strip()
    if bare[:1] + bare[-1:] in ('()', '[]'):
      bare = bare[1:-1].strip().removesuffix(',')
      if not bare:
        return ()
    return tuple(int(part) for part in bare.split(','))
  except ValueError:
    return None


def check(config: ml_collections.ConfigDict) -> None:
  """Checks names, types, ranges and what fields have to do with each other.

  Raises:
    ValueError: naming the field, its value and what is allowed.
  """
  flat = flatten(config)
  _check_shape(flat)
  for name, value in flat.items():
    field = fields.FIELDS[name]
    if complaint := field.complaint(value):
      near = suggest(value, field.choices) if isinstance(value, str) else ''
      complain(name, value, complaint + near)
  for large, small in MULTIPLES:
    if flat[large] % flat[small]:
      complain(
        large,
        flat[large],
        f'must be a multiple of config.{small}={flat[small]}',
      )
  warmup, steps = flat['train.warmup_steps'], flat['train.num_steps']
  decay = flat['train.decay_steps']
  if warmup > steps:
    complain(
      'train.warmup_steps',
      warmup,
      f'must be at most config.train.num_steps={steps}',
    )
  if flat['train.schedule'] != 'constant' and 0 < decay <= warmup:
    complain(
      'train.decay_steps', decay,
      f'must be 0 or above config.train.warmup_steps={warmup}',
    )  # fmt: skip


def _check_shape(flat: dict[str, Any]) -> None:
  """Raises ValueError for a field that is unknown, mistyped or missing."""
  for name, value in flat.items():
    if name not in fields.FIELDS:
      near = suggest(name, fields.FIELDS)
      raise ValueError(f'config.{shown(name)}: no such field{near}')
    if not fields.FIELDS[name].has_type(value):
      complain(name, value, fields.FIELDS[name].complaint(value))
  needed, task = fields.needed(flat), flat.get('task.name')
  for name, why in needed.items():
    if name not in flat:
      raise ValueError(f'config.{name}: is missing; {why} needs it')
  # A task takes all that is in its group; an unknown one is named later.
  if ('task.name', task) in fields.CHOSEN:
    for name in flat:
      if name.startswith('task.') and name not in needed:
        raise ValueError(f'config.{name}: no field of config.task.name={task}')


def complain(name: str, value: Any, allowed: str) -> NoReturn:
  """Raises a ValueError that names a field and its value."""
  raise ValueError(f'config.{name}={shown(value)}: {allowed}')


def shown(value: Any, most: int = _SHOWN) -> str:
  """A value as one line of an error, cut short."""
  text = str(value)
  text = text if len(text) <= most else text[:most] + '…'
  return text if text.isprintable() else ascii(text)


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


def flatten(config: Mapping[str, Any]) -> dict[str, Any]:
  """Fields by dotted name; of an empty group, its own."""
  flat = {}
  for name, value in config.items():
    if isinstance(value, (dict, ml_collections.ConfigDict)) and value:
      flat |= {f'{name}.{k}': v for k, v in flatten(value).items()}
    else:
      flat[name] = value
  return flat


def suggest(word: str, allowed: Iterable[str]) -> str:
  """'; did you mean …?', or nothing where no word is near.

  A field may be named without its groups.
  """
  whole = {name: name for name in allowed}
  leaves = {name.rpartition('.')[2]: name for name in whole}
  # What is very near is looked for first: that is fast.
  for names, cutoff in ((whole, 0.85), (leaves, 0.85), (whole, 0.6)):
    for near in difflib.get_close_matches(word, names, 1, cutoff):
      return f'; did you mean {names[near]!r}?'
  return ''
