"""Seconds from the command until a model knows what can be known.

Each model is trained by main.py, in a process of its own, on the paper's
lattice. It has reached the ceiling at look-ahead k once exact match in a
validation is 0.95 of it. A run ends when it has at all k that it is asked for,
or at the limit: not to reach it is a result. `torch` is transformers' GPT-NeoX
in PyTorch, of the same size, on the same batches.
"""

import argparse
import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import matplotlib
import matplotlib.figure
import numpy as np

from reasoning_depth import tasks
from reasoning_depth.bench import output
from reasoning_depth.report import style
from reasoning_depth.runtime import configuration

ROOT = pathlib.Path(__file__).parents[2]
SHARE = 0.95  # of the ceiling
_SAMPLES = 4_000  # orbits that the ceiling is a mean of


@dataclasses.dataclass(frozen=True)
class Model:
  """A training run.

  Attributes:
    config: file in configs/; 'torch' for PyTorch.
    look_ahead: that it is trained on and asked for.
    fields: of the config, beside the shared ones.
  """

  config: str
  look_ahead: tuple[int, ...]
  fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def _each(name: str, config: str, **fields: Any) -> dict[str, Model]:
  """A model for each of k = 1 and k = 4."""
  fields = {f'model.{n}': value for n, value in fields.items()}
  return {f'{name} k={k}': Model(config, (k,), fields) for k in (1, 4)}


MODELS = {
  'recall': Model('recall', (1, 2, 3, 4)),
  **_each('transformer', 'transformer'),
  **_each('transformer, start at zeros', 'transformer', relative_start='zeros'),
  **_each('transformer, rotary', 'transformer', positions='rotary'),
  **_each('armt', 'armt'),
  **_each('trm', 'trm'),
  **_each('torch', 'torch'),
}


def main(args: list[str]) -> None:
  """`python -m reasoning_depth.bench ceiling`."""
  parser = argparse.ArgumentParser('ceiling')
  parser.add_argument('--models', nargs='+', default=list(MODELS),
                      choices=MODELS, metavar='MODEL')  # fmt: skip
  parser.add_argument('--words', default='cpu', help='of every config')
  parser.add_argument('--limit', type=float, default=600, help='seconds each')
  parser.add_argument(
    '--every', type=int, default=50, help='updates between validations'
  )
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--flags', nargs='*', default=[],
                      help='further ones of main.py')  # fmt: skip
  parser.add_argument('--plot', help='file for the plot')
  parser.add_argument('--out', help='file for the JSON')
  a = parser.parse_args(args)
  setting = output.setting(a)
  found: dict[str, Any] = {}
  for name in a.models:
    found[name] = measure(a, MODELS[name])
    output.save('ceiling', {'setting': setting, 'models': found}, a.out)
  print(table(found))
  if a.plot:
    plot(found, pathlib.Path(a.plot))


def measure(a: argparse.Namespace, model: Model) -> dict[str, Any]:
  """Trains a model until it has reached the ceiling, or to the limit.

  Returns:
    `ceiling` by k; `curve`, a dict of seconds, step, and exact match by k for
    each validation; `reached`, the seconds by k, None where it was not; and
    why there is no curve, if there is none.
  """
  config = _config(a, model)
  best = _ceilings(config, model.look_ahead)
  with tempfile.TemporaryDirectory() as folder:
    workdir = pathlib.Path(folder, 'run')
    curve, error = _train(_command(a, model, workdir), a.limit, workdir, best)
  reached = {
    k: next(
      (p['seconds'] for p in curve if p['exact_match'][k] >= SHARE * best[k]),
      None,
    )
    for k in best
  }
  found = {'ceiling': best, 'reached': reached, 'curve': curve}
  return found | ({'error': error} if error else {})


def _fields(a: argparse.Namespace, model: Model) -> dict[str, Any]:
  """Fields of the config that differ from its own."""
  return {
    'seed': a.seed,
    'eval.every': a.every,
    'checkpoint.every': 10**6,
    **model.fields,
  }


def _name(model: Model, words: str) -> str:
  """The config that --config takes."""
  config = 'transformer' if model.config == 'torch' else model.config
  if len(model.look_ahead) == 1:
    words = ','.join(filter(None, [words, f'k={model.look_ahead[0]}']))
  return f'{ROOT}/configs/{config}.py:{words}'


def _config(a: argparse.Namespace, model: Model) -> Any:
  config = configuration.load(_name(model, a.words))
  configuration.apply(config, _flags(_fields(a, model)) + a.flags)
  return config


def _flags(fields: Mapping[str, Any]) -> list[str]:
  return [f'--config.{name}={value}' for name, value in fields.items()]


def _command(
  a: argparse.Namespace, model: Model, workdir: pathlib.Path
) -> list[str]:
  config = f'--config={_name(model, a.words)}'
  flags = [*_flags(_fields(a, model)), *a.flags, f'--workdir={workdir}']
  program = [str(ROOT / 'main.py')]
  if model.config == 'torch':
    program = ['-m', 'reasoning_depth.bench.torch_neox']
  return [sys.executable, *program, config, *flags]


def _ceilings(config: Any, look_ahead: Sequence[int]) -> dict[int, float]:
  """The mean ceiling at each k, over orbits of the validation split."""
  task: Any = tasks.make(config.task)
  found = {}
  for k in look_ahead:
    one = dataclasses.replace(task, look_ahead=(k,), variant='o_s')
    samples = one.draw_held_out(
      jax.random.key(0), 'validation', _SAMPLES, 'generation'
    )
    found[k] = float(samples.known['ceiling_exact_match'].mean())
  return found


def _train(
  command: Sequence[str],
  limit: float,
  workdir: pathlib.Path,
  best: Mapping[int, float],
) -> tuple[list[dict[str, Any]], str]:
  """Runs a command and follows its validations.

  Returns:
    the curve of `measure`, and the last line of an error, or ''.
  """
  started = time.perf_counter()
  curve: list[dict[str, Any]] = []
  process = subprocess.Popen(
    command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    cwd=ROOT,
  )  # fmt: skip
  try:
    while process.poll() is None:
      seconds = time.perf_counter() - started
      for line in _validations(workdir)[len(curve) :]:
        curve.append(_point(line, seconds, best))
      last = curve[-1]['exact_match'] if curve else {}
      if last and all(last[k] >= SHARE * best[k] for k in best):
        break
      if seconds > limit:
        break
      time.sleep(0.1)
  finally:
    ended = process.poll()
    process.kill()
    error = process.communicate()[1].strip().split('\n')[-1]
  return curve, error if ended else ''


def _validations(workdir: pathlib.Path) -> list[dict[str, Any]]:
  path = workdir / 'metrics.jsonl'
  if not path.exists():
    return []
  *whole, _ = path.read_text().split('\n')  # what follows may not be whole
  lines = [json.loads(line) for line in whole]
  return [line for line in lines if line['split'] == 'validation']


def _point(
  line: Mapping[str, Any], seconds: float, best: Mapping[int, float]
) -> dict[str, Any]:
  """A point of the curve."""
  match = {k: line.get(f'exact_match_{k}', line['exact_match']) for k in best}
  return {'seconds': seconds, 'step': line['step'], 'exact_match': match}


def table(found: Mapping[str, dict[str, Any]]) -> str:
  """Seconds to the ceiling at k = 1 and 4, as Markdown."""

  def cell(result, k):
    if k not in result['reached']:
      return ''
    if (seconds := result['reached'][k]) is not None:
      return f'{seconds:.0f} s'
    best = max((p['exact_match'][k] for p in result['curve']), default=None)
    return result.get('error') or (
      'not reached' + (f', {best:.3f}' if best is not None else '')
    )

  lines = ['| model | k = 1 | k = 4 |', '| --- | ---: | ---: |']
  return '\n'.join(
    lines + [f'| {n} | {cell(r, 1)} | {cell(r, 4)} |' for n, r in found.items()]
  )


@matplotlib.rc_context(style.RC)
def plot(found: Mapping[str, dict[str, Any]], path: pathlib.Path) -> None:
  """Plots exact match against seconds, a panel for each of k = 1 and 4."""
  figure = matplotlib.figure.Figure(figsize=(9, 3.8), layout='constrained')
  models = list(dict.fromkeys(_without_k(name) for name in found))
  colors = (*style.COLORS, style.GREY)  # as many as there are models
  lines = {}
  for axes, k in zip(figure.subplots(1, 2, sharey=True), (1, 4), strict=True):
    shown = {n: r for n, r in found.items() if k in r['reached']}
    for name, result in shown.items():
      i = models.index(_without_k(name))
      (lines[models[i]],) = axes.plot(
        [point['seconds'] for point in result['curve']],
        [point['exact_match'][k] for point in result['curve']],
        color=colors[i],
        marker=style.MARKERS[i % len(style.MARKERS)],
      )  # fmt: skip
    best = np.mean([r['ceiling'][k] for r in shown.values()])
    lines['ceiling'] = axes.axhline(best, color='black', linestyle='--')
    axes.set(
      xlabel='seconds from the command', title=f'k = {k}', ylim=(0, 1), xlim=0
    )
  style.legend_below(
    figure, 4, handles=list(lines.values()), labels=list(lines)
  )
  figure.axes[0].set_ylabel('exact match (validation)')
  style.save(figure, path)


def _without_k(name: str) -> str:
  """The model of a row, without the look-ahead that it is trained on."""
  return name.partition(' k=')[0]
