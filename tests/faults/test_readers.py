"""Damaged inputs: accepted, or refused by an error of one line.

Only what a user types or what others wrote is read strictly: overrides and
words of configs, a run folder's config.json, the manifest of a checkpoint and
the files of a public checkpoint. The examples are the same in every run;
`FAULTS=100 python -m pytest tests/faults/test_readers.py` takes a hundred times
as many.
"""

import contextlib
import dataclasses
import functools
import os
import pathlib
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

import hypothesis
import jax
import mutations
import numpy as np
import pytest

from reasoning_depth import errors, settings
from reasoning_depth.exchange import archive
from reasoning_depth.runtime import configuration, manifest
from reasoning_depth.training import config as whole
from reasoning_depth.training import curriculum, experiment, pretrained

EXAMPLES = 40 * int(os.environ.get('FAULTS', '1'))  # of each reader
HANG = 20.0  # seconds that no input may take
CONFIGS = pathlib.Path(__file__).parents[2] / 'configs'
NAMES = sorted(
  p.stem for p in CONFIGS.glob('*.py') if p.stem not in ('__init__', 'common')
)
WORDS = (
  'smoke', 'cpu', 'gpu', 'smoke,k=2', 'k=1-4', 'cpu,act=layer', 'act=fixed',
  'task=cot', 'task=ro_s,layout=masked', 'smoke,curriculum',
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Reader:
  """A way in.

  Attributes:
    seeds: valid inputs, to be damaged.
    read: takes an input; raises UsageError for one that it refuses.
  """

  seeds: Sequence[bytes]
  read: Callable[[bytes], Any]


def check(config: Any) -> None:
  """All that is checked before a run compiles anything, on one device."""
  if config.mesh.data == 0:
    config.mesh.data = 1
  curriculum.check(experiment.build(config).config)


def text(data: bytes) -> str:
  """As Python makes text of the command line's bytes."""
  return data.decode(errors='surrogateescape')


def overrides(name: str, folder: pathlib.Path) -> Reader:
  """`--config.NAME=VALUE` of a config."""
  del folder
  config = configuration.load(f'{CONFIGS / name}.py:smoke')

  def read(data):
    own = config.copy_and_resolve_references()
    field, _, value = text(data).partition('=')
    configuration.override(own, field, value)
    check(own)

  fields = settings.flatten(config).items()
  return Reader([f'{k}={v}'.encode() for k, v in fields], read)


def words(name: str, folder: pathlib.Path) -> Reader:
  """`--config=FILE:WORDS` of a config, the words that it takes."""
  del folder

  def read(data):
    check(configuration.load(f'{CONFIGS}/{text(data)}'))

  seeds = []
  for word in WORDS:
    with contextlib.suppress(errors.UsageError):
      read(seed := f'{name}.py:{word}'.encode())
      seeds.append(seed)
  return Reader(seeds, read)


def config_json(folder: pathlib.Path) -> Reader:
  """A run folder's config, as `--mode=evaluate` and a resume read it."""
  configs = [configuration.load(f'{CONFIGS / n}.py:smoke') for n in NAMES]

  def read(data):
    (folder / 'config.json').write_bytes(data)
    saved = whole.read(folder)
    configuration.same(saved, saved)
    check(saved)

  return Reader([c.to_json(indent=2).encode() for c in configs], read)


def checkpoint_manifest(folder: pathlib.Path) -> Reader:
  """What guards a checkpoint of ours."""
  (folder / 'arrays').write_bytes(b'0123')
  manifest.write(folder, {'step': 4})

  def read(data):
    (folder / manifest.NAME).write_bytes(data)
    try:
      manifest.verify(folder)
    except manifest.Damaged as error:
      raise errors.UsageError(*error.args) from None

  return Reader([(folder / manifest.NAME).read_bytes()], read)


def public_checkpoint(name: str, folder: pathlib.Path) -> Reader:
  """A file of a public checkpoint."""
  config = configuration.load(f'{CONFIGS}/llama.py:smoke')
  config.mesh.data = 1
  exp = experiment.build(config)
  shapes = jax.eval_shape(
    exp.model.init, jax.random.key(0), np.zeros((1, exp.task.length), int)
  )
  zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes['params'])
  pretrained.save(exp.model, zeros, folder)
  if name == archive.INDEX:
    # A file of another name, so that the index is what is read.
    listed = dict.fromkeys(archive.contents(folder), 'x.safetensors')
    (folder / archive.WHOLE).rename(folder / 'x.safetensors')
    archive.write_json(folder / name, {'weight_map': listed})

  def read(data):
    (folder / name).write_bytes(data)
    pretrained.params(exp.model, zeros, folder)

  return Reader([(folder / name).read_bytes()], read)


# By name, what makes the reader in a folder of its own.
READERS = {
  **{f'overrides {n}': functools.partial(overrides, n) for n in NAMES},
  **{f'words {n}': functools.partial(words, n) for n in NAMES},
  'config.json': config_json,
  'manifest.json': checkpoint_manifest,
  **{
    f'public {n}': functools.partial(public_checkpoint, n)
    for n in ('config.json', archive.WHOLE, archive.INDEX)
  },
}


class Hang(BaseException):
  """An input took too long; no Exception, which a reader might catch."""


@contextlib.contextmanager
def at_most(seconds: float):
  """Raises Hang in what takes longer."""

  def stop(*_):
    raise Hang

  before = signal.signal(signal.SIGALRM, stop)
  signal.setitimer(signal.ITIMER_REAL, seconds)
  try:
    yield
  finally:
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def accepts(read: Callable[[bytes], Any], data: bytes) -> bool:
  """Whether an input is accepted; anything but a clear refusal is raised."""
  with at_most(HANG):
    try:
      read(data)
    except errors.UsageError as error:
      assert len(str(error).splitlines()) == 1
      return False
  return True


@pytest.mark.parametrize('name', READERS)
def test_the_whole_is_accepted_and_the_damaged_accepted_or_refused(
  name, tmp_path
):
  reader = READERS[name](tmp_path)
  assert reader.seeds
  for seed in reader.seeds:
    reader.read(seed)
  refused = []

  @hypothesis.settings(max_examples=EXAMPLES, derandomize=True, database=None)
  @hypothesis.given(mutations.mutated(reader.seeds))
  def accepted_or_refused(data):
    if not accepts(reader.read, data):
      refused.append(data)

  accepted_or_refused()
  # Most damage matters; a reader that takes everything checks nothing.
  assert len(set(refused)) > EXAMPLES / 4


@pytest.mark.parametrize(
  'error',
  [
    errors.UsageError('two\nlines'),
    errors.UsageError(),
    ValueError('one line'),
    KeyError('seed'),
    UnicodeDecodeError('utf-8', b'x', 0, 1, 'bad'),
    RecursionError('deep'),
  ],
)
def test_an_error_that_is_no_clear_refusal_fails(error):
  def read(data):
    raise error

  with pytest.raises((type(error), AssertionError)):
    accepts(read, b'')


def test_what_takes_too_long_fails():
  with pytest.raises(Hang), at_most(0.05):
    time.sleep(60)
