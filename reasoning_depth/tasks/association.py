"""Associative retrieval: read key-value pairs, then predict a key's value.

Each pair is a row, and so is the question, so that a segment can hold exactly
one pair (2407.04841, section 4.1). With two pairs, keys of two symbols and
values of one::

  inputs   3 1 SEP 7 EOS  0 2 SEP 5 EOS  3 1 GEN 7 EOS
  targets  1 SEP 7 EOS 0  2 SEP 5 EOS 3  1 GEN 7 EOS PAD
  weights  0 0 0 0 0      0 0 0 0 0      0 0 1 0 0

In `remember` all keys differ. In `rewrite` keys are drawn with replacement and
a later value replaces an earlier one; each distinct key shown is asked for with
the same probability. A training sample can have several questions, drawn
independently.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth import settings
from reasoning_depth.tasks import base, splits, stored

VARIANTS = ('remember', 'rewrite')
MAX_SYMBOLS = 4096
_MOST_INDICES = 2**31 - 1  # keys are drawn as one int32


@dataclasses.dataclass(frozen=True)
class Association(base.Task):
  """Random key-value pairs; see the module docstring.

  Token ids are the symbols, then SEP, GEN, EOS and PAD.

  Raises:
    UsageError: naming the field that is out of range.
  """

  variant: str = settings.field(
    'remember',
    'all keys differ (remember), or a later value replaces an earlier one '
    '(rewrite)',
    choices=VARIANTS,
  )
  num_pairs: int = settings.field(
    50, 'pairs in a sequence', least=1, most=2**20
  )
  train_queries: int = settings.field(
    1,
    'questions per training sample; held-out samples have one',
    least=1,
    most=2**20,
  )
  key_length: int = settings.field(3, 'symbols in a key', least=1, most=4096)
  value_length: int = settings.field(
    1, 'symbols in a value', least=1, most=4096
  )
  symbols: int = settings.field(
    16, 'alphabet size of keys and values', least=2, most=MAX_SYMBOLS
  )
  data: str = stored.field()

  group_name = 'num_pairs'
  causal = True  # the value is predicted left to right

  def __post_init__(self):
    super().__post_init__()
    keys = self.symbols**self._drawn_at_once
    if self.variant == 'remember' and self.num_pairs > keys:
      settings.complain(
        'num_pairs',
        self.num_pairs,
        'variant=remember needs distinct keys; '
        f'key_length={self.key_length} and symbols={self.symbols} allow {keys}',
      )

  @property
  def vocab_size(self) -> int:
    """Number of token ids."""
    return self.symbols + 4

  @property
  def row_tokens(self) -> int:
    """Tokens in a pair with SEP and EOS."""
    return self.key_length + self.value_length + 2

  @property
  def length(self) -> int:
    """Tokens in a training sequence, the longest."""
    return (self.num_pairs + self.train_queries) * self.row_tokens

  @property
  def held_out_length(self) -> int:
    """Tokens in a validation or test sequence, with one question."""
    return (self.num_pairs + 1) * self.row_tokens

  @property
  def _drawn_at_once(self) -> int:
    """Leading symbols of a key that are drawn together as one int32."""
    most = 1
    while self.symbols ** (most + 1) <= _MOST_INDICES:
      most += 1
    return min(most, self.key_length)

  def sample(
    self, key: jax.Array, batch_size: int, split: str = 'train'
  ) -> base.Batch:
    """Draws a batch of random pairs; see `base.Task`.

    Splits differ in their PRNG keys only. The group is the number of pairs.
    """
    splits.check_split(split)
    key = jax.random.fold_in(key, splits.SPLITS.index(split))
    keys_key, values_key, query_key = jax.random.split(key, 3)
    B, N = batch_size, self.num_pairs
    Q = self.train_queries if split == 'train' else 1
    keys = self._keys(keys_key, B)
    shape = (B, N, self.value_length)
    values = jax.random.randint(values_key, shape, 0, self.symbols, jnp.int32)
    if self.variant == 'remember':
      asked = jax.random.randint(query_key, (B, Q), 0, N)
    else:
      asked = _last_of_a_key(query_key, keys, Q)
    asked = asked[..., None]
    rows = jnp.concatenate(
      [
        self._rows(keys, values, self.symbols),
        self._rows(
          jnp.take_along_axis(keys, asked, axis=1),
          jnp.take_along_axis(values, asked, axis=1),
          self.symbols + 1,
        ),
      ],
      axis=1,
    )
    inputs = rows.reshape(B, -1)
    pad = jnp.full((B, 1), self.symbols + 3, jnp.int32)
    weights = np.zeros((N + Q, self.row_tokens), np.float32)
    # A logit predicts the next token.
    weights[N:, self.key_length : -2] = 1
    return base.Batch(
      inputs=inputs,
      targets=jnp.concatenate([inputs[:, 1:], pad], axis=1),
      weights=jnp.broadcast_to(weights.reshape(-1), inputs.shape),
      group=jnp.full((B,), N, jnp.int32),
    )

  def _rows(self, keys: jax.Array, values: jax.Array, mark: int) -> jax.Array:
    """Rows of key [B, n, K], `mark`, value [B, n, V] and EOS."""
    shape = (*keys.shape[:2], 1)
    mark = jnp.full(shape, mark, jnp.int32)
    end = jnp.full(shape, self.symbols + 2, jnp.int32)
    return jnp.concatenate([keys, mark, values, end], axis=-1)

  def _keys(self, key: jax.Array, batch_size: int) -> jax.Array:
    """Keys of all pairs, int32 [B, N, K]; distinct in `remember`.

    Distinct keys differ in their leading symbols, as many as fit one int32
    (7 from an alphabet of 16).
    """
    B, N, head = batch_size, self.num_pairs, self._drawn_at_once
    if self.variant == 'rewrite':
      shape = (B, N, self.key_length)
      return jax.random.randint(key, shape, 0, self.symbols, jnp.int32)
    head_key, tail_key = jax.random.split(key)
    index = distinct(head_key, B, N, self.symbols**head)
    places = self.symbols ** np.arange(head, dtype=np.int32)[::-1]
    first = index[..., None] // places % self.symbols
    shape = (B, N, self.key_length - head)
    rest = jax.random.randint(tail_key, shape, 0, self.symbols, jnp.int32)
    return jnp.concatenate([first, rest], axis=-1)


def distinct(
  key: jax.Array, batch_size: int, count: int, size: int
) -> jax.Array:
  """Draws without replacement from 0 … size - 1, in random order.

  Floyd's algorithm (Communications of the ACM 30 (9), 1987): memory and time do
  not depend on `size`.

  Returns:
    int32 [B, count]; no number twice in a sample.
  """
  draw_key, order_key = jax.random.split(key)
  first = size - count

  def step(chosen, i):
    top = first + i
    # Uniform up to `top`, and `top` itself where that is taken.
    drawn = jax.random.randint(
      jax.random.fold_in(draw_key, i), (batch_size,), 0, top + 1, jnp.int32
    )
    taken = jnp.any(chosen == drawn[:, None], axis=1)
    drawn = jnp.where(taken, top, drawn)
    return chosen.at[:, i].set(drawn), None

  chosen = jnp.full((batch_size, count), -1, jnp.int32)
  chosen, _ = jax.lax.scan(step, chosen, jnp.arange(count))
  return jax.random.permutation(order_key, chosen, axis=1, independent=True)


def _last_of_a_key(key: jax.Array, keys: jax.Array, count: int) -> jax.Array:
  """Index of the last pair of randomly chosen keys, int32 [B, count].

  Args:
    key: PRNG key; each distinct key is chosen with the same probability.
    keys: int32 [B, N, K].
    count: keys to choose, with replacement.
  """
  B, N, _ = keys.shape

  def is_last(i):
    same = jnp.all(keys == keys[:, i][:, None], axis=-1)
    return ~jnp.any(same & (jnp.arange(N) > i), axis=1)

  last = jax.lax.map(is_last, jnp.arange(N)).T
  logits = jnp.where(last, 0.0, -jnp.inf)
  return jax.random.categorical(key, logits, shape=(count, B)).T
