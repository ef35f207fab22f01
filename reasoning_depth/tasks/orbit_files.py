"""Where orbits come from: drawn, or read from files in a public layout of 1dCA.

Columns are `rule_ids` and `input_ids_0`, `input_ids_1`, … (lists of 0 and 1) or
`rule` and `t=0`, `t=1`, … (text of 0 and 1). Every orbit is rolled out when it
is read, so that its rule and first state are all that is kept.
"""

import dataclasses
import functools
import hashlib
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth import settings
from reasoning_depth.exchange import data_files, tables
from reasoning_depth.exchange.tables import Columns
from reasoning_depth.tasks import automata

# Columns of the rule and of state t.
LAYOUTS = (('rule_ids', 'input_ids_{}'), ('rule', 't={}'))
MOST_BYTES = 2**28  # packed, of a split: they are constants of compiled code
_AT_ONCE = 2**16  # orbits rolled out in one call


@dataclasses.dataclass(frozen=True)
class Split:
  """Orbits of a split, bits packed.

  Attributes:
    rules: uint8 [N, 2**(2r+1) / 8].
    first: uint8 [N, ⌈W / 8⌉], states at t = 0.
  """

  rules: np.ndarray
  first: np.ndarray

  def __len__(self) -> int:
    return len(self.rules)

  @property
  def sha256(self) -> str:
    """SHA-256 of its rules and first states."""
    return hashlib.sha256(
      self.rules.tobytes() + self.first.tobytes()
    ).hexdigest()


@dataclasses.dataclass(frozen=True)
class Files:
  """Orbits of files.

  Attributes:
    path: where they were read.
    width: W.
    radius: r.
    num_states: states of an orbit in the files.
    splits: by name.
  """

  path: str
  width: int
  radius: int
  num_states: int
  splits: dict[str, Split]

  def split(self, name: str) -> Split:
    """A split; raises `UsageError` where the files have none of this name."""
    if name not in self.splits:
      begins = ' or '.join(data_files.NAMES[name])
      settings.complain(
        'data', self.path, f'has no {name} split: a folder is needed with a '
        f'file whose name begins with {begins}; there are '
        f'{", ".join(self.splits)}',
      )  # fmt: skip
    return self.splits[name]

  def starts(
    self, key: jax.Array, count: int, split: str, first: jax.Array | None
  ) -> tuple[jax.Array, jax.Array]:
    """As of `Drawn`: rows drawn with replacement, or from row `first` on."""
    stored = self.split(split)
    if first is None:
      index = jax.random.randint(key, (count,), 0, len(stored))
    else:
      index = (first + jnp.arange(count)) % len(stored)
    size = automata.table_size(self.radius)
    rules, states = jnp.asarray(stored.rules), jnp.asarray(stored.first)
    return (
      jnp.unpackbits(rules[index], axis=-1, count=size),
      jnp.unpackbits(states[index], axis=-1, count=self.width),
    )

  def available(self, split: str, count: int) -> int:
    """As of `Drawn`: at most as many as there are."""
    return min(count, len(self.split(split)))

  @functools.cached_property
  def shared_rules(self) -> dict[str, int] | None:
    """Distinct rules of the test split, and those that training has too."""
    if not {'train', 'test'} <= self.splits.keys():
      return None
    train, test = (_distinct(self.splits[n].rules) for n in ('train', 'test'))
    return {'test': len(test), 'also_in_train': len(test & train)}

  @functools.cached_property
  def record(self) -> dict[str, Any]:
    """What a run should remember of its data."""
    return {
      'path': self.path,
      'summary': self._summary,
      'orbits': {name: len(split) for name, split in self.splits.items()},
      'width': self.width,
      'radius': self.radius,
      'states': self.num_states,
      'rules': self.shared_rules,
      'sha256': {name: split.sha256 for name, split in self.splits.items()},
    }

  @property
  def _summary(self) -> str:
    """One line for people."""
    counts = data_files.told({n: len(s) for n, s in self.splits.items()})
    line = (
      f'{self.path}: {counts} orbits of {self.num_states} states, '
      f'{self.width} cells, radius {self.radius}'
    )
    if shared := self.shared_rules:
      line += (
        f'; of {shared["test"]:,} test rules {shared["also_in_train"]:,} are '
        'also in train'
      )
    return line


@dataclasses.dataclass(frozen=True)
class Drawn:
  """Orbits of random rules and states.

  Attributes:
    width: W.
    radius: r.
    closed: see `automata.sample_rules`.
  """

  width: int
  radius: int
  closed: bool

  record = {}

  def starts(
    self, key: jax.Array, count: int, split: str, first: jax.Array | None
  ) -> tuple[jax.Array, jax.Array]:
    """Rules [count, 2**(2r+1)] and first states [count, W], uint8.

    Args:
      key: PRNG key.
      count: orbits.
      split: one of `splits.SPLITS`.
      first: number of the first of frozen samples; None in training.
    """
    del first  # fresh ones depend on their key alone
    return automata.sample_starts(
      key, count, self.width, self.radius, split, self.closed
    )

  def available(self, split: str, count: int) -> int:
    """Frozen samples that there are of `count` that are asked for."""
    del split
    return count


def found(path: str) -> dict[str, int]:
  """Fields of `orbits.Orbits` that files decide."""
  files = read(path)
  return {'width': files.width, 'radius': files.radius}


def check(path: str, fields: Any) -> None:
  """Checks fields of `orbits.Orbits` against files.

  Raises:
    UsageError: naming the field, or the file.
  """
  of = f'the orbits of data={settings.shown_path(path)} have'
  for name, value in found(path).items():
    given = getattr(fields, name)
    if value != given:
      settings.complain(name, given, f'{of} {name}={value}')
  files = read(path)
  if fields.num_states > files.num_states:
    settings.complain(
      'num_states', fields.num_states, f'{of} {files.num_states} states'
    )
  if fields.split_by != 'rules':
    settings.complain(
      'split_by', fields.split_by, 'the splits of data are those of its files'
    )


def read(path: str) -> Files:
  """Reads and checks all orbits of a file or folder.

  Raises:
    UsageError: naming the file, and the row where there is one.
  """
  with settings.within('data='):
    return _read(path, data_files.signature(path))


@functools.lru_cache(maxsize=2)
def _read(path: str, signature: Any) -> Files:
  """As `read`; kept while the files stay as they are."""
  del signature
  parts = data_files.find(pathlib.Path(path))
  splits, shapes = {}, {}
  for name in sorted(parts, key=list(data_files.NAMES).index):
    found = [_part(part) for part in parts[name]]
    shapes |= {file: shape for (file, _), (_, shape) in
               zip(parts[name], found, strict=True)}  # fmt: skip
    splits[name] = Split(
      np.concatenate([orbits.rules for orbits, _ in found]),
      np.concatenate([orbits.first for orbits, _ in found]),
    )
    size = splits[name].rules.nbytes + splits[name].first.nbytes
    if size > MOST_BYTES:
      tables.complain(
        pathlib.Path(path), f'split {name}: {size / 2**20:,.0f} MiB of rules '
        f'and first states; at most {MOST_BYTES / 2**20:,.0f} fit',
      )  # fmt: skip
  (file, first), *others = shapes.items()
  for other, shape in others:
    if shape[:2] != first[:2]:
      tables.complain(
        other, f'has {shape[0]} cells and radius {shape[1]}; {file.name} has '
        f'{first[0]} and {first[1]}',
      )  # fmt: skip
  states = min(shape[2] for shape in shapes.values())
  return Files(path, first[0], first[1], states, splits)


def _part(
  part: tuple[pathlib.Path, str],
) -> tuple[Split, tuple[int, int, int]]:
  """Orbits of a file, with width, radius and number of states."""
  path, table = part[0], data_files.read(part)
  layout = next((names for names in LAYOUTS if names[0] in table), None)
  if layout is None:
    wanted = ' or '.join(f'{r}, {s.format(0)}, …' for r, s in LAYOUTS)
    tables.complain(
      path, f'no orbits: needed are columns {wanted}; there are '
      f'{", ".join(list(table)[:4])}',
    )  # fmt: skip
  rule_name, state_name = layout
  rules = _bits(path, rule_name, table[rule_name])
  radius = next(
    (r for r in automata.RADII if automata.table_size(r) == rules.shape[1]), 0
  )
  if not radius:
    sizes = ', '.join(str(automata.table_size(r)) for r in automata.RADII)
    tables.complain(
      path, f'{rule_name}: has {rules.shape[1]} entries; allowed are {sizes}'
    )
  states = _states(path, table, state_name)
  first = before = next(states, None)
  if first is None:
    tables.complain(path, f'has no column {state_name.format(0)}')
  with settings.within(f'{settings.shown_path(path)}: '):
    automata.check_lattice(first.shape[1], radius)
  wrong, count = (len(rules), 0), 1
  for count, after in enumerate(states, 2):
    good = follows(rules, before, after, radius)
    if not good.all():
      wrong = min(wrong, (int(np.argmin(good)), count - 1))
    before = after
  if wrong[0] < len(rules):
    row, step = wrong
    tables.complain(
      path, f'row {row:,}: {state_name.format(step)} is not what its rule '
      f'makes of {state_name.format(step - 1)}',
    )  # fmt: skip
  packed = Split(np.packbits(rules, axis=-1), np.packbits(first, axis=-1))
  return packed, (first.shape[1], radius, count)


def _states(path: pathlib.Path, table: Columns, name: str):
  """States [N, W] of a table, from t = 0 on."""
  whole = name.removesuffix('_{}')
  if whole in table:  # [N, T, W], of TFDS
    for t in range(table[whole].shape[1]):
      yield _bits(path, f'{whole}[{t}]', table[whole][:, t])
    return
  t, width = 0, 0
  while (here := name.format(t)) in table:
    state = _bits(path, here, table[here])
    if t and state.shape[1] != width:
      tables.complain(
        path,
        f'{here}: has {state.shape[1]} cells, {name.format(0)} has {width}',
      )
    t, width = t + 1, state.shape[1]
    yield state


def _bits(path: pathlib.Path, name: str, column: np.ndarray) -> np.ndarray:
  """Lists, or text, of 0 and 1 as uint8 [N, n]."""
  if column.dtype == object:
    lengths = np.fromiter(map(len, column), int, len(column))
    if (lengths != lengths[0]).any():
      row = int(np.argmax(lengths != lengths[0]))
      tables.complain(
        path, f'row {row:,}: {name} has {lengths[row]} cells, row 0 has '
        f'{lengths[0]}',
      )  # fmt: skip
    text = ''.join(column).encode('ascii', 'replace')
    column = np.frombuffer(text, np.uint8).reshape(len(column), -1)
    shift = ord('0')
  elif column.ndim != 2:
    tables.complain(path, f'column {name}: needed is a list of 0 and 1 a row')
  else:
    shift = 0
  good = (column == shift) | (column == shift + 1)
  if not good.all():
    row, cell = np.argwhere(~good)[0]
    value = column[row, cell] if not shift else repr(chr(column[row, cell]))
    tables.complain(
      path, f'row {row:,}: {name} has {value} at cell {cell}; allowed are 0 '
      'and 1',
    )  # fmt: skip
  return (column - shift).astype(np.uint8) if shift else column.astype(np.uint8)


def follows(
  rules: np.ndarray, before: np.ndarray, after: np.ndarray, radius: int
) -> np.ndarray:
  """Whether states [N, W] are what rules make of those before, bool [N]."""
  found = []
  for start in range(0, len(rules), _AT_ONCE):
    here = [x[start : start + _AT_ONCE] for x in (rules, before, after)]
    count = len(here[0])
    # One shape, so that it compiles once.
    size = _AT_ONCE if len(rules) > _AT_ONCE else len(rules)
    here = [np.pad(x, ((0, size - count), (0, 0))) for x in here]
    found.append(np.asarray(_follows(*here, radius))[:count])
  return np.concatenate(found)


@functools.partial(jax.jit, static_argnums=3)
def _follows(rules, before, after, radius):
  return (automata.step(rules, before, radius) == after).all(-1)


def _distinct(rules: np.ndarray) -> set[bytes]:
  rules = np.ascontiguousarray(rules)
  return set(rules.view(f'S{rules.shape[1]}').ravel().tolist())
