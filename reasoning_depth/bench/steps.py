"""Training steps of the configs, and what bounds them.

  python -m reasoning_depth.bench steps --configs transformer armt --batch 256

Seconds of a step are the median over dispatches. Floating-point operations are
counted over the program; bytes are XLA's count of what the compiled step reads
and writes. On a card whose peaks are known, the step is set beside the time
that either would take at its peak: the larger is what bounds it.
"""

import argparse
import pathlib
import time
from typing import Any

import jax
import numpy as np

from reasoning_depth.bench import output
from reasoning_depth.runtime import configuration
from reasoning_depth.training import costs, experiment, loop, prefetch, resume

ROOT = pathlib.Path(__file__).parents[2]
CONFIGS = ('transformer', 'armt', 'looped', 'recall', 'trm', 'mamba')
# Of the makers' data sheets, without sparsity: operations per second of matrix
# products (float32 as TensorFloat-32, which XLA takes by default), bytes per
# second of the memory.
PEAKS = {
  'H100': {'float32': 495e12, 'bfloat16': 989e12, 'bytes': 3.35e12},
  'H200': {'float32': 495e12, 'bfloat16': 989e12, 'bytes': 4.8e12},
  'A100': {'float32': 156e12, 'bfloat16': 312e12, 'bytes': 2.0e12},
  'L4': {'float32': 60e12, 'bfloat16': 121e12, 'bytes': 0.3e12},
}


def main(args: list[str]) -> None:
  """`python -m reasoning_depth.bench steps`."""
  parser = argparse.ArgumentParser('steps')
  parser.add_argument('--configs', nargs='+', default=list(CONFIGS),
                      help='names, with words after a colon')  # fmt: skip
  parser.add_argument('--dtypes', nargs='+', default=['float32', 'bfloat16'])
  parser.add_argument('--batch', type=int, default=256)
  parser.add_argument('--dispatch', type=int, default=20,
                      help='steps in a compiled call')  # fmt: skip
  parser.add_argument('--rounds', type=int, default=5, help='timed dispatches')
  parser.add_argument('--profile', help='folder for a trace of one dispatch')
  parser.add_argument('--out', help='file for the JSON')
  a = parser.parse_args(args)
  found: dict[str, Any] = {}
  for name in a.configs:
    for dtype in a.dtypes:
      found[f'{name} {dtype}'] = measure(a, name, dtype)
      result = {'setting': output.setting(a), 'steps': found}
      output.save('steps', result, a.out)
  print(table(found))


def measure(a: argparse.Namespace, name: str, dtype: str) -> dict[str, Any]:
  """Seconds, operations and bytes of a training step."""
  file, _, words = name.partition(':')
  c = configuration.load(f'{ROOT}/configs/{file}.py:{words}')
  c.model.dtype = dtype
  c.train.batch_size = a.batch
  exp = experiment.build(c)
  current = resume.fresh(exp)
  started = time.perf_counter()
  compiled = loop.compile_dispatch(exp, current, a.dispatch)
  compile_seconds = time.perf_counter() - started
  seconds = []
  for n in range(a.rounds + 1):  # the first is a warm-up
    batches = prefetch.chunk(exp, n * a.dispatch, a.dispatch)
    profiled = a.profile and n == a.rounds
    if profiled:
      jax.profiler.start_trace(str(pathlib.Path(a.profile, name)))
    started = time.perf_counter()
    current, metrics = compiled(current, *batches)
    jax.block_until_ready(metrics)
    seconds.append(time.perf_counter() - started)
    if profiled:
      jax.profiler.stop_trace()
  step = float(np.median(seconds[1:])) / a.dispatch
  operations = costs.train_step(exp)
  found = {
    'seconds': step,
    'compile_seconds': compile_seconds,
    'samples_per_second': a.batch / step,
    'tokens': exp.task.length,
    'operations': operations.most,
    'operations_are': operations.bound or 'exact',
    'operations_per_second': operations.most / step,
    **_xla(compiled),
  }
  return found | _against_peak(found, dtype)


def _xla(compiled: Any) -> dict[str, Any]:
  """XLA's bytes of a step, and those held at once."""
  cost, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
  # The body of the scan over steps is counted once, so that this is one step.
  return {
    'bytes_by_xla': cost.get('bytes accessed'),
    'temporary_bytes': memory and memory.temp_size_in_bytes,
  }


def peaks() -> dict[str, float] | None:
  """Of the first device, where they are known."""
  kind = jax.devices()[0].device_kind
  return next((p for name, p in PEAKS.items() if name in kind), None)


def _against_peak(found: dict[str, Any], dtype: str) -> dict[str, Any]:
  """Seconds that operations and bytes take at the card's peaks."""
  if (peak := peaks()) is None:
    return {}
  least = {'operations': found['operations'] / peak[dtype]}
  if found['bytes_by_xla']:
    least['bytes'] = found['bytes_by_xla'] / peak['bytes']
  bound = max(least, key=lambda name: least[name])
  return {
    'least_seconds': least,
    'bound_by': bound,
    'share_of_peak': least[bound] / found['seconds'],
  }


def table(found: dict[str, dict[str, Any]]) -> str:
  """As Markdown."""
  lines = [
    '| config | ms a step | samples/s | TFLOP/s | bound by | share of peak |',
    '| --- | ---: | ---: | ---: | --- | ---: |',
  ]
  for name, f in found.items():
    share = f.get('share_of_peak')
    lines.append(
      f'| {name} | {1e3 * f["seconds"]:.2f} | {f["samples_per_second"]:,.0f} '
      f'| {f["operations_per_second"] / 1e12:.2f} | {f.get("bound_by", "–")} '
      f'| {"–" if share is None else f"{share:.2f}"} |'
    )
  return '\n'.join(lines)
