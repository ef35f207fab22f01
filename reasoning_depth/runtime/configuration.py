"""Loads, overrides and compares configs, with clear errors.

This module knows no field: callers pass the declared fields by dotted name.
"""

import importlib.util
import json
import pathlib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import ml_collections

from reasoning_depth import errors, settings

Declared = Mapping[str, settings.Field]
_LONG = 800  # most characters of a reason in an error


def load(path_and_words: str) -> ml_collections.ConfigDict:
  """Runs `get_config(words)` of `path.py:words`.

  Raises:
    UsageError: where the file does not exist or is not a config.
  """
  path, _, words = path_and_words.partition(':')
  file = pathlib.Path(path)
  where = f'--config={settings.shown(path)}'
  try:
    if not file.is_file():
      stems = [p.stem for p in file.parent.glob('*.py')]
      near = settings.suggest(file.stem, stems)
      raise errors.UsageError(f'{where}: no such file{near}')
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
      raise errors.UsageError(f'{where}: not a Python file')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
  except OSError as error:
    raise errors.UsageError(f'{where}: {error.strerror}') from None
  except SyntaxError as error:
    raise errors.UsageError(f'{where}: not a Python file ({error})') from None
  if not hasattr(module, 'get_config'):
    raise errors.UsageError(f'{where}: has no get_config')
  return module.get_config(words).lock()


def read(
  folder: pathlib.Path,
  declare: Callable[[Mapping[str, Any]], Declared],
  fill: Collection[str] = (),
) -> ml_collections.ConfigDict:
  """Reads `config.json` of a run folder.

  Args:
    folder: the run folder.
    declare: from flat values to the fields that the config must have.
    fill: as of `parse`.

  Raises:
    UsageError: where the folder is not a run folder or the file is damaged: not
      JSON, or with fields missing, unknown or of another type.
  """
  path = folder / 'config.json'
  try:
    return parse(path.read_bytes(), declare, fill)
  except OSError as error:
    reason = error.strerror
  except errors.UsageError as error:
    reason = error
  raise errors.UsageError(
    f'--workdir={settings.shown(folder)}: not a run folder ({path.name}: '
    f'{reason})'
  )


def parse(
  text: str | bytes,
  declare: Callable[[Mapping[str, Any]], Declared],
  fill: Collection[str] = (),
) -> ml_collections.ConfigDict:
  """A config from JSON.

  Args:
    text: JSON.
    declare: as of `read`.
    fill: groups of which it may lack fields, or all, as it was written by an
      earlier version; these get their defaults.

  Raises:
    UsageError: where it is not JSON, or with fields missing, unknown or of
      another type.
  """
  try:
    value = json.loads(text, object_pairs_hook=_unique_names)
  except (ValueError, RecursionError) as error:
    raise errors.UsageError(settings.shown(error, _LONG)) from None
  if not isinstance(value, dict):
    raise errors.UsageError('holds no named values')
  flat = settings.flatten(value)
  declared = declare(flat)
  missing = {
    name: field.default
    for name, field in declared.items()
    if name not in flat and name.partition('.')[0] in fill
  }
  flat = missing | flat
  check_names(flat, declared)
  for name, default in missing.items():
    *groups, field = name.split('.')
    group = value
    for part in groups:
      group = group.setdefault(part, {})
    group[field] = default
  config = ml_collections.ConfigDict(value)
  # JSON may have an integer for a float: 1 for 1.0.
  with config.ignore_type():
    for name, v in flat.items():
      field = declared[name]
      if field.kind is float and not field.complaint(v):
        config.update_from_flattened_dict({name: float(v)})
  return config.lock()


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  """A JSON object; names must be unique and without dots; lists to tuples."""
  value = {}
  for name, v in pairs:
    if name in value or '.' in name:
      raise errors.UsageError(
        f'{settings.shown(name)}: twice in one group, or with a dot'
      )
    value[name] = tuple(v) if isinstance(v, list) else v
  return value


def apply(config: ml_collections.ConfigDict, flags: Iterable[str]) -> None:
  """Sets fields from flags of the form `--config.train.num_steps=100`.

  Raises:
    UsageError: as `override`, or for a flag without a value.
  """
  for flag in flags:
    name, equals, value = flag.removeprefix('--config.').partition('=')
    if not equals:
      raise errors.UsageError(f'{flag}: a value is missing, as in {flag}=1')
    override(config, name, value)


def override(config: ml_collections.ConfigDict, name: str, text: str) -> None:
  """Sets one field from the command line: `train.num_steps`, `'100'`.

  Raises:
    UsageError: for an unknown field, or a value of another type.
  """
  old = _known(config, name)
  _set(config, name, text, _parse(old, text))


def update(
  config: ml_collections.ConfigDict, values: Mapping[str, Any]
) -> None:
  """Sets fields by dotted name: `{'train.num_steps': 100}`.

  A list counts as a tuple, a whole number as a float where one is needed.

  Raises:
    UsageError: for an unknown field, or a value of another type.
  """
  for name, value in values.items():
    old = _known(config, name)
    new = tuple(value) if isinstance(value, list) else value
    if not settings.Field(old, '').has_type(new):
      new = None
    elif isinstance(old, float):
      new = float(new)
    _set(config, name, value, new)


def _known(config: ml_collections.ConfigDict, name: str) -> Any:
  """The value of a field; raises `UsageError` if there is none."""
  known = settings.flatten(config)
  if name not in known:
    near = settings.suggest(name, known)
    raise errors.UsageError(
      f'config.{settings.shown(name)}: no such field{near}'
    )
  return known[name]


def _set(
  config: ml_collections.ConfigDict, name: str, given: Any, value: Any
) -> None:
  """Sets a known field; raises `UsageError` for the value None."""
  if value is None:
    old = settings.flatten(config)[name]
    allowed = settings.KINDS[type(old)]
    settings.complain(
      f'config.{name}', given, f'must be {allowed}, such as {old}'
    )
  config.update_from_flattened_dict({name: value})


def _parse(old: Any, text: str) -> Any:
  """`text` as a value of the type of `old`, or None."""
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


def check_names(flat: Mapping[str, Any], declared: Declared) -> None:
  """Checks that a config has exactly the declared fields, of their types.

  Raises:
    UsageError: for a field that is unknown, mistyped or missing.
  """
  for name, value in flat.items():
    if name not in declared:
      near = settings.suggest(name, declared)
      raise errors.UsageError(
        f'config.{settings.shown(name)}: no such field{_of(name, flat)}{near}'
      )
    if not declared[name].has_type(value):
      settings.complain(
        f'config.{name}', value, declared[name].complaint(value)
      )
  for name in declared:
    if name not in flat:
      raise errors.UsageError(f'config.{name}: is missing{_of(name, flat)}')


def _of(name: str, flat: Mapping[str, Any]) -> str:
  """' of config.task.name=…', for a field of a task or model; else ''."""
  group = name.partition('.')[0]
  of = flat.get(f'{group}.name')
  return f' of config.{group}.name={settings.shown(of)}' if of else ''


def same(
  config: ml_collections.ConfigDict,
  saved: ml_collections.ConfigDict,
  free: Collection[str] = (),
) -> None:
  """Raises `UsageError` naming the first field in which two configs differ.

  Args:
    config: of now.
    saved: of a run folder.
    free: groups that may differ.
  """
  ours, theirs = settings.flatten(config), settings.flatten(saved)
  for name in sorted(ours.keys() | theirs.keys()):
    if name.partition('.')[0] in free:
      continue
    if ours.get(name) != theirs.get(name):
      raise errors.UsageError(
        f'config.{name}={ours.get(name)}: the run folder was made with '
        f'{theirs.get(name)}; take another --workdir'
      )
