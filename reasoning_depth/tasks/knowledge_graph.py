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

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth.tasks import automata, base

SPLITS = ('train', 'validation', 'test')
SETS = ('train', 'id', 'ood')  # groups of `Composition`
MAX_SIZE = 4096  # entities or relations; all pairs of them are held
MAX_HOPS = 40
MAX_QUERIES = 10**7  # to train on, of a number of hops
_BITS = (4, 2)  # words that `shuffle` takes, for four rounds
_GRAPH, _ORDER, _TAIL = range(3)  # children of a task's key


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


def _rows(key: jax.Array, count: int, size: int) -> jax.Array:
  """`count` random permutations of `size` things, int32 [count, size]."""
  rows = jnp.tile(jnp.arange(size, dtype=jnp.int32), (count, 1))
  return jax.random.permutation(key, rows, axis=1, independent=True)


class _Queries:
  """What tasks that ask queries [B, L] of a graph have in common."""

  block = 1  # token that segments are whole multiples of
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


def _check(field: str, value: float, least: int, most: int, why: str) -> None:
  if not least <= value <= most:
    raise ValueError(f'{field}={value}: allowed are {least} to {most}, {why}')


def _check_split(split: str) -> None:
  if split not in SPLITS:
    raise ValueError(f'split={split!r}: allowed are {", ".join(SPLITS)}')


@dataclasses.dataclass(frozen=True)
class Composition(_Queries):
  """Two-hop queries, some of facts that are never chained in training.

  Of the facts of each entity some are out of distribution (OOD), the others in
  distribution (ID). Trained on are all facts alone, and a part of the chains of
  two ID facts. Held out are ID chains that are not trained on, and all chains
  of two OOD facts; chains of one ID and one OOD fact are left out. Held-out
  batches take each of three sets (group) as often: 0 what is trained on, 1 ID,
  2 OOD.

  Attributes:
    num_entities: E.
    num_relations: R.
    out_degree: d, facts of an entity, each of another relation and to another
      entity.
    ood_degree: how many of them are OOD.
    ratio: ID chains trained on, per ID fact.
    held_out: ID chains of the validation, and of the test. Of the OOD chains
      each has half.
    seed: of the graph and its splits.

  Raises:
    ValueError: naming the field that is out of range.
  """

  num_entities: int = 2000
  num_relations: int = 200
  out_degree: int = 20
  ood_degree: int = 1
  ratio: float = 7.2
  held_out: int = 3000
  seed: int = 0

  length = 3
  group_name = 'set'
  group_labels = SETS

  def __post_init__(self):
    E, d = self.num_entities, self.out_degree
    _check('num_entities', E, 2, MAX_SIZE, 'entities')
    _check('num_relations', self.num_relations, 1, MAX_SIZE, 'relations')
    _check('out_degree', d, 2, E, f'num_entities={E}')
    _check(
      'out_degree', d, 2, self.num_relations,
      f'num_relations={self.num_relations}',
    )  # fmt: skip
    most = math.isqrt((2**31 - 1) // E) - 1
    _check('out_degree', d, 2, most, 'since chains are numbered in 32 bits')
    _check(
      'ood_degree', self.ood_degree, 1, d - 1,
      f'so that of out_degree={d} facts some are OOD and some ID',
    )  # fmt: skip
    most = (self._num_id - 1) // 2
    _check('held_out', self.held_out, 1, most, 'half of the ID chains')
    facts = E * self._id_degree
    most = self._num_id - self._spare
    if not 1 <= self.ratio * facts <= most:
      raise ValueError(
        f'ratio={self.ratio}: allowed are {1 / facts:.4g} to '
        f'{most / facts:.4g}, so that chains are left for '
        f'held_out={self.held_out}'
      )

  @property
  def _id_degree(self) -> int:
    return self.out_degree - self.ood_degree

  @property
  def _num_id(self) -> int:
    """Chains of two ID facts."""
    return self.num_entities * self._id_degree**2

  @property
  def _spare(self) -> int:
    """ID chains that are held out."""
    return 2 * self.held_out

  @property
  def num_facts(self) -> int:
    """Facts, all of them trained on."""
    return self.num_entities * self.out_degree

  @property
  def num_trained(self) -> int:
    """Chains that are trained on."""
    return round(self.ratio * (self.num_entities * self._id_degree))

  @functools.cached_property
  def graph(self) -> tuple[np.ndarray, np.ndarray]:
    """Relations and tails of each entity's facts, int32 [E, d] each.

    The last `ood_degree` columns are OOD.
    """
    E, R = self.num_entities, self.num_relations
    with jax.ensure_compile_time_eval():
      key = jax.random.fold_in(jax.random.key(self.seed), _GRAPH)
      relation_key, tail_key = jax.random.split(key)
      rows = _rows(relation_key, E, R), _rows(tail_key, E, E)
    relations, tails = jax.device_get(rows)
    return relations[:, : self.out_degree], tails[:, : self.out_degree]

  def ranges(self, split: str) -> np.ndarray:
    """First number and count of what each set holds, int32 [1 or 3, 2].

    Numbered are, in this order: facts, ID chains to train on, of the
    validation, and of the test, OOD chains of the validation, and of the test.
    """
    _check_split(split)
    trained = self.num_facts + self.num_trained
    half = self.num_entities * self.ood_degree**2 // 2
    test = split == 'test'
    sets = [
      (0, trained),
      (trained + test * self.held_out, self.held_out),
      (trained + self._spare + test * half, half),
    ]
    return np.array(sets[: 1 if split == 'train' else None], np.int32)

  def query(self, index: jax.Array) -> jax.Array:
    """Numbers int32 [B] to queries int32 [B, 3]; see `ranges`."""
    relations, tails = map(jnp.asarray, self.graph)
    key = jax.random.fold_in(jax.random.key(self.seed), _ORDER)
    bits = jax.random.bits(key, (2, *_BITS), jnp.uint32)
    ood_from = self.num_trained + self._spare

    def one(index):
      is_fact = index < self.num_facts
      chain = jnp.maximum(index - self.num_facts, 0)
      ood = (chain >= ood_from).astype(jnp.int32)
      degree = jnp.where(ood, self.ood_degree, self._id_degree)
      place = shuffle(
        bits[ood], chain - ood * ood_from, self.num_entities, degree**2
      )
      head = place // degree**2
      head = jnp.where(is_fact, index // self.out_degree, head)
      slots = jnp.array([place // degree % degree, place % degree])
      slots = slots + ood * self._id_degree
      first = jnp.where(is_fact, index % self.out_degree, slots[0])
      second = relations[tails[head, first], slots[1]]
      return jnp.array(
        [
          head,
          self.num_entities + relations[head, first],
          jnp.where(is_fact, self.pad, self.num_entities + second),
        ]
      )

    return jax.vmap(one)(index)

  def follow(self, entity: jax.Array, relation: jax.Array) -> jax.Array:
    """Where facts lead that are there, int32 [B]."""
    relations, tails = map(jnp.asarray, self.graph)
    slot = jnp.argmax(relations[entity] == relation[:, None], axis=1)
    return tails[entity, slot]

  def sample(
    self, key: jax.Array, batch_size: int, split: str = 'train'
  ) -> base.Batch:
    """Draws a batch, with replacement; see `base.Task`."""
    group_key, key = jax.random.split(key)
    first, count = jnp.asarray(self.ranges(split)).T
    group = jax.random.randint(group_key, (batch_size,), 0, len(first))
    index = jax.random.randint(key, (batch_size,), 0, count[group])
    return self.batch(self.query(first[group] + index), group)


@dataclasses.dataclass(frozen=True)
class Extrapolation(_Queries):
  """Queries of up to many hops over relations that are permutations.

  Any relations after the first entity can lead to any entity, so that no proper
  suffix of a query determines its answer. Trained on are all facts (one hop),
  and as many queries for each larger number of hops, all equally often; others
  are held out. The group is the number of hops, from 2 where held out.

  Attributes:
    num_entities: E.
    num_relations: R.
    hops: the largest number.
    train_queries: to train on, for each number of hops.
    held_out: queries of the validation, and of the test, for each.
    seed: of the graph and its queries; `hops` changes neither.

  Raises:
    ValueError: naming the field that is out of range.
  """

  num_entities: int = 200
  num_relations: int = 10
  hops: int = MAX_HOPS
  train_queries: int = 15_000
  held_out: int = 750
  seed: int = 0

  group_name = 'hops'

  def __post_init__(self):
    E, R = self.num_entities, self.num_relations
    _check('num_entities', E, 2, MAX_SIZE, 'entities')
    _check('num_relations', R, 1, MAX_SIZE, 'relations')
    _check('hops', self.hops, 2, MAX_HOPS, 'relations in a query')
    # Of two hops there are the fewest queries.
    _, high, low = self._halves[2].tolist()
    room = min(high * low, MAX_QUERIES)
    _check(
      'held_out', self.held_out, 1, (room - 1) // 2,
      'half of the queries of two hops',
    )  # fmt: skip
    _check(
      'train_queries', self.train_queries, 1, room - 2 * self.held_out,
      f'the queries of two hops without twice held_out={self.held_out}',
    )  # fmt: skip

  @functools.cached_property
  def _halves(self) -> np.ndarray:
    """For each number of hops, how its queries are numbered, int32 [hops+1, 3].

    The entity and the first so many relations, as many as a number of 31 bits
    can tell, are in a number that counts to high · low. The relations after
    them are drawn from that number.
    """
    E, R = self.num_entities, self.num_relations
    rows = [(0, E, 1)]
    for k in range(1, self.hops + 1):
      told = max(j for j in range(1, k + 1) if E * R**j < 2**31)
      high, low = min(
        ((E * R**j, R ** (told - j)) for j in range(told)),
        key=lambda halves: max(halves),
      )
      rows.append((told, high, low))
    return np.array(rows, np.int32)

  @property
  def num_facts(self) -> int:
    """Facts, all of them trained on."""
    return self.num_entities * self.num_relations

  @property
  def length(self) -> int:
    """Tokens in a sequence."""
    return 1 + self.hops

  @functools.cached_property
  def graph(self) -> np.ndarray:
    """Entity that each relation leads to from each, int32 [R, E]."""
    with jax.ensure_compile_time_eval():
      key = jax.random.fold_in(jax.random.key(self.seed), _GRAPH)
      rows = _rows(key, self.num_relations, self.num_entities)
    return jax.device_get(rows)

  def query(self, hops: jax.Array, index: jax.Array) -> jax.Array:
    """The queries of these numbers, int32 [B, L].

    Args:
      hops: int32 [B].
      index: int32 [B]: facts have all numbers up to `num_facts`; with more
        hops `train_queries` come first, then those of the validation and those
        of the test, `held_out` each.
    """
    E, R = self.num_entities, self.num_relations
    key = jax.random.key(self.seed)
    order_key, tail_key = (jax.random.fold_in(key, n) for n in (_ORDER, _TAIL))
    bits = jax.random.bits(order_key, (1 + MAX_HOPS, *_BITS), jnp.uint32)
    at = np.arange(self.hops)

    def one(hops, index):
      told, high, low = jnp.asarray(self._halves)[hops]
      place = shuffle(bits[hops], index, high, low)
      here = jax.random.fold_in(jax.random.fold_in(tail_key, hops), index)
      # Always as many, so that a query does not depend on the largest number.
      drawn = jax.random.bits(here, (MAX_HOPS,), jnp.uint32)[: self.hops]
      drawn = (drawn % R).astype(jnp.int32)
      relations = jnp.where(at < told, place // powers % R, drawn)
      relations = jnp.where(at < hops, E + relations, self.pad)
      entity = place // (high * low // E)
      return jnp.concatenate([entity[None], relations])

    most = int(self._halves[-1, 0])
    powers = np.array([R ** min(m, most) for m in range(self.hops)], np.int32)
    return jax.vmap(one)(hops, index)

  def follow(self, entity: jax.Array, relation: jax.Array) -> jax.Array:
    """Where facts lead, int32 [B]."""
    return jnp.asarray(self.graph)[relation, entity]

  def sample(
    self, key: jax.Array, batch_size: int, split: str = 'train'
  ) -> base.Batch:
    """Draws a batch, with replacement; see `base.Task`."""
    _check_split(split)
    hops_key, key = jax.random.split(key)
    shape = (batch_size,)
    if split == 'train':
      total = self.num_facts + (self.hops - 1) * self.train_queries
      drawn = jax.random.randint(key, shape, 0, total)
      rest = drawn - self.num_facts
      hops = jnp.where(rest < 0, 1, 2 + rest // self.train_queries)
      index = jnp.where(rest < 0, drawn, rest % self.train_queries)
    else:
      hops = jax.random.randint(hops_key, shape, 2, self.hops + 1)
      index = jax.random.randint(key, shape, 0, self.held_out)
      index += self.train_queries + (split == 'test') * self.held_out
    return self.batch(self.query(hops, index), hops)
