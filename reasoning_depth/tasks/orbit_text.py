"""Orbits as text for language models: questions in words, states as digits."""

import re

import numpy as np

from reasoning_depth.tasks import base

# Variants whose held-out samples ask for one state, with the rule not shown.
VARIANTS = ('o_s', 'multi_horizon', 'by_depth', 'o_o', 'cot')
_QUESTION = """\
These are {T} states, one after another, of a ring of {W} cells, each 0 or 1. \
The next value of a cell depends on its own value and those of its {r} nearest \
neighbours on each side, by the same unknown rule for all cells and all times.

{states}

What is the state {steps} after the last one? Answer with its {W} digits."""


def records(
  samples: base.HeldOut, width: int, radius: int
) -> dict[str, np.ndarray]:
  """Held-out samples as columns `id`, `look_ahead`, `input` and `target`.

  Args:
    samples: that ask for one state each, of one of `VARIANTS`.
    width: W.
    radius: r.
  """
  batch, observed = samples.batch, samples.observed
  answers = batch.targets[batch.weights > 0].reshape(-1, width)
  asked = zip(observed, batch.group.tolist(), strict=True)
  return {
    'id': np.arange(len(answers)),
    'look_ahead': batch.group,
    'input': np.array([question(x, k, radius) for x, k in asked], object),
    'target': np.array([*map(digits, answers)], object),
  }


def question(observed: np.ndarray, look_ahead: int, radius: int) -> str:
  """The question for a state after the observed ones.

  Args:
    observed: [T, W], 0 and 1.
    look_ahead: k.
    radius: r.
  """
  T, W = observed.shape
  return _QUESTION.format(
    T=T, W=W, r=radius, states='\n'.join(map(digits, observed)),
    steps=f'{look_ahead} step{"s" * (look_ahead > 1)}',
  )  # fmt: skip


def digits(state: np.ndarray) -> str:
  """A state [W] as '0110…'."""
  return ''.join(map(str, state.tolist()))


def pattern(width: int) -> str:
  """Regular expression of an answer; of several in a text the last counts."""
  return rf'(?<!\d)[01]{{{width}}}(?!\d)'


def read(text: str, width: int) -> list[int]:
  """The last state in a text; [] where there is none."""
  found = re.findall(pattern(width), text)
  return list(map(int, found[-1])) if found else []
