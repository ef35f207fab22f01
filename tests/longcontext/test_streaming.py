"""A stream equals the scan over the whole sequence."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth.longcontext import diagonal, streaming
from tests import tiny

B, SEGMENT, LENGTH = tiny.B, tiny.SEGMENT, 16
BACKBONE = tiny.config(width=8, mlp_width=16)


@functools.cache
def build(name, stride=SEGMENT):
  """A model, parameters that use its memory, tokens and their logits."""
  model = tiny.model(name, BACKBONE, stride=stride)
  tokens, params = tiny.tokens(LENGTH), tiny.init(model, LENGTH)
  if name == 'armt':
    stack = params['segment']['stack']['layers']
    stack['value'] = jax.random.normal(jax.random.key(2), (2, 8, 8)) / 3
  logits = jax.jit(model.apply)({'params': params}, tokens).logits
  return model, params, np.asarray(tokens), logits


def stream(model, params, tokens, cuts, state=None, **choices):
  """Feeds pieces that end at `cuts`; the last state and all logits."""
  state = state or streaming.start(model, params, B)
  found = []
  for piece in np.split(tokens, cuts, axis=1):
    state, logits = streaming.feed(model, params, state, piece, **choices)
    if logits is not None:
      found.append(logits)
  return state, jnp.concatenate(found, 1)


@pytest.mark.parametrize('name', ['armt', 'rmt'])
@pytest.mark.parametrize('cuts', [(4, 8, 12), (1, 3, 11), ()])
def test_stream_is_the_scan(name, cuts):
  model, params, tokens, logits = build(name)
  state, found = stream(model, params, tokens, cuts)
  np.testing.assert_allclose(found, logits, atol=1e-5)
  assert state.position == LENGTH and state.tokens.shape == (B, 0)


def test_segments_that_overlap():
  model, params, tokens, logits = build('armt', 2)
  state, found = stream(model, params, tokens, (5, 6, 11))
  np.testing.assert_allclose(found, logits, atol=1e-5)
  np.testing.assert_array_equal(state.tokens, tokens[:, -2:])


def test_several_segments_together_by_diagonals():
  model, params, tokens, logits = build('armt', 2)
  state, found = stream(
    diagonal.scheduled(model), params, tokens, (5, 6), together=3
  )
  np.testing.assert_allclose(found, logits[:, : found.shape[1]], atol=1e-5)
  assert found.shape[1] == 14 and state.tokens.shape == (B, 4)


def test_last_logits_alone():
  model, params, tokens, logits = build('armt')
  _, found = stream(model, params, tokens, (9,), logits='last')
  np.testing.assert_allclose(found, logits[:, (7, 15)], atol=1e-5)


@pytest.mark.parametrize('name', ['armt', 'rmt'])
@pytest.mark.parametrize('at', [0, 6, 9])
def test_saved_and_taken_up_again(name, at, tmp_path):
  model, params, tokens, logits = build(name)
  like = state = streaming.start(model, params, B)
  state, first = streaming.feed(model, params, state, tokens[:, :at])
  path = tmp_path / 'folder/state.npz'
  streaming.save(path, state)
  streaming.save(path, state)
  back = streaming.restore(path, like)
  chex.assert_trees_all_equal(back, state)
  state, rest = streaming.feed(model, params, back, tokens[:, at:])
  found = rest if first is None else jnp.concatenate([first, rest], 1)
  np.testing.assert_allclose(found, logits, atol=1e-5)
  assert [p.name for p in path.parent.iterdir()] == ['state.npz']


def test_narrow_memory_comes_back_exactly(tmp_path):
  model, params, _, _ = build('rmt')
  state = streaming.start(model, params, B)
  state = state.replace(memory=state.memory.astype(jnp.bfloat16))
  streaming.save(tmp_path / 'state.npz', state)
  back = streaming.restore(tmp_path / 'state.npz', state)
  chex.assert_trees_all_equal(back, state)
  chex.assert_trees_all_equal_dtypes(back, state)


def test_a_state_of_another_shape_is_refused(tmp_path):
  model, params, tokens, _ = build('armt')
  state = streaming.start(model, params, B)
  path = tmp_path / 'state.npz'
  streaming.save(path, state)
  like = streaming.start(model, params, 1)
  like = like.replace(
    memory=like.memory.replace(normaliser=np.zeros((3, 1), np.float64))
  )
  with pytest.raises(ValueError) as error:
    streaming.restore(path, like)
  told = str(error.value)
  for part in (
    'memory.matrix is float32 [2, 2, 1, 24, 8], not float32 [2, 1, 1, 24, 8]',
    'memory.normaliser is float32 [2, 2, 1, 24], not float64 [3, 1]',
    'tokens is int32 [2, 0], not int32 [1, n]',
  ):
    assert part in told
  assert 'position' not in told
  other, params, _, _ = build('rmt')
  with pytest.raises(
    ValueError, match='has memory.matrix; .*memory is missing'
  ):
    streaming.restore(path, streaming.start(other, params, B))


@pytest.mark.parametrize('content', [b'', b'text', b'PK\x03\x04 cut off'])
def test_a_file_that_is_no_state_is_refused(tmp_path, content):
  path = tmp_path / 'state.npz'
  path.write_bytes(content)
  with pytest.raises(ValueError, match='state.npz: not a saved stream: '):
    streaming.restore(path, None)


def test_a_single_array_is_refused(tmp_path):
  path = tmp_path / 'state.npz'
  with path.open('wb') as file:
    np.save(file, np.zeros(3))
  with pytest.raises(ValueError, match='not a saved stream'):
    streaming.restore(path, None)


def test_pieces_of_another_kind_are_refused():
  model, params, tokens, _ = build('armt')
  state = streaming.start(model, params, B)
  for piece in (tokens[:1], tokens[0], tokens.astype(np.int64)):
    with pytest.raises(ValueError, match=r'piece: must be int32 \[2, n\], not'):
      streaming.feed(model, params, state, piece)
  with pytest.raises(ValueError, match="logits='some': allowed are all"):
    streaming.feed(model, params, state, tokens, logits='some')
  with pytest.raises(ValueError, match='together=0: must be at least 1'):
    streaming.feed(model, params, state, tokens, together=0)
