"""Time of a patching sweep over all hooks of a looped model.

Two-hop queries, untrained weights (the time does not depend on them).
"""

import argparse
import time

import jax

from reasoning_depth import models, tasks
from reasoning_depth.analysis import activations, patching
from reasoning_depth.bench import output
from reasoning_depth.runtime import configuration
from reasoning_depth.tasks import base


def main(args: list[str]) -> None:
  """`python -m reasoning_depth.bench patching`."""
  parser = argparse.ArgumentParser('patching')
  parser.add_argument('--layers', type=int, default=4)
  parser.add_argument('--loops', type=int, default=8)
  parser.add_argument('--width', type=int, default=64)
  parser.add_argument('--samples', type=int, default=256)
  parser.add_argument('--out', help='file for the JSON')
  a = parser.parse_args(args)
  c = configuration.load('configs/composition.py:cpu')
  c.model.update(num_layers=a.layers, width=a.width, mlp_width=4 * a.width)
  c.model.recurrence.max_loops = max(a.loops, c.model.recurrence.max_loops)
  task = tasks.make(c.task)
  model = models.make(c.model, task)
  # More than needed, since one-hop queries give no pair.
  key = jax.random.key(0)
  found = task.pairs(key, 4 * a.samples)['entity']
  found = jax.tree.map(lambda x: x[: a.samples], (found.clean, found.corrupt))
  found = base.Pairs(*found)
  params = jax.jit(model.init)(key, found.clean.inputs)['params']
  hooks = activations.find(model, params, found.clean.inputs, a.loops)
  places = {
    name: patching.places_of(model, task, hook) for name, hook in hooks.items()
  }
  started, cpu = time.perf_counter(), time.process_time()
  swept = patching.sweep(model, params, found, hooks, places, a.loops)
  result = {
    'setting': output.setting(a),
    'hooks': {name: list(x.shape[:-1]) for name, x in swept.patched.items()},
    'pairs': len(swept.clean),
    'cells': sum(x[..., 0].size for x in swept.patched.values()),
    # Both include compilation.
    'seconds': time.perf_counter() - started,
    'cpu_seconds': time.process_time() - cpu,
  }
  output.report('patching', result, a.out)
