"""One-dimensional cellular automata with random Boolean rules.

A rule of radius r is a table of 2**(2r+1) bits. Bit i is the new value of a
cell whose neighbourhood, read left to right, spells i in binary, so that
Wolfram's number of a rule is the sum of rule[i] * 2**i. Lattices are circular.

Functions take and return rules and states as arrays of 0 and 1. Internally, for
width <= 32 and radius <= 2, a rule and a state are packed into one uint32 word
each, and a step is a few shifts.
"""

import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth import errors

RADII = (1, 2, 3, 4)
# Each split owns this part of the index range.
SPLITS = {'train': (0.0, 0.8), 'validation': (0.8, 0.9), 'test': (0.9, 1.0)}


def table_size(radius: int) -> int:
  """Number of neighbourhoods of a rule of this radius."""
  return 2 ** (2 * radius + 1)


def check_lattice(width: int, radius: int) -> None:
  """Raises `UsageError` unless a circular lattice of this kind exists."""
  if radius not in RADII:
    raise errors.UsageError(f'radius={radius}: allowed are 1 to 4')
  if width < 2 * radius + 1:
    raise errors.UsageError(
      f'width={width}: a lattice of radius {radius} needs at least '
      f'{2 * radius + 1} cells'
    )


def fits_word(width: int, radius: int) -> bool:
  """Whether a state and a rule are one uint32 word each."""
  return width <= 32 and radius <= 2


# --- Roll-out ---------------------------------------------------------------


def step(rule: jax.Array, state: jax.Array, radius: int) -> jax.Array:
  """Applies a rule once.

  Args:
    rule: [..., 2**(2r+1)] table of 0 and 1.
    state: [..., W] cells of 0 and 1.
    radius: r, 1 to 4.

  Returns:
    uint8 [..., W], the next state.

  Example, rule 30 (bits 1, 2, 3 and 4 are set) on a single live cell::

    >>> rule = number_to_rule(30, radius=1)
    >>> step(rule, jnp.array([0, 0, 1, 0, 0]), radius=1)
    Array([0, 1, 1, 1, 0], dtype=uint8)
  """
  return rollout(rule, state, 1, radius)[..., 1, :]


def rollout(
  rule: jax.Array, state: jax.Array, steps: int, radius: int
) -> jax.Array:
  """Applies a rule `steps` times by `lax.scan`.

  Args:
    rule: [..., 2**(2r+1)] table of 0 and 1.
    state: [..., W] cells of 0 and 1, the initial state.
    steps: number of applications.
    radius: r, 1 to 4.

  Returns:
    uint8 [..., steps + 1, W], the initial state first.

  Raises:
    ValueError: for a radius other than 1 to 4, a width below 2r+1, or a table
      of the wrong size.
  """
  width = state.shape[-1]
  check_lattice(width, radius)
  if rule.shape[-1] != table_size(radius):
    raise ValueError(
      f'rule has {rule.shape[-1]} entries: radius {radius} needs '
      f'{table_size(radius)}'
    )
  if fits_word(width, radius):
    words = _rollout_words(
      pack(rule, first='low'), pack(state, first='high'), steps, width, radius
    )
    return unpack(words, width, first='high')
  return _rollout_cells(rule, state, steps, radius)


def _rollout_words(
  rule: jax.Array, state: jax.Array, steps: int, width: int, radius: int
) -> jax.Array:
  """Rolls out packed states, uint32 [...] to uint32 [..., steps + 1]."""
  reach = 2 * radius + 1

  def body(word, _):
    # Cell i is bit W-1-i. The window of cell i is the word rotated right until
    # its rightmost neighbour is bit 0; shifts of 32 give 0, as wanted.
    new = jnp.zeros_like(word)
    for i in range(width):
      shift = (width - 1 - i - radius) % width
      window = word >> shift
      if shift + reach > width:
        window = window | (word << (width - shift))
      window = window & (2**reach - 1)
      new = new | (((rule >> window) & 1) << (width - 1 - i))
    return new, new

  _, words = jax.lax.scan(body, state, length=steps)
  return jnp.moveaxis(jnp.concatenate([state[None], words]), 0, -1)


def _rollout_cells(
  rule: jax.Array, state: jax.Array, steps: int, radius: int
) -> jax.Array:
  """Rolls out by table look-up; any width, any radius."""
  rule = rule.astype(jnp.uint8)

  def body(cells, _):
    index = jnp.zeros(cells.shape, jnp.int32)
    for offset in range(-radius, radius + 1):
      index = 2 * index + jnp.roll(cells, -offset, axis=-1)
    new = jnp.take_along_axis(rule, index, axis=-1)
    return new, new

  state = state.astype(jnp.uint8)
  _, states = jax.lax.scan(body, state, length=steps)
  return jnp.moveaxis(jnp.concatenate([state[None], states]), 0, -2)


def neighbourhoods(states: jax.Array, radius: int) -> jax.Array:
  """Table index that each cell reads, int32, same shape as `states`."""
  index = jnp.zeros(states.shape, jnp.int32)
  for offset in range(-radius, radius + 1):
    index = 2 * index + jnp.roll(states.astype(jnp.int32), -offset, axis=-1)
  return index


# --- Words ------------------------------------------------------------------


def pack(bits: jax.Array, first: str) -> jax.Array:
  """Packs [..., N] bits (N <= 32) into uint32 [...].

  Args:
    bits: 0 and 1.
    first: 'low' makes bits[..., 0] the least significant bit (rules, so that
      the word is Wolfram's number), 'high' the most significant of the N
      (states, so that the word reads like the lattice).
  """
  shifts = _shifts(bits.shape[-1], first)
  return jnp.sum(bits.astype(jnp.uint32) << shifts, -1, dtype=jnp.uint32)


def unpack(words: jax.Array, count: int, first: str) -> jax.Array:
  """Inverse of `pack`: uint32 [...] to uint8 [..., count]."""
  # Spreads four bits at a time over the four bytes of a word, by a product that
  # puts a copy of each bit into its own byte.
  n = -(-count // 4)
  at = 4 * np.arange(n, dtype=np.uint32)
  if first == 'high':
    four = ((words << (4 * n - count))[..., None] >> at[::-1]) & 15
    spread = ((four * np.uint32(0x08040201)) >> 3) & np.uint32(0x01010101)
  else:
    four = (words[..., None] >> at) & 15
    spread = (four * np.uint32(0x00204081)) & np.uint32(0x01010101)
  bits = jax.lax.bitcast_convert_type(spread, jnp.uint8)
  return bits.reshape(*words.shape, 4 * n)[..., :count]


def _shifts(count: int, first: str) -> np.ndarray:
  low = np.arange(count, dtype=np.uint32)
  return {'low': low, 'high': low[::-1]}[first]


def number_to_rule(number: int, radius: int) -> jax.Array:
  """Wolfram's number as a table, uint8 [2**(2r+1)]."""
  size = table_size(radius)
  if not 0 <= number < 2**size:
    raise ValueError(f'rule number {number}: allowed are 0 to 2**{size} - 1')
  return jnp.array([(number >> i) & 1 for i in range(size)], jnp.uint8)


def rule_to_number(rule: jax.Array) -> int:
  """Wolfram's number of one table [2**(2r+1)]."""
  return sum(int(bit) << i for i, bit in enumerate(np.asarray(rule)))


# --- Splits by bijection ----------------------------------------------------


def mix(index: jax.Array, bits: int) -> jax.Array:
  """Bijective mix of `bits`-bit integers (bits is 8 or 32), uint32.

  Neighbouring indices map to unrelated values, so a range of indices is a
  pseudo-random set of rules. `unmix` is its inverse.
  """
  for multiplier in _MULTIPLIERS:
    index = _fold(index, bits) * np.uint32(multiplier)
    index = index & np.uint32(2**bits - 1)
  return _fold(index, bits)


def unmix(value: jax.Array, bits: int) -> jax.Array:
  """Inverse of `mix`."""
  for multiplier in reversed(_MULTIPLIERS):
    inverse = pow(multiplier, -1, 2**32)
    value = _fold(value, bits) * np.uint32(inverse)
    value = value & np.uint32(2**bits - 1)
  return _fold(value, bits)


_MULTIPLIERS = (0x85EBCA6B, 0xC2B2AE35)  # odd, those of MurmurHash3


def _fold(value: jax.Array, bits: int) -> jax.Array:
  """XORs the upper half into the lower half; its own inverse."""
  return value ^ (value >> (bits // 2))


def split_range(split: str, bits: int) -> tuple[int, int]:
  """First index of a split and the number of its indices."""
  if split not in SPLITS:
    raise ValueError(f'split={split!r}: allowed are {", ".join(SPLITS)}')
  first, last = (round(part * 2**bits) for part in SPLITS[split])
  return first, last - first


def sample_rules(
  key: jax.Array, count: int, radius: int, split: str, closed: bool = False
) -> jax.Array:
  """Draws rules of a split.

  Args:
    key: PRNG key.
    count: number of rules.
    radius: r, 1 to 4.
    split: 'train', 'validation' or 'test'.
    closed: makes the splits closed under reflection and complement, so that a
      test rule has no mirror image in training. Classes of equivalent rules
      are then drawn uniformly, by rejection sampling.

  Returns:
    uint8 [count, 2**(2r+1)].
  """
  bits = min(32, table_size(radius))
  first, size = split_range(split, bits)

  def draw(key):
    head_key, tail_key = jax.random.split(key)
    index = np.uint32(first) + _below(head_key, count, size)
    head = unpack(mix(index, bits), bits, first='low')
    if radius < 3:
      return head
    words = table_size(radius) // 32 - 1
    tail = jax.random.bits(tail_key, (count, words), jnp.uint32)
    tail = unpack(tail, 32, first='low').reshape(count, -1)
    return jnp.concatenate([head, tail], axis=-1)

  if not closed:
    return draw(key)
  draw_key, image_key = jax.random.split(key)

  def attempt(carry):
    trial, rules, accepted = carry
    fresh = draw(jax.random.fold_in(draw_key, trial))
    good = jnp.all(_representative(fresh) == fresh, axis=-1)
    rules = jnp.where(accepted[:, None], rules, fresh)
    return trial + 1, rules, accepted | good

  carry = (
    jnp.zeros((), jnp.int32),
    jnp.zeros((count, table_size(radius)), jnp.uint8),
    jnp.zeros((count,), bool),
  )
  _, rules, _ = jax.lax.while_loop(lambda c: ~jnp.all(c[2]), attempt, carry)
  which = jax.random.randint(image_key, (count,), 0, 4)
  images = jnp.stack(_images(rules))
  return jnp.take_along_axis(images, which[None, :, None], axis=0)[0]


def split_of(rule: jax.Array, closed: bool = False) -> jax.Array:
  """Split that a rule belongs to: int32 [...], an index into `SPLITS`.

  Args:
    rule: [..., 2**(2r+1)] tables.
    closed: as the rules were drawn; see `sample_rules`.
  """
  if closed:
    rule = _representative(rule)
  bits = min(32, rule.shape[-1])
  index = unmix(pack(rule[..., :bits], first='low'), bits)
  firsts = [np.uint32(split_range(name, bits)[0]) for name in SPLITS]
  return sum((index >= f).astype(jnp.int32) for f in firsts[1:])


def reflect(rule: jax.Array) -> jax.Array:
  """The rule seen in a mirror: left and right neighbours swapped."""
  size = rule.shape[-1]
  digits = size.bit_length() - 1
  order = [int(f'{i:0{digits}b}'[::-1], 2) for i in range(size)]
  return rule[..., np.array(order)]


def complement(rule: jax.Array) -> jax.Array:
  """The rule with 0 and 1 exchanged in both neighbourhood and outcome."""
  return 1 - rule[..., ::-1]


def _images(rule: jax.Array) -> list[jax.Array]:
  return [rule, reflect(rule), complement(rule), reflect(complement(rule))]


def _representative(rule: jax.Array) -> jax.Array:
  """Lexicographically smallest of a rule's four images."""
  best, *others = _images(rule)
  for other in others:
    differs = best != other
    at = jnp.argmax(differs, axis=-1, keepdims=True)
    less = jnp.take_along_axis(other, at, -1) < jnp.take_along_axis(
      best, at, -1
    )
    best = jnp.where(less, other, best)
  return best


def _below(key: jax.Array, count: int, size: int) -> jax.Array:
  """Uniform uint32 [count] below `size` <= 2**32."""
  if size == 2**32:
    return jax.random.bits(key, (count,), jnp.uint32)
  return jax.random.randint(key, (count,), 0, np.uint32(size), dtype=jnp.uint32)


# --- Orbits -----------------------------------------------------------------


def sample_orbits(
  key: jax.Array,
  batch_size: int,
  *,
  width: int,
  radius: int,
  steps: int,
  split: str,
  closed: bool = False,
) -> tuple[jax.Array, jax.Array]:
  """Draws rules of a split and initial states, and rolls them out.

  Returns:
    rules uint8 [B, 2**(2r+1)] and states uint8 [B, steps + 1, W].
  """
  rules, state = sample_starts(key, batch_size, width, radius, split, closed)
  return rules, rollout(rules, state, steps, radius)


def sample_starts(
  key: jax.Array,
  batch_size: int,
  width: int,
  radius: int,
  split: str,
  closed: bool = False,
) -> tuple[jax.Array, jax.Array]:
  """Draws rules of a split, [B, 2**(2r+1)], and states [B, W], uint8."""
  check_lattice(width, radius)
  rule_key, state_key = jax.random.split(key)
  rules = sample_rules(rule_key, batch_size, radius, split, closed)
  if fits_word(width, radius):
    word = jax.random.bits(state_key, (batch_size,), jnp.uint32)
    return rules, unpack(word, width, first='high')
  state = jax.random.bernoulli(state_key, shape=(batch_size, width))
  return rules, state.astype(jnp.uint8)
