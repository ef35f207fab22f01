"""Every layout over eight devices against one device."""

import functools

import jax
import numpy as np
import pytest

from configs import armt, recall, transformer
from reasoning_depth.training import experiment, loop, resume

LAYOUTS = {
  'data': {'data': 8},
  'fsdp': {'data': 8, 'parameters': 'fsdp'},
  'tensor': {'data': 2, 'model': 4},
  'both': {'data': 4, 'model': 2, 'parameters': 'fsdp'},
}


def build(module, mesh):
  c = module.get_config('smoke')
  c.task.update(width=5, num_states=3)
  c.model.update(num_layers=1, width=16, num_heads=4, mlp_width=32, unroll=1)
  if 'memory' in c.model:
    c.model.memory.update(num_tokens=2, key_width=2, unroll=1)
  c.train.update(
    num_steps=2, warmup_steps=2, steps_per_dispatch=2, batch_size=8, ema=0.9
  )
  c.eval.update(every=2, batch_size=8)
  c.checkpoint.every = 2
  c.mesh.update({'data': 1} | mesh)
  return experiment.build(c)


def steps(exp, tmp_path):
  """State and metrics after two steps."""
  (tmp_path / 'config.json').write_text('{}')
  store = resume.checkpoint.Checkpoints(tmp_path)
  first = resume.restore_or_init(exp, store)
  store.close()
  return loop.compile_dispatch(exp, first, num_steps=2)(first)


@functools.cache
def alone(module, folder):
  return jax.device_get(steps(build(module, {}), folder))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('run')


@pytest.mark.parametrize(
  'module,name',
  [
    *((transformer, name) for name in LAYOUTS),
    (armt, 'both'),
    (recall, 'both'),
  ],
  ids=lambda x: x if isinstance(x, str) else x.__name__,
)
def test_a_layout_changes_nothing_but_the_last_digits(module, name, folder):
  exp = build(module, LAYOUTS[name])
  new, metrics = steps(exp, folder)
  old, expected = alone(module, folder)
  for got, want in (
    (metrics.sums.loss, expected.sums.loss),
    (metrics.grad_norm, expected.grad_norm),
  ):
    np.testing.assert_allclose(got, want, rtol=1e-5)
  # Adam's first moments are the gradients, leaf by leaf.
  for a, b in zip(
    jax.tree.leaves(new.opt_state), jax.tree.leaves(old.opt_state), strict=True
  ):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)


def share(exp, *names):
  """What part of a parameter one device holds, axis by axis."""
  shapes, shardings = resume.layout(exp)
  leaf, place = shapes.params, shardings.params
  for name in names:
    leaf, place = leaf[name], place[name]
  local = place.shard_shape(leaf.shape)
  return [a // b for a, b in zip(leaf.shape, local, strict=True)]


KERNEL = 'stack', 'layers', 'block', 'mlp_out', 'kernel'  # [1, 32, 16]


@pytest.mark.parametrize(
  'name,parts',
  [
    ('data', [1, 1, 1]),
    ('fsdp', [1, 8, 1]),
    ('tensor', [1, 4, 1]),
    ('both', [1, 2, 4]),
  ],
)
def test_devices_hold_their_part_alone(name, parts):
  exp = build(transformer, LAYOUTS[name])
  assert share(exp, *KERNEL) == parts
  # The optimiser's moments lie where their parameters do.
  shardings = resume.layout(exp)[1]
  moments = jax.tree.leaves(
    shardings.opt_state,
    is_leaf=lambda x: (
      jax.tree.structure(x) == jax.tree.structure(shardings.params)
    ),
  )
  assert moments.count(shardings.params) == 2


def test_too_many_devices_are_refused():
  with pytest.raises(ValueError, match=r'mesh\.data=4, mesh\.model=4: there a'):
    build(transformer, {'data': 4, 'model': 4})
  with pytest.raises(ValueError, match=r'config\.mesh\.parameters=.*fsdp'):
    build(transformer, {'parameters': 'fspd'})
