"""Ceiling: the best expected score of any predictor on given orbits.

The predictor sees the first states of an orbit and predicts the state k steps
after the last one. The observed transitions determine the table entries that
they read; the other entries are open, and since rules are drawn uniformly all
values of the open entries are equally likely. Knowing the split does not help:
it is a pseudo-random set of rules.

An open entry matters only once the roll-out reads it. So the roll-out from the
last observed state branches over the values of each open entry that it reads.
A case (a partly filled table and the state reached) has a weight that halves
with each entry filled. The number of cases differs between samples and grows
with the steps, so this is NumPy on the host.
"""

import flax.struct
import numpy as np

from reasoning_depth.tasks import automata

# Names of the per-sample scores, in evaluations and reports.
NAMES = ('ceiling_exact_match', 'ceiling_bit_accuracy', 'ceiling_is_exact')
_OPEN = 2  # marks a table entry whose value, 0 or 1, is not known
_MOST_CASES = 2**17  # held at once; about a kilobyte each at r = 3


@flax.struct.dataclass
class Ceiling:
  """Best expected scores, each float32 [B] in 0 to 1.

  Attributes:
    exact_match: probability of the most likely answer. Predicting the most
      likely value of each cell by itself may give a less likely answer.
    bit_accuracy: expected share of right cells when all are predicted at once
      from the observed states (masked layout).
    prefix_bit_accuracy: the same when each cell is predicted from the true
      cells left of it as well (causal layout, teacher forcing).
    exact: bool [B]; where False, some open entries were given to the predictor.
  """

  exact_match: np.ndarray
  bit_accuracy: np.ndarray
  prefix_bit_accuracy: np.ndarray
  exact: np.ndarray

  def named(self, causal: bool) -> dict[str, np.ndarray]:
    """Scores by `NAMES`, for the causal or the masked layout."""
    bits = self.prefix_bit_accuracy if causal else self.bit_accuracy
    values = self.exact_match, bits, self.exact
    return dict(zip(NAMES, values, strict=True))


@flax.struct.dataclass
class _Cases:
  """Possible rules and states of samples; cases of a sample are adjacent.

  Attributes:
    owner: intp [N], the sample of each case, ascending.
    table: uint8 [N, 2**(2r+1)], 0, 1 or _OPEN.
    state: uint8 [N, W].
    weight: float64 [N], probability that the open entries filled so far are
      as in the table: a power of two, so that sums are exact.
  """

  owner: np.ndarray
  table: np.ndarray
  state: np.ndarray
  weight: np.ndarray

  def __getitem__(self, at: np.ndarray) -> '_Cases':
    return _Cases(
      self.owner[at], self.table[at], self.state[at], self.weight[at]
    )


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
    radius: r, 1 to 3.
    max_cases: bound on time and memory, per sample.

  Raises:
    ValueError: for an impossible lattice, shapes that do not match, a
      look-ahead or `max_cases` below 1, or states that do not follow the rule.
  """
  rule = np.asarray(rule, np.uint8)
  states = np.asarray(states, np.uint8)
  look_ahead = np.asarray(look_ahead)
  _check(rule, states, look_ahead, radius, max_cases)
  B = len(rule)
  scores = np.zeros((B, 3), np.float32)
  exact = np.ones(B, bool)
  chunk = max(1, _MOST_CASES // max_cases)
  for first in range(0, B, chunk):
    at = slice(first, first + chunk)
    cases = _observe(states[at], radius)
    cases, exact[at] = _roll_out(
      cases, look_ahead[at], rule[at], radius, max_cases
    )
    scores[at] = _score(cases)
  return Ceiling(*scores.T, exact)


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
    radius: r, 1 to 3.
    look_ahead: int [B], k of each sample.
    answer: [B, W], the state k steps ahead; None if it is not given.
    max_cases: bound on time and memory, per sample; see `ceiling`.
  """
  rule, states = np.asarray(rule, np.uint8), np.asarray(states, np.uint8)
  look_ahead = np.asarray(look_ahead)
  _check(rule, states, look_ahead, radius, max_cases)
  scores, exact = np.zeros((len(rule), 2)), np.ones(len(rule), bool)
  chunk = max(1, _MOST_CASES // max_cases)
  for first in range(0, len(rule), chunk):
    at = slice(first, first + chunk)
    cases = _observe(states[at], radius)
    hidden = (cases.table == _OPEN).sum(-1)
    if answer is not None:
      cases, exact[at] = _roll_out(
        cases, look_ahead[at], rule[at], radius, max_cases
      )
      given = np.asarray(answer[at], np.uint8)[cases.owner]
      cases = cases[(cases.state == given).all(-1)]
    scores[at] = _score_rules(cases, hidden)
  return Ceiling(
    scores[:, 0].astype(np.float32), scores[:, 1].astype(np.float32),
    scores[:, 1].astype(np.float32), exact,
  )  # fmt: skip


def _score_rules(cases: _Cases, hidden: np.ndarray) -> np.ndarray:
  """Exact match and bit accuracy [B, 2] of the best guess of the rule.

  Args:
    cases: at least one for each sample.
    hidden: [B], number of entries that were not observed.
  """
  B, owner = len(hidden), cases.owner
  total = np.bincount(owner, cases.weight, B)
  share = (cases.weight / total[owner])[:, None]
  ones = np.where(cases.table == _OPEN, 0.5, cases.table) * share
  chance = np.stack(
    [np.bincount(owner, column, B) for column in ones.T], axis=-1
  )
  bits = np.maximum(chance, 1 - chance).mean(-1)
  return np.stack([0.5**hidden / total, bits], axis=-1)


def _check(rule, states, look_ahead, radius, max_cases):
  B, T, W = states.shape
  automata.check_lattice(W, radius)
  expected = (B, automata.table_size(radius))
  if rule.shape != expected or look_ahead.shape != (B,):
    raise ValueError(
      f'rule {rule.shape} and look_ahead {look_ahead.shape}: with states '
      f'{states.shape} and radius {radius}, {expected} and {(B,)} are needed'
    )
  if T < 1 or max_cases < 1:
    raise ValueError(f'T={T}, max_cases={max_cases}: at least 1 is needed')
  if np.any(look_ahead < 1):
    raise ValueError(f'look_ahead={look_ahead.min()}: at least 1 is needed')
  index = _neighbourhoods(states[:, :-1], radius).reshape(B, -1)
  if np.any(_take(rule, index) != states[:, 1:].reshape(B, -1)):
    raise ValueError(
      'states: some are not what the rule makes of the one before'
    )


def _neighbourhoods(states: np.ndarray, radius: int) -> np.ndarray:
  """`automata.neighbourhoods` in NumPy: no compilation for each new shape."""
  index = np.zeros(states.shape, np.uint8)  # below 128
  for offset in range(-radius, radius + 1):
    index = 2 * index + np.roll(states, -offset, axis=-1)
  return index


def _take(table: np.ndarray, index: np.ndarray) -> np.ndarray:
  return np.take_along_axis(table, index, axis=-1)


def _observe(states: np.ndarray, radius: int) -> _Cases:
  """One case per sample: the observed table entries and the last state."""
  B = len(states)
  table = np.full((B, automata.table_size(radius)), _OPEN, np.uint8)
  index = _neighbourhoods(states[:, :-1], radius).reshape(B, -1)
  np.put_along_axis(table, index, states[:, 1:].reshape(B, -1), axis=-1)
  return _Cases(np.arange(B), table, states[:, -1], np.ones(B))


def _roll_out(
  cases: _Cases,
  look_ahead: np.ndarray,
  truth: np.ndarray,
  radius: int,
  max_cases: int,
) -> tuple[_Cases, np.ndarray]:
  """Steps each sample's cases by its look-ahead, [B].

  Returns:
    The new cases, and bool [B], the samples with no entry revealed.
  """
  exact = np.ones(len(look_ahead), bool)
  for step in range(look_ahead.max()):
    live = step < look_ahead
    cases, revealed = _step(cases, live, truth, radius, max_cases)
    exact &= ~revealed
  return cases, exact


def _step(
  cases: _Cases,
  live: np.ndarray,
  truth: np.ndarray,
  radius: int,
  max_cases: int,
) -> tuple[_Cases, np.ndarray]:
  """Steps the cases of the samples that are `live` (bool [B]).

  Returns:
    The new cases, and bool [B], the samples with an entry revealed.
  """
  revealed = np.zeros(len(live), bool)
  while True:
    fresh = _fresh(cases, radius) & live[cases.owner, None]
    count = fresh.sum(-1)
    total = np.bincount(cases.owner, 2.0**count)
    if np.all(total <= max_cases):
      break
    revealed |= total > max_cases
    # Each entry revealed halves the branches of the cases that read it. There
    # are enough such entries, as the cases before branching were few enough.
    number = np.ceil(np.log2(np.maximum(total / max_cases, 1)))
    cases = _reveal(cases, fresh, number, truth)
  cases = _branch(cases, fresh, count)
  new = _take(cases.table, _neighbourhoods(cases.state, radius))
  new = np.where(live[cases.owner, None], new, cases.state)
  return cases.replace(state=new), revealed


def _fresh(cases: _Cases, radius: int) -> np.ndarray:
  """The open entries that each case reads next, bool [N, 2**(2r+1)]."""
  read = np.zeros(cases.table.shape, bool)
  index = _neighbourhoods(cases.state, radius)
  np.put_along_axis(read, index, True, axis=-1)
  return read & (cases.table == _OPEN)


def _reveal(
  cases: _Cases, fresh: np.ndarray, number: np.ndarray, truth: np.ndarray
) -> _Cases:
  """Reveals the true values of the open entries that most cases read.

  Args:
    cases: N cases of B samples.
    fresh: bool [N, E], the open entries that each case reads.
    number: [B], entries to reveal for each sample.
    truth: [B, E], the true rules.

  Returns:
    The cases that agree with the revealed entries; the true one is among them.
  """
  first = np.searchsorted(cases.owner, np.arange(len(truth)))
  votes = np.stack([part.sum(0) for part in np.split(fresh, first[1:])])
  place = np.argsort(np.argsort(-votes, kind='stable'), kind='stable')
  value = np.where(place < number[:, None], truth, _OPEN)
  value = value[cases.owner]
  filled = (value != _OPEN) & (cases.table == _OPEN)
  clash = (value != _OPEN) & (cases.table != _OPEN) & (value != cases.table)
  table = np.where(filled, value, cases.table)
  weight = cases.weight / 2 ** filled.sum(-1)
  return cases.replace(table=table, weight=weight)[~clash.any(-1)]


def _branch(cases: _Cases, fresh: np.ndarray, count: np.ndarray) -> _Cases:
  """Branches each case over all values of its `fresh` entries, bool [N, E]."""
  branches = 2**count
  parent = np.repeat(np.arange(len(count)), branches)
  first = np.repeat(branches.cumsum() - branches, branches)
  filling = np.arange(len(parent)) - first
  rank = fresh.cumsum(-1, dtype=np.uint8) - 1
  case, entry = np.nonzero(fresh[parent])
  bit = (filling[case] >> rank[parent[case], entry]) & 1
  cases = cases[parent]
  cases.table[case, entry] = bit
  return cases.replace(weight=cases.weight / branches[parent])


def _score(cases: _Cases) -> np.ndarray:
  """Best scores [B, 3], in the order of the fields of `Ceiling`."""
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
    return np.bincount(owner[first], right)

  first = np.flatnonzero(differs < W)
  exact_match = np.zeros(owner[-1] + 1)
  share = np.add.reduceat(weight, first)
  np.maximum.at(exact_match, owner[first], share)
  parallel = sum(majority(cell, 0) for cell in range(W)) / W
  prefix = sum(majority(cell, cell) for cell in range(W)) / W
  return np.stack([exact_match, parallel, prefix], axis=-1)
