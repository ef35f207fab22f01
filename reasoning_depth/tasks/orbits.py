"""Questions about orbits: see some states, predict the state k steps ahead.

Variants, by what is asked. s is an observed state, x(k) the state k steps after
the last one, K the largest look-ahead::

  o_s            SEP s … SEP s  GEN x(k)                  one k for all samples
  multi_horizon  SEP s … SEP s  SHIFT_k x(k)              a k for each sample
  o_o            SEP s … SEP s  GEN x(1) SEP x(2) … SEP x(K)     all at once
  cot            SEP s … SEP s  GEN x(1) SEP x(2) … SEP x(K) EOS  one by one
  rule_cot       SEP s … SEP s  GEN rule SEP x(1) … SEP x(K) EOS
  o_rs           SEP s … SEP s  GEN rule SEP x(k)
  o_sr           SEP s … SEP s  GEN x(k) SEP rule
  ro_s           RULE rule SEP s … SEP s  GEN x(k)

Everything stands in rows of one separator and W cells, so that all variants
split into segments; a rule is filled up with PAD to whole rows.

Layouts, by how the answer is given. With W = 3 cells, T = 2 observed states
010 and 110, and the answer 001 at look-ahead 1::

  causal   inputs   SEP 0 1 0  SEP 1 1 0  GEN 0 0 1
           targets   0  1 0 SEP 1  1 0 GEN 0  0 1 PAD
           weights   0  0 0  0  0  0 0  0  1  1 1  0
  masked   inputs   SEP 0 1 0  SEP 1 1 0  GEN MASK MASK MASK
           targets  SEP 0 1 0  SEP 1 1 0  GEN  0    0    1
           weights   0  0 0 0   0  0 0 0   0   1    1    1

A rule that is asked for is shown as RULE tokens in both layouts, so that no
state is predicted from true bits of the rule; only in `rule_cot` it is spoken.

Training weighs all that is asked. Held-out samples are asked for one thing
each, by their group: the state at look-ahead k, or the rule (group 0).
"""

import dataclasses
import enum
import functools

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth.tasks import automata, base


class Token(enum.IntEnum):
  """Token ids; a cell's token is its value."""

  CELL_0 = 0
  CELL_1 = 1
  SEP = 2
  GEN = 3
  MASK = 4
  PAD = 5
  RULE = 6
  EOS = 7
  SHIFT_1 = 8  # SHIFT_k is SHIFT_1 + k - 1


MAX_LOOK_AHEAD = 8
VOCAB_SIZE = Token.SHIFT_1 + MAX_LOOK_AHEAD
LAYOUTS = ('causal', 'masked')
SPLIT_BY = ('rules', 'classes')
# Rows after the observed states: 'one' state, 'all' states up to K, 'rule'.
VARIANTS = {
  'o_s': ('one',),
  'multi_horizon': ('one',),
  'o_o': ('all',),
  'cot': ('all',),
  'rule_cot': ('rule', 'all'),
  'o_rs': ('rule', 'one'),
  'o_sr': ('one', 'rule'),
  'ro_s': ('one',),
}
# The layout of a variant, where it has one only.
LAYOUT_OF = {'o_o': 'masked', 'cot': 'causal', 'rule_cot': 'causal'}
ONE_LOOK_AHEAD = ('o_s', 'o_rs', 'o_sr', 'ro_s')
RULE_GROUP = 0  # group of the samples that are asked for the rule
# What a position asks for: the state at look-ahead 1 to 8, the rule, the state
# at the sample's own look-ahead, what a speaker says around them, or nothing.
_NOTHING, _ONE, _STOP = -1, 100, 101


@flax.struct.dataclass
class Answer:
  """What was said after the last GEN.

  Attributes:
    cells: int32 [N, W], 0 and 1, and -1 where something else was said.
    ended: bool [N], whether EOS followed the cells.
  """

  cells: jax.Array
  ended: jax.Array


def last_answer(tokens: jax.Array, prompt_length: int, width: int) -> Answer:
  """Reads the answer out of sequences that a model has gone on with.

  Args:
    tokens: int32 [N, L]; the last token of the prompt is GEN.
    prompt_length: tokens in the prompt.
    width: W, cells in a state.
  """
  N, L = tokens.shape
  position = jnp.arange(L)
  past = position >= prompt_length - 1
  ends = (tokens == Token.EOS) & past
  before_end = jnp.cumsum(ends, -1) == 0
  asks = (tokens == Token.GEN) & past & before_end
  last = jnp.max(jnp.where(asks, position, 0), axis=-1)
  at = last[:, None] + 1 + jnp.arange(width + 1)
  padded = jnp.pad(tokens, ((0, 0), (0, width + 2)), constant_values=Token.PAD)
  said = jnp.take_along_axis(padded, at, axis=1)
  cells = jnp.where(said[:, :-1] <= Token.CELL_1, said[:, :-1], -1)
  return Answer(cells, said[:, -1] == Token.EOS)


@dataclasses.dataclass(frozen=True)
class Orbits:
  """Orbits of random rules as a task; see the module docstring.

  Attributes:
    width: W, cells in a state.
    radius: r, 1 to 3.
    num_states: T, observed states.
    look_ahead: the values of k, each 1 to 8; `o_s`, `o_rs`, `o_sr` and `ro_s`
      take exactly one.
    variant: a name in `VARIANTS`.
    layout: 'causal' or 'masked'.
    split_by: what the splits keep apart: single 'rules', or 'classes' of rules
      that are each other's mirror image or complement.

  Raises:
    ValueError: naming the field that is out of range.
  """

  width: int = 20
  radius: int = 2
  num_states: int = 10
  look_ahead: tuple[int, ...] = (1,)
  variant: str = 'o_s'
  layout: str = 'causal'
  split_by: str = 'rules'

  def __post_init__(self):
    automata.check_lattice(self.width, self.radius)
    if self.num_states < 1:
      raise ValueError(f'num_states={self.num_states}: at least 1 is needed')
    for k in self.look_ahead:
      if not 1 <= k <= MAX_LOOK_AHEAD:
        raise ValueError(f'look_ahead={k}: allowed are 1 to {MAX_LOOK_AHEAD}')
    if len(set(self.look_ahead)) < len(self.look_ahead):
      raise ValueError(f'look_ahead={self.look_ahead}: a value stands twice')
    for field, allowed in (
      ('variant', VARIANTS), ('layout', LAYOUTS), ('split_by', SPLIT_BY)
    ):  # fmt: skip
      value = getattr(self, field)
      if value not in allowed:
        raise ValueError(f'{field}={value!r}: allowed are {", ".join(allowed)}')
    needed = LAYOUT_OF.get(self.variant, self.layout)
    if self.layout != needed:
      raise ValueError(
        f'layout={self.layout}: variant={self.variant} needs layout={needed}'
      )
    if not self.look_ahead or (
      self.variant in ONE_LOOK_AHEAD and len(self.look_ahead) > 1
    ):
      raise ValueError(
        f'look_ahead={self.look_ahead}: variant {self.variant} takes one '
        'value; variant multi_horizon takes several'
      )

  @property
  def vocab_size(self) -> int:
    """Number of token ids."""
    return int(VOCAB_SIZE)

  @property
  def row_tokens(self) -> int:
    """Tokens in a state with its separator."""
    return self.width + 1

  @property
  def length(self) -> int:
    """Tokens in a sequence."""
    return len(self._asked) - 1

  @property
  def causal(self) -> bool:
    """Whether the answer is predicted left to right."""
    return self.layout == 'causal'

  @property
  def prompt_length(self) -> int:
    """Tokens up to the question's, GEN or SHIFT_k, and with it."""
    rows = self._rule_rows if self.variant == 'ro_s' else 0
    return (rows + self.num_states) * self.row_tokens + 1

  @property
  def asks_rule(self) -> bool:
    """Whether the rule is asked for."""
    return 'rule' in VARIANTS[self.variant]

  @property
  def generates(self) -> bool:
    """Whether the answer is spoken one token at a time, to its end."""
    return self.variant in ('cot', 'rule_cot')

  @property
  def _rule_rows(self) -> int:
    return -(-(1 + automata.table_size(self.radius)) // self.row_tokens)

  @functools.cached_property
  def _asked(self) -> np.ndarray:
    """What each position asks for, int [L + 1]; the last is the end's."""
    rule = np.full(self._rule_rows * self.row_tokens, _NOTHING)
    rule[1 : 1 + automata.table_size(self.radius)] = RULE_GROUP
    asked = [np.full(self.prompt_length - 1, _NOTHING)]
    for part in VARIANTS[self.variant]:
      if part == 'rule':
        asked.append(rule)
        continue
      for k in range(1, max(self.look_ahead) + 1) if part == 'all' else [_ONE]:
        asked.append(np.array([_NOTHING] + [k] * self.width))
    asked = np.concatenate([*asked, [_NOTHING]])
    if self.generates:
      # Who generates has to say what stands between cells as well, and the end.
      between = asked == _NOTHING
      between[: self.prompt_length] = False
      asked[between] = _STOP
    return asked

  def sample_orbits(
    self, key: jax.Array, batch_size: int, split: str = 'train'
  ) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Draws what a batch is made of, before it becomes tokens.

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

  def tokens(
    self,
    rules: jax.Array,
    states: jax.Array,
    look_ahead: jax.Array,
    group: jax.Array | None = None,
  ) -> base.Batch:
    """Lays out orbits as tokens.

    Args:
      rules: [B, 2**(2r+1)] tables.
      states: [B, T + max k, W] orbits.
      look_ahead: int32 [B], the k of each sample.
      group: int32 [B], the one thing asked of each sample; None for all that
        the variant asks, and the look-ahead as group.
    """
    full, asked = self._full(rules, states, look_ahead), self._asked
    hidden = (asked == RULE_GROUP) & (self.variant != 'rule_cot')
    shown = np.where(hidden, int(Token.RULE), -1)
    if not self.causal:
      shown = np.where((asked != _NOTHING) & ~hidden, int(Token.MASK), shown)
    shown = shown[:-1]
    inputs = full if (shown < 0).all() else jnp.where(shown < 0, full, shown)
    if self.causal:  # a logit predicts the next token
      end = Token.EOS if self.generates else Token.PAD
      end = jnp.full((len(full), 1), end, jnp.int32)
      targets, asked = jnp.concatenate([full[:, 1:], end], axis=1), asked[1:]
    else:  # or the token in its place
      targets, asked = full, asked[:-1]
    if group is None:
      weights = jnp.broadcast_to(asked != _NOTHING, inputs.shape)
      group = look_ahead
    else:
      at_group = asked == group[:, None]
      weights = at_group | ((asked == _ONE) & (group != RULE_GROUP)[:, None])
    return base.Batch(inputs, targets, weights.astype(jnp.float32), group)

  def _full(
    self, rules: jax.Array, states: jax.Array, look_ahead: jax.Array
  ) -> jax.Array:
    """The sequence with nothing hidden, int32 [B, L]."""
    T = self.num_states
    if len(self.look_ahead) == 1:
      one = states[:, T - 1 + self.look_ahead[0]][:, None]
    else:
      at = (T - 1 + look_ahead)[:, None, None]
      one = jnp.take_along_axis(states, at, axis=1)
    last = T + max(self.look_ahead)
    spoken = {'one': one, 'all': states[:, T:last], 'rule': None}
    rows = [None] * (self.variant == 'ro_s') + [states[:, :T]]
    rows += [spoken[part] for part in VARIANTS[self.variant]]
    if any(part is None for part in rows):
      full = jnp.concatenate(
        [
          self._rule_row(rules) if part is None else self._state_rows(part)
          for part in rows
        ],
        axis=1,
      )
    else:
      full = self._state_rows(jnp.concatenate(rows, axis=1))
    ask = jnp.uint8(Token.GEN)
    if self.variant == 'multi_horizon':
      ask = (Token.SHIFT_1 + look_ahead - 1).astype(jnp.uint8)
    full = full.at[:, self.prompt_length - 1].set(ask)
    # Put together as bytes and widened in a pass of its own: XLA on CPU is slow
    # at concatenations inside of other work.
    return jax.lax.optimization_barrier(full).astype(jnp.int32)

  def _state_rows(self, states: jax.Array) -> jax.Array:
    """States [B, n, W] as rows of separator and cells, uint8 [B, n·(W+1)]."""
    states = jax.lax.optimization_barrier(states.astype(jnp.uint8))
    first = jnp.full((*states.shape[:2], 1), Token.SEP, jnp.uint8)
    rows = jnp.concatenate([first, states], axis=-1)
    return jax.lax.optimization_barrier(rows).reshape(len(states), -1)

  def _rule_row(self, rules: jax.Array) -> jax.Array:
    """Rules with a separator in front, filled up to whole rows, as bytes."""
    B, size = rules.shape
    first = Token.RULE if self.variant == 'ro_s' else Token.SEP
    fill = self._rule_rows * self.row_tokens - size - 1
    return jnp.concatenate(
      [
        jnp.full((B, 1), first, jnp.uint8),
        rules.astype(jnp.uint8),
        jnp.full((B, fill), Token.PAD, jnp.uint8),
      ],
      axis=1,
    )

  def sample(
    self, key: jax.Array, batch_size: int, split: str = 'train'
  ) -> base.Batch:
    """Draws a batch of fresh rules and states; see `base.Task`."""
    rules, states, look_ahead = self.sample_orbits(key, batch_size, split)
    if split == 'train':
      return self.tokens(rules, states, look_ahead)
    group = look_ahead
    if self.asks_rule:
      # `sample_orbits` has split off the children 0 and 1.
      coin_key = jax.random.fold_in(key, 2)
      coin = jax.random.bernoulli(coin_key, shape=(batch_size,))
      group = jnp.where(coin, RULE_GROUP, look_ahead)
    return self.tokens(rules, states, look_ahead, group)
