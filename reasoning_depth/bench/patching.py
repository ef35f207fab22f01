"""Time of a patching sweep over all sites of a looped model.

Two-hop queries, untrained weights: what is computed does not depend on them.
"""

import argparse
import time

import jax

from reasoning_depth import models, tasks
from reasoning_depth.bench import timing
from reasoning_depth.evaluation import activations, pairs, patching
from reasoning_depth.runtime import configuration


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
  c.model.recurrence.most = max(a.loops, c.model.recurrence.most)
  task = tasks.make(c.task)
  model = models.make(c.model, task)
  # More than asked for, since facts have no second hop.
  key = jax.random.key(0)
  found = pairs.of(task, key, 4 * a.samples)['entity']
  found = jax.tree.map(lambda x: x[: a.samples], (found.clean, found.corrupt))
  found = pairs.Pairs(*found)
  params = jax.jit(model.init)(key, found.clean.inputs)['params']
  sites = activations.find(model, params, found.clean.inputs, a.loops)
  places = {
    name: patching.places_of(model, task, site) for name, site in sites.items()
  }
  started, cpu = time.perf_counter(), time.process_time()
  swept = patching.sweep(model, params, found, sites, places, a.loops)
  result = {
    'setting': {k: v for k, v in vars(a).items() if k != 'out'},
    'sites': {name: list(x.shape[:-1]) for name, x in swept.patched.items()},
    'pairs': len(swept.clean),
    'cells': sum(x[..., 0].size for x in swept.patched.values()),
    # Both with the compilation.
    'seconds': time.perf_counter() - started,
    'cpu_seconds': time.process_time() - cpu,
  }
  timing.report('patching', result, a.out)
