"""Reads a sequence of any length piece by piece, in constant memory.

The state between pieces is the layers' memory and the tokens of the unfinished
segment; it can be saved and restored after any token.

  state = streaming.start(model, params, batch_size=1)
  for piece in pieces:
    state, logits = streaming.feed(model, params, state, piece)
  streaming.save(path, state)
"""

import functools
import pathlib
import zipfile
import zlib
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from reasoning_depth import errors
from reasoning_depth.models import base, windows

LOGITS = ('all', 'last', 'none')


@flax.struct.dataclass
class State:
  """State of a stream.

  Attributes:
    memory: of the model, before the unfinished segment.
    tokens: int32 [B, n], that segment so far, beginning with its overlap with
      the previous one.
    position: int64, number of tokens fed, per sequence.
  """

  memory: Any
  tokens: np.ndarray
  position: np.ndarray


def start(
  model: base.Model,
  params: Any,
  batch_size: int,
  sharding: jax.sharding.NamedSharding | None = None,
) -> State:
  """The state before the first token; `sharding` as in `feed`."""
  tokens = np.zeros((batch_size, 0), np.int32)
  memory = _empty(model, params, batch_size, sharding)
  return State(memory, tokens, np.int64(0))


def feed(
  model: base.Model,
  params: Any,
  state: State,
  piece: np.ndarray,
  together: int = 1,
  logits: str = 'all',
  sharding: jax.sharding.NamedSharding | None = None,
) -> tuple[State, jax.Array | None]:
  """Reads the next tokens; those of an unfinished segment stay in the state.

  Args:
    model: with a memory; `diagonal.scheduled` makes it faster where several
      segments are read together.
    params: its parameters.
    state: before the piece.
    piece: int32 [B, n], of any n.
    together: segments per compiled call; tokens wait until there are so many.
    logits: 'all', 'last' (of the last token of the segments read), or 'none'.
    sharding: of tokens [B, n]; None for the default device.

  Returns:
    the new state, and logits [B, m, V] of the m tokens of completed segments
    that had none yet, or [B, 1, V] of the last; None where no segment was
    completed.

  Raises:
    ValueError: for a piece of another shape or type, or another choice.
  """
  if together < 1:
    raise ValueError(f'together={together}: must be at least 1')
  if logits not in LOGITS:
    raise ValueError(f'logits={logits!r}: allowed are {", ".join(LOGITS)}')
  _check_piece(state, piece)
  tokens = np.concatenate([state.tokens, piece], axis=1)
  memory, first = state.memory, state.position == state.tokens.shape[1]
  length = model.segment_length + (together - 1) * model.stride
  overlap, found = model.segment_length - model.stride, []
  while tokens.shape[1] >= length:
    read = tokens[:, :length]
    if sharding is not None:
      read = jax.device_put(read, sharding)
    memory, out = _read(model, params, read, memory, logits)
    found.append(out if first or logits != 'all' else out[:, overlap:])
    tokens, first = tokens[:, together * model.stride :], False
  # A copy, so that the state does not keep the whole piece alive.
  state = State(memory, tokens.copy(), state.position + piece.shape[1])
  if not found:
    return state, None
  return state, jnp.concatenate(found, 1) if logits == 'all' else found[-1]


def save(path: pathlib.Path, state: State) -> None:
  """Writes a state to an npz file, atomically."""
  path.parent.mkdir(parents=True, exist_ok=True)
  partial = path.with_name(path.name + '.partial')
  with partial.open('wb') as file:
    np.savez(file, **_arrays(state))
  partial.replace(path)


def restore(path: pathlib.Path, like: State) -> State:
  """Reads a state that `save` wrote.

  Args:
    path: the file.
    like: what `start` returns for the model and batch size.

  Raises:
    UsageError: for a file that is not a state, or is of another model or batch
      size, listing every array that does not fit.
  """
  found = _load(path)
  wanted = _arrays(like)
  wrong = [f'has {name}' for name in sorted(found.keys() - wanted.keys())]
  for name, array in wanted.items():
    shape, form = array.shape, _form(array)
    if name not in found:
      wrong.append(f'{name} is missing, not {form}')
      continue
    if name == 'tokens' and found[name].ndim == 2:
      shape = (shape[0], found[name].shape[1])  # n is free
      form = f'int32 [{shape[0]}, n]'
    if (found[name].dtype, found[name].shape) != (array.dtype, shape):
      wrong.append(f'{name} is {_form(found[name])}, not {form}')
  if not wrong and not 0 <= found['tokens'].shape[1] <= found['position']:
    wrong.append(f'position is {found["position"]}, before its tokens')
  if wrong:
    raise errors.UsageError(
      f'{path}: not a state of this model: {"; ".join(wrong)}'
    )
  names = iter(wanted)
  return jax.tree.map(lambda t: found[next(names)].astype(t.dtype), like)


def _check_piece(state: State, piece: np.ndarray) -> None:
  B = state.tokens.shape[0]
  if piece.ndim != 2 or piece.shape[0] != B or piece.dtype != np.int32:
    raise ValueError(f'piece: must be int32 [{B}, n], not {_form(piece)}')


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def _empty(model, params, batch_size, sharding):
  """The memory before the first token, sharded as one that was read."""

  def memory(batch_size):
    parts = jnp.zeros((1, batch_size, model.segment_length), jnp.int32)
    before, _, _ = model.apply(
      {'params': params}, parts, None, 0, method='read_segments'
    )
    return before

  def place(x, larger):
    longer = [a < b for a, b in zip(x.shape, larger.shape, strict=True)]
    spec = P(*[None] * longer.index(True), *sharding.spec)
    return jax.lax.with_sharding_constraint(
      x, jax.sharding.NamedSharding(sharding.mesh, spec)
    )

  empty = memory(batch_size)
  if sharding is None:
    return empty
  # Its batch axis is the one that a larger batch makes longer.
  return jax.tree.map(
    place, empty, jax.eval_shape(lambda: memory(batch_size + 1))
  )


@functools.partial(jax.jit, static_argnums=(0, 4))
def _read(model, params, tokens, memory, logits):
  """The memory after the tokens' segments, and logits [B, n, V] or None."""
  parts = windows.split(tokens, model.segment_length, model.stride)
  position = None if logits == 'all' else model.segment_length - 1
  _, memory, out = model.apply(
    {'params': params}, parts, memory, position, method='read_segments'
  )
  if logits == 'none':
    return memory, None
  if position is None:
    return memory, windows.join(out, model.stride)
  return memory, out[:, None]


def _arrays(state: State) -> dict[str, np.ndarray]:
  """Arrays by name; npz lacks bfloat16: small floats become float32."""
  arrays = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(state):
    if jnp.issubdtype(leaf.dtype, jnp.floating):
      leaf = leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
    arrays[jax.tree_util.keystr(path, simple=True, separator='.')] = np.asarray(
      leaf
    )
  return arrays


def _load(path: pathlib.Path) -> dict[str, np.ndarray]:
  try:
    with np.load(path, allow_pickle=False) as file:
      return dict(file)
  except (
    OSError, ValueError, EOFError, TypeError, KeyError, NotImplementedError,
    zipfile.BadZipFile, zlib.error,
  ) as error:  # fmt: skip
    reason = str(error).partition('\n')[0]
    raise errors.UsageError(f'{path}: not a saved stream: {reason}') from None


def _form(array: np.ndarray) -> str:
  return f'{array.dtype} {list(array.shape)}'
