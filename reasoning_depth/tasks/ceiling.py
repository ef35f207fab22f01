"""Ceiling: the best expected score of any predictor on given orbits.

The predictor sees the first states of an orbit and predicts the state k steps
after the last one. The observed transitions determine the table entries that
they read; the other entries are open, and since rules are drawn uniformly all
values of the open entries are equally likely. Knowing the split does not help:
it is a pseudo-random set of rules. `cases` rolls out the values that matter.
"""

from collections.abc import Sequence

import flax.struct
import jax
import numpy as np

from reasoning_depth.tasks import automata
from reasoning_depth.tasks import cases as cases_lib

# Names of the per-sample scores, in evaluations and reports.
NAMES = (
  'ceiling_exact_match',
  'ceiling_bit_accuracy',
  'ceiling_is_exact',
  'determined_share',
)
_MOST_CASES = 2**17  # held at once; about a kilobyte each at r = 3


@flax.struct.dataclass
class Ceiling:
  """Best expected scores, each float64 [B] in 0 to 1; [K, B] of `ceilings`.

  Attributes:
    exact_match: probability of the most likely answer. Predicting the most
      likely value of each cell by itself may give a less likely answer.
    bit_accuracy: expected share of right cells when all are predicted at once
      from the observed states (masked layout).
    prefix_bit_accuracy: the same when each cell is predicted from the true
      cells left of it as well (causal layout, teacher forcing).
    exact: bool; where False, some open entries were given to the predictor.
  """

  exact_match: np.ndarray
  bit_accuracy: np.ndarray
  prefix_bit_accuracy: np.ndarray
  exact: np.ndarray

  @property
  def determined(self) -> np.ndarray:
    """Bool, whether what was observed leaves one answer alone."""
    return self.exact & (self.exact_match == 1)

  def named(self, causal: bool) -> dict[str, np.ndarray]:
    """Scores by `NAMES`, for the causal or the masked layout."""
    bits = self.prefix_bit_accuracy if causal else self.bit_accuracy
    values = self.exact_match, bits, self.exact, self.determined
    return dict(zip(NAMES, values, strict=True))


def certain(count: int) -> Ceiling:
  """The ceiling [B] of samples whose answer is known."""
  scores = [np.ones(count) for _ in range(3)]
  return Ceiling(*scores, np.ones(count, bool))


def ceiling(
  rule: np.ndarray,
  states: np.ndarray,
  look_ahead: np.ndarray,
  *,
  radius: int,
  max_cases: int = 1024,
) -> Ceiling:
  """Ceiling of predicting the state `look_ahead` steps after states[:, -1].

  Args:
    rule: [B, 2**(2r+1)], the true rules. They are used only for samples with
      more than `max_cases` cases: there the predictor is given the true values
      of enough open entries to stay below. Which entries does not depend on
      their values, so the ceilings of such samples are too high on average over
      rules, though a single one may be too low.
    states: [B, T, W], the observed states alone, T >= 1.
    look_ahead: int [B], k >= 1 of each sample.
    radius: r, 1 to 4.
    max_cases: bound on time and memory, per sample.

  Raises:
    ValueError: for an impossible lattice, shapes that do not match, a
      look-ahead or `max_cases` below 1, or states that do not follow the rule.
  """
  values, asked = _asked(look_ahead, len(rule))
  found = _ceilings(rule, states, values, asked, radius, max_cases)
  return jax.tree.map(lambda x: x.max(0), found)


def ceilings(
  rule: np.ndarray,
  states: np.ndarray,
  look_ahead: Sequence[int],
  *,
  radius: int,
  max_cases: int = 1024,
) -> Ceiling:
  """Ceilings [K, B] at K look-aheads of every sample, in one roll-out.

  Args:
    rule: as of `ceiling`.
    states: as of `ceiling`.
    look_ahead: K values of k >= 1, ascending.
    radius: r, 1 to 4.
    max_cases: as of `ceiling`.
  """
  values = np.asarray(look_ahead)
  if not len(values) or np.any(np.diff(values) <= 0):
    raise ValueError(f'look_ahead={look_ahead}: must ascend')
  asked = np.ones((len(values), len(rule)), bool)
  return _ceilings(rule, states, values, asked, radius, max_cases)


def _ceilings(rule, states, values, asked, radius, max_cases) -> Ceiling:
  """Ceilings [K, B] at ascending `values` [K], where `asked` [K, B]; else 0."""
  rule, states = np.asarray(rule, np.uint8), np.asarray(states, np.uint8)
  _check(rule, states, values, radius, max_cases)
  scores, exact = np.zeros((*asked.shape, 3)), np.zeros(asked.shape, bool)
  for at in _chunks(len(rule), max_cases):
    now = np.flatnonzero(asked[:, at].any(1))
    rolled = cases_lib.roll_out(
      cases_lib.observe(states[at], radius), values[now], asked[now, at],
      rule[at], radius, max_cases,
    )  # fmt: skip
    for i, (cases, known) in zip(now, rolled, strict=True):
      scores[i, at] = _score(cases, len(known))
      exact[i, at] = known & asked[i, at]
  return Ceiling(*np.moveaxis(scores, -1, 0), exact)


def _asked(look_ahead: np.ndarray, B: int) -> tuple[np.ndarray, np.ndarray]:
  """The values of k [K], ascending, and the samples of each, bool [K, B]."""
  look_ahead = np.asarray(look_ahead)
  if look_ahead.shape != (B,):
    raise ValueError(f'look_ahead {look_ahead.shape}: {(B,)} is needed')
  values = np.unique(look_ahead)
  return values, look_ahead == values[:, None]


def _chunks(B: int, max_cases: int) -> list[slice]:
  """Parts of B samples that have few enough cases to be held at once."""
  size = max(1, _MOST_CASES // max_cases)
  return [slice(first, first + size) for first in range(0, B, size)]


def rule_ceiling(
  rule: np.ndarray,
  states: np.ndarray,
  radius: int,
  look_ahead: np.ndarray,
  answer: np.ndarray | None = None,
  max_cases: int = 1024,
) -> Ceiling:
  """Ceiling of predicting the whole rule, all entries at once.

  Open entries are 0 or 1 with probability 1/2. If the state k steps ahead is
  given as well, only the tables that lead to it remain: they are equally
  likely, so the best exact match is one over their number.

  Args:
    rule: [B, 2**(2r+1)], the true rules; see `ceiling`.
    states: [B, T, W], the observed states.
    radius: r, 1 to 4.
    look_ahead: int [B], k of each sample.
    answer: [B, W], the state k steps ahead; None if it is not given.
    max_cases: bound on time and memory, per sample; see `ceiling`.
  """
  rule, states = np.asarray(rule, np.uint8), np.asarray(states, np.uint8)
  values, asked = _asked(look_ahead, len(rule))
  _check(rule, states, values, radius, max_cases)
  scores, exact = np.zeros((len(rule), 2)), np.ones(len(rule), bool)
  for at in _chunks(len(rule), max_cases):
    cases = cases_lib.observe(states[at], radius)
    hidden = (cases.table == cases_lib.OPEN).sum(-1)
    if answer is not None:
      rolled = cases_lib.roll_out(
        cases, values, asked[:, at], rule[at], radius, max_cases
      )
      fit = []
      for there, (cases, known) in zip(asked[:, at], rolled, strict=True):
        given = np.asarray(answer[at], np.uint8)[cases.owner]
        fit.append(cases[(cases.state == given).all(-1)])
        exact[at] &= known | ~there
      cases = jax.tree.map(lambda *x: np.concatenate(x), *fit)
    scores[at] = _score_rules(cases, hidden)
  return Ceiling(scores[:, 0], scores[:, 1], scores[:, 1], exact)


def _score_rules(cases: cases_lib.Cases, hidden: np.ndarray) -> np.ndarray:
  """Exact match and bit accuracy [B, 2] of the best guess of the rule.

  Args:
    cases: at least one for each sample.
    hidden: [B], number of entries that were not observed.
  """
  B, owner = len(hidden), cases.owner
  total = np.bincount(owner, cases.weight, B)
  share = (cases.weight / total[owner])[:, None]
  ones = np.where(cases.table == cases_lib.OPEN, 0.5, cases.table) * share
  chance = np.stack(
    [np.bincount(owner, column, B) for column in ones.T], axis=-1
  )
  bits = np.maximum(chance, 1 - chance).mean(-1)
  return np.stack([0.5**hidden / total, bits], axis=-1)


def _check(rule, states, look_ahead, radius, max_cases):
  B, T, W = states.shape
  automata.check_lattice(W, radius)
  expected = (B, automata.table_size(radius))
  if rule.shape != expected:
    raise ValueError(
      f'rule {rule.shape}: with states {states.shape} and radius {radius}, '
      f'{expected} is needed'
    )
  if T < 1 or max_cases < 1:
    raise ValueError(f'T={T}, max_cases={max_cases}: at least 1 is needed')
  if np.any(look_ahead < 1):
    raise ValueError(f'look_ahead={look_ahead.min()}: at least 1 is needed')
  index = cases_lib.neighbourhoods(states[:, :-1], radius).reshape(B, -1)
  if np.any(cases_lib.take(rule, index) != states[:, 1:].reshape(B, -1)):
    raise ValueError(
      'states: some are not what the rule makes of the one before'
    )


def _score(cases: cases_lib.Cases, B: int) -> np.ndarray:
  """Best scores [B, 3], in the order of the fields of `Ceiling`.

  Those of samples without cases are 0.
  """
  W = cases.state.shape[-1]
  packed = np.packbits(cases.state, axis=-1)
  cases = cases[np.lexsort((*packed.T[::-1], cases.owner))]
  owner, state = cases.owner, cases.state
  weight = cases.weight / np.bincount(owner, cases.weight)[owner]
  # Sorted so, answers with the same first cells are adjacent. `differs` is the
  # first cell in which an answer differs from the one before it: W for the same
  # answer, -1 for another sample.
  unlike = state[1:] != state[:-1]
  differs = np.where(unlike.any(-1), unlike.argmax(-1), W)
  differs = np.where(owner[1:] == owner[:-1], differs, -1)
  differs = np.concatenate([[-1], differs])

  def majority(cell, prefix):
    """Per sample, best accuracy of a cell, given the true `prefix` cells."""
    first = np.flatnonzero(differs < prefix)
    ones = np.add.reduceat(weight * state[:, cell], first)
    right = np.maximum(ones, np.add.reduceat(weight, first) - ones)
    return np.bincount(owner[first], right, B)

  first = np.flatnonzero(differs < W)
  exact_match = np.zeros(B)
  share = np.add.reduceat(weight, first)
  np.maximum.at(exact_match, owner[first], share)
  parallel = sum(majority(cell, 0) for cell in range(W)) / W
  prefix = sum(majority(cell, cell) for cell in range(W)) / W
  return np.stack([exact_match, parallel, prefix], axis=-1)
