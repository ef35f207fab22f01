"""Orbits of random rules: observe some states, predict the one k steps ahead.

`orbit_tokens` describes variants and token layouts. In training all parts of an
answer have weight. A held-out sample is scored on one part, its group: the
state at look-ahead k, or the rule (group 0).
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth import errors, settings
from reasoning_depth.tasks import (
  automata,
  base,
  baselines,
  ceiling,
  orbit_tokens,
)

SPLIT_BY = ('rules', 'classes')
_Scores = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Orbits(base.Task):
  """Orbits of random rules as a task; see the module docstring.

  Raises:
    UsageError: naming the field that is out of range.
  """

  width: int = settings.field(20, 'W, cells in a state', least=1, most=4096)
  radius: int = settings.field(
    2, 'r, cells that a cell sees on each side', least=1, most=3
  )
  num_states: int = settings.field(10, 'T, observed states', least=1, most=4096)
  look_ahead: tuple[int, ...] = settings.field(
    (1,),
    'k, steps after the last observed state; o_s, o_rs, o_sr and ro_s take one',
    least=1,
    most=orbit_tokens.MAX_LOOK_AHEAD,
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

  vocab_size = int(orbit_tokens.VOCAB_SIZE)
  lattice = True
  group_name = 'look_ahead'

  def __post_init__(self):
    super().__post_init__()
    automata.check_lattice(self.width, self.radius)
    if len(set(self.look_ahead)) < len(self.look_ahead):
      settings.complain('look_ahead', self.look_ahead, 'a value stands twice')
    needed = orbit_tokens.LAYOUT_OF.get(self.variant, self.layout)
    if self.layout != needed:
      settings.complain(
        'layout', self.layout, f'variant={self.variant} needs layout={needed}'
      )
    if not self.look_ahead or (
      self.variant in orbit_tokens.ONE_LOOK_AHEAD and len(self.look_ahead) > 1
    ):
      settings.complain(
        'look_ahead',
        self.look_ahead,
        f'variant {self.variant} takes one value; variant multi_horizon takes '
        'several',
      )

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

  def sample_orbits(
    self, key: jax.Array, batch_size: int, split: str = 'train'
  ) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Draws the rules, states and look-aheads of a batch.

    Returns:
      rules uint8 [B, 2**(2r+1)], states uint8 [B, T + max k, W] and
      look_ahead int32 [B]; the answer of a sample is states[T - 1 + k].
    """
    orbit_key, k_key = jax.random.split(key)
    steps = self.num_states - 1 + max(self.look_ahead)
    rules, states = automata.sample_orbits(
      orbit_key,
      batch_size,
      width=self.width,
      radius=self.radius,
      steps=steps,
      split=split,
      closed=self.split_by == 'classes',
    )
    look_ahead = jax.random.choice(
      k_key, jnp.array(self.look_ahead, jnp.int32), (batch_size,)
    )
    return rules, states, look_ahead

  def sample(
    self, key: jax.Array, batch_size: int, split: str = 'train'
  ) -> base.Batch:
    """Draws a batch of fresh rules and states; see `base.Task`."""
    rules, states, look_ahead = self.sample_orbits(key, batch_size, split)
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
    batch, (rules, states, look_ahead) = self._draw(key, split, num_samples)
    scores: _Scores = {}
    if known:
      scores = self.known_scores(rules, states, look_ahead, known)
      if self.asks_rule:
        asked = batch.group == orbit_tokens.Ask.RULE
        of_rule = self._ceiling_of_rule(rules, states, look_ahead)
        scores = {
          name: np.where(asked, of_rule.get(name, np.nan), values)
          for name, values in scores.items()
        }
    return base.HeldOut(batch, states[:, : self.num_states], scores)

  def _draw(self, key, split, num_samples):
    """Held-out samples, and the orbits that they are made of."""

    def sample(*args):
      return self.sample(*args), self.sample_orbits(*args)

    return base.draw(sample, key, split, num_samples)

  def known_scores(
    self,
    rules: np.ndarray,
    states: np.ndarray,
    look_ahead: np.ndarray,
    scored_by: str = 'generation',
  ) -> _Scores:
    """Scores [N] of ceiling and baselines for predicting states.

    Args:
      rules: [N, 2**(2r+1)].
      states: [N, >= T + max k, W]; the first T are observed.
      look_ahead: int [N].
      scored_by: 'generation', or 'teacher forcing', where a chain of thought
        has the true states before the predicted one as input.
    """
    T, N = self.num_states, len(rules)
    answers = states[np.arange(N), T - 1 + look_ahead]
    if self.variant == 'ro_s':  # with the rule given, the ceiling is 1
      known = dict.fromkeys(ceiling.NAMES, np.ones(N))
    elif self.generates and scored_by == 'teacher forcing':
      known = self._ceiling_of_next(rules, states, look_ahead)
    else:
      known = ceiling.ceiling(
        rules, states[:, :T], look_ahead, radius=self.radius
      ).named(self.causal)
    for name, predict in baselines.PREDICTORS.items():
      right = predict(states[:, :T]) == answers
      known[f'{name}_exact_match'] = right.all(-1)
      known[f'{name}_bit_accuracy'] = right.mean(-1)
    return {k: np.asarray(v, np.float64) for k, v in known.items()}

  def _ceiling_of_next(self, rules, states, look_ahead) -> _Scores:
    """Ceiling of a chain of thought under teacher forcing, by `NAMES`."""
    if self.variant == 'rule_cot':  # the rule is given as well
      return dict.fromkeys(ceiling.NAMES, np.ones(len(rules)))
    known = {name: np.zeros(len(rules)) for name in ceiling.NAMES}
    for k in np.unique(look_ahead):
      at = look_ahead == k
      seen = states[at, : self.num_states + k - 1]
      best = ceiling.ceiling(
        rules[at], seen, np.ones(at.sum(), int), radius=self.radius
      )
      for name, values in best.named(causal=True).items():
        known[name][at] = values
    return known

  def _ceiling_of_rule(self, rules, states, look_ahead) -> _Scores:
    """Ceiling [N] for predicting the rule, by `NAMES`."""
    T = self.num_states
    answers = None
    if self.causal and self.variant == 'o_sr':
      # The true state comes before the rule and gives information about it.
      answers = states[np.arange(len(rules)), T - 1 + look_ahead]
    return ceiling.rule_ceiling(
      rules, states[:, :T], self.radius, look_ahead, answers
    ).named(causal=False)

  def milestones(self, key: jax.Array, num_samples: int) -> base.Milestones:
    """States x(T+1) … x(T+k) as intermediate results, at answer positions."""
    batch, (_, states, _) = self._draw(key, 'test', num_samples)
    row, column = self._places
    asked = (batch.weights > 0) & (column > 0) & (row >= 0)
    asked &= (batch.group != orbit_tokens.Ask.RULE)[:, None]
    steps = np.arange(1, max(self.look_ahead) + 1)
    cells = states[:, self.num_states :, np.maximum(column - 1, 0)]  # [N, K, L]
    return base.Milestones(
      batch=batch,
      labels=tuple(f'x(T+{k})' for k in steps),
      tokens=np.moveaxis(cells, 1, 0).astype(np.int32),
      where=asked[None] & (steps[:, None, None] <= batch.group[:, None]),
      names=self._names(several=len(np.unique(row[asked.any(0)])) > 1),
      sets=self.sets(batch),
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

  def check_rollout(self, steps: int) -> None:
    """See `base.Task`."""
    if (self.variant, self.look_ahead) != ('o_s', (1,)):
      raise errors.UsageError(
        f'eval.rollout={steps}: needs task.variant=o_s and task.look_ahead=(1,)'
        ', whose answers are fed back'
      )
    if steps > orbit_tokens.MAX_LOOK_AHEAD:
      raise errors.UsageError(
        f'eval.rollout={steps}: at most {orbit_tokens.MAX_LOOK_AHEAD}'
      )

  def draw_longer(
    self, key: jax.Array, steps: int, num_samples: int
  ) -> tuple[np.ndarray, np.ndarray]:
    """Rules and states [N, T + steps, W] of the test split, as NumPy arrays."""
    longer = dataclasses.replace(self, look_ahead=(steps,))
    return base.draw(longer.sample_orbits, key, 'test', num_samples)[:2]

  def question(
    self, rules: np.ndarray, observed: np.ndarray, answer: np.ndarray
  ) -> base.Batch:
    """A host batch for predicting the state after the observed ones.

    Args:
      rules: [N, 2**(2r+1)].
      observed: [N, T, W].
      answer: [N, W].
    """
    states = np.concatenate([observed, answer[:, None]], axis=1)
    ones = jnp.ones(len(states), jnp.int32)
    batch = jax.jit(self.tokens.batch)
    return jax.device_get(batch(rules, states, ones, ones))
