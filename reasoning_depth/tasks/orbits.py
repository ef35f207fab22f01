"""Questions about orbits: see some states, predict the state k steps ahead.

Variants, by how the question is put:

- `o_s`: one look-ahead k for all samples (the paper's O-S).
- `multi_horizon`: each sample has its own k, told by a shift token.

Layouts, by how the answer is given. With W = 3 cells, T = 2 observed states
010 and 110, and the answer 001 at look-ahead 1::

  causal   inputs   SEP 0 1 0  SEP 1 1 0  GEN 0 0 1
           targets   0  1 0 SEP 1  1 0 GEN 0  0 1 PAD
           weights   0  0 0  0  0  0 0  0  1  1 1  0
  masked   inputs   SEP 0 1 0  SEP 1 1 0  GEN MASK MASK MASK
           targets  SEP 0 1 0  SEP 1 1 0  GEN  0    0    1
           weights   0  0 0 0   0  0 0 0   0   1    1    1

With `multi_horizon`, GEN is replaced by the token of the sample's look-ahead,
so that both variants have the same length and split into the same segments.
"""

import dataclasses
import enum

import jax
import jax.numpy as jnp

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
VARIANTS = ('o_s', 'multi_horizon')
LAYOUTS = ('causal', 'masked')
SPLITS = ('rules', 'classes')


@dataclasses.dataclass(frozen=True)
class Orbits:
  """Orbits of random rules as a task; see the module docstring.

  Attributes:
    width: W, cells in a state.
    radius: r, 1 to 3.
    num_states: T, observed states.
    look_ahead: the values of k, each 1 to 8; `o_s` takes exactly one.
    variant: 'o_s' or 'multi_horizon'.
    layout: 'causal' or 'masked'.
    split: what the splits keep apart: single 'rules', or 'classes' of rules
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
  split: str = 'rules'

  def __post_init__(self):
    automata.check_lattice(self.width, self.radius)
    if self.num_states < 1:
      raise ValueError(f'num_states={self.num_states}: at least 1 is needed')
    for k in self.look_ahead:
      if not 1 <= k <= MAX_LOOK_AHEAD:
        raise ValueError(f'look_ahead={k}: allowed are 1 to {MAX_LOOK_AHEAD}')
    if self.variant not in VARIANTS:
      raise ValueError(f'variant={self.variant!r}: allowed are {VARIANTS}')
    if self.layout not in LAYOUTS:
      raise ValueError(f'layout={self.layout!r}: allowed are {LAYOUTS}')
    if self.split not in SPLITS:
      raise ValueError(f'split={self.split!r}: allowed are {SPLITS}')
    if not self.look_ahead or (
      self.variant == 'o_s' and len(self.look_ahead) > 1
    ):
      raise ValueError(
        f'look_ahead={self.look_ahead}: variant o_s takes one value; '
        'variant multi_horizon takes several'
      )

  @property
  def vocab_size(self) -> int:
    """Number of token ids."""
    return int(VOCAB_SIZE)

  @property
  def block(self) -> int:
    """Tokens in a state with its separator."""
    return self.width + 1

  @property
  def length(self) -> int:
    """Tokens in a sequence: the observed states and the answer."""
    return (self.num_states + 1) * self.block

  @property
  def causal(self) -> bool:
    """Whether the answer is predicted left to right."""
    return self.layout == 'causal'

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
      closed=self.split == 'classes',
    )
    look_ahead = jax.random.choice(
      k_key, jnp.array(self.look_ahead, jnp.int32), (batch_size,)
    )
    return rules, states, look_ahead

  def tokens(self, states: jax.Array, look_ahead: jax.Array) -> base.Batch:
    """Lays out orbits as tokens.

    Args:
      states: [B, >= T + max k, W] orbits.
      look_ahead: int32 [B], the k of each sample.
    """
    B, T, W = states.shape[0], self.num_states, self.width
    if len(self.look_ahead) == 1:
      answer = states[:, T - 1 + self.look_ahead[0]][:, None]
    else:
      at = (T - 1 + look_ahead)[:, None, None]
      answer = jnp.take_along_axis(states, at, axis=1)
    # Rows of a separator and cells; the question takes the last separator's
    # place. One pass over the tokens, with no concatenation along the sequence.
    rows = jnp.concatenate([states[:, :T], answer], axis=1).astype(jnp.int32)
    rows = jnp.pad(rows, ((0, 0), (0, 0), (1, 0)), constant_values=Token.SEP)
    ask = jnp.full((B, 1), Token.GEN, jnp.int32)
    if self.variant == 'multi_horizon':
      ask = Token.SHIFT_1 + look_ahead[:, None] - 1
    position = jnp.arange(self.length)
    full = rows.reshape(B, self.length)
    full = jnp.where(position == T * self.block, ask, full)
    if self.causal:
      inputs = full
      targets = jnp.pad(
        full[:, 1:], ((0, 0), (0, 1)), constant_values=Token.PAD
      )
    else:
      inputs = jnp.where(position > T * self.block, Token.MASK, full)
      targets = full
    first = self.answer_start
    asked = (position >= first) & (position < first + W)
    weights = jnp.broadcast_to(asked.astype(jnp.float32), inputs.shape)
    return base.Batch(inputs, targets, weights, look_ahead)

  @property
  def answer_start(self) -> int:
    """Position of the first logit that predicts an answer cell."""
    return self.num_states * self.block + (not self.causal)

  def sample(
    self, key: jax.Array, batch_size: int, split: str = 'train'
  ) -> base.Batch:
    """Draws a batch of fresh rules and states; see `base.Task`."""
    _, states, look_ahead = self.sample_orbits(key, batch_size, split)
    return self.tokens(states, look_ahead)
