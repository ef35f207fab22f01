"""Floating-point operations of a program, counted without running it.

XLA's own number counts the body of a loop once, whatever the number of turns.
Here a jaxpr is walked: the body of a scan counts as often as it runs.

What counts are matrix products and convolutions, two operations for each
multiply-add. Work entry by entry (norms, activations, the scan of a state space
model, the optimiser) does not count, nor do products of whole numbers.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

# Calls whose inside is not a jaxpr.
_CLOSED = ('dot_product_attention', 'pallas_call', 'ffi_call', 'callback')


@dataclasses.dataclass(frozen=True)
class Count:
  """Floating-point operations of a program, on all devices together.

  Attributes:
    most: operations where of two branches the one with more is taken.
    least: operations where the one with fewer is taken.
    is_lower_bound: whether even `most` may be too small: a `while` loop, whose
      turns are not known before it runs, counts as one turn, and a kernel
      whose inside cannot be seen as nothing.
  """

  most: int = 0
  least: int = 0
  is_lower_bound: bool = False

  def __add__(self, other: 'Count') -> 'Count':
    return Count(
      self.most + other.most,
      self.least + other.least,
      self.is_lower_bound or other.is_lower_bound,
    )

  def __mul__(self, times: int) -> 'Count':
    return Count(self.most * times, self.least * times, self.is_lower_bound)

  @property
  def bound(self) -> str:
    """What `most` is to the true number: '', 'at most' or 'at least'."""
    if self.is_lower_bound:
      return 'at least'
    return '' if self.most == self.least else 'at most'

  def at(self, share: float) -> 'Count':
    """Operations where branches with more are taken this share of times."""
    operations = self.least + round(share * (self.most - self.least))
    return Count(operations, operations, self.is_lower_bound)


def count(function: Callable[..., Any], *args: Any) -> Count:
  """Counts the operations of `function(*args)`.

  Args:
    function: can be traced by `jax.make_jaxpr`.
    *args: arrays, or their shapes (`jax.ShapeDtypeStruct`).
  """
  return of_jaxpr(jax.make_jaxpr(function)(*args))


def of_jaxpr(jaxpr: Any) -> Count:
  """Counts the operations of a jaxpr."""
  return sum(map(_of_equation, jaxpr.eqns), Count())


def _of_equation(equation: Any) -> Count:
  name, params = equation.primitive.name, equation.params
  match name:
    case 'dot_general':
      return _of_product(equation)
    case 'conv_general_dilated':
      return _of_convolution(equation)
  inner = [of_jaxpr(jaxpr) for jaxpr in _jaxprs(params.values())]
  total = sum(inner, Count())
  match name:
    case 'scan':
      return total * params['length']
    case 'while':
      return dataclasses.replace(total, is_lower_bound=total != Count())
    case 'cond':
      return Count(
        max(branch.most for branch in inner),
        min(branch.least for branch in inner),
        total.is_lower_bound,
      )
    case 'shard_map':  # the body is that of one shard
      sizes = params['mesh'].shape
      return total * math.prod(sizes[a] for a in params['newly_manual_axes'])
  if any(closed in name for closed in _CLOSED):
    return Count(is_lower_bound=True)
  return total


def _jaxprs(values: Iterable[Any]) -> Iterator[Any]:
  """The jaxprs among an equation's parameters."""
  for value in values:
    if isinstance(value, core.Jaxpr | core.ClosedJaxpr):
      yield value
    elif isinstance(value, tuple | list):
      yield from _jaxprs(value)


def _of_product(equation: Any) -> Count:
  """[batch, M, K] times [batch, K, N]: 2·batch·M·N·K operations."""
  (contracted, _), _ = equation.params['dimension_numbers']
  shape = equation.invars[0].aval.shape
  return _multiply_adds(equation, math.prod(shape[a] for a in contracted))


def _of_convolution(equation: Any) -> Count:
  """Each entry of the output is a product with the whole kernel of it.

  Zeros of padding and dilation count like other entries.
  """
  kernel = equation.invars[1].aval.shape
  out_features, *_ = equation.params['dimension_numbers'].rhs_spec
  return _multiply_adds(equation, math.prod(kernel) // kernel[out_features])


def _multiply_adds(equation: Any, each: int) -> Count:
  """Operations of `each` multiply-adds for each entry of the output."""
  out = equation.outvars[0].aval
  if not jnp.issubdtype(out.dtype, jnp.inexact):
    return Count()
  operations = 2 * out.size * each
  return Count(operations, operations)
