"""Answers for orbits that a user has, with what those leave possible."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from reasoning_depth import errors, settings
from reasoning_depth.scoring import evaluate, look_ahead

MOST_K = 10_000


@dataclasses.dataclass(frozen=True)
class Prediction:
  """Predicted states of N orbits at K look-aheads.

  Attributes:
    observed: uint8 [N, T, W], as given.
    look_ahead: K numbers of steps after the last observed state.
    states: int8 [N, K, W], predicted; -1 for what is no cell.
    chance: float64 [N, K, W], probability that a cell is 1, all rules that make
      the observed states taken as equally likely; NaN where it is not known.
    contradictions: for each orbit why no rule makes it, or ''.
    notes: what a reader should know, each one line.
  """

  observed: np.ndarray
  look_ahead: tuple[int, ...]
  states: np.ndarray
  chance: np.ndarray
  contradictions: tuple[str, ...]
  notes: tuple[str, ...] = ()

  @property
  def determined(self) -> np.ndarray:
    """Bool [N, K, W], cells that the observed states determine."""
    return (self.chance == 0) | (self.chance == 1)

  @property
  def wrong(self) -> np.ndarray:
    """Bool [N, K, W], determined cells that are predicted otherwise."""
    return self.determined & (self.states != self.chance)

  def rows(self) -> list[dict[str, Any]]:
    """A record for each orbit, for JSON; '?' in `determined` is open."""
    every = zip(
      self.observed, self.states, self.chance, self.contradictions, strict=True
    )
    return [
      {
        'observed': [_text(x) for x in observed],
        **({'contradiction': wrong} if wrong else {}),
        'answers': [
          {
            'look_ahead': k,
            'state': _text(state),
            'determined': _text(_decided(c)),
            'chance_of_1': None if np.isnan(c).any() else c.tolist(),
          }
          for k, state, c in zip(self.look_ahead, states, chance, strict=True)
        ],
      }
      for observed, states, chance, wrong in every
    ]

  def __str__(self) -> str:
    """All orbits as text, # for 1 and . for 0."""
    return '\n\n'.join(
      [*self.notes, *map(self._orbit, range(len(self.states)))]
    )

  def _orbit(self, i: int) -> str:
    T = len(self.observed[i])
    lines = [f'orbit {i + 1}: {T} observed states']
    lines += [
      f'{n:>8}  {_picture(x)}' for n, x in enumerate(self.observed[i], 1)
    ]
    if self.contradictions[i]:
      lines.append(self.contradictions[i])
    answers = zip(self.look_ahead, self.states[i], self.chance[i], strict=True)
    for k, state, chance in answers:
      lines += _answer(k, state, chance)
    return '\n'.join(lines)


def predict(
  evaluator: evaluate.Evaluator,
  params: Any,
  observed: np.ndarray,
  ks: Sequence[int],
  notes: tuple[str, ...] = (),
) -> Prediction:
  """Predicts states after observed ones.

  Args:
    evaluator: of a task with the sizes of `observed`.
    params: parameters of its model.
    observed: uint8 [N, T, W], from `checked`.
    ks: look-aheads, from `check_ks`.
    notes: of the prediction.

  Raises:
    UsageError: where the task or the model cannot be asked for one of `ks`.
  """
  tokens = look_ahead.answers(evaluator, params, observed, ks)
  states = np.where(tokens < 2, tokens, -1).astype(np.int8)
  task: Any = evaluator.task
  found = task.possible(observed, ks)
  return Prediction(
    observed=observed,
    look_ahead=tuple(ks),
    states=states,
    chance=np.stack([x.chance for x in found]),
    contradictions=tuple(x.contradiction for x in found),
    notes=notes,
  )


def checked(states: Any) -> np.ndarray:
  """Observed states as uint8 [N, T, W], from [T, W] or [N, T, W].

  Raises:
    UsageError: for other shapes, or values other than 0 and 1.
  """
  try:
    array = np.asarray(states)
  except ValueError:
    raise errors.UsageError('rows of different lengths') from None
  if array.dtype.kind not in 'biuf':
    raise errors.UsageError(f'values are {array.dtype}, not 0 and 1')
  if array.ndim not in (2, 3) or not array.size:
    raise errors.UsageError(
      f'shape {array.shape}: must be [states, cells] or [orbits, states, cells]'
    )
  array = array.reshape(-1, *array.shape[-2:])
  wrong = np.argwhere((array != 0) & (array != 1))
  if len(wrong):
    n, t, w = wrong[0]
    raise errors.UsageError(
      f'orbit {n + 1}, row {t + 1}, cell {w + 1} is {array[n, t, w]}: allowed '
      'are 0 and 1'
    )
  return array.astype(np.uint8)


def check_ks(ks: Any) -> tuple[int, ...]:
  """Look-aheads, from one or several numbers.

  Raises:
    UsageError: where they are not ascending numbers from 1 to `MOST_K`.
  """
  values = (ks,) if isinstance(ks, int) else tuple(ks)
  field = settings.Field((), '', least=1, most=MOST_K, ascending=True)
  if complaint := field.complaint(values) or not values and 'one is needed':
    settings.complain('k', values, complaint)
  return values


def parse_ks(text: str) -> tuple[int, ...]:
  """Look-aheads from `1,4,64`; raises `UsageError` as `check_ks`."""
  parts = text.split(',')
  if not all(p.isascii() and p.isdigit() and len(p) < 10 for p in parts):
    settings.complain('--k', text, 'must be whole numbers, as in --k=1,4,64')
  return check_ks(map(int, parts))


def _answer(k: int, state: np.ndarray, chance: np.ndarray) -> list[str]:
  """A line of what is predicted, and one of what is determined beside it."""
  head = f'{f"+{k}":>8}  {_picture(state)}  predicted'
  if np.isnan(chance).any():
    return [f'{head}; not known what is determined']
  decided = _decided(chance)
  if (decided == state).all():
    return [f'{head}; all determined, and so']
  wrong = ((decided >= 0) & (decided != state)).sum()
  verdict = f'determined: {(decided >= 0).sum()} of {len(chance)} cells'
  if wrong:
    verdict += f'; {wrong} predicted otherwise'
  return [head, f'{"":>8}  {_picture(decided)}  {verdict}']


def _decided(chance: np.ndarray) -> np.ndarray:
  """0 or 1 where determined, -1 elsewhere, int8."""
  known = (chance == 0) | (chance == 1)
  return np.where(known, chance == 1, -1).astype(np.int8)


def _text(cells: np.ndarray) -> str:
  return ''.join('01?'[c] for c in cells)


def _picture(cells: np.ndarray) -> str:
  return ''.join('.#?'[c] for c in cells)
