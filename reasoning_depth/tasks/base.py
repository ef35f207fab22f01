"""What a task is: a key goes in, a batch with its answers comes out.

A new task is a frozen dataclass that derives from `Task`, in a file of its own,
and one line in `tasks.TASKS`. It must have `vocab_size`, `length`, `causal` and
`sample` (or `host_sample`, with `on_host = True`); every other method has a
default here, and whatever asks for it works without.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth import errors, settings

SPLITS = ('train', 'validation', 'test')
BLOCK = 256  # held-out samples drawn from one key
_MOST_SETS = 8  # groups that an analysis tells apart


@flax.struct.dataclass
class Batch:
  """A batch of token sequences with the answers to learn.

  Attributes:
    inputs: int32 [B, L] tokens the model reads.
    targets: int32 [B, L], aligned with the logits that predict them.
    weights: float32 [B, L], 1 on answer tokens and 0 elsewhere.
    group: int32 [B], what accuracy is split by, such as the look-ahead k.
  """

  inputs: jax.Array
  targets: jax.Array
  weights: jax.Array
  group: jax.Array


@dataclasses.dataclass(frozen=True)
class HeldOut:
  """Frozen samples on the host, and what is known of them without a model.

  Attributes:
    batch: arrays [N, ...].
    observed: [N, T, W] observed states, of tasks that have states; else None.
    known: named per-sample scores [N] of ceiling and baselines.
    group_name: what the batch's groups count, or what they are.
    labels: names of the groups from 0 on, where they have names.
  """

  batch: Batch
  observed: np.ndarray | None = None
  known: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
  group_name: str = 'look_ahead'
  labels: tuple[str, ...] = ()

  def by_group(
    self, row: Callable[[np.ndarray], dict[str, Any]]
  ) -> dict[str, Any]:
    """What `row` says of chosen samples, bool [N]: all, and each group's."""
    group = self.batch.group
    return {
      'overall': row(np.ones(len(group), bool)),
      'groups': [
        {
          'group': int(g),
          **({'label': self.labels[g]} if self.labels else {}),
          **row(group == g),
        }
        for g in np.unique(group)
      ],
    }


@dataclasses.dataclass(frozen=True)
class Milestones:
  """Held-out samples with the tokens on the way to their answers.

  Attributes:
    batch: arrays [N, ...].
    labels: of the K tokens, in the order of steps.
    tokens: int32 [K, N, L], which to look for at each position.
    where: bool [K, N, L], at which positions.
    names: of the L positions.
    sets: by name, bool [N].
  """

  batch: Batch
  labels: tuple[str, ...]
  tokens: np.ndarray
  where: np.ndarray
  names: tuple[str, ...]
  sets: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Pairs:
  """Samples in pairs for patching, alike in form and with other answers.

  Attributes:
    clean: arrays [N, ...].
    corrupt: the same, with its answer at the same positions.
  """

  clean: Batch
  corrupt: Batch

  @property
  def differ(self) -> np.ndarray:
    """Bool [N, L], where both are asked and their answers differ."""
    asked = (self.clean.weights > 0) & (self.corrupt.weights > 0)
    return asked & (self.clean.targets != self.corrupt.targets)


class Task(settings.Settings):
  """Makes batches from keys; `sample` can be jitted.

  A task has these three, as fields or properties:

    vocab_size: number of token ids.
    length: tokens in a sequence, L.
    causal: whether the answer is predicted left to right (True) or asked for
      by mask tokens all at once (False).

  What it may have, with these defaults:

    row_tokens: tokens in a row, a state with its separator; segments are whole
      rows.
    lattice: whether its rows are states of a circular lattice, so that
      positions can go by row and column.
    look_ahead: the steps ahead that are asked for, where the group is that.
    group_name: what the groups of a batch count.
    group_labels: names of the groups from 0 on, where they have names.
    generates: whether the answer is generated token by token, to its end.
    on_host: whether batches are made on the host, by `host_sample`.
    streams: whether samples can be made piece by piece, by `stream`.
  """

  row_tokens = 1
  lattice = False
  look_ahead = ()
  group_name = 'group'
  group_labels = ()
  generates = False
  on_host = False
  streams = False

  @property
  def held_out_length(self) -> int:
    """Tokens in a sequence of the splits that are not trained on."""
    return self.length

  def sample(
    self, key: jax.Array, batch_size: int, split: str = 'train'
  ) -> Batch:
    """Draws a batch of `split`, one of `SPLITS`."""
    raise NotImplementedError

  def host_sample(
    self,
    seed: int,
    step: int,
    batch_size: int,
    split: str = 'train',
    first: int = 0,
  ) -> Batch:
    """In the place of `sample` for tasks made on the host, such as text.

    Args:
      seed: of the run.
      step: the number of the batch.
      batch_size: samples to make.
      split: one of `SPLITS`.
      first: of them, counted in the batch; each depends on its own number
        alone, so that a host makes those that it needs.

    Returns:
      NumPy arrays that follow from the arguments alone.
    """
    raise NotImplementedError

  def stream(
    self, seed: int, step: int, index: int, split: str, segment: int
  ) -> Iterator[Batch]:
    """One sample in pieces [1, segment]; see `babilong`."""
    raise NotImplementedError

  def draw_held_out(
    self, key: jax.Array, split: str, num_samples: int, known: str = ''
  ) -> HeldOut:
    """Draws frozen samples; the same key gives the same ones.

    Args:
      key: of the samples.
      split: one of `SPLITS`.
      num_samples: N; fewer are the first of more.
      known: how the answers will be scored, 'generation' or 'teacher forcing',
        to have the best possible scores with them; '' for the samples alone.
    """
    del known  # nothing is known without a model
    if self.on_host:
      batch = self.host_sample(host_seed(key), 0, num_samples, split)
    else:
      batch = draw(self.sample, key, split, num_samples)
    return HeldOut(batch, group_name=self.group_name, labels=self.group_labels)

  def positions(self) -> tuple[str, ...]:
    """Names of the positions of a held-out sequence."""
    return tuple(map(str, range(self.held_out_length)))

  def milestones(self, key: jax.Array, num_samples: int) -> Milestones:
    """Tokens on the way to the answers of test samples; here the answer."""
    batch = self.draw_held_out(key, 'test', num_samples).batch
    return Milestones(
      batch=batch,
      labels=('answer',),
      tokens=batch.targets[None],
      where=batch.weights[None] > 0,
      names=self.positions(),
      sets=self.sets(batch),
    )

  def sets(self, batch: Batch) -> dict[str, np.ndarray]:
    """Samples that an analysis shows apart, bool [N] by name: the groups."""
    groups = np.unique(batch.group).tolist()
    if not 1 < len(groups) <= _MOST_SETS:
      return {'all': np.ones(len(batch.group), bool)}
    labels, name = self.group_labels, self.group_name.replace('_', ' ')
    return {
      labels[g] if labels else f'{name} = {g}': batch.group == g for g in groups
    }

  def pairs(self, key: jax.Array, num_samples: int) -> dict[str, Pairs]:
    """Pairs of test samples, by what is other in the corrupt one.

    Here each sample with the next of its group, where their answers differ.
    """
    batch = self.draw_held_out(key, 'test', num_samples).batch
    order = np.argsort(batch.group, kind='stable')
    partner = order.copy()
    for group in np.unique(batch.group):
      inside = batch.group[order] == group
      partner[inside] = np.roll(order[inside], -1)
    found = Pairs(take(batch, order), take(batch, partner))
    differ = found.differ.any(1)
    return {
      'sample': Pairs(take(found.clean, differ), take(found.corrupt, differ))
    }

  def read_generated(self, tokens: jax.Array) -> jax.Array:
    """Generated sequences [B, n] as predictions [B, L], where targets are.

    More than L + 1 tokens are generated where the answer may come later.
    """
    return tokens[:, 1 : self.length + 1]

  def check_prompts(self) -> None:
    """Raises `UsageError` unless there are prompts to be completed (GRPO)."""
    raise errors.UsageError(
      'needs a task with prompts to complete, as task.name=orbits has'
    )

  def check_rollout(self, steps: int) -> None:
    """Raises `UsageError` unless answers can be fed back for so many steps."""
    raise errors.UsageError(
      f'eval.rollout={steps}: its answers cannot be fed back'
    )


def draw(sample: Callable, key: jax.Array, split: str, num_samples: int) -> Any:
  """Samples in blocks of one key each, so that more begin with the same.

  Args:
    sample: (key, number, split) to arrays of any structure.
    key: of all samples.
    split: one of `SPLITS`.
    num_samples: N.

  Returns:
    NumPy arrays [N, ...].
  """
  key = jax.random.fold_in(key, SPLITS.index(split))
  blocks = jnp.arange(-(-num_samples // BLOCK))
  drawn = jax.jit(
    lambda key: jax.lax.map(
      lambda i: sample(jax.random.fold_in(key, i), BLOCK, split), blocks
    )
  )(key)
  return jax.tree.map(
    lambda x: np.asarray(x).reshape(-1, *x.shape[2:])[:num_samples], drawn
  )


def host_seed(key: jax.Array) -> int:
  """The seed that held-out samples of a host's task are made from."""
  return int(jax.random.bits(key))


def take(batch: Batch, index: np.ndarray) -> Batch:
  """Chosen samples of a batch on the host."""
  return jax.tree.map(lambda x: x[index], batch)


def check_split(split: str) -> None:
  """Raises ValueError for a split that there is not."""
  if split not in SPLITS:
    raise ValueError(f'split={split!r}: allowed are {", ".join(SPLITS)}')
