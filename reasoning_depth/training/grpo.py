"""Group-relative policy optimisation on the device (2402.03300, section 4).

A prompt is completed several times; what a completion says after its last
end-of-thinking token (GEN) is its answer. Completions that do better than
others of the same prompt become more likely. Nothing between the prompt and the
answer is supervised.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from reasoning_depth.models import decoding
from reasoning_depth.scoring import losses
from reasoning_depth.tasks import base, orbits
from reasoning_depth.training import state, step

REWARDS = ('token', 'exact')


@dataclasses.dataclass(frozen=True)
class Settings:
  """Choices of the optimisation.

  Attributes:
    generations: completions of a prompt, G.
    thinking: states at most that a completion may spell before its answer.
    temperature: of sampling; probabilities are taken at it as well.
    clip_ratio: ε, how far the ratio of probabilities is followed.
    kl: β, weight of the divergence from the starting policy.
    reward: 'token' (share of right tokens of the answer, its end included) or
      'exact' (all of them right).
    format_reward: added where the answer is W cells and the end.
    updates: optimiser steps on one set of completions.
  """

  generations: int = 8
  thinking: int = 1
  temperature: float = 0.9
  clip_ratio: float = 0.2
  kl: float = 0.01
  reward: str = 'token'
  format_reward: float = 0.1
  updates: int = 1

  def __post_init__(self):
    if self.reward not in REWARDS:
      raise ValueError(
        f'grpo.reward={self.reward!r}: allowed are {", ".join(REWARDS)}'
      )
    for field, least in (('generations', 2), ('thinking', 0), ('updates', 1)):
      if getattr(self, field) < least:
        raise ValueError(
          f'grpo.{field}={getattr(self, field)}: must be at least {least}'
        )
    if self.temperature <= 0:
      raise ValueError(f'grpo.temperature={self.temperature}: must be above 0')


def check(task: base.Task) -> None:
  """Raises ValueError unless the task has prompts to be completed."""
  if not isinstance(task, orbits.Orbits) or (
    (task.variant, task.layout) != ('o_s', 'causal')
  ):
    raise ValueError(
      'config.train.method=grpo: needs task.name=orbits, task.variant=o_s and '
      'task.layout=causal'
    )


def rewards(
  settings: Settings, answer: orbits.Answer, target: jax.Array
) -> jax.Array:
  """Reward [N] of answers to states [N, W]."""
  right = answer.cells == target
  if settings.reward == 'exact':
    reward = (right.all(-1) & answer.ended).astype(jnp.float32)
  else:
    tokens = right.sum(-1) + (right.any(-1) & answer.ended)
    reward = tokens / (target.shape[-1] + 1)
  well_formed = answer.ended & (answer.cells >= 0).all(-1)
  return reward + settings.format_reward * well_formed


def advantages(reward: jax.Array) -> jax.Array:
  """Rewards [P, G] relative to those of the same prompt."""
  mean = reward.mean(-1, keepdims=True)
  return (reward - mean) / (reward.std(-1, keepdims=True) + 1e-4)


def objective(
  settings: Settings,
  log_p: jax.Array,
  old: jax.Array,
  reference: jax.Array,
  advantage: jax.Array,
  spoken: jax.Array,
) -> jax.Array:
  """What is minimised: clipped policy gradient and divergence, per token.

  Args:
    settings: clip_ratio and kl.
    log_p: [N, T] of the completions' tokens under the parameters.
    old: as log_p, under those that made the completions.
    reference: as log_p, under the starting policy.
    advantage: [N].
    spoken: bool [N, T], tokens up to the end of each completion.
  """
  ratio = jnp.exp(log_p - old)
  near = jnp.clip(ratio, 1 - settings.clip_ratio, 1 + settings.clip_ratio)
  gain = jnp.minimum(ratio * advantage[:, None], near * advantage[:, None])
  # Unbiased, and never negative: e^d - d - 1 with d = log(reference / policy).
  d = reference - log_p
  divergence = jnp.exp(d) - d - 1
  loss = settings.kl * divergence - gain
  return jnp.sum(loss, where=spoken) / spoken.sum()


def make_train_step(
  model: nn.Module,
  optimizer: optax.GradientTransformation,
  config: Mapping[str, Any],
  task: orbits.Orbits,
) -> Callable[[state.TrainState, base.Batch, jax.Array], tuple]:
  """A pure function (state, prompts, key) → (state, StepMetrics).

  The state's carry holds the parameters of the starting policy.

  Args:
    model: a causal model.
    optimizer: turns gradients into updates.
    config: `config.train`.
    task: gives prompts and answers.
  """
  settings = Settings(**config['grpo'])
  W, P = task.width, task.prompt_length
  length = P + (settings.thinking + 1) * task.row_tokens

  def log_probs(params, tokens):
    logits = model.apply({'params': params}, tokens[:, :-1]).logits
    log_p = jax.nn.log_softmax(logits[:, P - 1 :] / settings.temperature)
    return jnp.take_along_axis(log_p, tokens[:, P:, None], axis=-1)[..., 0]

  def train_step(
    old: state.TrainState, batch: base.Batch, key: jax.Array
  ) -> tuple[state.TrainState, step.StepMetrics]:
    G = settings.generations
    prompts = jnp.repeat(batch.inputs[:, :P], G, axis=0)
    target = jnp.repeat(batch.inputs[:, P : P + W], G, axis=0)
    tokens, _ = decoding.generate(
      model, old.params, prompts, length, key, settings.temperature
    )
    answer = orbits.last_answer(tokens, P, W)
    reward = rewards(settings, answer, target)
    advantage = advantages(reward.reshape(-1, G)).reshape(-1)
    # What comes after the end does not count.
    ends = tokens[:, P:] == orbits.Token.EOS
    spoken = jnp.cumsum(ends, -1) - ends == 0
    was = log_probs(old.params, tokens)
    reference = log_probs(old.carry, tokens)

    def loss(params):
      return objective(
        settings, log_probs(params, tokens), was, reference, advantage, spoken
      )

    new = old
    for _ in range(settings.updates):
      value, grads = jax.value_and_grad(loss)(new.params)
      sums = _sums(value, answer, target)
      new, metrics = step.update(new, grads, sums, optimizer, config)
    extra = {
      'reward': reward.mean(),
      # Groups without a spread teach nothing: watch for a collapse.
      'reward_spread': reward.reshape(-1, G).std(-1).mean(),
      'completion_length': spoken.sum(-1).mean(),
    }
    made = metrics.finite | metrics.skipped
    new = new.replace(step=old.step + made)
    return new, metrics.replace(extra=extra)

  return train_step


def _sums(
  loss: jax.Array, answer: orbits.Answer, target: jax.Array
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
