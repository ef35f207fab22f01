"""ARMT's scan and diagonal schedules, and full attention (2506.05229).

Times prefill: reads all tokens and returns the last one's logits; with
`--work gradient`, the gradient of all parameters. Peak memory is XLA's plan for
the program.
"""

import argparse
import dataclasses
import itertools
import pathlib
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib
import matplotlib.figure
import numpy as np

from reasoning_depth.bench import output
from reasoning_depth.longcontext import diagonal, schedule
from reasoning_depth.models import armt, layers, memory, transformer, windows
from reasoning_depth.report import style
from reasoning_depth.runtime import stopwatch

_LLAMA = {
  'positions': 'rotary', 'rotary_fraction': 1.0, 'parallel_residual': False,
  'norm': 'rms', 'mlp': 'swiglu', 'bias': False,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Shape:
  """A model to time.

  Attributes:
    backbone: its blocks.
    memory: its associative memory.
    vocab_size: V.
  """

  backbone: layers.TransformerConfig
  memory: memory.MemoryConfig
  vocab_size: int


SHAPES = {
  'small': Shape(
    layers.TransformerConfig(
      num_layers=8, width=64, num_heads=4, mlp_width=256
    ),
    memory.MemoryConfig(num_tokens=4, key_width=32),
    128,
  ),
  '160m': Shape(
    layers.TransformerConfig(
      num_layers=12, width=768, num_heads=12, mlp_width=3072, **_LLAMA
    ),
    memory.MemoryConfig(num_tokens=128, key_width=64),
    32000,
  ),
  '1b': Shape(
    layers.TransformerConfig(
      num_layers=16,
      width=2048,
      num_heads=32,
      num_kv_heads=8,
      mlp_width=8192,
      tied=True,
      **_LLAMA,
    ),
    memory.MemoryConfig(num_tokens=128, key_width=64),
    128256,
  ),
}


def main(args: list[str]) -> None:
  """`python -m reasoning_depth.bench diagonal`."""
  parser = argparse.ArgumentParser('diagonal')
  parser.add_argument('--shape', choices=SHAPES, default='small')
  parser.add_argument('--segments', type=int, nargs='+', default=[16],
                      help='tokens in a segment')  # fmt: skip
  parser.add_argument('--lengths', type=int, nargs='+',
                      default=[16, 64, 256, 1024], help='tokens')  # fmt: skip
  parser.add_argument('--batch', type=int, default=1, help='requests at once')
  parser.add_argument('--work', choices=WORK, default='prefill')
  parser.add_argument('--dtype', choices=layers.DTYPES, default='float32')
  parser.add_argument('--attention', default='xla', help='or cudnn')
  parser.add_argument('--full', action='store_true', help='time full attention')
  parser.add_argument('--ramps', nargs='*', default=list(schedule.RAMPS),
                      choices=diagonal.RAMPS)  # fmt: skip
  parser.add_argument('--rounds', type=int, default=9)
  parser.add_argument(
    '--seconds', type=float, default=0.0, help='minimum time for each shape'
  )
  parser.add_argument('--auto', action='store_true', help='let `auto` choose')
  parser.add_argument('--plot', help='file for the plot')
  parser.add_argument('--out', help='file for the JSON')
  a = parser.parse_args(args)
  result = measure(a)
  output.report('diagonal', result, a.out)
  if a.plot:
    plot(result, pathlib.Path(a.plot))


def measure(a: argparse.Namespace) -> dict[str, Any]:
  """A result for each segment length and sequence length; saves each."""
  setting = output.setting(a)
  rows: list[dict[str, Any]] = []
  for segment, length in itertools.product(a.segments, a.lengths):
    if length >= segment:
      rows.append(_row(a, segment, length))
      output.save('diagonal', {'setting': setting, 'rows': rows}, a.out)
  return {'setting': setting, 'rows': rows}


def build(a: argparse.Namespace, segment: int) -> armt.ARMT:
  """The model of a shape; segments do not overlap."""
  shape = SHAPES[a.shape]
  backbone = dataclasses.replace(
    shape.backbone, dtype=a.dtype, attention=a.attention
  )
  return armt.ARMT(
    config=backbone, memory=shape.memory, vocab_size=shape.vocab_size,
    causal=True, segment_length=segment, stride=segment,
  )  # fmt: skip


def _parameters(a: argparse.Namespace, model: armt.ARMT) -> Any:
  """Parameters with random `value`; stacked matrices in the dtype of work."""
  tokens = jnp.zeros((1, model.segment_length), jnp.int32)

  @jax.jit
  def init(key):
    params = model.init(key, tokens)['params']
    stack = params['segment']['stack']['layers']
    normal = nn.initializers.lecun_normal(batch_axis=0)
    stack['value'] = normal(jax.random.fold_in(key, 1), stack['value'].shape)
    dtype = a.dtype if a.work == 'prefill' else 'float32'
    return jax.tree.map(lambda p: p.astype(dtype) if p.ndim > 2 else p, params)

  return init(jax.random.key(0))


def _prefill(model: armt.ARMT, params: Any, tokens: jax.Array) -> Any:
  """Logits [B, V] of the last token, and the memory."""
  parts = windows.split(tokens, model.segment_length, model.stride)
  _, after, logits = model.apply(
    {'params': params}, parts, None, model.segment_length - 1,
    method='read_segments',
  )  # fmt: skip
  return logits, after


def _gradient(model: armt.ARMT, params: Any, tokens: jax.Array) -> Any:
  """Logits [B, L, V] and the gradient of a loss on all of them."""

  def loss(params):
    logits = model.apply({'params': params}, tokens).logits
    return jnp.mean(jax.nn.log_softmax(logits)[..., 0]), logits

  gradient, logits = jax.grad(loss, has_aux=True)(params)
  return logits, gradient


WORK = {'prefill': _prefill, 'gradient': _gradient}


class _Full(nn.Module):
  """The same blocks over the whole sequence; the last token's logits."""

  config: layers.TransformerConfig
  vocab_size: int

  @nn.compact
  def __call__(self, tokens):
    embedding = transformer.Embedding(self.config, self.vocab_size)
    x = embedding(tokens)

    def block(name):
      return layers.Block(self.config, True, name=name)

    x, _, _ = transformer.Stack(self.config, block)(x)
    read_out = transformer.ReadOut(self.vocab_size, self.config.norm)
    return read_out(x[:, -1:], embedding.table())


def _row(a: argparse.Namespace, segment: int, length: int) -> dict[str, Any]:
  model = build(a, segment)
  params = _parameters(a, model)
  tokens = jax.random.randint(
    jax.random.key(1), (a.batch, length), 0, model.vocab_size
  )
  work = WORK[a.work]
  models = {'scan': model} | {
    f'diagonal_{ramp}': diagonal.scheduled(model, ramp) for ramp in a.ramps
  }
  programs = {
    name: _compile(lambda p, t, m=m: work(m, p, t), params, tokens)
    for name, m in models.items()
  }
  logits = {n: np.asarray(f(params, tokens)[0]) for n, f in programs.items()}
  runners = {n: _runner(f, params, tokens) for n, f in programs.items()}
  if a.full and a.work == 'prefill':
    full = _Full(model.config, model.vocab_size)
    weights = jax.jit(full.init)(jax.random.key(0), tokens[:, :segment])
    programs['full'] = _compile(full.apply, weights, tokens)
    runners['full'] = _runner(programs['full'], weights, tokens)
  seconds = stopwatch.alternate(runners, a.rounds, a.seconds)
  row = {
    'segment': segment,
    'length': length,
    'seconds': seconds,
    'times_scan': {
      n: {k: seconds['scan'][k] / s[k] for k in ('median', 'least')}
      for n, s in seconds.items()
    },
    'peak_bytes': {n: _peak(f) for n, f in programs.items()},
    'largest_relative_logit_difference': {
      n: float(np.abs(x - logits['scan']).max() / np.abs(x).max())
      for n, x in logits.items()
    },
  }
  if a.auto:
    name, _ = schedule.fastest(model, work, params, tokens)
    row['auto'] = {'took': name} | {
      f'{k}_over_best': seconds[name][k] / min(seconds[n][k] for n in models)
      for k in ('median', 'least')
    }
  return row


def _compile(function: Callable[..., Any], *args: Any) -> Any:
  return jax.jit(function).lower(*args).compile()


def _runner(program: Any, *args: Any) -> Callable[[], Any]:
  return lambda: jax.block_until_ready(program(*args))


def _peak(program: Any) -> int | None:
  """Bytes of arguments, outputs and temporaries."""
  m = program.memory_analysis()
  if m is None:
    return None
  return (
    m.argument_size_in_bytes + m.output_size_in_bytes + m.temp_size_in_bytes
  )


@matplotlib.rc_context(style.RC)
def plot(result: dict[str, Any], path: pathlib.Path) -> None:
  """Plots time against length, one panel per segment length."""
  rows = result['rows']
  sizes = sorted({row['segment'] for row in rows})
  figure = matplotlib.figure.Figure(
    figsize=(4.6 * len(sizes), 3.4), layout='constrained'
  )
  panels = figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
  for axes, size in zip(panels, sizes, strict=True):
    here = [row for row in rows if row['segment'] == size]
    for i, name in enumerate(here[0]['seconds']):
      axes.plot(
        [row['length'] for row in here],
        [row['seconds'][name]['median'] for row in here],
        color=style.COLORS[i], marker=style.MARKERS[i], label=name,
      )  # fmt: skip
    axes.set(
      xscale='log', yscale='log', xlabel='tokens', title=f'segments of {size}'
    )
    for axis in (axes.xaxis, axes.yaxis):
      axis.set_major_formatter('{x:g}')
      axis.set_minor_formatter('')
  panels[0].set_ylabel('seconds (median)')
  panels[0].legend()
  style.save(figure, path)
