"""The two schedules of ARMT agree, in float64 to rounding."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth.longcontext import diagonal
from reasoning_depth.models import halting
from tests import tiny

B, SEGMENT = tiny.B, tiny.SEGMENT


def build(num_layers, num_segments, stride=SEGMENT, **fields):
  """A model, weights that use the memory, and tokens."""
  backbone = tiny.config(
    num_layers=num_layers, width=8, mlp_width=16,
    dtype=fields.pop('dtype', 'float32'),
  )  # fmt: skip
  model = tiny.model('armt', backbone, stride=stride, **fields)
  length = SEGMENT + (num_segments - 1) * stride
  tokens, params = tiny.tokens(length), tiny.init(model, length)
  # Away from 0: without biases, a place without a segment would write nothing.
  noise = np.random.default_rng(2).normal(size=64) / 5
  params = jax.tree.map(
    lambda p: (p + np.resize(noise, p.shape)).astype(backbone.dtype),
    jax.device_get(params),
  )
  return model, params, tokens


@functools.partial(jax.jit, static_argnums=0)
def everything(model, params, tokens):
  """Output and gradient."""

  def loss(params):
    output = model.apply({'params': params}, tokens)
    log_p = jax.nn.log_softmax(output.logits)
    return jnp.mean(log_p[..., 0] ** 2) + output.penalty, output

  return jax.grad(loss, has_aux=True)(params)


def assert_agree(ours, theirs, tolerance):
  # A leaf's largest number is what its rounding is relative to.
  ours, theirs = jax.device_get((ours, theirs))
  scale = jax.tree.map(lambda t: max(1e-3, float(np.abs(t).max())), theirs)
  chex.assert_trees_all_close(
    *(jax.tree.map(np.divide, tree, scale) for tree in (ours, theirs)),
    rtol=0, atol=tolerance,
  )  # fmt: skip


@pytest.mark.parametrize(
  'num_layers,num_segments,ramp',
  [
    (2, 4, 'buckets'),  # L < S
    (3, 2, 'buckets'),  # L > S
    (2, 2, 'whole'),  # L = S
    (2, 1, 'exact'),
  ],
)
def test_schedules_agree_in_float64(num_layers, num_segments, ramp):
  with tiny.float64(True):
    model, params, tokens = build(
      num_layers, num_segments, stride=2, truncate=2, dtype='float64'
    )
    ours = everything(diagonal.scheduled(model, ramp), params, tokens)
    theirs = everything(model, params, tokens)
    assert theirs[1].logits.dtype == jnp.float64
    assert_agree(ours, theirs, 1e-12)


def test_layers_that_repeat_agree():
  adaptive = halting.Halting(kind='layer', max_steps=2, cost=0.1)
  model, params, tokens = build(2, 2, adaptive=adaptive)

  @functools.partial(jax.jit, static_argnums=0)
  def output(model):
    return model.apply({'params': params}, tokens)

  theirs = output(model)
  assert_agree(output(diagonal.scheduled(model)), theirs, 1e-5)
  assert theirs.ponder.max() > 1 and theirs.penalty > 0


def test_goes_on_from_a_memory():
  model, params, tokens = build(2, 4)
  parts = tokens.reshape(B, 4, SEGMENT).swapaxes(0, 1)

  @functools.partial(jax.jit, static_argnums=0)
  def read(model, parts, memory):
    return model.apply(
      {'params': params}, parts, memory, SEGMENT - 1, method='read_segments'
    )

  _, whole, logits = read(model, parts, None)
  model = diagonal.scheduled(model, 'whole')
  _, half, _ = read(model, parts[:2], None)
  _, end, last = read(model, parts[2:], half)
  assert_agree((end, last), (whole, logits), 1e-5)


@pytest.mark.parametrize('ramp', diagonal.RAMPS)
@pytest.mark.parametrize(
  'S,L', [(1, 1), (1, 5), (3, 7), (6, 7), (7, 7), (9, 5)]
)
def test_phases_hold_every_cell_once(S, L, ramp):
  cells, at = [], 0
  for phase in diagonal.phases(S, L, ramp):
    first, end = phase.diagonals
    assert first == at < end
    at = end
    for d in range(first, end):
      low = {
        'entering': 0, 'moving': d - S + 1, 'leaving': L - phase.size,
      }[phase.kind]  # fmt: skip
      window = range(low, low + phase.size)
      assert 0 <= low and low + phase.size <= L
      here = [(layer, d - layer) for layer in window if 0 <= d - layer < S]
      assert phase.full == (len(here) == phase.size)
      cells += here
      if ramp == 'exact':
        assert phase.full
      elif ramp == 'buckets':
        assert phase.size < 2 * len(here)
  assert at == L + S - 1
  assert len(cells) == len(set(cells)) == L * S


def test_the_work_is_grouped():
  assert list(diagonal.phases(64, 8, 'whole')) == [
    diagonal.Phase('entering', 8, False, (0, 7)),
    diagonal.Phase('entering', 8, True, (7, 64)),
    diagonal.Phase('leaving', 8, False, (64, 71)),
  ]


def test_what_cannot_be_grouped_is_refused():
  model = tiny.model('armt')
  with pytest.raises(ValueError, match='diagonal: needs a memory of its own'):
    diagonal.scheduled(tiny.model('rmt'))
  whole = model.clone(adaptive=halting.Halting(kind='model'))
  with pytest.raises(ValueError, match='halting.kind=model, which repeats'):
    diagonal.scheduled(whole)
  with pytest.raises(ValueError, match="ramp='short': allowed are whole, buck"):
    diagonal.scheduled(model, 'short')


def test_float32_with_remat_differs_by_rounding_only():
  model, params, tokens = build(2, 3)
  config = dataclasses.replace(model.config, remat='full')
  other = diagonal.scheduled(model.clone(config=config))
  ours = everything(other, params, tokens)
  assert_agree(ours, everything(model, params, tokens), 1e-4)
