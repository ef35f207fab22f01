"""Cuts a sequence into segments, which may overlap, and joins them."""

import jax
import jax.numpy as jnp
import numpy as np


def starts(length: int, segment: int, stride: int) -> np.ndarray:
  """First token of each segment, int [S].

  Raises:
    ValueError: if segments of this length and stride do not cover the sequence
      exactly.
  """
  if segment > length or (length - segment) % stride:
    raise ValueError(
      f'segments of {segment} tokens every {stride} do not cover a sequence '
      f'of {length} tokens exactly'
    )
  return np.arange(0, length - segment + 1, stride)


def split(tokens: jax.Array, segment: int, stride: int) -> jax.Array:
  """[B, L] to the segments' tokens [S, B, segment]; errors as `starts`."""
  first = starts(tokens.shape[1], segment, stride)
  windows = first[:, None] + np.arange(segment)
  return tokens[:, windows].swapaxes(0, 1)


def join(x: jax.Array, stride: int) -> jax.Array:
  """[S, B, segment, ...] to [B, L, ...].

  Of overlapping segments, a token's value is that of the first one.
  """
  S, B, segment = x.shape[:3]
  head = x[0, :, : segment - stride]
  tail = x[:, :, segment - stride :].swapaxes(0, 1)
  tail = tail.reshape(B, S * stride, *x.shape[3:])
  return jnp.concatenate([head, tail], axis=1)


def cuts(count: int, truncate: int) -> np.ndarray:
  """Segments before which the gradient stops, bool [S].

  Args:
    count: S.
    truncate: segments per truncated backpropagation, counted from the last; 0
      for no stops.
  """
  if not truncate:
    return np.zeros(count, bool)
  return (count - np.arange(count)) % truncate == 0
