"""FLOPs, memory and communication per device, by number of devices (XLA).

Compiles the training step for many simulated devices and reports XLA's analysis
of one device's program; nothing is run. Weak scaling: the batch size per device
is fixed.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
from typing import Any

import jax
import numpy as np

from reasoning_depth.bench import output
from reasoning_depth.runtime import configuration
from reasoning_depth.training import experiment, loop, resume

COLLECTIVE = re.compile(
  r'= (.*?) (all-reduce|all-gather|reduce-scatter|all-to-all|'
  r'collective-permute)(?:-start)?\('
)
ARRAY = re.compile(r'(pred|[a-z]+\d+)\[([\d,]*)\]')
BYTES = {'pred': 1, 's8': 1, 'u8': 1, 'bf16': 2, 'f16': 2, 's64': 8, 'f64': 8}
ROOT = pathlib.Path(__file__).parents[2]


def main(args: list[str]) -> None:
  """`python -m reasoning_depth.bench devices`."""
  parser = argparse.ArgumentParser('devices')
  parser.add_argument('--devices', type=int, nargs='+',
                      default=[1, 4, 16, 64, 256])  # fmt: skip
  parser.add_argument('--batch', type=int, default=32, help='per device')
  parser.add_argument('--layers', type=int, default=12)
  parser.add_argument('--width', type=int, default=768)
  parser.add_argument('--heads', type=int, default=12)
  parser.add_argument('--out', help='file for the JSON')
  a = parser.parse_args(args)
  if len(jax.devices()) < max(a.devices):
    # The number of simulated devices must be known before JAX starts.
    flag = f'--xla_force_host_platform_device_count={max(a.devices)}'
    environment = {**os.environ, 'XLA_FLAGS': flag, 'JAX_PLATFORMS': 'cpu'}
    command = [sys.executable, '-m', 'reasoning_depth.bench', 'devices', *args]
    sys.exit(subprocess.run(command, env=environment).returncode)
  rows = [
    measure(a, count, parameters)
    for parameters in ('replicated', 'fsdp')
    for count in a.devices
    if count > 1 or parameters == 'replicated'
  ]
  setting = output.setting(a)
  output.report('devices', {'setting': setting, 'rows': rows}, a.out)
  print(table(rows))


def measure(
  a: argparse.Namespace, count: int, parameters: str
) -> dict[str, Any]:
  """XLA's analysis of one device's part of a step."""
  c = configuration.load(str(ROOT / 'configs/transformer.py'))
  c.model.update(num_layers=a.layers, width=a.width, num_heads=a.heads,
                 mlp_width=4 * a.width, unroll=a.layers)  # fmt: skip
  # All layers are unrolled, since XLA counts the body of a loop once.
  c.train.batch_size = a.batch * count
  c.eval.batch_size = a.batch * count
  c.mesh.update(data=count, parameters=parameters)
  exp = experiment.build(c)
  shapes = resume.abstract(*resume.layout(exp))
  compiled = loop.compile_dispatch(exp, shapes, num_steps=1)
  memory = compiled.memory_analysis()
  held = sum(_bytes_on_device(x) for x in jax.tree.leaves(shapes))
  return {
    'devices': count,
    'parameters': parameters,
    'batch': a.batch * count,
    'gigaflops': compiled.cost_analysis()['flops'] / 1e9,
    'state_megabytes': held / 1e6,
    'working_megabytes': memory.temp_size_in_bytes / 1e6,
    'received_megabytes': _received(compiled.as_text()) / 1e6,
  }


def _bytes_on_device(x: jax.ShapeDtypeStruct) -> int:
  return int(np.prod(x.sharding.shard_shape(x.shape))) * x.dtype.itemsize


def _received(program: str) -> int:
  """Output bytes of the collectives in one device's program."""
  total = 0
  for shapes, _ in COLLECTIVE.findall(program):
    for kind, axes in ARRAY.findall(shapes):
      size = np.prod([int(n) for n in axes.split(',') if n], dtype=np.int64)
      total += int(size) * BYTES.get(kind, 4)
  return total


def table(rows: list[dict[str, Any]]) -> str:
  """The results as a Markdown table."""
  lines = [
    '| parameters | devices | batch | GFLOP | state, MB | working, MB | '
    'received, MB |',
    '| --- | ---: | ---: | ---: | ---: | ---: | ---: |',
  ]
  for row in rows:
    numbers = [
      f'{row[k]:,.0f}'
      for k in (
        'gigaflops', 'state_megabytes', 'working_megabytes',
        'received_megabytes',
      )
    ]  # fmt: skip
    head = [row['parameters'], str(row['devices']), str(row['batch'])]
    lines.append(f'| {" | ".join(head + numbers)} |')
  return '\n'.join(lines)
