"""Orbits as sequences of tokens: what stands where, and what is asked there.

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
state is predicted from true bits of the rule; only in `rule_cot` it is
generated.
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


class Ask(enum.IntEnum):
  """What a position asks for; a number k >= 1 is the state at look-ahead k."""

  RULE = 0  # the rule; also the group of samples that are asked for it
  NOTHING = -1
  OWN = -2  # the state at the sample's own look-ahead
  BETWEEN = -3  # what stands around states in a generated answer, and its end


MAX_LOOK_AHEAD = 8
VOCAB_SIZE = Token.SHIFT_1 + MAX_LOOK_AHEAD
LAYOUTS = ('causal', 'masked')
# What comes after the observed states: 'one' state, 'all' up to K, the 'rule'.
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
GENERATED = ('cot', 'rule_cot')


@flax.struct.dataclass
class Answer:
  """What was generated after the last GEN.

  Attributes:
    cells: int32 [N, W], 0 and 1, and -1 where another token stands.
    ended: bool [N], whether EOS followed the cells.
  """

  cells: jax.Array
  ended: jax.Array


def last_answer(tokens: jax.Array, prompt_length: int, width: int) -> Answer:
  """Reads the answer out of prompts that a model has completed.

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
class Layout:
  """Where a variant puts states, rule and questions.

  Attributes:
    variant: a name in `VARIANTS`.
    causal: whether answers are predicted left to right.
    width: W, cells in a state.
    radius: r of the rules.
    num_states: T, observed states.
    look_ahead: the values of k.
  """

  variant: str
  causal: bool
  width: int
  radius: int
  num_states: int
  look_ahead: tuple[int, ...]

  @property
  def row(self) -> int:
    """Tokens in a state with its separator."""
    return self.width + 1

  @property
  def generated(self) -> bool:
    """Whether the answer is generated one token at a time, to its end."""
    return self.variant in GENERATED

  @property
  def rule_rows(self) -> int:
    """Rows that a rule with its separator fills."""
    return -(-(1 + automata.table_size(self.radius)) // self.row)

  @property
  def prompt_length(self) -> int:
    """Tokens up to the question's, GEN or SHIFT_k, and with it."""
    rows = self.rule_rows if self.variant == 'ro_s' else 0
    return (rows + self.num_states) * self.row + 1

  @functools.cached_property
  def asked(self) -> np.ndarray:
    """What each position asks for (`Ask`), int [L + 1]; the last is the end."""
    rule = np.full(self.rule_rows * self.row, Ask.NOTHING)
    rule[1 : 1 + automata.table_size(self.radius)] = Ask.RULE
    asked = [np.full(self.prompt_length - 1, Ask.NOTHING)]
    every = range(1, max(self.look_ahead) + 1)
    for part in VARIANTS[self.variant]:
      if part == 'rule':
        asked.append(rule)
        continue
      for k in every if part == 'all' else [Ask.OWN]:
        asked.append(np.array([Ask.NOTHING] + [k] * self.width))
    asked = np.concatenate([*asked, [Ask.NOTHING]])
    if self.generated:
      between = asked == Ask.NOTHING
      between[: self.prompt_length] = False
      asked[between] = Ask.BETWEEN
    return asked

  def batch(
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
    full, asked = self._full(rules, states, look_ahead), self.asked
    hidden = (asked == Ask.RULE) & (self.variant != 'rule_cot')
    shown = np.where(hidden, int(Token.RULE), -1)
    if not self.causal:
      masked = (asked != Ask.NOTHING) & ~hidden
      shown = np.where(masked, int(Token.MASK), shown)
    shown = shown[:-1]
    inputs = full if (shown < 0).all() else jnp.where(shown < 0, full, shown)
    if self.causal:  # a logit predicts the next token
      end = Token.EOS if self.generated else Token.PAD
      end = jnp.full((len(full), 1), end, jnp.int32)
      targets, asked = jnp.concatenate([full[:, 1:], end], axis=1), asked[1:]
    else:  # or the token in its place
      targets, asked = full, asked[:-1]
    if group is None:
      weights = jnp.broadcast_to(asked != Ask.NOTHING, inputs.shape)
      group = look_ahead
    else:
      own = (asked == Ask.OWN) & (group != Ask.RULE)[:, None]
      weights = (asked == group[:, None]) | own
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
    answer = {'one': one, 'all': states[:, T:last], 'rule': None}
    rows = [None] * (self.variant == 'ro_s') + [states[:, :T]]
    rows += [answer[part] for part in VARIANTS[self.variant]]
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
    fill = self.rule_rows * self.row - size - 1
    return jnp.concatenate(
      [
        jnp.full((B, 1), first, jnp.uint8),
        rules.astype(jnp.uint8),
        jnp.full((B, fill), Token.PAD, jnp.uint8),
      ],
      axis=1,
    )
