"""CUDA devices of this machine, whether or not JAX uses them."""

import os
import pathlib

_DEVICES = pathlib.Path('/dev')


def visible() -> list[str]:
  """What CUDA_VISIBLE_DEVICES calls the devices that may be used."""
  found = [path.name[len('nvidia') :] for path in _DEVICES.glob('nvidia[0-9]*')]
  chosen = os.environ.get('CUDA_VISIBLE_DEVICES')
  if chosen is None or not found:
    return sorted(found, key=int)
  return [name for name in chosen.split(',') if name not in ('', '-1')]


def unused(backend: str) -> str:
  """One line where JAX runs on the CPU beside a CUDA device, else ''.

  Args:
    backend: of JAX, such as 'cpu'.
  """
  asked = os.environ.get('JAX_PLATFORMS', '').split(',')[0]
  if backend != 'cpu' or asked == 'cpu' or not visible():
    return ''
  return (
    'there is a CUDA device, but JAX runs on the CPU: its CUDA plugin is '
    'missing or of another version, see docs/getting-started.md'
  )
