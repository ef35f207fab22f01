"""Single samples: what is said after each loop and layer, by other means."""

import functools
import types

import jax
import numpy as np

from reasoning_depth import models
from reasoning_depth.analysis import lens, samples
from reasoning_depth.models import base
from reasoning_depth.tasks import composition, orbits
from tests import tiny

COMPOSITION = composition.Composition(8, 4, 3, 1, 1.0, 6)
ORBITS = orbits.Orbits(
  width=5, radius=1, num_states=2, look_ahead=(1, 2), variant='by_depth',
  layout='masked',
)  # fmt: skip
RECALL = {
  'name': 'recall', 'num_layers': 1, 'width': 16, 'num_heads': 2,
  'mlp_width': 16, 'positions': 'relative', 'parallel_residual': False,
  'recurrence': {},
}  # fmt: skip


def analyze(model, task, weights, count, depth_loss='last'):
  config = types.SimpleNamespace(
    analyze=types.SimpleNamespace(samples=count),
    eval=types.SimpleNamespace(batch_size=4),
    train=types.SimpleNamespace(loss='softmax', depth_loss=depth_loss),
  )
  return samples.analyze(model, task, weights, jax.random.key(1), config)


def test_layers_say_what_the_lens_reads():
  model = tiny.model('transformer', vocab_size=COMPOSITION.vocab_size)
  weights = tiny.init(model, COMPOSITION.length, noise=0.2)
  found = analyze(model, COMPOSITION, weights, 6)  # in batches of 4 and 2
  drawn = COMPOSITION.milestones(jax.random.key(1), 6)
  read = jax.jit(functools.partial(lens.logits, model))
  logits = np.asarray(read(weights, drawn.batch.inputs))
  chances = np.asarray(jax.nn.softmax(logits))
  assert (found['loops'], found['layers'], found['mean_steps']) == (1, 2, None)
  assert len(found['samples']) == 6
  chains = 0
  for i, sample in enumerate(found['samples']):
    at = np.flatnonzero(drawn.batch.weights[i])
    target = drawn.batch.targets[i, at]
    assert (sample['at'], sample['target']) == (at.tolist(), target.tolist())
    np.testing.assert_array_equal(
      sample['said'], logits[:, :, i, at].argmax(-1)
    )
    assert sample['answer'] == sample['said'][-1][-1]
    right = np.take_along_axis(
      chances[:, :, i, at], target[None, None, :, None], -1
    )[..., 0]
    assert np.abs(np.array(sample['percent']) - 100 * right).max() <= 0.51
    assert sample['inputs'] == drawn.batch.inputs[i].tolist()
    # Where a chain has all its relations, its last entity is the answer.
    known = [m for m in sample['milestones'] if m != [None]]
    assert not known or known[-1] == sample['target']
    chains += bool(known)
    assert sample['scored_after'] == 1
  assert chains


def test_steps_say_what_the_model_says_at_that_depth():
  task = ORBITS
  model = models.make(RECALL, task)
  tokens = np.zeros((1, task.length), np.int32)
  weights = jax.jit(model.init)(jax.random.key(0), tokens)['params']
  found = analyze(model, task, weights, 4, 'look_ahead')
  drawn = task.milestones(jax.random.key(1), 4)
  assert (found['loops'], found['trained_loops'], found['layers']) == (4, 2, 1)
  for n in (0, 1, 3):  # as deep as is asked for, and the last
    run = functools.partial(model.apply, depth=n + 1)
    output = jax.jit(run)({'params': weights}, drawn.batch.inputs)
    said = np.asarray(output.logits.argmax(-1))
    for i, sample in enumerate(found['samples']):
      assert sample['said'][n][0] == said[i, sample['at']].tolist()
      if n + 1 == sample['group']:
        assert sample['scored_after'] == n + 1
        assert sample['answer'] == sample['said'][n][0]
        assert sample['milestones'][n] == sample['target']
  assert all(len(s['observed']) == 2 for s in found['samples'])
  assert {len(row) for s in found['samples'] for row in s['observed']} == {5}


class Halting(base.Model):
  """Takes as many steps at a position as its token says; answers 1."""

  def __call__(self, tokens, *, depth=None, deterministic=True):
    logits = jax.nn.one_hot(jax.numpy.ones_like(tokens), 99)
    output = base.plain_output(logits)
    return output.replace(ponder=tokens.astype(np.float32))


def test_steps_of_a_halting_model_are_kept_by_position():
  found = analyze(Halting(), COMPOSITION, {}, 4)
  inputs = COMPOSITION.milestones(jax.random.key(1), 4).batch.inputs
  np.testing.assert_allclose(found['mean_steps'], inputs.mean(0), atol=0.01)
  assert found['samples'][1]['steps'] == inputs[1].tolist()
  assert found['samples'][0]['answer'] == [1] * len(found['samples'][0]['at'])


def test_long_inputs_and_answers_are_cut_at_their_beginning(monkeypatch):
  monkeypatch.setattr(samples, '_MOST_READ', 2)
  monkeypatch.setattr(samples, 'SHOWN', 1)
  found = analyze(Halting(), COMPOSITION, {}, 4)
  (sample,) = found['samples']
  inputs = COMPOSITION.milestones(jax.random.key(1), 4).batch.inputs
  assert sample['inputs'] == inputs[0, -2:].tolist()
