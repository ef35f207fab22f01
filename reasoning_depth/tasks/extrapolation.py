"""Queries of many hops over permutations; see `knowledge_graph`."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth import settings
from reasoning_depth.tasks import base, splits, stored
from reasoning_depth.tasks import knowledge_graph as kg

MAX_HOPS = 40
MAX_QUERIES = 10**7  # in the training set, per number of hops


@dataclasses.dataclass(frozen=True)
class Extrapolation(kg.Queries):
  """Queries of one to `hops` hops; every relation is a permutation.

  So no proper suffix of a query determines its answer. The training set has all
  facts (one hop) and `train_queries` queries for each larger number of hops,
  all equally often; other queries are held out. The group is the number of
  hops, from 2 on in held-out batches.

  Raises:
    UsageError: naming the field that is out of range.
  """

  num_entities: int = settings.field(
    200, 'E, entities', least=1, most=kg.MAX_SIZE
  )
  num_relations: int = settings.field(
    10, 'R, relations', least=1, most=kg.MAX_SIZE
  )
  hops: int = settings.field(
    MAX_HOPS, 'the largest number of hops', least=1, most=4096
  )
  train_queries: int = settings.field(
    15_000, 'training queries per number of hops, from 2 on', least=1
  )
  held_out: int = settings.field(
    750,
    'validation queries per number of hops, and as many test queries',
    least=1,
  )
  seed: int = settings.field(
    0, 'seed of the graph and its queries; both are independent of `hops`'
  )
  data: str = stored.field()

  group_name = 'hops'

  def __post_init__(self):
    super().__post_init__()
    kg.check('num_entities', self.num_entities, 2, kg.MAX_SIZE, 'entities')
    kg.check('hops', self.hops, 2, MAX_HOPS, 'relations in a query')
    # Two hops have the fewest queries.
    _, high, low = self._halves[2].tolist()
    room = min(high * low, MAX_QUERIES)
    kg.check(
      'held_out', self.held_out, 1, (room - 1) // 2,
      'half of the queries of two hops',
    )  # fmt: skip
    kg.check(
      'train_queries', self.train_queries, 1, room - 2 * self.held_out,
      f'the queries of two hops without twice held_out={self.held_out}',
    )  # fmt: skip

  @functools.cached_property
  def _halves(self) -> np.ndarray:
    """Numbering of queries, by number of hops, int32 [hops + 1, 3].

    Columns: relations encoded, high and low. A query number, below high · low <
    2**31, encodes the entity and the first relations; the other relations are
    drawn from a key folded with that number.
    """
    E, R = self.num_entities, self.num_relations
    rows = [(0, E, 1)]
    for k in range(1, self.hops + 1):
      encoded = max(j for j in range(1, k + 1) if E * R**j < 2**31)
      high, low = min(
        ((E * R**j, R ** (encoded - j)) for j in range(encoded)),
        key=lambda halves: max(halves),
      )
      rows.append((encoded, high, low))
    return np.array(rows, np.int32)

  @property
  def num_facts(self) -> int:
    """Facts, all of them in the training set."""
    return self.num_entities * self.num_relations

  @property
  def length(self) -> int:
    """Tokens in a sequence."""
    return 1 + self.hops

  @functools.cached_property
  def graph(self) -> np.ndarray:
    """Tail of each relation and head entity, int32 [R, E]."""
    with jax.ensure_compile_time_eval():
      key = jax.random.fold_in(jax.random.key(self.seed), kg.GRAPH)
      rows = kg.permutations(key, self.num_relations, self.num_entities)
    return jax.device_get(rows)

  def table(self) -> np.ndarray:
    """See `knowledge_graph.Queries`."""
    return self.graph.T

  def query(self, hops: jax.Array, index: jax.Array) -> jax.Array:
    """The queries with these numbers, int32 [B, L].

    Args:
      hops: int32 [B].
      index: int32 [B], from 0. One hop: below `num_facts`. More hops: first
        `train_queries` training queries, then `held_out` of validation, then
        `held_out` of test.
    """
    E, R = self.num_entities, self.num_relations
    key = jax.random.key(self.seed)
    order_key, tail_key = (
      jax.random.fold_in(key, n) for n in (kg.ORDER, kg.TAIL)
    )
    bits = jax.random.bits(
      order_key, (1 + MAX_HOPS, *kg.SHUFFLE_BITS), jnp.uint32
    )
    at = np.arange(self.hops)

    def one(hops, index):
      encoded, high, low = jnp.asarray(self._halves)[hops]
      place = kg.shuffle(bits[hops], index, high, low)
      here = jax.random.fold_in(jax.random.fold_in(tail_key, hops), index)
      # Always MAX_HOPS draws, so that queries do not depend on `self.hops`.
      drawn = jax.random.bits(here, (MAX_HOPS,), jnp.uint32)[: self.hops]
      drawn = (drawn % R).astype(jnp.int32)
      relations = jnp.where(at < encoded, place // powers % R, drawn)
      relations = jnp.where(at < hops, E + relations, self.pad)
      entity = place // (high * low // E)
      return jnp.concatenate([entity[None], relations])

    most = int(self._halves[-1, 0])
    powers = np.array([R ** min(m, most) for m in range(self.hops)], np.int32)
    return jax.vmap(one)(hops, index)

  def follow(self, entity: jax.Array, relation: jax.Array) -> jax.Array:
    """Tail entities of facts, int32 [B]."""
    return jnp.asarray(self.graph)[relation, entity]

  def sample(
    self, key: jax.Array, batch_size: int, split: str = 'train'
  ) -> base.Batch:
    """Draws a batch, with replacement; see `base.Task`."""
    splits.check_split(split)
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
