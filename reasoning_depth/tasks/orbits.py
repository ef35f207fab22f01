"""Orbits of random rules: observe some states, predict the one k steps ahead.

`orbit_tokens` describes variants and token layouts. In training all parts of an
answer have weight. A held-out sample is scored on one part, its group: the
state at look-ahead k, or the rule (group 0).
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth import errors, settings
from reasoning_depth.tasks import (
  automata,
  base,
  orbit_files,
  orbit_scores,
  orbit_text,
  orbit_tokens,
  possible,
  splits,
)

SPLIT_BY = ('rules', 'classes')
MOST_BYTES = 2**31  # of the states of all held-out samples; a cell is a byte
_FLIP_KEY = 3  # folded into a batch's key; 0 to 2 are taken


@dataclasses.dataclass(frozen=True)
class Orbits(base.Task):
  """Orbits of random rules as a task; see the module docstring.

  Raises:
    UsageError: naming the field that is out of range.
  """

  width: int = settings.field(20, 'W, cells in a state', least=1, most=4096)
  radius: int = settings.field(
    2, 'r, cells that a cell sees on each side', least=1, most=4
  )
  num_states: int = settings.field(10, 'T, observed states', least=1, most=4096)
  look_ahead: tuple[int, ...] = settings.field(
    (1,),
    'k, steps after the last observed state; o_s, o_rs, o_sr and ro_s take one',
    least=1,
    ascending=True,
  )
  variant: str = settings.field(
    'o_s', 'what is predicted', choices=orbit_tokens.VARIANTS
  )
  layout: str = settings.field(
    'causal',
    'answers left to right, or all at once by mask tokens',
    choices=orbit_tokens.LAYOUTS,
  )
  split_by: str = settings.field(
    'rules',
    'what the splits divide: rules, or classes of rules that are mirror images '
    'or complements of each other',
    choices=SPLIT_BY,
  )
  flip: float = settings.field(
    0.0,
    'probability that a cell is shown flipped among the observed ones; answers '
    'are those of the true orbit',
    most=0.5,
  )
  data: str = settings.field(
    '',
    'file or folder of orbits to use; empty: orbits are drawn',
  )

  vocab_size = int(orbit_tokens.VOCAB_SIZE)
  lattice = True
  group_name = 'look_ahead'
  reads_data = True
  text_columns = {'rule_ids': 'rule', 'input_ids': 't={}'}

  def __post_init__(self):
    super().__post_init__()
    automata.check_lattice(self.width, self.radius)
    self._check_look_ahead()
    needed = orbit_tokens.LAYOUT_OF.get(self.variant, self.layout)
    if self.layout != needed:
      settings.complain(
        'layout', self.layout, f'variant={self.variant} needs layout={needed}'
      )
    if self.data:
      orbit_files.check(self.data, self)

  @classmethod
  def found(cls, data: str) -> dict[str, Any]:
    """See `base.Task`."""
    return orbit_files.found(data)

  @functools.cached_property
  def _source(self) -> orbit_files.Files | orbit_files.Drawn:
    """Where rules and first states come from."""
    if self.data:
      return orbit_files.read(self.data)
    closed = self.split_by == 'classes'
    return orbit_files.Drawn(self.width, self.radius, closed)

  @property
  def data_record(self) -> dict[str, Any]:
    """See `base.Task`."""
    return self._source.record

  def available(self, split: str, count: int) -> int:
    """See `base.Task`."""
    return self._source.available(split, count)

  def _check_look_ahead(self):
    """Checks that there is a look-ahead, and that the variant can ask it."""
    values, most = self.look_ahead, orbit_tokens.MAX_LOOK_AHEAD
    if not values:
      settings.complain('look_ahead', values, 'at least one value is needed')
    if self.variant in orbit_tokens.ONE_LOOK_AHEAD and len(values) > 1:
      settings.complain(
        'look_ahead', values,
        f'variant {self.variant} takes one value; variant multi_horizon takes '
        'several',
      )  # fmt: skip
    if self.variant == 'multi_horizon' and values[-1] > most:
      settings.complain(
        'look_ahead', values,
        f'variant multi_horizon has a token for each k up to {most}; variant '
        'by_depth takes any k',
      )  # fmt: skip

  @functools.cached_property
  def tokens(self) -> orbit_tokens.Layout:
    """How orbits are laid out as tokens."""
    return orbit_tokens.Layout(
      self.variant, self.causal, self.width, self.radius, self.num_states,
      self.look_ahead,
    )  # fmt: skip

  @property
  def row_tokens(self) -> int:
    """Tokens in a state with its separator."""
    return self.tokens.row

  @property
  def cone(self) -> tuple[tuple[int, int], ...]:
    """The light cone: the neighbourhood in the row above, and the cell itself.

    In the causal layout a token predicts the next one, and has one more column.
    """
    across = range(-self.radius, self.radius + 1 + self.causal)
    return (*((-1, j) for j in across), (0, 0))

  @property
  def answer_rows(self) -> int:
    """See `base.Task`: only states, after observed states, in place."""
    if self.causal or self.asks_rule or self.variant == 'ro_s':
      return 0
    return self.length // self.row_tokens - self.num_states

  @property
  def length(self) -> int:
    """Tokens in a sequence."""
    return len(self.tokens.asked) - 1

  @property
  def causal(self) -> bool:
    """Whether the answer is predicted left to right."""
    return self.layout == 'causal'

  @property
  def prompt_length(self) -> int:
    """Tokens of the prompt, with the question token at its end."""
    return self.tokens.prompt_length

  @property
  def asks_rule(self) -> bool:
    """Whether the rule is part of the answer."""
    return 'rule' in orbit_tokens.VARIANTS[self.variant]

  @property
  def generates(self) -> bool:
    """Whether the answer is generated token by token, up to EOS."""
    return self.tokens.generated

  @property
  def by_depth(self) -> bool:
    """See `base.Task`."""
    return self.variant == 'by_depth'

  def sample_orbits(
    self,
    key: jax.Array,
    batch_size: int,
    split: str = 'train',
    first: jax.Array | int | None = None,
  ) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Draws the rules, states and look-aheads of a batch.

    Args:
      key: PRNG key.
      batch_size: B.
      split: one of `splits.SPLITS`.
      first: of files, the first of B rows in their order; None to draw rows.

    Returns:
      rules uint8 [B, 2**(2r+1)], states uint8 [B, T + max k, W] and
      look_ahead int32 [B]; the answer of a sample is states[T - 1 + k].
    """
    last = self.look_ahead[-1]
    rules, states = self._roll_out(key, batch_size, split, last, first)
    _, k_key = jax.random.split(key)
    look_ahead = jax.random.choice(
      k_key, jnp.array(self.look_ahead, jnp.int32), (batch_size,)
    )
    return rules, states, look_ahead

  def _roll_out(self, key, batch_size, split, last, first=None):
    """Rules [B, 2**(2r+1)] and states [B, T + last, W] of a batch."""
    orbit_key, _ = jax.random.split(key)
    rules, start = self._source.starts(orbit_key, batch_size, split, first)
    steps = self.num_states - 1 + last
    return rules, automata.rollout(rules, start, steps, self.radius)

  def _shown(self, key, states):
    """States [B, >= T, W] with some observed cells flipped, by `flip`."""
    if not self.flip:
      return states
    key = jax.random.fold_in(key, _FLIP_KEY)
    B, T, W = len(states), self.num_states, self.width
    flipped = jax.random.bernoulli(key, self.flip, (B, T, W))
    return states.at[:, :T].set(states[:, :T] ^ flipped)

  def sample(
    self, key: jax.Array, batch_size: int, split: str = 'train'
  ) -> base.Batch:
    """Draws a batch of fresh rules and states; see `base.Task`.

    Of files, rows are drawn with replacement.
    """
    return self._batch(key, split, self.sample_orbits(key, batch_size, split))

  def _batch(self, key, split, drawn):
    """The batch of rules, states and look-aheads that were drawn by a key."""
    rules, states, look_ahead = drawn
    batch_size = len(rules)
    states = self._shown(key, states)
    if split == 'train':
      return self.tokens.batch(rules, states, look_ahead)
    group = look_ahead
    if self.asks_rule:
      # A key that `sample_orbits`, which splits `key` in two, does not use.
      coin_key = jax.random.fold_in(key, 2)
      coin = jax.random.bernoulli(coin_key, shape=(batch_size,))
      group = jnp.where(coin, orbit_tokens.Ask.RULE, look_ahead)
    return self.tokens.batch(rules, states, look_ahead, group)

  def draw_held_out(
    self, key: jax.Array, split: str, num_samples: int, known: str = ''
  ) -> base.HeldOut:
    """See `base.Task`."""
    batch, drawn, observed = self._draw(key, split, num_samples)
    scores = {}
    if known:
      scores = self.known.of_states(*drawn, observed, known)
      if self.asks_rule:
        asked = batch.group == orbit_tokens.Ask.RULE
        of_rule = self.known.of_rule(*drawn)
        scores = {
          name: np.where(asked, of_rule.get(name, np.nan), values)
          for name, values in scores.items()
        }
    return base.HeldOut(batch, observed, scores)

  def _draw(self, key, split, num_samples):
    """Held-out samples, the orbits they are made of, and the states shown."""
    available = self.available(split, num_samples)
    return splits.draw(self._held_out, key, split, available)

  def _held_out(self, key, count, split, first):
    """The same of one key, traced."""
    drawn = self.sample_orbits(key, count, split, first)
    observed = self._shown(key, drawn[1])[:, : self.num_states]
    return self._batch(key, split, drawn), drawn, observed

  def records(
    self, key: jax.Array, split: str, num_samples: int
  ) -> Iterator[dict[str, np.ndarray]]:
    """See `base.Task`; orbits in the public layout, without flipped cells."""

    def sample(key, count, split, first):
      return self.sample_orbits(key, count, split, first)[:2]

    num_samples = self.available(split, num_samples)
    size = min(splits.PART, num_samples)
    part = splits.draws(sample, key, split, size)
    for first in range(0, num_samples, size):
      rules, states = part(first)
      left = num_samples - first
      yield {'rule_ids': rules[:left], 'input_ids': states[:left]}

  def text_records(
    self, key: jax.Array, split: str, num_samples: int
  ) -> Iterator[dict[str, np.ndarray]]:
    """See `base.Task`; `look_ahead` is a column of its own."""
    if self.variant not in orbit_text.VARIANTS:
      settings.complain(
        'task.variant', self.variant,
        f'as text there are {", ".join(orbit_text.VARIANTS)}',
      )  # fmt: skip
    samples = self.draw_held_out(key, split, num_samples)
    yield orbit_text.records(samples, self.width, self.radius)

  @property
  def answer_pattern(self) -> str:
    """See `base.Task`."""
    return orbit_text.pattern(self.width)

  def read_answer(self, answer: str) -> list[int]:
    """See `base.Task`; the last state in a text."""
    return orbit_text.read(answer, self.width)

  @functools.cached_property
  def known(self) -> orbit_scores.Known:
    """Ceiling and baselines of its samples."""
    return orbit_scores.Known(self.tokens, self.flip > 0)

  def milestones(self, key: jax.Array, num_samples: int) -> base.Milestones:
    """States x(T+1) … x(T+k) as intermediate results, at answer positions."""
    batch, (_, states, _), observed = self._draw(key, 'test', num_samples)
    row, column = self._places
    asked = (batch.weights > 0) & (column > 0) & (row >= 0)
    asked &= (batch.group != orbit_tokens.Ask.RULE)[:, None]
    steps = np.arange(1, self.look_ahead[-1] + 1)
    cells = states[:, self.num_states :, np.maximum(column - 1, 0)]  # [N, K, L]
    return base.Milestones(
      batch=batch,
      labels=tuple(f'x(T+{k})' for k in steps),
      tokens=np.moveaxis(cells, 1, 0).astype(np.int32),
      where=asked[None] & (steps[:, None, None] <= batch.group[:, None]),
      names=self._names(several=len(np.unique(row[asked.any(0)])) > 1),
      sets=self.sets(batch),
      observed=observed,
    )

  @property
  def _places(self) -> tuple[np.ndarray, np.ndarray]:
    """Row (0 for the first predicted) and column that each logit predicts."""
    place = np.arange(self.length) + self.causal - self.prompt_length + 1
    return place // self.row_tokens, place % self.row_tokens

  def _names(self, several: bool) -> tuple[str, ...]:
    """Names of positions: the cell, with its row in front if `several`."""
    row, column = self._places
    return tuple(
      f'{r + 1}:{c - 1}' if several else str(c - 1)
      for r, c in zip(row, column, strict=True)
    )

  def read_generated(self, tokens: jax.Array) -> jax.Array:
    """See `base.Task`; longer sequences: the state after the last GEN."""
    P, W = self.prompt_length, self.width
    if tokens.shape[1] > self.length + 1:
      tokens = tokens.at[:, P : P + W].set(self.last_answer(tokens).cells)
    return super().read_generated(tokens)

  def last_answer(self, tokens: jax.Array) -> orbit_tokens.Answer:
    """The answer after the last GEN of generated sequences [N, n]."""
    return orbit_tokens.last_answer(tokens, self.prompt_length, self.width)

  def check_prompts(self) -> None:
    """See `base.Task`."""
    if (self.variant, self.layout) != ('o_s', 'causal'):
      raise errors.UsageError('needs task.variant=o_s and task.layout=causal')

  def check_held_out(self, num_samples: int) -> None:
    """See `base.Task`."""
    self._check_memory('config.task', self.look_ahead, num_samples)

  def check_further(
    self, look_ahead: tuple[int, ...], num_samples: int, by_depth: bool
  ) -> None:
    """See `base.Task`."""
    self.tokens.check_further(look_ahead, by_depth)
    self._check_memory('config.eval', look_ahead, num_samples)

  def for_states(self, num_states: int, width: int) -> 'Orbits':
    """See `base.Task`."""
    return dataclasses.replace(self, num_states=num_states, width=width)

  def possible(
    self, observed: np.ndarray, look_ahead: Sequence[int]
  ) -> list[possible.Possible]:
    """What observed states [N, T, W] leave possible, for each orbit."""
    return [possible.possible(x, look_ahead, self.radius) for x in observed]

  def _check_memory(self, where, look_ahead, num_samples):
    """Checks that held-out states [N, T + max k, W] fit."""
    most = MOST_BYTES // (num_samples * self.width) - self.num_states
    if look_ahead[-1] > most:
      settings.complain(
        f'{where}.look_ahead', look_ahead,
        f'the states of {num_samples:,} held-out samples would take more than '
        f'{MOST_BYTES / 2**30:g} GiB; look-aheads up to {max(most, 0):,} fit',
      )  # fmt: skip

  def draw_further(
    self, key: jax.Array, last: int, num_samples: int
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws orbits of the test split on to a look-ahead `last`.

    Returns:
      rules [N, 2**(2r+1)], states [N, T + last, W] and observed [N, T, W], the
      first states as they are shown; NumPy arrays.
    """

    def sample(key, count, split, first):
      rules, states = self._roll_out(key, count, split, last, first)
      return rules, states, self._shown(key, states)[:, : self.num_states]

    available = self.available('test', num_samples)
    return splits.draw(sample, key, 'test', available)

  def told(self, look_ahead: int) -> int:
    """The look-ahead of training that the question for any other one tells.

    In multi_horizon the largest that is not above it; the smallest where there
    is none. In other variants the question is the same for all.
    """
    trained = self.look_ahead
    if self.variant != 'multi_horizon':
      return trained[0]
    return max((k for k in trained if k <= look_ahead), default=trained[0])

  def question(
    self, rules: np.ndarray, observed: np.ndarray, answer: np.ndarray, told: int
  ) -> base.Batch:
    """A host batch for predicting a state after the observed ones.

    Args:
      rules: [N, 2**(2r+1)].
      observed: [N, T, W].
      answer: [N, W].
      told: the look-ahead in the question, one of `look_ahead`.
    """
    later = np.repeat(answer[:, None], self.look_ahead[-1], axis=1)
    states = np.concatenate([observed, later], axis=1)
    look_ahead = np.full(len(states), told, np.int32)
    return jax.device_get(self._laid_out(rules, states, look_ahead, look_ahead))

  @functools.cached_property
  def _laid_out(self):
    """`tokens.batch`, compiled once."""
    return jax.jit(self.tokens.batch)
