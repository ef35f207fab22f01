"""Random and mutated inputs through every reader: no traceback, no hang.

What a user types and what a run folder holds is accepted, or refused by a
ValueError of one line; anything else is counted as a traceback.
"""

import argparse
import collections
import dataclasses
import functools
import json
import pathlib
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from reasoning_depth.bench import output
from reasoning_depth.exchange import archive
from reasoning_depth.report import (
  heat_maps,
  lines,
  pictures,
  records,
  runs,
  tables,
)
from reasoning_depth.runtime import configuration, manifest
from reasoning_depth.training import curriculum, experiment, pretrained

HANG = 5.0  # seconds after which an input counts as a hang
OUTCOMES = ('accepted', 'refused', 'tracebacks', 'hangs')
_LISTED = 20  # of the tracebacks and hangs, with their inputs
_CONFIGS = pathlib.Path(__file__).parents[2] / 'configs'
_NAMES = sorted(
  p.stem for p in _CONFIGS.glob('*.py') if p.stem not in ('__init__', 'common')
)
_WORDS = (
  'smoke', 'cpu', 'gpu', 'smoke,k=2', 'k=1-4', 'cpu,act=layer', 'act=fixed',
  'task=cot', 'task=ro_s,layout=masked', 'smoke,curriculum',
)  # fmt: skip
# What is put in the place of a word or a value.
_TOKENS = (
  '', '0', '-1', '1', '2', '0.5', '1e999', '-1e9', 'NaN', 'nan', '-Infinity',
  '2147483648', '9' * 400, '9' * 5_000, '1-', '(1,)', '(1, 2, 3)', '((1))',
  'null', 'true', 'False', '{}', '[]', '[[1]]', '[1, "x"]', '"x"', '"\\ud800"',
  '"$\\\\frac$"', '{"a.b": 1}', 'x', 'trian', 'fixed', 'every', 'look_ahead',
  'trm', 'armt', 'groups', 'grpo', '\0', '\n', '\u2028', ' ', '=', ',', ':',
  '[' * 2_000, '{"a":' * 2_000, '[' * 900 + ']' * 900,
  *('{"a":' * n + '1' + '}' * n for n in (300, 900, 960, 985)),
)  # fmt: skip
_WORD = re.compile(rb'"[^"\n]*"|[-+.\w]+')


@dataclasses.dataclass(frozen=True)
class Reader:
  """A way in.

  Attributes:
    seeds: inputs that are accepted, to be mutated.
    read: takes an input; raises ValueError for one that is refused.
  """

  seeds: Sequence[bytes]
  read: Callable[[bytes], Any]


class _Hang(BaseException):
  """An input took too long."""


def mutate(rng: np.random.Generator, data: bytes) -> bytes:
  """A few edits of letters, words and lines, or something else altogether."""
  if rng.random() < 0.02:
    return rng.bytes(int(rng.integers(0, 200)))
  for _ in range(int(rng.geometric(0.6))):
    data = _EDITS[rng.integers(len(_EDITS))](rng, data)
  return data


def _letters(rng: np.random.Generator, data: bytes) -> bytes:
  """Drops, swaps, doubles or changes a letter."""
  at = int(rng.integers(len(data) + 1))
  here, after = data[at : at + 1], data[at + 1 : at + 2]
  new = (b'', after + here + after, here + here, rng.bytes(1))[rng.integers(4)]
  return data[:at] + new + data[at + 1 + (len(new) == 2 and new != here * 2) :]


def _words(rng: np.random.Generator, data: bytes) -> bytes:
  """Puts something else in the place of a word."""
  found = list(_WORD.finditer(data))
  if not found:
    return data
  first, last = found[rng.integers(len(found))].span()
  token = _TOKENS[rng.integers(len(_TOKENS))].encode()
  return data[:first] + token + data[last:]


def _lines(rng: np.random.Generator, data: bytes) -> bytes:
  """Drops or doubles a line, or moves it to the end."""
  parts = data.splitlines(keepends=True)
  if len(parts) < 2:
    return data
  at = int(rng.integers(len(parts)))
  here = parts.pop(at)
  kind = rng.integers(3)
  if kind == 1:
    parts[at:at] = [here, here]
  elif kind == 2:
    parts.append(here)
  return b''.join(parts)


def _cut(rng: np.random.Generator, data: bytes) -> bytes:
  """Cuts off the end, as when a disk is full."""
  return data[: int(rng.integers(len(data) + 1))]


_EDITS = (_letters, _letters, _words, _words, _words, _lines, _cut)


def _check(config: Any) -> None:
  """All that is checked before a run compiles anything, on one device."""
  if config.mesh.data == 0:
    config.mesh.data = 1
  curriculum.check(experiment.build(config).config)


def _text(data: bytes) -> str:
  """As Python makes text of the command line's bytes."""
  return data.decode(errors='surrogateescape')


def _overrides(name: str, folder: pathlib.Path) -> Reader:
  """`--config.NAME=VALUE` of a config."""
  del folder
  config = configuration.load(f'{_CONFIGS / name}.py:smoke')

  def read(data):
    own = config.copy_and_resolve_references()
    field, _, text = _text(data).partition('=')
    configuration.override(own, field, text)
    _check(own)

  fields = configuration.flatten(config).items()
  return Reader([f'{k}={v}'.encode() for k, v in fields], read)


def _configs(folder: pathlib.Path) -> Reader:
  """`--config=FILE:WORDS`."""
  del folder
  seeds = [f'{name}.py:{word}'.encode() for name in _NAMES for word in _WORDS]
  return Reader(
    seeds, lambda data: _check(configuration.load(f'{_CONFIGS}/{_text(data)}'))
  )


def _config_json(folder: pathlib.Path) -> Reader:
  """A run folder's config, as `--mode=evaluate` and a resume read it."""
  configs = [configuration.load(f'{_CONFIGS / n}.py:smoke') for n in _NAMES]

  def read(data):
    (folder / 'config.json').write_bytes(data)
    saved = configuration.read(folder)
    configuration.same(saved, saved)
    _check(saved)

  return Reader([c.to_json(indent=2).encode() for c in configs], read)


def _manifest(folder: pathlib.Path) -> Reader:
  """What guards a checkpoint."""
  (folder / 'arrays').write_bytes(b'0123')
  manifest.write(folder, {'step': 4})

  def read(data):
    (folder / manifest.NAME).write_bytes(data)
    try:
      manifest.verify(folder)
    except manifest.Damaged as error:
      raise ValueError(*error.args) from None

  return Reader([(folder / manifest.NAME).read_bytes()], read)


def _checkpoint(name: str, folder: pathlib.Path) -> Reader:
  """A file of a public checkpoint."""
  config = configuration.load(f'{_CONFIGS}/llama.py:smoke')
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


def _run_folder(name: str, folder: pathlib.Path) -> Reader:
  """A file of a run folder, as the report reads it."""
  for path, text in _run_files().items():
    (folder / path).parent.mkdir(exist_ok=True)
    (folder / path).write_text(text)

  def read(data):
    (folder / name).write_bytes(data)
    run = runs.load(folder)
    for split, series in (('train', 'loss'), ('validation', 'exact_match')):
      run.series(split, series)
    tables.markdown([run])
    lines.join([run])
    for rows in pictures.choose(runs.rows(run.evaluation), 2).values():
      for row in rows:
        if row.get('observed'):
          pictures.cells(row)
    list(heat_maps.pictures(run))
    records.write([folder], folder / 'record.json')

  return Reader([(folder / name).read_bytes()], read)


def _run_files() -> dict[str, str]:
  """What a small run writes."""
  config = configuration.load(f'{_CONFIGS}/transformer.py:smoke,k=1')
  score = {
    'num_samples': 4,
    'exact_match': 0.5,
    'exact_match_interval': [0.2, 0.8],
    'bit_accuracy': 0.75,
    'ceiling_exact_match': 1.0,
    'ceiling_is_exact': 1.0,
    'share_of_ceiling': 0.5,
  }
  evaluation = {
    'split': 'test',
    'step': 4,
    'group_name': 'look_ahead',
    'groups': [{'group': k, **score} for k in (1, 2)],
    'overall': score,
  }
  row = {
    'group': 1,
    'exact': False,
    'prediction': '0101',
    'target': '0111',
    'observed': ['0000', '1111'],
    'ceiling_exact_match': 1.0,
  }
  metrics = [
    {'step': step, 'split': split, 'loss': 0.5, 'exact_match': 0.5}
    for step in (2, 4)
    for split in ('train', 'validation')
  ]
  lens = {
    'analysis': 'lens',
    'loop_name': 'loop',
    'positions': ['entity'],
    'milestones': ['answer'],
    'logit': [{'set': 'id', 'num_samples': 4, 'probability': [[[[0.5]]]]}],
  }
  site = {'site': 'mlp', 'places': ['row 0'], 'recovered': [[[0.5, None]]]}
  pair = {'other': 'entity', 'num_pairs': 4, 'told_apart': 3, 'sites': [site]}
  patching = {'analysis': 'patching', 'loop_name': 'loop', 'pairs': [pair]}
  return {
    'config.json': config.to_json(indent=2),
    'environment.json': json.dumps({'python': '3.11', 'cores': 2}, indent=2),
    'metrics.jsonl': ''.join(json.dumps(line) + '\n' for line in metrics),
    'evaluations/lens.json': json.dumps(lens, indent=2),
    'evaluations/patching.json': json.dumps(patching, indent=2),
    'evaluations/test.json': json.dumps(evaluation, indent=2),
    'evaluations/test.jsonl': ''.join(json.dumps(row) + '\n' for _ in range(3)),
  }


# By name, what makes the reader in a folder of its own.
READERS: dict[str, Callable[[pathlib.Path], Reader]] = {
  **{f'override {n}': functools.partial(_overrides, n) for n in _NAMES},
  'config and words': _configs,
  'resumed config.json': _config_json,
  'manifest.json': _manifest,
  **{
    f'checkpoint {n}': functools.partial(_checkpoint, n)
    for n in ('config.json', archive.WHOLE, archive.INDEX)
  },
  **{f'reported {n}': functools.partial(_run_folder, n) for n in _run_files()},
}


def outcome(read: Callable[[bytes], Any], data: bytes) -> tuple[str, str]:
  """What becomes of an input: one of `OUTCOMES`, and the error if any."""

  def stop(*_):
    raise _Hang

  before = signal.signal(signal.SIGALRM, stop)
  signal.setitimer(signal.ITIMER_REAL, HANG)
  try:
    read(data)
  except _Hang:
    return 'hangs', ''
  except Exception as error:
    # Only what was raised on purpose names what is wrong.
    good = type(error) is ValueError and len(str(error).splitlines()) == 1
    return 'refused' if good else 'tracebacks', f'{error!r}'
  finally:
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
  return 'accepted', ''


def measure(a: argparse.Namespace) -> dict[str, Any]:
  """Counts of outcomes by reader, and the inputs that should not be."""
  counts = {name: dict.fromkeys(OUTCOMES, 0) for name in READERS}
  slowest, bad, started = 0.0, [], time.monotonic()
  with tempfile.TemporaryDirectory() as scratch:
    readers = {}
    for i, (name, make) in enumerate(READERS.items()):
      (folder := pathlib.Path(scratch, str(i))).mkdir()
      readers[name] = make(folder)
    for i in range(a.inputs):
      name = list(readers)[i % len(readers)]
      reader = readers[name]
      rng = np.random.default_rng((a.seed, i))
      data = mutate(rng, reader.seeds[rng.integers(len(reader.seeds))])
      began = time.monotonic()
      kind, error = outcome(reader.read, data)
      slowest = max(slowest, time.monotonic() - began)
      counts[name][kind] += 1
      if kind in ('tracebacks', 'hangs') and len(bad) < _LISTED:
        bad.append({'reader': name, 'input': repr(data), 'error': error})
  total = collections.Counter()
  for count in counts.values():
    total.update(count)
  return {
    'setting': {'inputs': a.inputs, 'seed': a.seed},
    'seconds': time.monotonic() - started,
    'slowest_input_seconds': slowest,
    'total': dict(total),
    'readers': counts,
    'bad': bad,
  }


def main(args: list[str]) -> None:
  """`python -m reasoning_depth.bench fuzz`."""
  parser = argparse.ArgumentParser('fuzz')
  parser.add_argument('--inputs', type=int, default=100_000)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--out', help='file for the JSON')
  a = parser.parse_args(args)
  result = measure(a)
  output.report('fuzz', result, a.out)
  if result['bad']:
    sys.exit(1)
