"""Group multiplication: predict the prefix products of a word of elements.

After g_1 … g_n the answer is the product g_1·g_2 ⋯ g_n, at every position
(2508.16745). For a group that is not solvable, such as A5, no circuit of
constant depth does this for words of any length; for Z60 one does.

With Z60 (written additively) and the word 7 55 3::

  inputs    7 55  3
  targets   7  2  5
  weights   1  1  1
"""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth import settings
from reasoning_depth.tasks import base, splits, stored


def permutation_table(permutations: np.ndarray) -> np.ndarray:
  """Multiplication table of a group of permutations.

  Args:
    permutations: int [N, d], N elements, closed under composition.

  Returns:
    int32 [N, N]; entry (a, b) is a·b, first a and then b.
  """
  index = {tuple(p): i for i, p in enumerate(permutations.tolist())}
  # First a and then b sends i to b[a[i]].
  products = permutations[:, permutations].swapaxes(0, 1)  # [a, b, i]
  flat = products.reshape(-1, permutations.shape[1]).tolist()
  table = [index[tuple(p)] for p in flat]
  return np.array(table, np.int32).reshape(len(permutations), -1)


def alternating(degree: int) -> np.ndarray:
  """Multiplication table of the even permutations of `degree` things."""

  def is_even(p):
    swaps = sum(a > b for a, b in itertools.combinations(p, 2))
    return swaps % 2 == 0

  every = itertools.permutations(range(degree))
  return permutation_table(np.array([p for p in every if is_even(p)]))


def symmetric(degree: int) -> np.ndarray:
  """Multiplication table of the permutations of `degree` things."""
  every = itertools.permutations(range(degree))
  return permutation_table(np.array(list(every)))


def cyclic(order: int) -> np.ndarray:
  """Multiplication table of the integers modulo `order` under addition."""
  i = np.arange(order, dtype=np.int32)
  return (i[:, None] + i) % order


def product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
  """Table of the direct product; (a, b) is element a·|right| + b."""
  n = len(right)
  table = left[:, None, :, None] * n + right[None, :, None, :]
  return table.reshape(len(left) * n, -1).astype(np.int32)


GROUPS = {
  'z60': lambda: cyclic(60),
  'a4_z5': lambda: product(alternating(4), cyclic(5)),
  'a5': lambda: alternating(5),
  's5': lambda: symmetric(5),
}


@dataclasses.dataclass(frozen=True)
class Groups(base.Task):
  """Prefix products of random words.

  Raises:
    UsageError: naming the field that is out of range.
  """

  group: str = settings.field('a5', 'of 60 elements, s5 of 120', choices=GROUPS)
  word_length: int = settings.field(
    20, 'n, elements in a word', least=1, most=4096
  )
  data: str = stored.field()

  causal = True  # a prefix's product is predicted from the prefix alone
  cone = ((0, -1), (0, 0))
  group_name = 'word_length'

  @property
  def vocab_size(self) -> int:
    """Number of elements; an element is its own token."""
    return len(self.table)

  @property
  def length(self) -> int:
    """Tokens in a sequence."""
    return self.word_length

  @functools.cached_property
  def table(self) -> np.ndarray:
    """Multiplication table, int32 [N, N]; entry (a, b) is a·b."""
    return GROUPS[self.group]()

  def sample(
    self, key: jax.Array, batch_size: int, split: str = 'train'
  ) -> base.Batch:
    """Draws a batch of random words; see `base.Task`.

    Splits differ in their PRNG keys only: of N elements there are N**n words.
    """
    splits.check_split(split)
    key = jax.random.fold_in(key, splits.SPLITS.index(split))
    shape = (batch_size, self.word_length)
    words = jax.random.randint(key, shape, 0, self.vocab_size, jnp.int32)
    table = jnp.asarray(self.table)

    def step(total, element):
      total = table[total, element]
      return total, total

    _, totals = jax.lax.scan(step, words[:, 0], words[:, 1:].T)
    totals = jnp.concatenate([words[:, :1], totals.T], axis=1)
    return base.Batch(
      inputs=words,
      targets=totals,
      weights=jnp.ones(shape, jnp.float32),
      group=jnp.full((batch_size,), self.word_length, jnp.int32),
    )
