"""Training steps per second of transformer and ARMT, and of PyTorch if present.

All at the paper's size: 4 layers, width 128, ten states of 20 cells and the
answer, 231 tokens. A step makes a batch, then forward, backward, clip, AdamW.
With `--cpu-devices 2` ours is split over two devices of a CPU, as main.py
splits `:cpu`; PyTorch has its threads.
"""

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth import models, settings
from reasoning_depth.bench import output, torch_neox
from reasoning_depth.models import transformer
from reasoning_depth.runtime import cpus, sharding, stopwatch
from reasoning_depth.tasks import orbits
from reasoning_depth.training import config as whole
from reasoning_depth.training import optimizer, state, step

# The paper's size is the default of every model.
TRAIN = settings.values(
  whole.Train(
    num_steps=1, steps_per_dispatch=1, schedule='constant', warmup_steps=0,
    decay_steps=0,
  )
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Case:
  """A model to time.

  Attributes:
    model: its name.
    segment_states: states in a segment; 0 for a model without segments.
    repeat_states: states by which segments overlap.
    observed: T, observed states; the answer is one more.
    steps: repetitions of each layer, all of them run; 1 for no halting.
  """

  model: str
  segment_states: int = 0
  repeat_states: int = 0
  observed: int = 10
  steps: int = 1


CASES = {
  'transformer': Case('transformer'),
  'transformer_act4': Case('transformer', steps=4),
  'armt_11x21': Case('armt', segment_states=1),
  'armt_22x21': Case('armt', segment_states=1, observed=21),
  'armt_repeat_10x42': Case('armt', segment_states=2, repeat_states=1),
}


def main(args: list[str]) -> None:
  """`python -m reasoning_depth.bench train_step`."""
  parser = argparse.ArgumentParser('train_step')
  parser.add_argument('--batch', type=int, default=32)
  parser.add_argument('--dtype', default='float32')
  parser.add_argument('--attention', default='xla')
  parser.add_argument(
    '--dispatch', type=int, default=10, help='steps per dispatch'
  )
  parser.add_argument('--rounds', type=int, default=7)
  parser.add_argument('--cpu-devices', type=int, default=0, metavar='N',
                      help='devices of a CPU; 0: one')  # fmt: skip
  parser.add_argument('--cases', nargs='*', default=list(CASES))
  parser.add_argument('--torch', nargs='*', default=['eager', 'sdpa'])
  parser.add_argument('--out', help='file for the JSON')
  a = parser.parse_args(args)
  cpus.split(a.cpu_devices)
  output.report('train_step', measure(a), a.out)


def measure(a: argparse.Namespace) -> dict[str, Any]:
  """Seconds per step, and ratios between the cases."""
  runners, facts = {}, {}
  for name in a.cases:
    runners[name], facts[name] = _ours(a, CASES[name])
  missing = None
  try:
    for kind in a.torch:
      name = f'torch_{kind}'
      runners[name], facts[name] = _torch(a, kind)
  except ImportError as error:
    missing = str(error)
  seconds = stopwatch.alternate(runners, a.rounds)
  per_step = {
    name: {k: v / a.dispatch for k, v in s.items()}
    for name, s in seconds.items()
  }
  return {
    'setting': output.setting(a),
    'seconds_per_step': per_step,
    'steps_per_second': {k: 1 / s['median'] for k, s in per_step.items()},
    'facts': facts,
    'ratios': _ratios(per_step),
    'generation_share': _generation(a, per_step),
    'torch_missing': missing,
  }


def _ratios(per_step: dict[str, dict[str, float]]) -> dict[str, Any]:
  """Ratios of seconds per step, by median and by least time."""

  def over(above, below):
    if above in per_step and below in per_step:
      return {
        k: per_step[above][k] / per_step[below][k] for k in ('median', 'least')
      }
    return None

  torch = [name for name in per_step if name.startswith('torch')]
  best = min(torch, key=lambda n: per_step[n]['median'], default=None)
  return {
    f'speed against {best}': best and over(best, 'transformer'),
    'armt_11x21 over transformer': over('armt_11x21', 'transformer'),
    'armt_repeat over transformer': over('armt_repeat_10x42', 'transformer'),
    'twice the segments': over('armt_22x21', 'armt_11x21'),
    'act at 4 steps over transformer': over('transformer_act4', 'transformer'),
  }


def _task(observed: int) -> orbits.Orbits:
  return orbits.Orbits(num_states=observed)


def build(a: argparse.Namespace, case: Case) -> tuple[nn.Module, orbits.Orbits]:
  """Model and task of a case."""
  config = {'name': case.model, 'dtype': a.dtype, 'attention': a.attention}
  if case.segment_states:
    config['memory'] = {
      'segment_states': case.segment_states,
      'repeat_states': case.repeat_states,
    }
  if case.steps > 1:
    # At threshold 1 PonderNet halts no position early, so all steps are run.
    config['halting'] = {
      'kind': 'layer', 'rule': 'ponder', 'max_steps': case.steps,
      'threshold': 1.0,
    }  # fmt: skip
  task = _task(case.observed)
  return models.make(config, task), task


def _ours(
  a: argparse.Namespace, case: Case
) -> tuple[Callable[[], None], dict[str, Any]]:
  model, task = build(a, case)
  tx, mesh = optimizer.make(TRAIN), sharding.make_mesh({'data': 0, 'model': 1})
  everywhere = sharding.replicated(mesh)
  current = jax.jit(
    lambda: state.init(model, tx, {'seed': 0, 'train': TRAIN}, task.length),
    out_shardings=everywhere,
  )()
  dispatch = step.make_dispatch(
    step.make_train_step(model, tx, TRAIN),
    lambda key: sharding.constrain_batch(task.sample(key, a.batch), mesh),
    state.data_key(0),
    a.dispatch,
  )
  jitted = jax.jit(dispatch, out_shardings=everywhere, donate_argnums=0)
  with jax.set_mesh(mesh):
    compiled = jitted.lower(current).compile()
  cost = compiled.cost_analysis() or {}
  memory = compiled.memory_analysis()
  facts = {
    'parameters': sum(x.size for x in jax.tree.leaves(current.params)),
    'tokens': task.length,
    'flops_per_step_by_xla': cost.get('flops'),
    'temporary_bytes': memory.temp_size_in_bytes,
  }
  holder = [current]

  def run():
    holder[0], metrics = compiled(holder[0])
    jax.block_until_ready(metrics)

  return run, facts


def _generation(a: argparse.Namespace, per_step: dict) -> dict[str, Any]:
  """Seconds to make a batch on the device, and its share of a step."""
  task = _task(10)
  n = 200
  many = jax.jit(
    lambda key: jax.lax.scan(
      lambda c, i: (
        c + task.sample(jax.random.fold_in(key, i), a.batch).inputs.sum(),
        None,
      ),
      0,
      jnp.arange(n),
    )[0]
  )
  key = jax.random.key(0)
  seconds = stopwatch.alternate({'g': lambda: many(key).block_until_ready()}, 5)
  one = seconds['g']['median'] / n
  return {
    'seconds': one,
    **{
      name: one / s['median'] for name, s in per_step.items() if name in CASES
    },
  }


def _torch(
  a: argparse.Namespace, kind: str
) -> tuple[Callable[[], None], dict[str, Any]]:
  """The same step with transformers' GPT-NeoX: eager, sdpa, or compiled."""
  import torch

  task = _task(10)
  model = torch_neox.make(
    transformer.Settings(), task.vocab_size, task.length,
    'eager' if 'eager' in kind else 'sdpa',
  )  # fmt: skip
  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  model.to(device)
  parameters = sum(p.numel() for p in model.parameters())
  forward = torch.compile(model) if 'compile' in kind else model
  adam = torch.optim.AdamW(model.parameters(), 3e-4, weight_decay=0.01)
  batch = task.sample(jax.random.key(0), a.batch)
  inputs, targets = (
    torch.from_numpy(np.array(x, np.int64)).to(device)
    for x in (batch.inputs, batch.targets)
  )
  asked = torch.from_numpy(np.array(batch.weights) > 0).to(device)
  narrow = a.dtype == 'bfloat16'

  def run():
    for _ in range(a.dispatch):
      with torch.autocast(device, torch.bfloat16, enabled=narrow):
        logits = forward(inputs).logits
      loss = torch.nn.functional.cross_entropy(
        logits[asked].float(), targets[asked]
      )
      adam.zero_grad()
      loss.backward()
      torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
      adam.step()
    loss.item()

  return run, {'parameters': parameters, 'tokens': task.length}
