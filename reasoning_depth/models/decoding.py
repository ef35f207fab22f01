"""Decoding token by token, greedy or sampled.

The state between tokens depends on the model: a key-value cache (transformer),
a recurrent state (LSTM, Mamba), or the memory and the tokens of the current
segment (RMT, ARMT). Models that repeat layers have no cache and read all tokens
again. All functions are pure and can be jitted.
"""

from typing import Any, Protocol

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth.models import windows

CHOSEN = -1  # in `given`: a token that the model chooses


class Decoder(Protocol):
  """Runs a model token by token."""

  def prefill(
    self, params: Any, prompt: jax.Array, length: int
  ) -> tuple[jax.Array, Any]:
    """Reads a prompt [B, P]; `length` is the number of tokens read in all.

    Returns:
      logits [B, V] of the prompt's last token, and a state.
    """
    ...

  def step(
    self, params: Any, token: jax.Array, state: Any
  ) -> tuple[jax.Array, Any]:
    """Reads one token [B]; returns logits [B, V] and the new state."""
    ...


def generate(
  model: Any,
  params: Any,
  prompt: jax.Array,
  length: int,
  key: jax.Array | None = None,
  temperature: float = 0.0,
  given: np.ndarray | None = None,
) -> tuple[jax.Array, jax.Array]:
  """Generates from prompts.

  Args:
    model: a causal model, run by its `decoder`.
    params: its parameters.
    prompt: int32 [B, P].
    length: tokens of prompt and completion, more than P.
    key: PRNG key for sampling; not needed at temperature 0.
    temperature: of sampling; 0 takes the most likely token.
    given: int [length - P], tokens that are set whatever the model says, and
      CHOSEN elsewhere; None if it chooses them all.

  Returns:
    int32 [B, length] tokens, prompt and completion, and float32
    [B, length - P] log probabilities of the completion at temperature 1.
  """
  run = model.decoder()
  P = prompt.shape[1]
  if key is None:
    key = jax.random.key(0)
  if given is None:
    given = np.full(length - P, CHOSEN)

  def choose(logits, key, given):
    token = logits.argmax(-1)
    if temperature:
      token = jax.random.categorical(key, logits / temperature)
    token = jnp.where(given == CHOSEN, token, given)
    chosen = token[:, None]
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), chosen, -1)[:, 0]
    return token.astype(jnp.int32), log_p

  def step(carry, place):
    logits, state = carry
    token, log_p = choose(logits, *place)
    return run.step(params, token, state), (token, log_p)

  first = run.prefill(params, prompt, length - 1)
  keys = jax.random.split(key, length - P)
  places = keys[:-1], jnp.asarray(given[:-1])
  carry, (tokens, log_ps) = jax.lax.scan(step, first, places)
  # The last token is not read.
  token, log_p = choose(carry[0], keys[-1], given[-1])
  tokens = jnp.concatenate([prompt, tokens.T, token[:, None]], axis=1)
  return tokens, jnp.concatenate([log_ps.T, log_p[:, None]], axis=1)


class LayerStates:
  """Models of one stack of layers, with a cache or state for each layer."""

  def __init__(self, model: nn.Module):
    self._model = model

  def prefill(self, params, prompt, length):
    """See `Decoder`."""
    state = self._model.init_state(prompt.shape[0], length)
    logits, state = self._decode(params, prompt, state)
    return logits[:, -1], state

  def step(self, params, token, state):
    """See `Decoder`."""
    logits, state = self._decode(params, token[:, None], state)
    return logits[:, 0], state

  def _decode(self, params, tokens, state):
    return self._model.apply({'params': params}, tokens, state, method='decode')


@flax.struct.dataclass
class _Reading:
  """The current segment.

  Attributes:
    memory: before the segment.
    tokens: int32 [B, segment_length]; 0 for those not generated yet.
    filled: int32, tokens in the segment so far.
  """

  memory: Any
  tokens: jax.Array
  filled: jax.Array


class SegmentBySegment:
  """Segment models: the memory is updated when a segment is full."""

  def __init__(self, model: nn.Module):
    self._model = model

  def prefill(self, params, prompt, length):
    """See `Decoder`."""
    del length
    m, (B, P) = self._model, prompt.shape
    memory, start = None, 0
    if P > m.segment_length:
      # Segments with a token after them are complete.
      count = (P - 1 - m.segment_length) // m.stride + 1
      start = count * m.stride
      done = prompt[:, : start - m.stride + m.segment_length]
      parts = windows.split(done, m.segment_length, m.stride)
      _, memory, _ = self._read(params, parts, None, 0)
    rest = prompt[:, start:]
    filled = rest.shape[1]
    tokens = jnp.zeros((B, m.segment_length), jnp.int32)
    tokens = tokens.at[:, :filled].set(rest)
    before, after, logits = self._read(params, tokens[None], memory, filled - 1)
    state = _Reading(before, tokens, jnp.int32(filled))
    return logits, self._move_on(state, after)

  def step(self, params, token, state):
    """See `Decoder`."""
    tokens = state.tokens.at[:, state.filled].set(token)
    _, after, logits = self._read(
      params, tokens[None], state.memory, state.filled
    )
    state = _Reading(state.memory, tokens, state.filled + 1)
    return logits, self._move_on(state, after)

  def _read(self, params, parts, memory, position):
    return self._model.apply(
      {'params': params}, parts, memory, position, method='read_segments'
    )

  def _move_on(self, state, after):
    """The state, or that of the next segment if this one is full."""
    m = self._model
    repeated = m.segment_length - m.stride
    full = state.filled == m.segment_length
    shown = jnp.zeros_like(state.tokens)
    shown = shown.at[:, :repeated].set(state.tokens[:, m.stride :])
    fresh = _Reading(after, shown, jnp.int32(repeated))
    return jax.tree.map(lambda a, b: jnp.where(full, a, b), fresh, state)


class ReadAgain:
  """Any causal model, without a cache: reads all tokens at every step."""

  def __init__(self, model: nn.Module):
    self._model = model

  def prefill(self, params, prompt, length):
    """See `Decoder`."""
    B, P = prompt.shape
    tokens = jnp.zeros((B, length), jnp.int32).at[:, :P].set(prompt)
    return self._logits(params, tokens, P - 1), (tokens, jnp.int32(P))

  def step(self, params, token, state):
    """See `Decoder`."""
    tokens, filled = state
    tokens = tokens.at[:, filled].set(token)
    return self._logits(params, tokens, filled), (tokens, filled + 1)

  def _logits(self, params, tokens, position):
    return self._model.apply({'params': params}, tokens).logits[:, position]
