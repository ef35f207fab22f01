"""Exact match and bit accuracy on frozen held-out samples, per group.

The samples depend on seed, split and number alone: they are drawn in blocks of
a fixed size and fed in padded batches, so that neither the batch size nor the
number of devices changes what is measured.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth.models import decoding
from reasoning_depth.runtime import sharding
from reasoning_depth.scoring import losses
from reasoning_depth.tasks import base, baselines, ceiling, orbits

BLOCK = 256  # samples drawn from one key
SPLIT_IDS = {'train': 0, 'validation': 1, 'test': 2}
# Names of what `ceiling` gives for each sample.
_CEILING = ('ceiling_exact_match', 'ceiling_bit_accuracy', 'ceiling_is_exact')
Z95 = 1.959964  # half-width of a 95 % interval in standard deviations


@dataclasses.dataclass(frozen=True)
class HeldOut:
  """Frozen samples on the host, and what is known of them without a model.

  Attributes:
    batch: arrays [N, ...].
    observed: [N, T, W] observed states, for orbits; else None.
    known: named per-sample scores [N] of ceiling and baselines.
    group_name: what the batch's groups count, or what they are.
    labels: names of the groups from 0 on, where they have names.
  """

  batch: base.Batch
  observed: np.ndarray | None
  known: dict[str, np.ndarray]
  group_name: str = 'look_ahead'
  labels: tuple[str, ...] = ()

  def by_group(
    self, row: Callable[[np.ndarray], dict[str, Any]]
  ) -> dict[str, Any]:
    """What `row` says of chosen samples, bool [N]: all, and each group's."""
    group = self.batch.group
    return {
      'overall': row(np.ones(len(group), bool)),
      'groups': [
        {
          'group': int(g),
          **({'label': self.labels[g]} if self.labels else {}),
          **row(group == g),
        }
        for g in np.unique(group)
      ],
    }


def held_out(
  task: base.Task,
  key: jax.Array,
  split: str,
  num_samples: int,
  with_ceiling: bool = False,
) -> HeldOut:
  """Draws held-out samples.

  Args:
    task: what is asked.
    key: the same key gives the same samples.
    split: 'train', 'validation' or 'test'.
    num_samples: N.
    with_ceiling: whether to compute ceiling and baselines (orbits only).
  """
  if base.on_host(task):
    batch = task.host_sample(host_seed(key), 0, num_samples, split)
  else:
    batch = draw(task.sample, key, split, num_samples)
  if not isinstance(task, orbits.Orbits):
    name = getattr(task, 'group_name', 'group')
    return HeldOut(batch, None, {}, name, getattr(task, 'group_labels', ()))
  rules, states, look_ahead = draw(task.sample_orbits, key, split, num_samples)
  observed = states[:, : task.num_states]
  known = {}
  if with_ceiling:
    answers = states[np.arange(num_samples), task.num_states - 1 + look_ahead]
    known = without_learning(task, rules, observed, look_ahead, answers)
    if task.asks_rule:
      asked = batch.group == orbits.RULE_GROUP
      of_rule = _rule_without_learning(task, observed)
      known = {
        name: np.where(asked, of_rule.get(name, np.nan), values)
        for name, values in known.items()
      }
  return HeldOut(batch, observed, known)


def host_seed(key: jax.Array) -> int:
  """The seed that held-out samples of a host's task are made from."""
  return int(jax.random.bits(key))


def draw(sample: Callable, key: jax.Array, split: str, num_samples: int) -> Any:
  """Samples in blocks of one key each, so that more begin with the same."""
  key = jax.random.fold_in(key, SPLIT_IDS[split])
  blocks = jnp.arange(-(-num_samples // BLOCK))
  drawn = jax.jit(
    lambda key: jax.lax.map(
      lambda i: sample(jax.random.fold_in(key, i), BLOCK, split), blocks
    )
  )(key)
  return jax.tree.map(
    lambda x: np.asarray(x).reshape(-1, *x.shape[2:])[:num_samples], drawn
  )


def held_out_orbits(
  task: orbits.Orbits, key: jax.Array, steps: int, num_samples: int
) -> tuple[np.ndarray, np.ndarray]:
  """Rules and states [N, T + steps, W] of the test split, on the host."""
  longer = dataclasses.replace(task, look_ahead=(steps,))
  return draw(longer.sample_orbits, key, 'test', num_samples)[:2]


def lay_out(
  task: orbits.Orbits,
  rules: np.ndarray,
  observed: np.ndarray,
  answer: np.ndarray,
  group: int,
) -> base.Batch:
  """A batch on the host from observed states [N, T, W] and answers [N, W]."""
  states = np.concatenate([observed, answer[:, None]], axis=1)
  at = jnp.full(len(states), group, jnp.int32)
  return jax.device_get(jax.jit(task.tokens)(rules, states, at, at))


def without_learning(
  task: orbits.Orbits,
  rules: np.ndarray,
  observed: np.ndarray,
  look_ahead: np.ndarray | int,
  answers: np.ndarray,
) -> dict[str, np.ndarray]:
  """Scores [N] of the best possible predictor and of the baselines.

  Args:
    task: gives radius, layout and variant.
    rules: [N, 2**(2r+1)].
    observed: [N, T, W].
    look_ahead: of each sample, or of all.
    answers: [N, W].
  """
  look_ahead = np.broadcast_to(look_ahead, len(rules))
  if task.variant == 'ro_s':  # who is told the rule can know everything
    known = dict.fromkeys(_CEILING, np.ones(len(rules)))
  else:
    best = ceiling.ceiling(rules, observed, look_ahead, radius=task.radius)
    bits = best.prefix_bit_accuracy if task.causal else best.bit_accuracy
    known = dict(
      zip(_CEILING, (best.exact_match, bits, best.exact), strict=True)
    )
  for name, predict in baselines.PREDICTORS.items():
    right = predict(observed) == answers
    known[f'{name}_exact_match'] = right.all(-1)
    known[f'{name}_bit_accuracy'] = right.mean(-1)
  return {k: np.asarray(v, np.float64) for k, v in known.items()}


def _rule_without_learning(
  task: orbits.Orbits, observed: np.ndarray
) -> dict[str, np.ndarray]:
  """Best possible scores [N] where the rule is asked: unseen bits are even."""
  seen = ceiling.seen_entries(observed, task.radius)
  unseen = (~seen).sum(-1)
  scores = (0.5**unseen, 1 - unseen / (2 * seen.shape[-1]), np.ones(len(seen)))
  return dict(zip(_CEILING, scores, strict=True))


def make_eval_step(model: nn.Module, config: Mapping[str, Any]) -> Callable:
  """A pure function (params, Batch) → (loss [B] in nats, tokens [B, L]).

  The loss is the mean over a sample's answer tokens; the tokens are the most
  likely ones, each given the true tokens before it where the task is causal.

  Args:
    model: maps tokens to logits.
    config: `config.train`, for which depth step answers, by which loss.
  """

  def eval_step(params, batch):
    output = model.apply({'params': params}, batch.inputs)
    logits = losses.answer(output, batch, config['depth_loss'])
    entropy = losses.cross_entropy(logits, batch.targets, config['loss'])
    asked = batch.weights > 0
    loss = jnp.mean(entropy, axis=-1, where=asked)
    return loss, logits.argmax(-1).astype(jnp.int32)

  return eval_step


class Evaluator:
  """An evaluation step compiled once, for any number of samples."""

  def __init__(
    self,
    model: nn.Module,
    task: base.Task,
    config: Mapping[str, Any],
    mesh: Any,
  ):
    """Prepares; nothing is compiled before the first call.

    Args:
      model: maps tokens to logits.
      task: what is asked.
      config: the whole config; of `eval.batch_size`, the samples on the devices
        at once, no result depends.
      mesh: devices to use.
    """
    self.task = task
    self._size = config['eval']['batch_size']
    self._batched = sharding.batched(mesh)
    # What comes back is read on every host.
    self._whole = sharding.replicated(mesh)
    train = config['train']
    grpo = train['method'] == 'grpo'
    self._thinking = train['grpo']['thinking'] if grpo else 0
    self._model = model
    self._eval_step = make_eval_step(model, train)
    self.step = jax.jit(self._eval_step, out_shardings=self._whole)

  def predict(
    self, params: Any, batch: base.Batch, step: Callable | None = None
  ) -> Any:
    """Loss [N] and predicted tokens [N, L] of N samples on the host.

    Args:
      params: parameters of the model.
      batch: [N, ...].
      step: how a batch is answered, by arrays [B, ...] of any structure; None
        for the evaluation step.
    """
    step = step or self.step
    N = batch.inputs.shape[0]
    padding = -N % self._size
    batch = jax.tree.map(
      lambda x: np.pad(x, [(0, padding)] + [(0, 0)] * (x.ndim - 1), 'edge'),
      batch,
    )
    outputs = []
    for start in range(0, N, self._size):
      part = jax.tree.map(lambda x, s=start: x[s : s + self._size], batch)
      outputs.append(step(params, jax.device_put(part, self._batched)))
    return jax.tree.map(
      lambda *parts: np.concatenate(parts)[:N], *jax.device_get(outputs)
    )

  def run(self, params: Any, samples: HeldOut) -> 'Result':
    """Scores held-out samples, each token given the true ones before it."""
    loss, tokens = self.predict(params, samples.batch)
    return Result(samples, loss, tokens)

  def run_generated(self, params: Any, samples: HeldOut) -> 'Result':
    """Scores what the model says by itself, one token after another.

    The loss is still that given the true tokens.
    """
    loss, tokens = self.predict(params, samples.batch, self._generating)
    return Result(samples, loss, tokens, scored_by='generation')

  @functools.cached_property
  def _generating(self) -> Callable:
    return jax.jit(self._generate, out_shardings=self._whole)

  def _generate(self, params, batch):
    loss, _ = self._eval_step(params, batch)
    P, W = self.task.prompt_length, self.task.width
    thinking = self._thinking * self.task.row_tokens
    tokens, _ = decoding.generate(
      self._model, params, batch.inputs[:, :P], self.task.length + 1 + thinking
    )
    if thinking:  # the answer is what comes after the last GEN
      cells = orbits.last_answer(tokens, P, W).cells
      tokens = tokens.at[:, P : P + W].set(cells)
      tokens = tokens[:, : self.task.length + 1]
    return loss, tokens[:, 1:]  # aligned with the logits that predict them


@dataclasses.dataclass(frozen=True)
class Result:
  """What a model answered on held-out samples.

  Attributes:
    samples: what was asked.
    loss: [N] mean over the answer tokens, in nats.
    tokens: [N, L] predicted tokens.
    scored_by: 'teacher forcing' (each token given the true ones before it),
      'generation', or 'its own answers fed back'.
  """

  samples: HeldOut
  loss: np.ndarray
  tokens: np.ndarray
  scored_by: str = 'teacher forcing'

  @property
  def asked(self) -> np.ndarray:
    """Bool [N, L]: which tokens are answers."""
    return self.samples.batch.weights > 0

  @property
  def right(self) -> np.ndarray:
    """Bool [N, L]: which answer tokens are right; others are False."""
    return (self.tokens == self.samples.batch.targets) & self.asked

  def summary(self) -> dict[str, Any]:
    """Scores over all samples and per group, with 95 % intervals."""
    return {
      'num_samples': len(self.samples.batch.group),
      'scored_by': self.scored_by,
      'group_name': self.samples.group_name,
      **self.samples.by_group(self._scores),
    }

  def _scores(self, chosen: np.ndarray) -> dict[str, Any]:
    right, asked = self.right[chosen], self.asked[chosen]
    exact = (right == asked).all(-1)
    bits = right.sum(-1) / asked.sum(-1)
    scores = {
      'num_samples': int(chosen.sum()),
      'loss': float(self.loss[chosen].mean(dtype=np.float64)),
      'exact_match': float(exact.mean()),
      'exact_match_interval': wilson(int(exact.sum()), len(exact)),
      'bit_accuracy': float(bits.mean()),
      'bit_accuracy_interval': mean_interval(bits),
    }
    for name, values in self.samples.known.items():
      values = values[chosen]
      if not np.isnan(values).any():  # not known of some of these samples
        scores[name] = float(values.mean())
    if scores.get('ceiling_exact_match'):
      scores['share_of_ceiling'] = (
        scores['exact_match'] / scores['ceiling_exact_match']
      )
    return scores

  def rows(self, count: int) -> list[dict[str, Any]]:
    """The first `count` samples, one row each."""
    rows = []
    cells = self.samples.observed is not None
    for i, asked in enumerate(self.asked[:count]):
      predicted = self.tokens[i][asked]
      target = self.samples.batch.targets[i][asked]
      row = {
        'index': i,
        'group': int(self.samples.batch.group[i]),
        'exact': bool((predicted == target).all()),
        'correct': int((predicted == target).sum()),
        'answers': len(target),
        'prediction': _text(predicted) if cells else _numbers(predicted),
        'target': _text(target) if cells else _numbers(target),
      }
      if not cells:
        row['inputs'] = self.samples.batch.inputs[i].tolist()
      states = self.samples.observed
      if states is not None and len(target) % states.shape[-1] == 0:
        row['observed'] = [_text(s) for s in self.samples.observed[i]]
      if 'ceiling_exact_match' in self.samples.known:
        best = self.samples.known['ceiling_exact_match'][i]
        row['ceiling_exact_match'] = float(best)
      rows.append(row)
    return rows


def wilson(successes: int, trials: int) -> list[float]:
  """Wilson's 95 % interval of a proportion."""
  p = successes / trials
  centre = p + Z95**2 / (2 * trials)
  spread = Z95 * np.sqrt(p * (1 - p) / trials + (Z95 / (2 * trials)) ** 2)
  scale = 1 + Z95**2 / trials
  low, high = (centre - spread) / scale, (centre + spread) / scale
  return [float(max(low, 0.0)), float(min(high, 1.0))]


def mean_interval(values: np.ndarray) -> list[float]:
  """95 % interval of a mean of values in 0 to 1, by their spread [N]."""
  half = Z95 * values.std() / np.sqrt(len(values))
  mean = values.mean()
  return [float(max(mean - half, 0.0)), float(min(mean + half, 1.0))]


def _text(tokens: np.ndarray) -> str:
  """Cells as '0110'; any other token as '?'."""
  return ''.join(str(t) if t in (0, 1) else '?' for t in tokens.tolist())


def _numbers(tokens: np.ndarray) -> str:
  """Tokens as numbers, as long for the same number of tokens."""
  return ' '.join(f'{t:05d}' for t in tokens.tolist())
