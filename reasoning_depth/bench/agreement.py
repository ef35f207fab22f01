"""What must agree on a device, in numbers.

  python -m reasoning_depth.bench agreement

- scan, diagonal: ARMT's two schedules, logits and gradients.
- host: a transformer's logits on the device against those on the CPU.
- bfloat16: its logits in bfloat16 against float32.
- cudnn: flash attention against XLA's, value and gradient (NVIDIA GPUs).
- sharded: a training step over all devices against one (several devices).

A difference is the largest absolute one over the largest value. Float32 is
computed in full precision, without TensorFloat-32.
"""

import argparse
import functools
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth import models
from reasoning_depth.bench import output
from reasoning_depth.longcontext import diagonal
from reasoning_depth.models import attention
from reasoning_depth.runtime import configuration
from reasoning_depth.tasks import orbits
from reasoning_depth.training import experiment, loop, prefetch, resume

# Largest differences that rounding explains.
BOUNDS = {
  'diagonal_logits': 1e-4, 'diagonal_gradient': 1e-3, 'host': 1e-4,
  'bfloat16': 5e-2, 'cudnn_value': 2e-2, 'cudnn_gradient': 5e-2,
  'sharded': 1e-4,
}  # fmt: skip
ROOT = pathlib.Path(__file__).parents[2]
ARMT = {'name': 'armt', 'memory': {'segment_states': 1, 'repeat_states': 0}}


def main(args: list[str]) -> None:
  """`python -m reasoning_depth.bench agreement`."""
  parser = argparse.ArgumentParser('agreement')
  parser.add_argument('--batch', type=int, default=8)
  parser.add_argument('--width', type=int, default=128, help='of the models')
  parser.add_argument('--states', type=int, default=10, help='of an orbit')
  parser.add_argument('--out', help='file for the JSON')
  a = parser.parse_args(args)
  with jax.default_matmul_precision('highest'):
    found = {name: check(a) for name, check in CHECKS.items()}
  output.report('agreement', {'checks': found}, a.out)
  wrong = [name for name, rows in found.items() if not rows.get('agree', True)]
  if wrong:
    sys.exit(f'differ by more than rounding: {", ".join(wrong)}')


def _rows(**differences: float) -> dict[str, Any]:
  """Differences with their bounds."""
  found = {
    name: {'difference': value, 'bound': BOUNDS[name]}
    for name, value in differences.items()
  }
  agree = all(row['difference'] <= row['bound'] for row in found.values())
  return {'agree': agree, **found}


def difference(x: Any, y: Any) -> float:
  """Largest absolute difference of two trees over the largest value of y."""
  pairs = [
    (np.asarray(a, np.float64), np.asarray(b, np.float64))
    for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True)
  ]
  largest = max(abs(b).max() for _, b in pairs)
  return float(max(abs(a - b).max() for a, b in pairs) / largest)


def _sample(a: argparse.Namespace) -> tuple[orbits.Orbits, jax.Array]:
  task = orbits.Orbits(num_states=a.states)
  return task, task.sample(jax.random.key(1), a.batch).inputs


def _make(a: argparse.Namespace, config: dict[str, Any]) -> tuple[Any, ...]:
  """Model, parameters and tokens."""
  task, tokens = _sample(a)
  sizes = {'width': a.width, 'mlp_width': 4 * a.width}
  model = models.make({**config, **sizes}, task)
  params = jax.jit(model.init)(jax.random.key(0), tokens)['params']
  return model, params, tokens


def schedules(a: argparse.Namespace) -> dict[str, Any]:
  """ARMT's scan and diagonals."""
  model, params, tokens = _make(a, ARMT)
  # Values that are not zero, so that the memory takes part.
  value = params['segment']['stack']['layers']['value']
  normal = jax.random.normal(jax.random.key(2), value.shape) / a.width**0.5
  params['segment']['stack']['layers']['value'] = normal

  def work(model, params):
    def loss(params):
      logits = model.apply({'params': params}, tokens).logits
      return jnp.mean(jax.nn.log_softmax(logits)[..., 0]), logits

    gradient, logits = jax.grad(loss, has_aux=True)(params)
    return logits, gradient

  one, other = (
    jax.jit(functools.partial(work, m))(params)
    for m in (model, diagonal.scheduled(model))
  )
  return _rows(
    diagonal_logits=difference(other[0], one[0]),
    diagonal_gradient=difference(other[1], one[1]),
  )


def host(a: argparse.Namespace) -> dict[str, Any]:
  """The device and the CPU."""
  if jax.default_backend() == 'cpu':
    return {'not_applicable': 'the device is a CPU'}
  model, params, tokens = _make(a, {'name': 'transformer'})
  run = jax.jit(lambda p, t: model.apply({'params': p}, t).logits)
  there = run(params, tokens)
  cpu = jax.devices('cpu')[0]
  here = run(*jax.device_put((params, tokens), cpu))
  return _rows(host=difference(there, here))


def narrow(a: argparse.Namespace) -> dict[str, Any]:
  """bfloat16 and float32."""
  model, params, tokens = _make(a, {'name': 'transformer'})
  half, _, _ = _make(a, {'name': 'transformer', 'dtype': 'bfloat16'})
  one, other = (
    jax.jit(lambda p, m=m: m.apply({'params': p}, tokens).logits)(params)
    for m in (model, half)
  )
  return _rows(bfloat16=difference(other, one))


def cudnn(a: argparse.Namespace) -> dict[str, Any]:
  """Flash attention and XLA's, causal, in bfloat16."""
  if jax.default_backend() != 'gpu':
    return {'not_applicable': 'cuDNN needs an NVIDIA GPU'}
  shape = a.batch, 4, 256, 64
  q, k, v = (
    jax.random.normal(jax.random.key(n), shape, jnp.bfloat16) for n in range(3)
  )

  def work(implementation, q, k, v):
    def loss(q, k, v):
      out = attention.attend(q, k, v, True, implementation)
      return jnp.sum(out.astype(jnp.float32) ** 2), out

    return jax.grad(loss, (0, 1, 2), has_aux=True)(q, k, v)

  one, other = (
    jax.jit(functools.partial(work, name))(q, k, v) for name in ('xla', 'cudnn')
  )
  return _rows(
    cudnn_value=difference(other[1], one[1]),
    cudnn_gradient=difference(other[0], one[0]),
  )


def sharded(a: argparse.Namespace) -> dict[str, Any]:
  """A training step over all devices and on one."""
  count = len(jax.devices())
  if count == 1:
    return {'not_applicable': 'there is one device'}
  stepped = [_stepped(a, data=n, batch=a.batch * count) for n in (1, count)]
  return _rows(sharded=difference(stepped[1], stepped[0]))


def _stepped(a: argparse.Namespace, data: int, batch: int) -> Any:
  """The parameters after a step from the same start."""
  c = configuration.load(str(ROOT / 'configs/transformer.py'))
  c.model.width, c.model.mlp_width = a.width, 4 * a.width
  c.task.num_states = a.states
  c.train.batch_size = c.eval.batch_size = batch
  c.mesh.data = data
  exp = experiment.build(c)
  current = resume.fresh(exp)
  dispatch = loop.compile_dispatch(exp, current, num_steps=1)
  return jax.device_get(dispatch(current, *prefetch.chunk(exp, 0, 1))[0].params)


CHECKS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
  'scan = diagonal': schedules,
  'device = host': host,
  'bfloat16 = float32': narrow,
  'cudnn = xla': cudnn,
  'sharded = single': sharded,
}
