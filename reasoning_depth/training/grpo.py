"""Group-relative policy optimisation on the device (2402.03300, section 4).

Several completions are sampled for each prompt; a completion's answer is what
follows its last end-of-thinking token (GEN). Completions with a higher reward
than others of the same prompt become more likely. Nothing between the prompt
and the answer is supervised.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from reasoning_depth import settings
from reasoning_depth.models import base as base_model
from reasoning_depth.models import decoding
from reasoning_depth.scoring import losses
from reasoning_depth.tasks import base, orbit_tokens, orbits
from reasoning_depth.training import methods, state, step

REWARDS = ('token', 'exact')


@dataclasses.dataclass(frozen=True)
class Settings(settings.Settings):
  """Settings of GRPO."""

  generations: int = settings.field(8, 'G, completions of a prompt', least=2)
  thinking: int = settings.field(
    1, 'most states that are generated before the answer'
  )
  forced: int = settings.field(
    0, 'states generated before the answer in any case: GEN is set after each'
  )
  temperature: float = settings.field(
    0.9, 'of sampling and of the probabilities in the loss', above=0
  )
  clip_ratio: float = settings.field(
    0.2, 'the probability ratio is clipped to 1 ± this', above=0
  )
  kl: float = settings.field(
    0.01, 'weight of the KL divergence from the initial policy'
  )
  reward: str = settings.field(
    'token',
    'share of right answer tokens, with the end token; or exact',
    choices=REWARDS,
  )
  format_reward: float = settings.field(
    0.1, 'added where the answer is W cells and the end token'
  )
  updates: int = settings.field(
    1, 'optimiser steps on one set of completions', least=1
  )

  def __post_init__(self):
    super().__post_init__()
    if self.forced > self.thinking:
      settings.complain(
        'forced', self.forced, f'must be at most thinking={self.thinking}'
      )


class GRPO(methods.Method):
  """Rewards on answers that the model generates."""

  Settings = Settings
  generates = True

  def completion(self, task):
    """See `methods.Method`."""
    return completion(self.settings, task)

  def check(self, task):
    """See `methods.Method`."""
    task.check_prompts()

  def make_train_step(self, model, task, optimizer, config):
    """See `methods.Method`."""
    return make_train_step(model, optimizer, config, task, self.settings)

  def first_carry(self, model, params, sample):
    """The parameters of the initial policy."""
    return jax.tree.map(jnp.copy, params)

  def carry_from(self, params, carry):
    """See `methods.Method`."""
    return jax.tree.map(jnp.copy, params)


def completion(own: Settings, task: orbits.Orbits) -> np.ndarray:
  """A GEN after each forced state, and the model's choice elsewhere.

  As budget forcing (2501.19393) sets a word after which a model thinks on.

  Returns:
    int [(thinking + 1) · row_tokens], as `decoding.generate` takes it.
  """
  rows = np.full((own.thinking + 1, task.row_tokens), decoding.CHOSEN)
  rows[: own.forced, -1] = orbit_tokens.Token.GEN
  return rows.reshape(-1)


def rewards(
  own: Settings, answer: orbit_tokens.Answer, target: jax.Array
) -> jax.Array:
  """Reward [N] of answers, given the right states [N, W]."""
  right = answer.cells == target
  if own.reward == 'exact':
    reward = (right.all(-1) & answer.ended).astype(jnp.float32)
  else:
    tokens = right.sum(-1) + (right.any(-1) & answer.ended)
    reward = tokens / (target.shape[-1] + 1)
  well_formed = answer.ended & (answer.cells >= 0).all(-1)
  return reward + own.format_reward * well_formed


def advantages(reward: jax.Array) -> jax.Array:
  """Rewards [P, G], normalised over the G completions of a prompt."""
  mean = reward.mean(-1, keepdims=True)
  return (reward - mean) / (reward.std(-1, keepdims=True) + 1e-4)


def objective(
  own: Settings,
  log_p: jax.Array,
  old: jax.Array,
  reference: jax.Array,
  advantage: jax.Array,
  counted: jax.Array,
) -> jax.Array:
  """Loss per token: clipped policy gradient and KL divergence.

  Args:
    own: clip_ratio and kl.
    log_p: log-probabilities [N, T] of the completions' tokens.
    old: the same, of the policy that sampled them.
    reference: the same, of the initial policy.
    advantage: [N].
    counted: bool [N, T], tokens up to the end of each completion.
  """
  ratio = jnp.exp(log_p - old)
  near = jnp.clip(ratio, 1 - own.clip_ratio, 1 + own.clip_ratio)
  gain = jnp.minimum(ratio * advantage[:, None], near * advantage[:, None])
  # Unbiased, and never negative: e^d - d - 1 with d = log(reference / policy).
  d = reference - log_p
  divergence = jnp.exp(d) - d - 1
  loss = own.kl * divergence - gain
  return jnp.sum(loss, where=counted) / counted.sum()


@dataclasses.dataclass(frozen=True)
class _Completions:
  """Completions of prompts and their rewards.

  Attributes:
    tokens: int32 [N, L], prompts first.
    answer: what follows their last GEN.
    reward: [N].
    advantage: [N].
    counted: bool [N, T], chosen tokens up to the end of each completion.
  """

  tokens: jax.Array
  answer: orbit_tokens.Answer
  reward: jax.Array
  advantage: jax.Array
  counted: jax.Array


def make_train_step(
  model: base_model.Model,
  optimizer: optax.GradientTransformation,
  config: Mapping[str, Any],
  task: orbits.Orbits,
  own: Settings,
) -> methods.TrainStep:
  """A pure function (state, prompts, key) → (state, StepMetrics).

  The state's carry holds the parameters of the initial policy.

  Args:
    model: a causal model.
    optimizer: turns gradients into updates.
    config: `config.train`.
    task: gives prompts and answers.
    own: settings of GRPO.
  """
  W, P = task.width, task.prompt_length

  def log_probs(params, tokens):
    logits = model.apply({'params': params}, tokens[:, :-1]).logits
    log_p = jax.nn.log_softmax(logits[:, P - 1 :] / own.temperature)
    return jnp.take_along_axis(log_p, tokens[:, P:, None], axis=-1)[..., 0]

  def train_step(
    old: state.TrainState, batch: base.Batch, key: jax.Array
  ) -> tuple[state.TrainState, step.StepMetrics]:
    target = jnp.repeat(batch.inputs[:, P : P + W], own.generations, axis=0)
    made = _complete(model, old.params, task, own, batch, target, key)
    sampled = log_probs(old.params, made.tokens)
    reference = log_probs(old.carry, made.tokens)

    def loss(params):
      log_p = log_probs(params, made.tokens)
      return objective(
        own, log_p, sampled, reference, made.advantage, made.counted
      )

    new = old
    for _ in range(own.updates):
      value, grads = jax.value_and_grad(loss)(new.params)
      sums = _sums(value, made.answer, target)
      new, metrics = step.update(new, grads, sums, optimizer, config)
    counts = metrics.finite | metrics.skipped
    new = new.replace(step=old.step + counts)
    return new, metrics.replace(extra=_extra(made, own.generations))

  return train_step


def _complete(
  model, params, task, own: Settings, batch: base.Batch, target, key
) -> _Completions:
  """Samples completions of the prompts of a batch and scores them."""
  G, P = own.generations, task.prompt_length
  prompts = jnp.repeat(batch.inputs[:, :P], G, axis=0)
  given = completion(own, task)
  tokens, _ = decoding.generate(
    model, params, prompts, P + len(given), key, own.temperature, given
  )
  answer = task.last_answer(tokens)
  reward = rewards(own, answer, target)
  # Tokens after the end token do not count.
  ends = tokens[:, P:] == orbit_tokens.Token.EOS
  return _Completions(
    tokens=tokens,
    answer=answer,
    reward=reward,
    advantage=advantages(reward.reshape(-1, G)).reshape(-1),
    counted=(jnp.cumsum(ends, -1) - ends == 0) & (given == decoding.CHOSEN),
  )


def _extra(made: _Completions, generations: int) -> dict[str, jax.Array]:
  """Further metrics of a step."""
  spread = made.reward.reshape(-1, generations).std(-1)
  return {
    'reward': made.reward.mean(),
    # A group of equal rewards has no gradient; 0 is a collapse.
    'reward_spread': spread.mean(),
    'completion_length': made.counted.sum(-1).mean(),
  }


def _sums(
  loss: jax.Array, answer: orbit_tokens.Answer, target: jax.Array
) -> losses.Sums:
  """Sums over completions, from the loss per token and answers [N, W]."""
  N, W = jnp.float32(len(target)), target.shape[-1]
  right = answer.cells == target
  return losses.Sums(
    loss=loss * N * W,
    weight=N * W,
    correct=right.sum(dtype=jnp.float32),
    exact=(right.all(-1) & answer.ended).sum(dtype=jnp.float32),
    samples=N,
    steps=N,
    executed=N,
  )
