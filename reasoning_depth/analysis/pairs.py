"""Pairs of samples for patching: alike in form, with other answers."""

import dataclasses
from typing import Any

import jax
import numpy as np

from reasoning_depth.scoring import evaluate
from reasoning_depth.tasks import base, extrapolation


@dataclasses.dataclass(frozen=True)
class Pairs:
  """A clean sample and a corrupt one each.

  Attributes:
    clean: arrays [N, ...].
    corrupt: the same, with its answer at the same positions.
  """

  clean: base.Batch
  corrupt: base.Batch

  @property
  def differ(self) -> np.ndarray:
    """Bool [N, L], where both are asked and their answers differ."""
    asked = (self.clean.weights > 0) & (self.corrupt.weights > 0)
    return asked & (self.clean.targets != self.corrupt.targets)


def of(task: base.Task, key: jax.Array, num_samples: int) -> dict[str, Pairs]:
  """Pairs by what is other in the corrupt sample; as many as can be found.

  Knowledge graphs: the same relations of another `entity`, and the same query
  but for its last `relation`. Any other task: another `sample` of its group.
  """
  batch = evaluate.held_out(task, key, 'test', num_samples).batch
  if hasattr(task, 'path'):
    draws = np.asarray(jax.random.uniform(key, (num_samples,)))
    return {
      kind: Pairs(*found)
      for kind, change in (('entity', _entity), ('relation', _relation))
      if len((found := _graph_pairs(task, batch, change, draws))[0].group)
    }
  return {'sample': Pairs(*_neighbours(batch))}


def _neighbours(batch: base.Batch) -> tuple[base.Batch, base.Batch]:
  """Each sample with the next of its group, the last with the first."""
  order = np.argsort(batch.group, kind='stable')
  partner = order.copy()
  for group in np.unique(batch.group):
    inside = batch.group[order] == group
    partner[inside] = np.roll(order[inside], -1)
  clean, corrupt = (_take(batch, index) for index in (order, partner))
  found = Pairs(clean, corrupt).differ.any(1)
  return _take(clean, found), _take(corrupt, found)


def _take(batch, index):
  return jax.tree.map(lambda x: x[index], batch)


def _graph_pairs(task, batch, change, draws) -> tuple[base.Batch, base.Batch]:
  follow = _table(task)
  kept, others = [], []
  for i, query in enumerate(batch.inputs):
    relations = query[1:][query[1:] != task.pad] - task.num_entities
    if len(relations) < 2:
      continue
    answer = batch.targets[i, len(relations)]
    choices = change(follow, query[0], relations, answer)
    if len(choices):
      other = query.copy()
      at, value = choices[int(draws[i] * len(choices))]
      other[at] = value if at == 0 else value + task.num_entities
      kept.append(i)
      others.append(other)
  clean = _take(batch, np.array(kept, int))
  if not kept:
    return clean, clean
  corrupt = jax.jit(task.batch)(np.stack(others), clean.group)
  return clean, jax.device_get(corrupt)


def _table(task: Any) -> np.ndarray:
  """Where each relation leads from each entity, [E, R]; -1 for nowhere."""
  if isinstance(task, extrapolation.Extrapolation):
    return task.graph.T
  relations, tails = task.graph
  table = np.full((task.num_entities, task.num_relations), -1)
  np.put_along_axis(table, relations, tails, axis=1)
  return table


def _entity(follow, head, relations, answer) -> np.ndarray:
  """Heads from which the same relations lead elsewhere, as (0, entity)."""
  reached = np.arange(len(follow))
  for r in relations:
    reached = np.where(reached < 0, -1, follow[reached, r])
  found = np.flatnonzero((reached >= 0) & (reached != answer))
  return np.stack([np.zeros_like(found), found], 1)


def _relation(follow, head, relations, answer) -> np.ndarray:
  """Last relations that lead elsewhere, as (position, relation)."""
  for r in relations[:-1]:
    head = follow[head, r]
  found = np.flatnonzero((follow[head] >= 0) & (follow[head] != answer))
  return np.stack([np.full_like(found, len(relations)), found], 1)
