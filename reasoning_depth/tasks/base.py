"""Base class of tasks: maps a PRNG key to a batch with its answers.

A new task is a frozen dataclass that derives from `Task`, in a file of its own,
and one line in `tasks.TASKS`. It must have `vocab_size`, `length`, `causal` and
`sample` (or `host_sample`, with `on_host = True`); all other methods are
optional and have a default here.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import flax.struct
import jax
import numpy as np

from reasoning_depth import errors, settings
from reasoning_depth.tasks import splits

_MOST_SETS = 8  # an analysis shows at most this many groups apart


@flax.struct.dataclass
class Batch:
  """A batch of token sequences with the answers to learn.

  Attributes:
    inputs: int32 [B, L] tokens the model reads.
    targets: int32 [B, L], aligned with the logits that predict them.
    weights: float32 [B, L], 1 on answer tokens and 0 elsewhere.
    group: int32 [B]; accuracy is reported per group, such as look-ahead k.
  """

  inputs: jax.Array
  targets: jax.Array
  weights: jax.Array
  group: jax.Array


@dataclasses.dataclass(frozen=True)
class HeldOut:
  """Frozen samples on the host, with scores of ceiling and baselines.

  Attributes:
    batch: arrays [N, ...].
    observed: [N, T, W] observed states, for tasks with states; else None.
    known: per-sample scores [N] of ceiling and baselines, by name.
    group_name: meaning of the batch's group numbers.
    labels: names of groups 0, 1, …, if they have names.
  """

  batch: Batch
  observed: np.ndarray | None = None
  known: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
  group_name: str = 'look_ahead'
  labels: tuple[str, ...] = ()

  def known_means(self, chosen: np.ndarray) -> dict[str, float]:
    """Means of `known` over a sample mask, without those that have a NaN."""
    means = {
      name: float(values[chosen].mean()) for name, values in self.known.items()
    }
    return {n: mean for n, mean in means.items() if not np.isnan(mean)}

  def by_group(
    self, row: Callable[[np.ndarray], dict[str, Any]]
  ) -> dict[str, Any]:
    """`row` of a sample mask, bool [N], for all samples and for each group."""
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
  """Held-out samples with the intermediate results of their answers.

  Attributes:
    batch: arrays [N, ...].
    labels: names of the K intermediate results, in order.
    tokens: int32 [K, N, L], the token of each at each position.
    where: bool [K, N, L], the positions to look at.
    names: of the L positions.
    sets: masks of samples to show apart, bool [N] by name.
    observed: [N, T, W] observed states, for tasks with states; else None.
  """

  batch: Batch
  labels: tuple[str, ...]
  tokens: np.ndarray
  where: np.ndarray
  names: tuple[str, ...]
  sets: dict[str, np.ndarray]
  observed: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Pairs:
  """Pairs of samples for activation patching: same form, different answers.

  Attributes:
    clean: arrays [N, ...].
    corrupt: the same shapes, with answers at the same positions.
  """

  clean: Batch
  corrupt: Batch

  @property
  def differ(self) -> np.ndarray:
    """Bool [N, L], answer positions at which the two answers differ."""
    asked = (self.clean.weights > 0) & (self.corrupt.weights > 0)
    return asked & (self.clean.targets != self.corrupt.targets)


class Task(settings.Settings):
  """Makes batches from PRNG keys; `sample` can be jitted.

  Required fields or properties:

    vocab_size: number of token ids.
    length: tokens in a sequence, L.
    causal: whether the answer is predicted left to right (True) or all at once
      at mask tokens (False).

  Optional ones, with the defaults below:

    row_tokens: tokens in a row, a state with its separator; segments are whole
      rows.
    lattice: whether rows are states of a circular lattice, so that positions
      can be given by row and column.
    cone: offsets (rows, columns) from a token to those that its answer depends
      on; (0, tokens) in sequences that are no lattice; () if not known.
    answer_rows: rows of mask tokens at the end of a sequence, to be filled with
      states that follow the one before; 0 for other forms of answers.
    look_ahead: the values of k, if the group of a sample is its look-ahead k.
    group_name: meaning of the group numbers.
    group_labels: names of groups 0, 1, …, if they have names.
    generates: whether the answer is generated token by token, up to EOS.
    on_host: whether batches are made on the host, by `host_sample`.
    streams: whether samples can be made in segments, by `stream`.
    reads_data: whether it reads the files in its field `data` itself, in a
      layout of its own; else `stored` does.
    text_columns: columns of `records` that are text of digits in JSON files,
      with their names there.
    answer_pattern: regular expression of an answer in a text, for tasks that
      have `text_records`.
    by_depth: whether a sample's look-ahead k is told by nothing in its input:
      the answer after k depth steps is for k.
  """

  row_tokens = 1
  lattice = False
  cone = ()
  answer_rows = 0
  look_ahead = ()
  group_name = 'group'
  group_labels = ()
  generates = False
  on_host = False
  streams = False
  by_depth = False
  text_columns = {}
  answer_pattern = ''
  reads_data = False

  @classmethod
  def found(cls, data: str) -> dict[str, Any]:
    """Fields that files at `data` decide, for tasks with such a field.

    Raises:
      UsageError: where the files cannot be read.
    """
    del data
    return {}

  @property
  def data_record(self) -> dict[str, Any]:
    """What a run should remember of its data files, and a line as `summary`.

    {} where the samples are not from files.
    """
    return {}

  def available(self, split: str, count: int) -> int:
    """Held-out samples that there are of `count` that are asked for."""
    del split
    return count

  @property
  def held_out_length(self) -> int:
    """Tokens in a validation or test sequence."""
    return self.length

  def sample(
    self, key: jax.Array, batch_size: int, split: str = 'train'
  ) -> Batch:
    """Draws a batch of `split`, one of `splits.SPLITS`."""
    raise NotImplementedError

  def host_sample(
    self,
    seed: int,
    step: int,
    batch_size: int,
    split: str = 'train',
    first: int = 0,
  ) -> Batch:
    """Replaces `sample` for tasks whose data is made on the host, such as text.

    Args:
      seed: of the run.
      step: index of the batch.
      batch_size: samples to make.
      split: one of `splits.SPLITS`.
      first: index in the batch of the first sample; a sample depends on its
        own index alone, so that each host can make its shard.

    Returns:
      NumPy arrays, a function of the arguments alone.
    """
    raise NotImplementedError

  def stream(
    self, seed: int, step: int, index: int, split: str, segment: int
  ) -> Iterator[Batch]:
    """One sample in segments [1, segment]; see `babilong`."""
    raise NotImplementedError

  def draw_held_out(
    self, key: jax.Array, split: str, num_samples: int, known: str = ''
  ) -> HeldOut:
    """Draws frozen samples; the same key gives the same ones.

    Args:
      key: PRNG key.
      split: one of `splits.SPLITS`.
      num_samples: N; a smaller N gives the first samples of a larger one.
      known: how answers will be scored, 'generation' or 'teacher forcing', to
        add the scores of ceiling and baselines; '' for the samples alone.
    """
    del known  # no ceiling or baselines by default
    num_samples = self.available(split, num_samples)
    if self.on_host:
      batch = self.host_sample(splits.host_seed(key), 0, num_samples, split)
    else:
      batch = splits.draw(self._numbered, key, split, num_samples)
    return HeldOut(batch, group_name=self.group_name, labels=self.group_labels)

  def _numbered(self, key, batch_size, split, first):
    """`sample` as `draw` calls it."""
    del first  # a fresh sample depends on its key alone
    return self.sample(key, batch_size, split)

  def records(
    self, key: jax.Array, split: str, num_samples: int
  ) -> Iterator[dict[str, np.ndarray]]:
    """Samples for data files, in parts of a table.

    Args:
      key: PRNG key; the samples are those of `draw_held_out`.
      split: one of `splits.SPLITS`.
      num_samples: N, or less where data files have fewer.

    Yields:
      columns by name: integers [n] or [n, m], or text [n] of dtype object; a
      column [n, t, m] stands for t of them.
    """
    batch = self.draw_held_out(key, split, num_samples).batch
    for start in range(0, len(batch.group), splits.PART):
      part = take(batch, slice(start, start + splits.PART))
      yield {
        'inputs': part.inputs,
        'targets': part.targets,
        'weights': part.weights.astype(np.uint8),
        'group': part.group,
      }

  def text_records(
    self, key: jax.Array, split: str, num_samples: int
  ) -> Iterator[dict[str, np.ndarray]]:
    """Samples as text, in parts of a table; arguments as of `records`.

    Yields:
      columns `id`, `input`, `target` and more.

    Raises:
      UsageError: where the task has no such form.
    """
    del key, split, num_samples
    raise errors.UsageError(
      'config.dataset.format=text: needs config.task.name=orbits'
    )

  def read_answer(self, answer: str) -> list[int]:
    """Tokens of an answer that was given as text; [] for one that is none.

    By default numbers with spaces between them.
    """
    parts = answer.split()
    fine = all(p.isascii() and p.isdigit() and len(p) < 10 for p in parts)
    return [int(p) for p in parts] if fine else []

  def positions(self) -> tuple[str, ...]:
    """Names of the positions of a held-out sequence."""
    return tuple(map(str, range(self.held_out_length)))

  def milestones(self, key: jax.Array, num_samples: int) -> Milestones:
    """Test samples with intermediate results; here the answer alone."""
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
    """Sample masks [N], by name, that an analysis shows apart: the groups."""
    groups = np.unique(batch.group).tolist()
    if not 1 < len(groups) <= _MOST_SETS:
      return {'all': np.ones(len(batch.group), bool)}
    labels, name = self.group_labels, self.group_name.replace('_', ' ')
    return {
      labels[g] if labels else f'{name} = {g}': batch.group == g for g in groups
    }

  def pairs(self, key: jax.Array, num_samples: int) -> dict[str, Pairs]:
    """Pairs of test samples, by what the corrupt one changes.

    By default each sample with the next of its group, if their answers differ.
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
    """Generated sequences [B, n] as predictions [B, L], aligned with targets.

    n is above L + 1 if the answer may come later than in the targets.
    """
    return tokens[:, 1 : self.length + 1]

  def judged(
    self,
    batch: Batch,
    tokens: np.ndarray,
    texts: Sequence[str] | None = None,
  ) -> dict[str, np.ndarray]:
    """Further scores [N] of predictions, by name; none by default.

    Args:
      batch: samples [N, L] on the host.
      tokens: int32 [N, L], predicted, aligned with the targets.
      texts: the predictions as they were given, where they were given as text.
    """
    del batch, tokens, texts
    return {}

  def check_prompts(self) -> None:
    """Raises `UsageError` unless the task has prompts to complete (GRPO)."""
    raise errors.UsageError(
      'needs a task with prompts to complete, as task.name=orbits has'
    )

  def check_held_out(self, num_samples: int) -> None:
    """Raises `UsageError` if so many held-out samples do not fit memory."""

  def check_further(
    self, look_ahead: tuple[int, ...], num_samples: int, by_depth: bool
  ) -> None:
    """Raises `UsageError` unless its samples can be asked for any look-ahead.

    Args:
      look_ahead: `eval.look_ahead`, ascending.
      num_samples: each is asked at all of them.
      by_depth: whether depth step k answers for look-ahead k; else answers are
        fed back.

    A task that passes has `draw_further`, `told`, `question` and `known`, as
    `orbits` does; see `scoring.look_ahead`.
    """
    del num_samples, by_depth
    settings.complain(
      'config.eval.look_ahead', look_ahead,
      'the answers of this task have no look-ahead',
    )  # fmt: skip

  def for_states(self, num_states: int, width: int) -> 'Task':
    """The task with observed states [T, W] of other sizes, such as a user's.

    A task that has it also has `tokens`, `question` and `possible`, as `orbits`
    does; see `scoring.own_orbits`.

    Raises:
      UsageError: where the task shows no states, or not of such sizes.
    """
    del num_states, width
    raise errors.UsageError(
      'the task shows no states: own orbits need config.task.name=orbits'
    )


def take(batch: Batch, index: np.ndarray) -> Batch:
  """Samples of a batch on the host, by index or mask."""
  return jax.tree.map(lambda x: x[index], batch)
