"""The environment of a run: packages, devices, cores, revision."""

import configparser
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
from typing import Any

import jax

# A change of these can change results by rounding.
DECISIVE = (
  'processor', 'cores', 'backend', 'devices', 'processes', 'packages',
  'revision', 'xla_flags',
)  # fmt: skip
PACKAGES = (
  'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'chex', 'numpy',
  'ml_collections', 'clu', 'tensorboardX',
)  # fmt: skip


def record() -> dict[str, Any]:
  """The environment, as far as it can change a result or a timing."""
  return {
    'command': ' '.join(['python', *sys.orig_argv[1:]]),
    'python': platform.python_version(),
    'platform': platform.platform(),
    'processor': _processor(),
    'cores': len(os.sched_getaffinity(0))
    if hasattr(os, 'sched_getaffinity')
    else os.cpu_count(),
    'backend': jax.default_backend(),
    'devices': [d.device_kind for d in jax.devices()],
    'processes': jax.process_count(),
    'packages': {name: _version(name) for name in PACKAGES},
    'revision': revision(),
    'xla_flags': os.environ.get('XLA_FLAGS', ''),
  }


def compare(path: pathlib.Path) -> None:
  """Prints to stderr what has changed since a `record` was written."""
  try:
    before = json.loads(path.read_text())
  except (OSError, ValueError, RecursionError):
    return
  if not isinstance(before, dict):
    return
  now = record()
  for name in DECISIVE:
    new, old = now[name], before.get(name)
    if new == old:
      continue
    if isinstance(new, dict) and isinstance(old, dict):
      old = {k: old.get(k) for k in new if new[k] != old.get(k)}
      new = {k: new[k] for k in old}
    print(
      f'{name}: {new}, was {old}; numbers may differ from those of an '
      'uninterrupted run in the last digits',
      file=sys.stderr,
    )


def version() -> str:
  """Version of this package, installed or not."""
  parser = configparser.ConfigParser()
  if parser.read(pathlib.Path(__file__).parents[2] / 'setup.cfg'):
    return parser['metadata']['version']
  return importlib.metadata.version('reasoning_depth')


def _version(package: str) -> str | None:
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return None


def _processor() -> str:
  info = pathlib.Path('/proc/cpuinfo')
  if info.exists():
    for line in info.read_text(errors='replace').splitlines():
      if line.startswith('model name'):
        return line.partition(':')[2].strip()
  return platform.processor()


def revision() -> str | None:
  """Commit of the working tree, with '+' if it has changes."""
  root = pathlib.Path(__file__).parents[2]
  try:
    return subprocess.run(
      ['git', 'describe', '--always', '--dirty=+', '--abbrev=12'],
      cwd=root, capture_output=True, text=True, check=True, timeout=10,
    ).stdout.strip()  # fmt: skip
  except (OSError, subprocess.SubprocessError):
    return None
