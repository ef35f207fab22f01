"""Two-hop queries of a knowledge graph; see `knowledge_graph`."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth import errors, settings
from reasoning_depth.tasks import base, splits, stored
from reasoning_depth.tasks import knowledge_graph as kg

SETS = ('train', 'id', 'ood')  # groups


@dataclasses.dataclass(frozen=True)
class Composition(kg.Queries):
  """Two-hop queries, some over facts that are never chained in training.

  Some facts of each entity are out of distribution (OOD), the others in
  distribution (ID). The training set has every fact as a one-hop query, and
  part of the chains of two ID facts. Held out are other ID chains, and all
  chains of two OOD facts; chains of one ID and one OOD fact are not used.
  Held-out batches draw three sets (the group) with equal probability: 0 the
  training set, 1 ID, 2 OOD.

  Raises:
    UsageError: naming the field that is out of range.
  """

  num_entities: int = settings.field(
    2000, 'E, entities', least=1, most=kg.MAX_SIZE
  )
  num_relations: int = settings.field(
    200, 'R, relations', least=1, most=kg.MAX_SIZE
  )
  out_degree: int = settings.field(
    20,
    'd, facts of an entity, with distinct relations and distinct tails',
    least=1,
    most=kg.MAX_SIZE,
  )
  ood_degree: int = settings.field(
    1, 'OOD facts of an entity', least=1, most=kg.MAX_SIZE
  )
  ratio: float = settings.field(
    7.2, 'ID chains in the training set, per ID fact', above=0
  )
  held_out: int = settings.field(
    3000,
    'ID chains in validation, and as many in test; each has half of the OOD '
    'chains',
    least=1,
  )
  seed: int = settings.field(0, 'seed of the graph and its splits')
  data: str = stored.field()

  length = 3
  group_name = 'set'
  group_labels = SETS

  def __post_init__(self):
    super().__post_init__()
    E, d = self.num_entities, self.out_degree
    kg.check('num_entities', E, 2, kg.MAX_SIZE, 'entities')
    kg.check('out_degree', d, 2, E, f'num_entities={E}')
    kg.check(
      'out_degree', d, 2, self.num_relations,
      f'num_relations={self.num_relations}',
    )  # fmt: skip
    most = math.isqrt((2**31 - 1) // E) - 1
    kg.check('out_degree', d, 2, most, 'since chains are numbered in 32 bits')
    kg.check(
      'ood_degree', self.ood_degree, 1, d - 1,
      f'so that of out_degree={d} facts some are OOD and some ID',
    )  # fmt: skip
    most = (self._num_id - 1) // 2
    kg.check('held_out', self.held_out, 1, most, 'half of the ID chains')
    facts = E * self._id_degree
    most = self._num_id - self._num_held_out
    if not 1 <= self.ratio * facts <= most:
      raise errors.UsageError(
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
  def _num_held_out(self) -> int:
    """ID chains in validation and test."""
    return 2 * self.held_out

  @property
  def num_facts(self) -> int:
    """Facts, all of them in the training set."""
    return self.num_entities * self.out_degree

  @property
  def num_trained(self) -> int:
    """Chains in the training set."""
    return round(self.ratio * (self.num_entities * self._id_degree))

  @functools.cached_property
  def graph(self) -> tuple[np.ndarray, np.ndarray]:
    """Relations and tails of each entity's facts, int32 [E, d] each.

    The last `ood_degree` columns are OOD.
    """
    E, R = self.num_entities, self.num_relations
    with jax.ensure_compile_time_eval():
      key = jax.random.fold_in(jax.random.key(self.seed), kg.GRAPH)
      relation_key, tail_key = jax.random.split(key)
      rows = (
        kg.permutations(relation_key, E, R),
        kg.permutations(tail_key, E, E),
      )
    relations, tails = jax.device_get(rows)
    return relations[:, : self.out_degree], tails[:, : self.out_degree]

  def ranges(self, split: str) -> np.ndarray:
    """First query number of each set and its size, int32 [1 or 3, 2].

    The order of numbers is: facts; ID chains of training, validation and test;
    OOD chains of validation and test.
    """
    splits.check_split(split)
    trained = self.num_facts + self.num_trained
    half = self.num_entities * self.ood_degree**2 // 2
    test = split == 'test'
    sets = [
      (0, trained),
      (trained + test * self.held_out, self.held_out),
      (trained + self._num_held_out + test * half, half),
    ]
    return np.array(sets[: 1 if split == 'train' else None], np.int32)

  def table(self) -> np.ndarray:
    """See `knowledge_graph.Queries`."""
    relations, tails = self.graph
    table = np.full((self.num_entities, self.num_relations), -1)
    np.put_along_axis(table, relations, tails, axis=1)
    return table

  def milestones(self, key: jax.Array, num_samples: int) -> base.Milestones:
    """Bridge entity and answer of chains; one-hop queries have no bridge."""
    found = super().milestones(key, num_samples)
    chains = found.batch.inputs[:, -1:] != self.pad
    return dataclasses.replace(
      found, labels=('bridge entity', 'answer'), where=found.where & chains
    )

  def query(self, index: jax.Array) -> jax.Array:
    """Query numbers int32 [B] to queries int32 [B, 3]; see `ranges`."""
    relations, tails = map(jnp.asarray, self.graph)
    key = jax.random.fold_in(jax.random.key(self.seed), kg.ORDER)
    bits = jax.random.bits(key, (2, *kg.SHUFFLE_BITS), jnp.uint32)
    ood_from = self.num_trained + self._num_held_out

    def one(index):
      is_fact = index < self.num_facts
      chain = jnp.maximum(index - self.num_facts, 0)
      ood = (chain >= ood_from).astype(jnp.int32)
      degree = jnp.where(ood, self.ood_degree, self._id_degree)
      place = kg.shuffle(
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
    """Tail entities of existing facts, int32 [B]."""
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
