"""Ceiling and baselines of orbits, to stand beside a model's scores."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from reasoning_depth.tasks import baselines, ceiling, orbit_tokens

Scores = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Known:
  """Scores of ceiling and baselines, by name.

  Attributes:
    layout: what is shown and asked.
    flipped: whether cells are shown flipped. The ceiling is then that of the
      true orbits, which no predictor sees, under a name of its own.
  """

  layout: orbit_tokens.Layout
  flipped: bool

  def of_states(
    self,
    rules: np.ndarray,
    states: np.ndarray,
    look_ahead: np.ndarray,
    observed: np.ndarray,
    scored_by: str = 'generation',
  ) -> Scores:
    """Scores [N] of predicting states.

    Args:
      rules: [N, 2**(2r+1)].
      states: [N, >= T + max k, W], of the true orbits.
      look_ahead: int [N].
      observed: [N, T, W], the first states as they are shown.
      scored_by: 'generation', or 'teacher forcing', where a chain of thought
        has the true states before the predicted one as input.
    """
    layout, N = self.layout, len(rules)
    T = layout.num_states
    if layout.variant == 'ro_s':  # with the rule given, the ceiling is 1
      best = ceiling.certain(N)
    elif layout.generated and scored_by == 'teacher forcing':
      best = self._of_next(rules, states, look_ahead)
    else:
      best = ceiling.ceiling(
        rules, states[:, :T], look_ahead, radius=layout.radius
      )
    values, which = np.unique(look_ahead, return_inverse=True)
    return self._named(best, layout.causal) | {
      name: score[which, np.arange(N)]
      for name, score in self._baselines(states, observed, values).items()
    }

  def further(
    self,
    rules: np.ndarray,
    states: np.ndarray,
    look_ahead: Sequence[int],
    observed: np.ndarray,
  ) -> Scores:
    """Scores [K, N] at K ascending look-aheads of every sample.

    Args:
      rules: as of `of_states`.
      states: as of `of_states`.
      look_ahead: K values.
      observed: as of `of_states`.
    """
    T = self.layout.num_states
    best = ceiling.ceilings(
      rules, states[:, :T], look_ahead, radius=self.layout.radius
    )
    scores = self._named(best, self.layout.causal)
    return scores | self._baselines(states, observed, look_ahead)

  def of_rule(
    self, rules: np.ndarray, states: np.ndarray, look_ahead: np.ndarray
  ) -> Scores:
    """Ceiling [N] of predicting the rule; arguments as of `of_states`."""
    T = self.layout.num_states
    answers = None
    if self.layout.causal and self.layout.variant == 'o_sr':
      # The true state comes before the rule and gives information about it.
      answers = states[np.arange(len(rules)), T - 1 + look_ahead]
    best = ceiling.rule_ceiling(
      rules, states[:, :T], self.layout.radius, look_ahead, answers
    )
    return self._named(best, causal=False)

  def _of_next(self, rules, states, look_ahead) -> ceiling.Ceiling:
    """Ceiling [N] of a chain of thought under teacher forcing."""
    found = ceiling.certain(len(rules))
    if self.layout.variant == 'rule_cot':  # the rule is given as well
      return found
    for k in np.unique(look_ahead):
      at = look_ahead == k
      seen = states[at, : self.layout.num_states + k - 1]
      best = ceiling.ceiling(
        rules[at], seen, np.ones(at.sum(), int), radius=self.layout.radius
      )
      for name, values in vars(best).items():
        vars(found)[name][at] = values
    return found

  def _baselines(self, states, observed, look_ahead) -> Scores:
    """Scores [K, N] of predictors without learning."""
    layout = self.layout
    answers = states[:, layout.num_states - 1 + np.array(look_ahead)]
    return baselines.scores(
      observed, answers.swapaxes(0, 1), layout.radius, look_ahead
    )

  def _named(self, best: ceiling.Ceiling, causal: bool) -> Scores:
    if self.flipped:
      return {'clean_ceiling_exact_match': best.exact_match}
    return best.named(causal)
