"""Settings: each field declared once, with its default, range and meaning.

A task, a model or a method of training has a frozen dataclass of settings::

  @dataclasses.dataclass(frozen=True)
  class Recurrence(settings.Settings):
    mean_loops: int = settings.field(4, 'loops at inference', least=1)
    draw: str = settings.field('fixed', 'loops of a batch', choices=DRAWS)

A value out of range, as in `Recurrence(mean_loops=0)`, raises `UsageError`.
Configs, their check and `--mode=show` read the same declaration, through
`declared`.
"""

import contextlib
import dataclasses
import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn, TypeVar

import ml_collections

from reasoning_depth import errors

INT32 = 2**31 - 1
FLOAT32 = 3.4028234e38
_SHOWN = 80  # most characters of a value in an error
_PATH = 500  # the same of a path
_KEY = 'setting'  # in a dataclass field's metadata
KINDS = {
  bool: 'True or False',
  int: 'a whole number',
  float: 'a number',
  str: 'a word',
  tuple: 'whole numbers in parentheses',
}


@dataclasses.dataclass(frozen=True)
class Field:
  """A declared field.

  Attributes:
    default: also gives the type; a tuple is of ints.
    meaning: one line, with the unit.
    least: smallest number allowed; of a tuple, for each number.
    most: largest number allowed, likewise.
    above: whether `least` itself is excluded.
    below: whether `most` itself is excluded.
    choices: allowed words; () for any text.
    ascending: whether the numbers of a tuple must ascend.
  """

  default: Any
  meaning: str
  least: float = 0
  most: float = INT32
  above: bool = False
  below: bool = False
  choices: tuple[str, ...] = ()
  ascending: bool = False

  @property
  def kind(self) -> type:
    """The type of its values."""
    return type(self.default)

  @property
  def allowed(self) -> str:
    """The allowed values, as text."""
    if self.choices:
      return ', '.join(self.choices)
    if self.kind in (bool, str):
      return {bool: 'True, False', str: 'text'}[self.kind]
    parts = [f'{">" if self.above else ">="} {self.least:,}']
    if self.most not in (INT32, FLOAT32):
      parts.append(f'{"<" if self.below else "<="} {self.most:,}')
    parts += ['ascending'] * self.ascending
    return ', '.join(parts)

  def has_type(self, value: Any) -> bool:
    """Whether a value is of the field's type."""
    if self.kind is tuple and isinstance(value, tuple):
      return all(type(v) is int for v in value)
    return type(value) is self.kind or (
      self.kind is float and type(value) is int
    )

  def complaint(self, value: Any) -> str:
    """Why a value is not allowed, or ''."""
    if not self.has_type(value):
      return f'must be {KINDS[self.kind]}'
    if self.choices and value not in self.choices:
      near = suggest(value, self.choices)
      return f'allowed are {", ".join(self.choices)}{near}'
    if self.kind in (bool, str):
      return ''
    # Comparisons are written so that NaN fails.
    for number in value if self.kind is tuple else (value,):
      if not (number > self.least if self.above else number >= self.least):
        return f'must be {"above" if self.above else "at least"} {self.least}'
      if not (number < self.most if self.below else number <= self.most):
        return f'must be {"below" if self.below else "at most"} {self.most}'
    if self.ascending and list(value) != sorted(set(value)):
      return 'must ascend, each value once'
    return ''


def field(
  default: Any,
  meaning: str,
  *,
  least: float = 0,
  most: float | None = None,
  above: float | None = None,
  below: float | None = None,
  choices: Iterable[str] = (),
  ascending: bool = False,
) -> Any:
  """Declares a field of a settings dataclass.

  Args:
    default: of one of the types in `KINDS`.
    meaning: one line, with the unit.
    least: smallest number allowed.
    most: largest number allowed.
    above: exclusive bound, instead of `least`.
    below: exclusive bound, instead of `most`.
    choices: allowed words.
    ascending: whether the numbers of a tuple must ascend.
  """
  largest = FLOAT32 if isinstance(default, float) else INT32
  declared = Field(
    default=default,
    meaning=meaning,
    least=least if above is None else above,
    most=next((m for m in (most, below) if m is not None), largest),
    above=above is not None,
    below=below is not None,
    choices=tuple(choices),
    ascending=ascending,
  )
  return dataclasses.field(default=default, metadata={_KEY: declared})


def group(kind: 'type[Settings]', **defaults: Any) -> Any:
  """Declares a field that is a settings dataclass of its own.

  Args:
    kind: the dataclass.
    **defaults: of its fields, where they differ from the dataclass's.
  """
  default = kind(**defaults)
  return dataclasses.field(default=default, metadata={_KEY: default})


class Settings:
  """Base of settings dataclasses; raises `UsageError` for values out of range.

  A subclass with further checks calls `super().__post_init__()` first.
  """

  def __post_init__(self):
    for name, declared in _own(type(self)).items():
      value = getattr(self, name)
      if isinstance(declared, Settings):
        if not isinstance(value, type(declared)):
          complain(name, value, f'must be {type(declared).__name__}')
      elif complaint := declared.complaint(value):
        complain(name, value, complaint)


S = TypeVar('S', bound=Settings)


def _own(kind: type) -> dict[str, Any]:
  """By name, the declarations that `field` and `group` made."""
  return {
    f.name: f.metadata[_KEY]
    for f in dataclasses.fields(kind)
    if _KEY in f.metadata
  }


def declared(kind: type[Settings], prefix: str = '') -> dict[str, Field]:
  """The fields of a settings dataclass by dotted name, groups flattened.

  Args:
    kind: the dataclass.
    prefix: put before each name, such as 'model.'.
  """
  found = {}
  for name, what in _own(kind).items():
    if isinstance(what, Settings):
      inner = declared(type(what), f'{prefix}{name}.')
      own = flatten(values(what), f'{prefix}{name}.')
      found |= {
        n: dataclasses.replace(f, default=own[n]) for n, f in inner.items()
      }
    else:
      found[prefix + name] = what
  return found


def values(made: Settings) -> dict[str, Any]:
  """The declared fields of settings by name, groups as nested dictionaries."""
  return {
    name: values(v) if isinstance(v, Settings) else v
    for name in _own(type(made))
    for v in [getattr(made, name)]
  }


def build(kind: type[S], given: Mapping[str, Any]) -> S:
  """Makes settings from a group of a config.

  Args:
    kind: the dataclass.
    given: values by name; groups are mappings.

  Raises:
    UsageError: for an unknown field, or a value out of range.
  """
  own, made = _own(kind), {}
  for name, value in given.items():
    if name not in own:
      raise errors.UsageError(
        f'{shown(name)}: no such field{suggest(name, own)}'
      )
    if isinstance(own[name], Settings):
      with within(f'{name}.'):
        value = build(type(own[name]), value)
    made[name] = value
  return kind(**made)


@contextlib.contextmanager
def within(prefix: str) -> Iterator[None]:
  """Puts a prefix, such as 'config.model.', before a `UsageError`'s message."""
  try:
    yield
  except errors.UsageError as error:
    raise errors.UsageError(f'{prefix}{error}') from None


def complain(name: str, value: Any, allowed: str) -> NoReturn:
  """Raises a `UsageError` that names a field, its value and what is allowed."""
  raise errors.UsageError(f'{name}={shown(value)}: {allowed}')


def choose(name: str, value: str, allowed: Mapping[str, Any]) -> Any:
  """`allowed[value]`; raises `UsageError` for an unknown word."""
  if value not in allowed:
    near = suggest(str(value), allowed)
    complain(name, value, f'allowed are {", ".join(allowed)}{near}')
  return allowed[value]


def flatten(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
  """Values of nested groups by dotted name; an empty group is kept as it is."""
  flat = {}
  for name, value in tree.items():
    if isinstance(value, dict | ml_collections.ConfigDict) and value:
      flat |= flatten(value, f'{prefix}{name}.')
    else:
      flat[prefix + name] = value
  return flat


def shown(value: Any, most: int = _SHOWN) -> str:
  """A value as printable text for an error, cut to `most` characters."""
  text = str(value)
  text = text if len(text) <= most else text[:most] + '…'
  return text if text.isprintable() else ascii(text)


def shown_path(path: Any) -> str:
  """A path as printable text for an error; one is longer than a value."""
  return shown(path, _PATH)


def suggest(word: str, allowed: Iterable[str]) -> str:
  """'; did you mean …?', or '' where no word is similar.

  Also compares with a field's name without its groups.
  """
  whole = {name: name for name in allowed}
  leaves = {name.rpartition('.')[2]: name for name in whole}
  # Close matches first: a high cutoff is fast.
  for names, cutoff in ((whole, 0.85), (leaves, 0.85), (whole, 0.6)):
    for near in difflib.get_close_matches(word, names, 1, cutoff):
      return f'; did you mean {names[near]!r}?'
  return ''
