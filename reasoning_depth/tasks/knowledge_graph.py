"""Queries of a knowledge graph, one hop or more (2604.07822, section 4).

Entity e is token e, relation r is token E + r (E entities), and the last token
is PAD. A query is an entity and the relations to follow from it; the answer is
the entity that they lead to, predicted at the last relation. With 5 entities,
4 relations and the facts 2 -r1→ 4 and 4 -r3→ 0::

  one hop   inputs    2   6 PAD    two hops  inputs    2   6   8
            targets PAD   4 PAD              targets PAD PAD   0
            weights   0   1   0              weights   0   0   1

Queries are numbered, each split is a range of numbers, and a bijective shuffle
maps a number to a query. So the splits are disjoint by construction, can be
listed, and need no rejection sampling.
"""

import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth import settings
from reasoning_depth.tasks import automata, base

MAX_SIZE = 4096  # entities or relations; tables of all pairs are in memory
SHUFFLE_BITS = (4, 2)  # shape of the random words of `shuffle`: four rounds
GRAPH, ORDER, TAIL = range(3)  # folded into a task's key


def shuffle(
  bits: jax.Array, index: jax.Array, high: jax.Array, low: jax.Array
) -> jax.Array:
  """A pseudo-random permutation of 0 … high · low - 1, applied to `index`.

  A Feistel network: each round adds a hash of one half of the number to the
  other half, which is invertible. All arguments but `bits` are scalars.

  Args:
    bits: uint32 [rounds, 2], selects the permutation.
    index: int32, from 0.
    high: size of the upper half; high · low < 2**31.
    low: size of the lower half, at least 1.
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
  """`count` random permutations of 0 … size - 1, int32 [count, size]."""
  rows = jnp.tile(jnp.arange(size, dtype=jnp.int32), (count, 1))
  return jax.random.permutation(key, rows, axis=1, independent=True)


class Queries(base.Task):
  """Base class of tasks with queries [B, L] of a graph."""

  causal = True
  cone = ((0, -1), (0, 0))

  @property
  def pad(self) -> int:
    """The PAD token, after those of entities and relations."""
    return self.num_entities + self.num_relations

  @property
  def vocab_size(self) -> int:
    """Number of token ids."""
    return self.pad + 1

  def path(self, inputs: jax.Array) -> jax.Array:
    """Entity reached at each token, int32 [B, L]; the last is the answer."""

    def step(entity, token):
      reached = self.follow(entity, token - self.num_entities)
      entity = jnp.where(token == self.pad, entity, reached)
      return entity, entity

    _, path = jax.lax.scan(step, inputs[:, 0], inputs[:, 1:].T)
    return jnp.concatenate([inputs[:, :1], path.T], axis=1)

  def table(self) -> np.ndarray:
    """Tail of each head entity and relation, [E, R]; -1 if there is none."""
    raise NotImplementedError

  def positions(self) -> tuple[str, ...]:
    """Names of the tokens of a query."""
    return 'entity', *(f'relation {j}' for j in range(1, self.length))

  def milestones(self, key: jax.Array, num_samples: int) -> base.Milestones:
    """The entity reached at each hop, at all positions of the query."""
    batch = self.draw_held_out(key, 'test', num_samples).batch
    given = batch.inputs != self.pad
    reached = np.asarray(jax.jit(self.path)(batch.inputs))[:, 1:]
    hops = self.length - 1
    tokens = np.broadcast_to(
      reached.T[:, :, None], (hops, len(reached), self.length)
    )
    return base.Milestones(
      batch=batch,
      labels=tuple(f'entity after hop {j}' for j in range(1, hops + 1)),
      tokens=tokens,
      where=given.T[1:, :, None] & given,
      names=self.positions(),
      sets=self.sets(batch),
    )

  def pairs(self, key: jax.Array, num_samples: int) -> dict[str, base.Pairs]:
    """Pairs of queries of two hops and more.

    The corrupt one has another first entity ('entity') or another last relation
    ('relation').
    """
    batch = self.draw_held_out(key, 'test', num_samples).batch
    draws = np.asarray(jax.random.uniform(key, (num_samples,)))
    found = {
      kind: self._pairs(batch, others, draws)
      for kind, others in (
        ('entity', _other_entities),
        ('relation', _other_relations),
      )
    }
    return {kind: pairs for kind, pairs in found.items() if pairs is not None}

  def _pairs(self, batch, others, draws) -> base.Pairs | None:
    table = self.table()
    kept, corrupt = [], []
    for i, query in enumerate(batch.inputs):
      relations = query[1:][query[1:] != self.pad] - self.num_entities
      if len(relations) < 2:
        continue
      answer = batch.targets[i, len(relations)]
      choices = others(table, query[0], relations, answer)
      if len(choices):
        other = query.copy()
        at, value = choices[int(draws[i] * len(choices))]
        other[at] = value if at == 0 else value + self.num_entities
        kept.append(i)
        corrupt.append(other)
    if not kept:
      return None
    clean = base.take(batch, np.array(kept))
    made = jax.jit(self.batch)(np.stack(corrupt), clean.group)
    return base.Pairs(clean, jax.device_get(made))

  def batch(self, inputs: jax.Array, group: jax.Array) -> base.Batch:
    """A batch of queries, with the answer at the last token before PAD."""
    last = jnp.sum(inputs != self.pad, axis=1) - 1
    asked = jnp.arange(self.length) == last[:, None]
    return base.Batch(
      inputs=inputs,
      targets=jnp.where(asked, self.path(inputs)[:, -1:], self.pad),
      weights=asked.astype(jnp.float32),
      group=group,
    )


def _other_entities(table, head, relations, answer) -> np.ndarray:
  """Entities with another answer to the same relations, as (0, entity)."""
  reached = np.arange(len(table))
  for r in relations:
    reached = np.where(reached < 0, -1, table[reached, r])
  found = np.flatnonzero((reached >= 0) & (reached != answer))
  return np.stack([np.zeros_like(found), found], 1)


def _other_relations(table, head, relations, answer) -> np.ndarray:
  """Last relations with another answer, as (position, relation)."""
  for r in relations[:-1]:
    head = table[head, r]
  found = np.flatnonzero((table[head] >= 0) & (table[head] != answer))
  return np.stack([np.full_like(found, len(relations)), found], 1)


def check(field: str, value: float, least: int, most: int, why: str) -> None:
  """Raises `UsageError` if a field's value is out of range."""
  if not least <= value <= most:
    settings.complain(field, value, f'allowed are {least} to {most}, {why}')
