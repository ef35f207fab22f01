"""Cases: the ways to fill in a rule that was observed in part, and roll it out.

An entry of the table that no observed transition reads is open: it may be 0 or
1. It matters only once a roll-out reads it. So the roll-out from the last
observed state branches over both values of each open entry as it is read. A
case is a partly filled table and the state reached with it. The number of cases
differs between samples and grows with the steps, so this is NumPy on the host.
"""

from collections.abc import Iterator, Sequence

import flax.struct
import numpy as np

from reasoning_depth.tasks import automata

OPEN = 2  # marks a table entry whose value, 0 or 1, is not known


@flax.struct.dataclass
class Cases:
  """Possible rules and states of B samples; cases of a sample are adjacent.

  Attributes:
    owner: intp [N], the sample of each case, ascending.
    table: uint8 [N, 2**(2r+1)], 0, 1 or OPEN.
    state: uint8 [N, W].
    weight: float64 [N], probability that the open entries filled so far are
      as in the table: a power of two, so that sums are exact.
  """

  owner: np.ndarray
  table: np.ndarray
  state: np.ndarray
  weight: np.ndarray

  def __getitem__(self, at: np.ndarray) -> 'Cases':
    return Cases(
      self.owner[at], self.table[at], self.state[at], self.weight[at]
    )


def observe(states: np.ndarray, radius: int) -> Cases:
  """One case per sample: the observed table entries and the last state.

  Args:
    states: uint8 [B, T, W].
    radius: r.
  """
  B = len(states)
  table = np.full((B, automata.table_size(radius)), OPEN, np.uint8)
  index = neighbourhoods(states[:, :-1], radius).reshape(B, -1)
  np.put_along_axis(table, index, states[:, 1:].reshape(B, -1), axis=-1)
  return Cases(np.arange(B), table, states[:, -1], np.ones(B))


def roll_out(
  cases: Cases,
  look_ahead: Sequence[int],
  asked: np.ndarray,
  truth: np.ndarray,
  radius: int,
  max_cases: int,
) -> Iterator[tuple[Cases, np.ndarray]]:
  """Rolls cases out, from one look-ahead on to the next.

  Args:
    cases: of B samples, from `observe`.
    look_ahead: K values of k, ascending.
    asked: bool [K, B], the samples that are asked at each; one that is asked
      no more is stepped no more.
    truth: uint8 [B, 2**(2r+1)], the true rules, for samples that would have
      more than `max_cases` cases: enough of their entries are revealed.
    radius: r.
    max_cases: per sample.

  Yields:
    at each look-ahead, the cases of the samples that are asked there, and bool
    [B], the samples with no entry revealed so far.
  """
  step, exact = 0, np.ones(len(truth), bool)
  for i, k in enumerate(look_ahead):
    cases = cases[asked[i:].any(0)[cases.owner]]
    while step < k:
      cases, revealed = _step(cases, truth, radius, max_cases)
      exact = exact & ~revealed
      step += 1
    yield cases[asked[i][cases.owner]], exact


def neighbourhoods(states: np.ndarray, radius: int) -> np.ndarray:
  """`automata.neighbourhoods` in NumPy: no compilation for each new shape."""
  largest = automata.table_size(radius) - 1  # more than a byte from r = 4 on
  index = np.zeros(states.shape, np.min_scalar_type(largest))
  for offset in range(-radius, radius + 1):
    index = 2 * index + np.roll(states, -offset, axis=-1)
  return index


def take(table: np.ndarray, index: np.ndarray) -> np.ndarray:
  """Entries [N, n] of tables [N, 2**(2r+1)] at indices [N, n]."""
  return np.take_along_axis(table, index, axis=-1)


def _step(
  cases: Cases, truth: np.ndarray, radius: int, max_cases: int
) -> tuple[Cases, np.ndarray]:
  """The cases one step on, and bool [B], samples with an entry revealed."""
  B = len(truth)
  revealed = np.zeros(B, bool)
  while True:
    fresh = _fresh(cases, radius)
    count = fresh.sum(-1)
    total = np.bincount(cases.owner, 2.0**count, B)
    if np.all(total <= max_cases):
      break
    revealed |= total > max_cases
    # Each entry revealed halves the branches of the cases that read it. There
    # are enough such entries, as the cases before branching were few enough.
    number = np.ceil(np.log2(np.maximum(total / max_cases, 1)))
    cases = _reveal(cases, fresh, number, truth)
  return _stepped(_branch(cases, fresh, count), radius), revealed


def branched(cases: Cases, radius: int, max_cases: int) -> Cases | None:
  """All cases one step on, none revealed; None if more than `max_cases`."""
  fresh = _fresh(cases, radius)
  count = fresh.sum(-1)
  if (2.0**count).sum() > max_cases:
    return None
  return _stepped(_branch(cases, fresh, count), radius)


def _stepped(cases: Cases, radius: int) -> Cases:
  """Cases one step on; the entries that they read are filled in."""
  index = neighbourhoods(cases.state, radius)
  return cases.replace(state=take(cases.table, index))


def _fresh(cases: Cases, radius: int) -> np.ndarray:
  """The open entries that each case reads next, bool [N, 2**(2r+1)]."""
  read = np.zeros(cases.table.shape, bool)
  index = neighbourhoods(cases.state, radius)
  np.put_along_axis(read, index, True, axis=-1)
  return read & (cases.table == OPEN)


def _reveal(
  cases: Cases, fresh: np.ndarray, number: np.ndarray, truth: np.ndarray
) -> Cases:
  """Reveals the true values of the open entries that most cases read.

  Args:
    cases: N cases of B samples.
    fresh: bool [N, E], the open entries that each case reads.
    number: [B], entries to reveal for each sample; 0 for one without cases.
    truth: [B, E], the true rules.

  Returns:
    The cases that agree with the revealed entries; the true one is among them.
  """
  first = np.searchsorted(cases.owner, np.arange(len(truth)))
  votes = np.stack([part.sum(0) for part in np.split(fresh, first[1:])])
  place = np.argsort(np.argsort(-votes, kind='stable'), kind='stable')
  value = np.where(place < number[:, None], truth, OPEN)
  value = value[cases.owner]
  filled = (value != OPEN) & (cases.table == OPEN)
  clash = (value != OPEN) & (cases.table != OPEN) & (value != cases.table)
  table = np.where(filled, value, cases.table)
  weight = cases.weight / 2 ** filled.sum(-1)
  return cases.replace(table=table, weight=weight)[~clash.any(-1)]


def _branch(cases: Cases, fresh: np.ndarray, count: np.ndarray) -> Cases:
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
