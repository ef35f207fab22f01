"""What a model has to find on the way to an answer, by task."""

import dataclasses
from typing import Any

import jax
import numpy as np

from reasoning_depth.scoring import evaluate
from reasoning_depth.tasks import base, composition, orbits

_MOST_SETS = 8


@dataclasses.dataclass(frozen=True)
class Milestones:
  """Held-out samples with the tokens to look for, in the order of steps.

  Attributes:
    batch: arrays [N, ...].
    labels: of the K tokens.
    tokens: int32 [K, N, L], which to look for at each position.
    where: bool [K, N, L], at which positions.
    names: of the L positions.
    sets: by name, bool [N].
  """

  batch: base.Batch
  labels: tuple[str, ...]
  tokens: np.ndarray
  where: np.ndarray
  names: tuple[str, ...]
  sets: dict[str, np.ndarray]


def of(task: base.Task, key: jax.Array, num_samples: int) -> Milestones:
  """Milestones of samples of the test split.

  Bridge entities of knowledge graphs, states up to the answer of orbits, and
  the answer alone of any other task.
  """
  batch = evaluate.held_out(task, key, 'test', num_samples).batch
  if isinstance(task, orbits.Orbits):
    states = evaluate.draw(task.sample_orbits, key, 'test', num_samples)[1]
    found = _of_orbits(task, batch, states)
  elif hasattr(task, 'path'):
    found = _of_graph(task, batch)
  else:
    asked = batch.weights[None] > 0
    found = ('answer',), batch.targets[None], asked, positions(task)
  return Milestones(batch, *found, _sets(task, batch))


def positions(task: base.Task) -> tuple[str, ...]:
  """Names of the tokens of a query, or the numbers of any sequence's."""
  if hasattr(task, 'path'):
    return 'entity', *(f'relation {j}' for j in range(1, task.length))
  return tuple(map(str, range(task.length)))


def _sets(task, batch) -> dict[str, np.ndarray]:
  groups = np.unique(batch.group).tolist()
  if not 1 < len(groups) <= _MOST_SETS:
    return {'all': np.ones(len(batch.group), bool)}
  labels = getattr(task, 'group_labels', ())
  name = getattr(task, 'group_name', 'k').replace('_', ' ')
  return {
    labels[g] if labels else f'{name} = {g}': batch.group == g for g in groups
  }


def _of_graph(task: Any, batch: base.Batch) -> tuple:
  """The entity reached at each hop, at all positions of the query."""
  given = batch.inputs != task.pad
  reached = np.asarray(jax.jit(task.path)(batch.inputs))[:, 1:]
  hops = task.length - 1
  tokens = np.broadcast_to(
    reached.T[:, :, None], (hops, len(reached), task.length)
  )
  where = given.T[1:, :, None] & given
  labels = [f'entity after hop {j}' for j in range(1, hops + 1)]
  if isinstance(task, composition.Composition):
    labels = ['bridge entity', 'answer']
    where &= given[:, -1:]  # facts have no bridge
  return tuple(labels), tokens, where, positions(task)


def _of_orbits(
  task: orbits.Orbits, batch: base.Batch, states: np.ndarray
) -> tuple:
  """The states after the observed ones, where the answer is asked for."""
  T, L = task.num_states, task.length
  # The row and column of what each position's logits predict.
  place = np.arange(L) + task.causal - task.prompt_length + 1
  row, column = place // task.row_tokens, place % task.row_tokens
  asked = (batch.weights > 0) & (batch.group != orbits.RULE_GROUP)[:, None]
  asked &= (place > 0) & (column > 0)
  steps = max(task.look_ahead)
  cells = states[:, T:, np.where(column > 0, column - 1, 0)]  # [N, K, L]
  where = asked[None] & (
    np.arange(1, steps + 1)[:, None, None] <= batch.group[:, None]
  )
  several = len(np.unique(row[asked.any(0)])) > 1
  names = [f'{r + 1}:{c - 1}' if several else str(c - 1)
           for r, c in zip(row, column, strict=True)]  # fmt: skip
  labels = [f'x(T+{k})' for k in range(1, steps + 1)]
  tokens = np.moveaxis(cells, 1, 0).astype(np.int32)
  return tuple(labels), tokens, where, tuple(names)
