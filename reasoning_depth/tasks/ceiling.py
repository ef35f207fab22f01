"""The best score that any predictor can reach on given orbits.

Some states of an orbit are seen, and the state k steps after the last one is
asked. The transitions seen reveal the table entries that they read; the other
entries are open, and with rules drawn uniformly every way to fill them is
equally likely. That the rule comes from one split does not help: a split is a
scattered set of rules that a predictor cannot tell from all rules.

An open entry matters only once the roll-out reads it. So the roll-out from the
last state seen branches there, once for each value of each open entry that a
state reads, and a case (a partly filled table and the state that it led to)
has a weight that halves with each entry filled. The number of cases differs
from sample to sample and grows as they step, which suits NumPy on the host.
"""

import flax.struct
import numpy as np

from reasoning_depth.tasks import automata

# Names of what is known of each sample, in evaluations and reports.
NAMES = ('ceiling_exact_match', 'ceiling_bit_accuracy', 'ceiling_is_exact')
_OPEN = 2  # the value of an entry not known; 0 and 1 are known
_ROWS = 2**17  # cases held at once, at most; about a kilobyte each at r = 3


@flax.struct.dataclass
class Ceiling:
  """Best expected scores, each float32 [B] in 0 to 1.

  Attributes:
    exact_match: probability of the most likely answer. Cells that are each
      predicted by their own majority may spell an answer less likely.
    bit_accuracy: share of right cells when all are predicted at once, from
      what was observed (masked layout).
    prefix_bit_accuracy: the same when each cell is predicted from the true
      cells left of it as well (causal layout, teacher forcing).
    exact: bool [B]; where False, the predictor was told some open entries.
  """

  exact_match: np.ndarray
  bit_accuracy: np.ndarray
  prefix_bit_accuracy: np.ndarray
  exact: np.ndarray

  def named(self, causal: bool) -> dict[str, np.ndarray]:
    """By `NAMES`, for a layout that is causal or not."""
    bits = self.prefix_bit_accuracy if causal else self.bit_accuracy
    values = self.exact_match, bits, self.exact
    return dict(zip(NAMES, values, strict=True))


@flax.struct.dataclass
class _Cases:
  """What may be true of a few samples; the cases of one sample are adjacent.

  Attributes:
    owner: intp [N], the sample of each case, ascending.
    table: uint8 [N, 2**(2r+1)], 0, 1 or open.
    state: uint8 [N, W].
    weight: float64 [N], probability that the open entries filled so far are
      as in the table: a power of two, so that sums are exact.
  """

  owner: np.ndarray
  table: np.ndarray
  state: np.ndarray
  weight: np.ndarray

  def __getitem__(self, rows: np.ndarray) -> '_Cases':
    return _Cases(
      self.owner[rows], self.table[rows], self.state[rows], self.weight[rows]
    )


def ceiling(
  rule: np.ndarray,
  states: np.ndarray,
  look_ahead: np.ndarray,
  *,
  radius: int,
  max_cases: int = 1024,
) -> Ceiling:
  """Computes what can be known of states[:, -1] rolled on by `look_ahead`.

  Args:
    rule: [B, 2**(2r+1)], the true rules. They are used only for samples with
      more than `max_cases` cases: there the predictor is told as many open
      entries as it takes to stay within. What it is told does not depend on
      what it could not know, so the ceilings of such samples are too high on
      average over rules, though a single one may be too low.
    states: [B, T, W], the states observed, T >= 1, and nothing more.
    look_ahead: int [B], k >= 1 of each sample.
    radius: r, 1 to 3.
    max_cases: bound on time and memory, per sample.

  Raises:
    ValueError: for an impossible lattice, shapes that do not match, a
      look-ahead or `max_cases` below 1, or states that the rule does not make.
  """
  rule = np.asarray(rule, np.uint8)
  states = np.asarray(states, np.uint8)
  look_ahead = np.asarray(look_ahead)
  _check(rule, states, look_ahead, radius, max_cases)
  B = len(rule)
  scores = np.zeros((B, 3), np.float32)
  exact = np.ones(B, bool)
  chunk = max(1, _ROWS // max_cases)
  for first in range(0, B, chunk):
    at = slice(first, first + chunk)
    k, truth = look_ahead[at], rule[at]
    cases = _observe(states[at], radius)
    for step in range(k.max()):
      live = step < k
      cases, told = _step(cases, live, truth, radius, max_cases)
      exact[at] &= ~told
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
  """What can be known of the whole rule, all entries asked at once.

  Entries that no transition has revealed are 0 or 1 with even chances. Where
  the state k steps ahead is shown as well, only fillings that lead to it are
  left: these fillings are equally likely, so the best guess is right once in
  as many as there are.

  Args:
    rule: [B, 2**(2r+1)], the true rules; see `ceiling`.
    states: [B, T, W], the states observed.
    radius: r, 1 to 3.
    look_ahead: int [B], k of each sample.
    answer: [B, W], the state k steps ahead where it is shown; None where not.
    max_cases: bound on time and memory, per sample; see `ceiling`.
  """
  rule, states = np.asarray(rule, np.uint8), np.asarray(states, np.uint8)
  look_ahead = np.asarray(look_ahead)
  _check(rule, states, look_ahead, radius, max_cases)
  scores, exact = np.zeros((len(rule), 2)), np.ones(len(rule), bool)
  chunk = max(1, _ROWS // max_cases)
  for first in range(0, len(rule), chunk):
    at = slice(first, first + chunk)
    cases = _observe(states[at], radius)
    hidden = (cases.table == _OPEN).sum(-1)
    if answer is not None:
      for step in range(look_ahead[at].max()):
        live = step < look_ahead[at]
        cases, told = _step(cases, live, rule[at], radius, max_cases)
        exact[at] &= ~told
      shown = np.asarray(answer[at], np.uint8)[cases.owner]
      cases = cases[(cases.state == shown).all(-1)]
    scores[at] = _score_rules(cases, hidden)
  return Ceiling(
    scores[:, 0].astype(np.float32), scores[:, 1].astype(np.float32),
    scores[:, 1].astype(np.float32), exact,
  )  # fmt: skip


def _score_rules(cases: _Cases, hidden: np.ndarray) -> np.ndarray:
  """Exact match and bit accuracy [B, 2] of the best guess of the rule.

  Args:
    cases: what may be true; at least one a sample.
    hidden: [B], entries that were not observed.
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
  """`automata.neighbourhoods` without a compilation for each new shape."""
  index = np.zeros(states.shape, np.uint8)  # below 128
  for offset in range(-radius, radius + 1):
    index = 2 * index + np.roll(states, -offset, axis=-1)
  return index


def _take(table: np.ndarray, index: np.ndarray) -> np.ndarray:
  return np.take_along_axis(table, index, axis=-1)


def _observe(states: np.ndarray, radius: int) -> _Cases:
  """One case a sample: the entries seen, and the last state."""
  B = len(states)
  table = np.full((B, automata.table_size(radius)), _OPEN, np.uint8)
  index = _neighbourhoods(states[:, :-1], radius).reshape(B, -1)
  np.put_along_axis(table, index, states[:, 1:].reshape(B, -1), axis=-1)
  return _Cases(np.arange(B), table, states[:, -1], np.ones(B))


def _step(
  cases: _Cases,
  live: np.ndarray,
  truth: np.ndarray,
  radius: int,
  max_cases: int,
) -> tuple[_Cases, np.ndarray]:
  """Steps the cases of the samples that are `live` (bool [B]).

  Returns:
    The new cases, and bool [B], the samples that were told an entry.
  """
  told = np.zeros(len(live), bool)
  while True:
    fresh = _fresh(cases, radius) & live[cases.owner, None]
    count = fresh.sum(-1)
    total = np.bincount(cases.owner, 2.0**count)
    if np.all(total <= max_cases):
      break
    told |= total > max_cases
    # An entry told halves the cases that would split on it. There are always
    # that many to tell, as the cases so far were few enough.
    number = np.ceil(np.log2(np.maximum(total / max_cases, 1)))
    cases = _tell(cases, fresh, number, truth)
  cases = _branch(cases, fresh, count)
  new = _take(cases.table, _neighbourhoods(cases.state, radius))
  new = np.where(live[cases.owner, None], new, cases.state)
  return cases.replace(state=new), told


def _fresh(cases: _Cases, radius: int) -> np.ndarray:
  """The open entries that each case reads next, bool [N, 2**(2r+1)]."""
  read = np.zeros(cases.table.shape, bool)
  index = _neighbourhoods(cases.state, radius)
  np.put_along_axis(read, index, True, axis=-1)
  return read & (cases.table == _OPEN)


def _tell(
  cases: _Cases, fresh: np.ndarray, number: np.ndarray, truth: np.ndarray
) -> _Cases:
  """Tells the true values of the entries that most cases would split on.

  Args:
    cases: N cases of B samples.
    fresh: bool [N, E], the entries that each case would split on.
    number: [B], how many entries each sample is told.
    truth: [B, E], the true rules.

  Returns:
    The cases that agree with what was told; the true one is among them.
  """
  first = np.searchsorted(cases.owner, np.arange(len(truth)))
  votes = np.stack([part.sum(0) for part in np.split(fresh, first[1:])])
  place = np.argsort(np.argsort(-votes, kind='stable'), kind='stable')
  told = np.where(place < number[:, None], truth, _OPEN)
  told = told[cases.owner]
  filled = (told != _OPEN) & (cases.table == _OPEN)
  clash = (told != _OPEN) & (cases.table != _OPEN) & (told != cases.table)
  table = np.where(filled, told, cases.table)
  weight = cases.weight / 2 ** filled.sum(-1)
  return cases.replace(table=table, weight=weight)[~clash.any(-1)]


def _branch(cases: _Cases, fresh: np.ndarray, count: np.ndarray) -> _Cases:
  """Splits each case into all fillings of its `fresh` entries (bool [N, E])."""
  splits = 2**count
  rows = np.repeat(np.arange(len(count)), splits)
  filling = np.arange(len(rows)) - np.repeat(splits.cumsum() - splits, splits)
  rank = fresh.cumsum(-1, dtype=np.uint8) - 1
  case, entry = np.nonzero(fresh[rows])
  bit = (filling[case] >> rank[rows[case], entry]) & 1
  cases = cases[rows]
  cases.table[case, entry] = bit
  return cases.replace(weight=cases.weight / splits[rows])


def _score(cases: _Cases) -> np.ndarray:
  """Scores [B, 3] of the best predictions, in the order of `Ceiling`."""
  W = cases.state.shape[-1]
  packed = np.packbits(cases.state, axis=-1)
  cases = cases[np.lexsort((*packed.T[::-1], cases.owner))]
  owner, state = cases.owner, cases.state
  weight = cases.weight / np.bincount(owner, cases.weight)[owner]
  # In this order answers with the same first cells are adjacent. `differs` is
  # the first cell in which an answer differs from the one before it: W for the
  # same answer, -1 for another sample.
  unlike = state[1:] != state[:-1]
  differs = np.where(unlike.any(-1), unlike.argmax(-1), W)
  differs = np.where(owner[1:] == owner[:-1], differs, -1)
  differs = np.concatenate([[-1], differs])

  def majority(cell, prefix):
    """Per sample, share of cases right about a cell, its prefix known."""
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
