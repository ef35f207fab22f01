"""Orbits as token sequences: variants of the task, and their layouts.

Variants, by what the model predicts. s is an observed state, x(k) the state k
steps after the last one, K the largest look-ahead::

  o_s            SEP s … SEP s  GEN x(k)                  one k for all samples
  multi_horizon  SEP s … SEP s  SHIFT_k x(k)              a k for each sample
  by_depth       SEP s … SEP s  GEN x(k)                  a k for each sample
  o_o            SEP s … SEP s  GEN x(1) SEP x(2) … SEP x(K)     all at once
  cot            SEP s … SEP s  GEN x(1) SEP x(2) … SEP x(K) EOS  generated
  rule_cot       SEP s … SEP s  GEN rule SEP x(1) … SEP x(K) EOS
  o_rs           SEP s … SEP s  GEN rule SEP x(k)
  o_sr           SEP s … SEP s  GEN x(k) SEP rule
  ro_s           RULE rule SEP s … SEP s  GEN x(k)

In `by_depth` nothing in the input tells k: the answer for k is what the model
says after k depth steps.

All sequences consist of rows of one separator and W cells, so that they can be
cut into segments; a rule is padded with PAD to whole rows.

Layouts, by how the answer is predicted. With W = 3 cells, T = 2 observed states
010 and 110, and the answer 001 at look-ahead 1::

  causal   inputs   SEP 0 1 0  SEP 1 1 0  GEN 0 0 1
           targets   0  1 0 SEP 1  1 0 GEN 0  0 1 PAD
           weights   0  0 0  0  0  0 0  0  1  1 1  0
  masked   inputs   SEP 0 1 0  SEP 1 1 0  GEN MASK MASK MASK
           targets  SEP 0 1 0  SEP 1 1 0  GEN  0    0    1
           weights   0  0 0 0   0  0 0 0   0   1    1    1

A rule to predict appears in the inputs as RULE tokens in both layouts, so that
no state is predicted from its true bits; only `rule_cot` generates it.
"""

import dataclasses
import enum
import functools
from collections.abc import Sequence

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth import settings
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
  """What is predicted at a position; k >= 1 is the state at look-ahead k."""

  RULE = 0  # the rule; also the group of samples scored on the rule
  NOTHING = -1
  OWN = -2  # the state at the sample's own look-ahead
  BETWEEN = -3  # separators, PAD and EOS of a generated answer


MAX_LOOK_AHEAD = 8  # of multi_horizon: a SHIFT token for each k
VOCAB_SIZE = Token.SHIFT_1 + MAX_LOOK_AHEAD
LAYOUTS = ('causal', 'masked')
# What to predict after the observed states: 'one' state, 'all' states up to K,
# or the 'rule'.
VARIANTS = {
  'o_s': ('one',),
  'multi_horizon': ('one',),
  'by_depth': ('one',),
  'o_o': ('all',),
  'cot': ('all',),
  'rule_cot': ('rule', 'all'),
  'o_rs': ('rule', 'one'),
  'o_sr': ('one', 'rule'),
  'ro_s': ('one',),
}
# Variants with only one possible layout.
LAYOUT_OF = {'o_o': 'masked', 'cot': 'causal', 'rule_cot': 'causal'}
ONE_LOOK_AHEAD = ('o_s', 'o_rs', 'o_sr', 'ro_s')
# Those that ask for one state alone, and so can be asked further ahead.
ANY_LOOK_AHEAD = ('o_s', 'multi_horizon', 'by_depth')
GENERATED = ('cot', 'rule_cot')


@flax.struct.dataclass
class Answer:
  """The W tokens generated after the last GEN.

  Attributes:
    cells: int32 [N, W], 0 or 1; -1 for any other token.
    ended: bool [N], whether EOS followed the cells.
  """

  cells: jax.Array
  ended: jax.Array


def last_answer(tokens: jax.Array, prompt_length: int, width: int) -> Answer:
  """Extracts the answer from generated sequences.

  Args:
    tokens: int32 [N, L], prompt and completion; the prompt ends in GEN.
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
  answer = jnp.take_along_axis(padded, at, axis=1)
  cells = jnp.where(answer[:, :-1] <= Token.CELL_1, answer[:, :-1], -1)
  return Answer(cells, answer[:, -1] == Token.EOS)


@dataclasses.dataclass(frozen=True)
class Layout:
  """Token layout of a variant.

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
    """Whether the answer is generated token by token, up to EOS."""
    return self.variant in GENERATED

  @property
  def rule_rows(self) -> int:
    """Rows of a rule with its separator and padding."""
    return -(-(1 + automata.table_size(self.radius)) // self.row)

  @property
  def prompt_length(self) -> int:
    """Tokens of the prompt, which ends in GEN or SHIFT_k."""
    rows = self.rule_rows if self.variant == 'ro_s' else 0
    return (rows + self.num_states) * self.row + 1

  @functools.cached_property
  def asked(self) -> np.ndarray:
    """What is predicted at each position (`Ask`), int [L + 1], with the end."""
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

  def way(self, look_ahead: Sequence[int], by_depth: bool) -> str:
    """How a state at any of these look-aheads is asked.

    Args:
      look_ahead: values of k, ascending.
      by_depth: whether depth step k of the model answers for look-ahead k.

    Returns:
      'depth steps', 'fed back' (answers of one step) or 'asked' (as trained).

    Raises:
      UsageError: where it cannot be asked.
    """
    variants = ANY_LOOK_AHEAD
    if self.variant not in variants:
      settings.complain(
        'config.task.variant', self.variant,
        f'own orbits can be given to {", ".join(variants)}',
      )  # fmt: skip
    if by_depth and not self.causal:
      return 'depth steps'
    if (self.variant, self.look_ahead) == ('o_s', (1,)):
      return 'fed back'
    for k in look_ahead:
      if k not in self.look_ahead:
        settings.complain(
          'k', k, f'the model answers for {self.look_ahead} alone'
        )
    return 'asked'

  def check_further(self, look_ahead: Sequence[int], by_depth: bool) -> None:
    """Raises `UsageError` unless `eval.look_ahead` can be asked.

    Args:
      look_ahead: its values, ascending.
      by_depth: as of `way`.
    """
    needed = ''
    if by_depth:
      if self.variant not in ANY_LOOK_AHEAD or self.causal:
        needed = (
          'answers by depth steps need config.task.layout=masked and '
          f'config.task.variant={", ".join(ANY_LOOK_AHEAD)}'
        )
    elif (self.variant, self.look_ahead) != ('o_s', (1,)):
      needed = (
        'needs config.task.variant=o_s and config.task.look_ahead=(1,), whose '
        'answers are fed back, or config.train.depth_loss=look_ahead and a '
        'model that runs a step at a time'
      )
    if needed:
      settings.complain('config.eval.look_ahead', look_ahead, needed)

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
      group: int32 [B], the one part of the answer that is weighted, a
        look-ahead or `Ask.RULE`; None to weight all parts, with the look-ahead
        as group.
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
    """The sequence with nothing masked, int32 [B, L]."""
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
    # Concatenated as uint8, then widened separately: XLA on CPU is slow at
    # concatenations fused into other operations.
    return jax.lax.optimization_barrier(full).astype(jnp.int32)

  def _state_rows(self, states: jax.Array) -> jax.Array:
    """States [B, n, W] as rows of separator and cells, uint8 [B, n·(W+1)]."""
    states = jax.lax.optimization_barrier(states.astype(jnp.uint8))
    first = jnp.full((*states.shape[:2], 1), Token.SEP, jnp.uint8)
    rows = jnp.concatenate([first, states], axis=-1)
    return jax.lax.optimization_barrier(rows).reshape(len(states), -1)

  def _rule_row(self, rules: jax.Array) -> jax.Array:
    """Rules with a separator, padded to whole rows, uint8 [B, rows·(W+1)]."""
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
