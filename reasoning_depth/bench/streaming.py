"""Tokens per second and resident memory of streaming, by length."""

import argparse
import pathlib
import resource
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from reasoning_depth.bench import output
from reasoning_depth.longcontext import streaming
from reasoning_depth.models import armt, layers, memory

VOCAB_SIZE = 128


def main(args: list[str]) -> None:
  """`python -m reasoning_depth.bench streaming`."""
  parser = argparse.ArgumentParser('streaming')
  parser.add_argument('--lengths', type=int, nargs='+',
                      default=[100_000, 1_000_000, 10_000_000],
                      help='tokens, ascending')  # fmt: skip
  parser.add_argument('--layers', type=int, default=2)
  parser.add_argument('--width', type=int, default=32)
  parser.add_argument('--segment', type=int, default=512, help='tokens')
  parser.add_argument('--memory', type=int, default=8, help='memory tokens')
  parser.add_argument('--out', help='file for the JSON')
  a = parser.parse_args(args)
  output.report('streaming', measure(a), a.out)


def measure(a: argparse.Namespace) -> dict[str, Any]:
  """A result for each length; one process, so the peak can only grow."""
  model = armt.ARMT(
    config=layers.TransformerConfig(
      num_layers=a.layers, width=a.width, num_heads=2, mlp_width=4 * a.width
    ),
    memory=memory.MemoryConfig(num_tokens=a.memory, key_width=16),
    vocab_size=VOCAB_SIZE, causal=True, segment_length=a.segment,
    stride=a.segment,
  )  # fmt: skip
  first = np.zeros((1, a.segment), np.int32)
  params = jax.jit(model.init)(jax.random.key(0), first)['params']
  _read(model, params, iter([first]))  # compiles
  rows = []
  for length in a.lengths:
    started = time.perf_counter()
    last = _read(model, params, _pieces(length, a.segment))
    seconds = time.perf_counter() - started
    rows.append({
      'tokens': length,
      'seconds': seconds,
      'tokens_per_second': length / seconds,
      'resident_bytes': _resident(),
      'peak_resident_bytes': _peak(),
      'last_logits_finite': bool(np.isfinite(last).all()),
    })  # fmt: skip
  return {
    'setting': output.setting(a),
    'rows': rows,
    'peak_over_that_of_the_shortest': (
      rows[-1]['peak_resident_bytes'] / rows[0]['peak_resident_bytes']
    ),
  }


def _pieces(length: int, size: int) -> Iterator[np.ndarray]:
  """Random tokens, made lazily."""
  for start in range(0, length, size):
    generator = np.random.default_rng(start)
    n = min(size, length - start)
    yield generator.integers(VOCAB_SIZE, size=(1, n), dtype=np.int32)


def _read(model: Any, params: Any, pieces: Iterator[np.ndarray]) -> np.ndarray:
  """Streams tokens through the model; returns the last logits."""
  state = streaming.start(model, params, 1)
  last = None
  for piece in pieces:
    state, logits = streaming.feed(model, params, state, piece)
    if logits is not None:
      last = logits
  return np.asarray(last[:, -1])


def _resident() -> int | None:
  """Resident bytes now; None where /proc is missing."""
  status = pathlib.Path('/proc/self/statm')
  if not status.exists():
    return None
  return int(status.read_text().split()[1]) * resource.getpagesize()


def _peak() -> int:
  """Peak resident bytes so far."""
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return peak if sys.platform == 'darwin' else peak * 1024
