"""Scores at a list of look-aheads, beyond those of training, of one model.

Every sample is scored at every look-ahead of the list. A model whose depth step
k answers for look-ahead k (`train.depth_loss=look_ahead`) takes as many steps
as the largest asks for and is read out on the way. Any other model of one step
ahead is fed its own answers: the window of observed states slides, drops the
first and appends the answer.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reasoning_depth.models import base as base_model
from reasoning_depth.scoring import evaluate, losses, returning
from reasoning_depth.tasks import automata, base

# Loss [K, N] and predicted tokens [K, N, W] at K look-aheads.
Answers = tuple[np.ndarray, np.ndarray]
MOST_BYTES = 2**28  # of answers at all steps, held until they return


def by_depth(model: base_model.Model, train: Mapping[str, Any]) -> bool:
  """Whether depth step k answers for look-ahead k, step after step."""
  return train['depth_loss'] == 'look_ahead' and model.stepwise


def check(
  task: base.Task, model: base_model.Model, config: Mapping[str, Any]
) -> None:
  """Raises `UsageError` unless `eval.look_ahead` can be asked."""
  look_ahead = config['eval']['look_ahead']
  if look_ahead:
    task.check_further(
      look_ahead,
      config['eval']['test_samples'],
      by_depth(model, config['train']),
    )


def score(
  evaluator: evaluate.Evaluator,
  params: Any,
  key: jax.Array,
  look_ahead: Sequence[int],
  num_samples: int,
  with_ceiling: bool = False,
) -> evaluate.Result:
  """Scores samples of the test split at each of K look-aheads.

  Args:
    evaluator: of a task and model that `check` allows.
    params: parameters of its model.
    key: the same key gives the same samples.
    look_ahead: K values, ascending, at least one.
    num_samples: N, each scored at all look-aheads; fewer where the task's
      files have fewer.
    with_ceiling: whether to compute ceiling and baselines.

  Returns:
    K·N scored samples; their batch has the answers alone, [K·N, W].
  """
  task, last = evaluator.task, look_ahead[-1]
  rules, states, observed = task.draw_further(key, last, num_samples)
  later = states[:, task.num_states :]  # [N, max k, W]
  steps = by_depth(evaluator.model, evaluator.train)
  answer = _by_depth if steps else _fed_back
  loss, tokens = answer(evaluator, params, rules, observed, later, look_ahead)
  known = {}
  if with_ceiling:
    known = task.known.further(rules, states, look_ahead, observed)
  targets = later[:, np.array(look_ahead) - 1].swapaxes(0, 1)

  def rows(x):
    return x.reshape(-1, *x.shape[2:])

  targets = rows(targets).astype(np.int32)
  batch = base.Batch(
    inputs=targets[:, :0],
    targets=targets,
    weights=np.ones(targets.shape, np.float32),
    group=np.repeat(np.array(look_ahead, np.int32), len(rules)),
  )
  samples = base.HeldOut(batch, known=jax.tree.map(rows, known))
  return evaluate.Result(
    samples, rows(loss), rows(tokens),
    'depth steps' if steps else 'its own answers fed back',
  )  # fmt: skip


def answers(
  evaluator: evaluate.Evaluator,
  params: Any,
  observed: np.ndarray,
  look_ahead: Sequence[int],
) -> np.ndarray:
  """Predicted tokens [N, K, W] after observed states whose rule is not known.

  Args:
    evaluator: of a task from `for_states`, for the sizes of `observed`.
    params: parameters of its model.
    observed: uint8 [N, T, W].
    look_ahead: K values, ascending.

  Raises:
    UsageError: where the task or model cannot be asked.
  """
  task, N = evaluator.task, len(observed)
  way = task.tokens.way(look_ahead, by_depth(evaluator.model, evaluator.train))
  answer = {'depth steps': _by_depth, 'fed back': _fed_back, 'asked': _asked}
  rules = np.zeros((N, automata.table_size(task.radius)), np.uint8)
  later = np.zeros((N, look_ahead[-1], task.width), np.uint8)  # not read
  found = answer[way](evaluator, params, rules, observed, later, look_ahead)
  return found[1].swapaxes(0, 1)


def _by_depth(evaluator, params, rules, observed, later, look_ahead) -> Answers:
  """Answers read out after k depth steps, one pass for each question."""
  task = evaluator.task
  losses_, tokens = [], []
  told = [task.told(k) for k in look_ahead]
  for question in sorted(set(told)):
    asked = [k for k, t in zip(look_ahead, told, strict=True) if t == question]
    batch = task.question(rules, observed, 0 * observed[:, 0], question)
    places = np.flatnonzero(batch.weights[0])
    targets = later[:, np.array(asked) - 1]
    fit = MOST_BYTES // (4 * asked[-1] * len(places))  # samples
    asks = evaluator, params, batch.inputs, targets, places, asked
    if evaluator.model.by_answer and fit >= evaluator.batch_size:
      found = _until_return(*asks, fit)
    else:
      found = _every_step(*asks)
    losses_.append(found[0])
    tokens.append(found[1])
  return (
    np.concatenate(losses_, axis=1).swapaxes(0, 1),
    np.concatenate(tokens, axis=1).swapaxes(0, 1),
  )


def _every_step(evaluator, params, inputs, targets, places, asked) -> Answers:
  step = along(evaluator.model, asked, places, evaluator.train['loss'])
  return evaluator.predict(params, (inputs, targets), evaluator.compile(step))


def _until_return(
  evaluator, params, inputs, targets, places, asked, at_once
) -> Answers:
  answer = returning.Follower(evaluator, params, places)
  kind = evaluator.train['loss']
  losses_, tokens = [], []
  for start in range(0, len(inputs), at_once):
    some = slice(start, start + at_once)
    logits = answer(inputs[some], asked)
    losses_.append(losses.cross_entropy(logits, targets[some], kind).mean(-1))
    tokens.append(logits.argmax(-1).astype(np.int32))
  return np.concatenate(losses_), np.concatenate(tokens)


def along(
  model: base_model.Model,
  look_ahead: Sequence[int],
  places: np.ndarray,
  loss: str,
) -> Callable:
  """A pure function that reads a model out after some of its depth steps.

  Its memory does not grow with the steps.

  Args:
    model: a stepwise one.
    look_ahead: K numbers of steps, ascending.
    places: int [A], answer positions.
    loss: `config.train.loss`.

  Returns:
    function (params, (inputs int32 [B, L], targets [B, K, A])) → loss [B, K],
    mean over the answer in nats, and tokens int32 [B, K, A].
  """
  from_to = np.array([(0, *look_ahead[:-1]), look_ahead], np.int32).T

  def run(params, asked):
    inputs, targets = asked

    def call(method, *args):
      return model.apply({'params': params}, *args, method=method)

    def body(state, until):
      (first, last), target = until
      state = jax.lax.fori_loop(
        first, last, lambda n, s: call('again', s, n), state
      )
      logits = call('read', state)[0][:, places]
      entropy = losses.cross_entropy(logits, target, loss)
      return state, (entropy.mean(-1), logits.argmax(-1).astype(jnp.int32))

    every = from_to, targets.swapaxes(0, 1).astype(jnp.int32)
    _, found = jax.lax.scan(body, call('begin', inputs), every)
    return jax.tree.map(lambda x: x.swapaxes(0, 1), found)

  return run


def _fed_back(evaluator, params, rules, observed, later, look_ahead) -> Answers:
  """Answers of a model of one step; a causal one generates them."""
  task, window = evaluator.task, observed
  run = evaluator.run_generated if task.causal else evaluator.run
  losses_, tokens = [], []
  for k in range(1, look_ahead[-1] + 1):
    question = task.question(rules, window, later[:, k - 1], told=1)
    result = run(params, base.HeldOut(question))
    predicted = result.tokens[result.asked].reshape(len(window), -1)
    window = np.concatenate([window[:, 1:], predicted[:, None] % 2], axis=1)
    if k in look_ahead:
      losses_.append(result.loss)
      tokens.append(predicted)
  return np.stack(losses_), np.stack(tokens)


def _asked(evaluator, params, rules, observed, later, look_ahead) -> Answers:
  """Answers at look-aheads of training, each asked by itself."""
  task = evaluator.task
  run = evaluator.run_generated if task.causal else evaluator.run
  losses_, tokens = [], []
  for k in look_ahead:
    question = task.question(rules, observed, later[:, k - 1], told=k)
    result = run(params, base.HeldOut(question))
    losses_.append(result.loss)
    tokens.append(result.tokens[result.asked].reshape(len(observed), -1))
  return np.stack(losses_), np.stack(tokens)
