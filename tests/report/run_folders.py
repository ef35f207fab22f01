"""Run folders written by hand, and the colours of the plots made from them."""

import json
import math
import pathlib

import matplotlib.colors
import matplotlib.image
import numpy as np

ROOT = pathlib.Path(__file__).parents[2]
W, T = 8, 4  # cells of a state, observed states


def score(exact_match, **fields):
  return {
    'num_samples': 400,
    'exact_match': exact_match,
    'exact_match_interval': [exact_match - 0.03, exact_match + 0.02],
    'bit_accuracy': 0.9375,
    'ceiling_exact_match': 0.912,
    'ceiling_bit_accuracy': 0.987,
    'ceiling_is_exact': 1.0,
    'share_of_ceiling': exact_match / 0.912,
    'repeat_last_exact_match': 0.013,
    'majority_exact_match': 0.027,
    **fields,
  }


def row(index, group, exact):
  target = '01101001'
  return {
    'index': index,
    'group': group,
    'exact': exact,
    'prediction': target if exact else '00001001',
    'target': target,
    'observed': ['01010101', '11001100', '11110000', '00000001'],
    'ceiling_exact_match': 0.5,
  }


def write_evaluation(
  folder, scores, *, name='test', split='test', step=400, **more
):
  """Writes an evaluation with a score for each look-ahead."""
  overall = score(float(np.mean([s['exact_match'] for s in scores.values()])))
  text = json.dumps(
    {
      'split': split,
      'num_samples': 400 * len(scores),
      'seed': 0,
      'step': step,
      'group_name': 'look_ahead',
      'groups': [{'group': k, **score} for k, score in scores.items()],
      'overall': overall,
      **more,
    }
  )
  (folder / 'evaluations').mkdir(exist_ok=True)
  (folder / f'evaluations/{name}.json').write_text(text)


def write_run(folder, scores, *, seed=0, model='armt', task=(), num_layers=4):
  """Writes a run folder; `scores` has an exact match for each look-ahead."""
  folder.mkdir(parents=True)
  config = {
    'seed': seed,
    'task': {
      'name': 'orbits',
      'variant': 'o_s' if len(scores) == 1 else 'multi_horizon',
      'look_ahead': list(scores),
      'width': W,
      'num_states': T,
      **dict(task),
    },
    'model': {'name': model, 'num_layers': num_layers},
    'train': {'num_steps': 400},
  }
  (folder / 'config.json').write_text(json.dumps(config))
  with (folder / 'metrics.jsonl').open('w') as file:
    for step in range(0, 401, 10):
      values = {'loss': math.exp(-step / 100), 'exact_match': step / 500}
      values |= {'step': step, 'split': 'train', 'bit_accuracy': 0.9}
      file.write(json.dumps(values) + '\n')
      if step % 100 == 0:
        values |= {'split': 'validation'}
        values |= {f'exact_match_{k}': 0.1 * k for k in scores}
        file.write(json.dumps(values) + '\n')
  write_evaluation(folder, {k: score(value) for k, value in scores.items()})
  rows = [row(i, k, i % 3 > 0) for i in range(3) for k in scores]
  text = '\n'.join(map(json.dumps, rows)) + '\n'
  (folder / 'evaluations/test.jsonl').write_text(text)
  return folder


def write_cost(folder, operations, *, bound='', start=None, **more):
  """Writes the costs of a run: `operations` of training, a 1000th to answer."""
  training = {'operations': operations, 'bound': '', 'minutes': 2.0}
  cost = {
    'analysis': 'cost',
    'parameters': 121_000,
    'training': training,
    'start': start and {**training, 'operations': start},
    'answer': {'operations': operations / 1000, 'bound': bound},
    'depth_steps': 1.0,
    **more,
  }
  (folder / 'evaluations/cost.json').write_text(json.dumps(cost))
  return folder


def colors(path, least=20):
  """The colours that cover at least so many pixels of a PNG, as hex."""
  image = (matplotlib.image.imread(path)[..., :3] * 255).round().astype(int)
  packed = image @ np.array([65536, 256, 1])
  values, counts = np.unique(packed, return_counts=True)
  return {f'#{value:06x}' for value in values[counts >= least]}


def hex_of(color):
  return matplotlib.colors.to_hex(color)


def write_samples(folder, *, loops=3, layers=2, count=4, halts=True):
  """Writes an analysis of single samples, as `--mode=analyze` does."""
  L = (T + 1) * (W + 1)
  at = list(range(L - W, L))
  target = [0, 1, 1, 0, 1, 0, 0, 1]
  wrong = [1, *target[1:]]
  samples = [
    {
      'group': 1 + i % 2,
      'scored_after': min(2, loops),
      'at': at,
      'target': target,
      'answer': target if i % 2 else wrong,
      'milestones': [wrong, target],
      'said': [[wrong] * layers] * (loops - 1) + [[target] * layers],
      'percent': [[[10 * (n + 1)] * W] * layers for n in range(loops)],
      'observed': ['01010101', '11001100', '11110000', '00000001'],
      **({'steps': [1 + j % 3 for j in range(L)]} if halts else {}),
    }
    for i in range(count)
  ]
  found = {
    'analysis': 'samples', 'seed': 0, 'step': 400, 'split': 'test',
    'group_name': 'look_ahead', 'labels': [], 'loop_name': 'loop',
    'layers': layers, 'loops': loops, 'trained_loops': 2, 'row_tokens': W + 1,
    'positions': [str(i) for i in range(L)],
    'milestones': ['x(T+1)', 'x(T+2)'], 'num_samples': count,
    'mean_steps': [1 + j / L for j in range(L)] if halts else None,
    'samples': samples,
  }  # fmt: skip
  (folder / 'evaluations/samples.json').write_text(json.dumps(found))
  return folder
