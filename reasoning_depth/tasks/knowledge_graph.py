"""Facts of a graph, asked for one by one or chained (2604.07822, section 4).

Entity e is token e, relation r is token E + r (E entities), and the last token,
PAD, fills up queries. A query is an entity and the relations to follow from it;
the answer is the entity that they lead to, asked for at the last relation. With
5 entities, 4 relations and the facts 2 -r1→ 4 and 4 -r3→ 0::

  one hop   inputs    2   6 PAD    two hops  inputs    2   6   8
            targets PAD   4 PAD              targets PAD PAD   0
            weights   0   1   0              weights   0   0   1

Nothing is drawn and rejected: what is asked is numbered, splits own ranges of
numbers, and a bijective shuffle turns a number into a query. So the splits are
disjoint by construction, and all of them can be listed.
"""

import jax
import jax.numpy as jnp

from reasoning_depth.tasks import automata, base

SPLITS = ('train', 'validation', 'test')
MAX_SIZE = 4096  # entities or relations; all pairs of them are held
SHUFFLE_BITS = (4, 2)  # words that `shuffle` takes, for four rounds
GRAPH, ORDER, TAIL = range(3)  # children of a task's key


def shuffle(
  bits: jax.Array, index: jax.Array, high: jax.Array, low: jax.Array
) -> jax.Array:
  """Where a permutation of high · low things puts `index`; scalars.

  A Feistel network: each round adds to one half of the number what a hash makes
  of the other, and so can be undone.

  Args:
    bits: uint32 [rounds, 2], which permutation.
    index: int32, from 0.
    high: the product with `low` is below 2**31.
    low: at least 1.
  """

  def drawn(key, half, size):
    mixed = automata.mix(half.astype(jnp.uint32) ^ key, bits=32)
    return (mixed % jnp.uint32(size)).astype(jnp.int32)

  left, right = index // low, index % low
  for first, second in bits:
    left = (left + drawn(first, right, high)) % high
    right = (right + drawn(second, left, low)) % low
  return left * low + right


def permutations(key: jax.Array, count: int, size: int) -> jax.Array:
  """`count` random permutations of `size` things, int32 [count, size]."""
  rows = jnp.tile(jnp.arange(size, dtype=jnp.int32), (count, 1))
  return jax.random.permutation(key, rows, axis=1, independent=True)


class Queries:
  """What tasks that ask queries [B, L] of a graph have in common."""

  row_tokens = 1  # token that segments are whole multiples of
  causal = True

  @property
  def pad(self) -> int:
    """The token after those of entities and relations."""
    return self.num_entities + self.num_relations

  @property
  def vocab_size(self) -> int:
    """Number of token ids."""
    return self.pad + 1

  def path(self, inputs: jax.Array) -> jax.Array:
    """Entity reached at each token, int32 [B, L]; the answer at the last."""

    def step(entity, token):
      reached = self.follow(entity, token - self.num_entities)
      entity = jnp.where(token == self.pad, entity, reached)
      return entity, entity

    _, path = jax.lax.scan(step, inputs[:, 0], inputs[:, 1:].T)
    return jnp.concatenate([inputs[:, :1], path.T], axis=1)

  def batch(self, inputs: jax.Array, group: jax.Array) -> base.Batch:
    """Queries with their answers at the last token that is not PAD."""
    last = jnp.sum(inputs != self.pad, axis=1) - 1
    asked = jnp.arange(self.length) == last[:, None]
    return base.Batch(
      inputs=inputs,
      targets=jnp.where(asked, self.path(inputs)[:, -1:], self.pad),
      weights=asked.astype(jnp.float32),
      group=group,
    )


def check(field: str, value: float, least: int, most: int, why: str) -> None:
  """Raises ValueError for a field's value out of range."""
  if not least <= value <= most:
    raise ValueError(f'{field}={value}: allowed are {least} to {most}, {why}')


def check_split(split: str) -> None:
  """Raises ValueError for a split that there is not."""
  if split not in SPLITS:
    raise ValueError(f'split={split!r}: allowed are {", ".join(SPLITS)}')
