"""Answers to text that is read segment by segment."""

import json

import chex
import jax
import numpy as np
import pytest

from reasoning_depth import models
from reasoning_depth.longcontext import streaming
from reasoning_depth.scoring import evaluate, long_text
from reasoning_depth.tasks import babilong, orbits
from reasoning_depth.training import experiment, final, state
from tests import tiny

KEY = jax.random.key(3)


def build(devices=1, name='armt', segments=5, batch_size=8):
  c = tiny.run_config(
    'babilong', 'smoke,task=qa4',
    mesh={'data': devices},
    task={'length': 32 * segments},
    train={'batch_size': 8, 'curriculum': {'field': '', 'stages': ()}},
    eval={'batch_size': batch_size, 'test_samples': 11},
  ).unlock()  # fmt: skip
  c.model.memory.segment_states = 32
  if name == 'rmt':
    memory = tiny.run_config('rmt').model.memory
    memory.update(segment_states=32, repeat_states=0)
    c.model.name = name
    del c.model.memory
    c.model.memory = memory
  return experiment.build(c)


def fresh_state(exp):
  return jax.jit(
    lambda: state.init(exp.model, exp.optimizer, exp.config, exp.task.length)
  )()


def params_of(exp):
  """Parameters with a memory that is not empty."""
  fresh = fresh_state(exp)
  keys = iter(jax.random.split(jax.random.key(1), 99))
  return jax.tree.map(
    lambda x: x + 0.3 * jax.random.normal(next(keys), x.shape), fresh.params
  )


def whole(exp, params):
  samples = exp.task.draw_held_out(KEY, 'test', 11)
  evaluator = evaluate.Evaluator(exp.model, exp.task, exp.config, exp.mesh)
  return evaluator.run(params, samples)


def streamed(exp, params):
  reader = long_text.Reader(exp.model, exp.task, exp.config, exp.mesh)
  return reader.run(params, KEY, 'test', 11)


@pytest.mark.parametrize(
  'name,segments,at_once',
  [('armt', 5, 3), ('armt', 1, 16), ('rmt', 4, 16)],
)
def test_a_stream_is_answered_as_the_whole(
  name, segments, at_once, monkeypatch
):
  monkeypatch.setattr(long_text, 'AT_ONCE', at_once)
  exp = build(name=name, segments=segments)
  params = params_of(exp)
  expected, got = whole(exp, params), streamed(exp, params)
  last = jax.tree.map(
    lambda x: x[:, -32:] if x.ndim > 1 else x, expected.samples.batch
  )
  chex.assert_trees_all_equal(got.samples.batch, last)
  np.testing.assert_allclose(got.loss, expected.loss, rtol=1e-4)
  np.testing.assert_array_equal(got.tokens, expected.tokens[:, -32:])
  ours, theirs = got.summary(), expected.summary()
  assert ours['group_name'] == 'length'
  assert ours['overall']['exact_match'] == theirs['overall']['exact_match']
  assert ours['groups'][0]['group'] == 32 * segments
  if segments > 1:  # the answers depend on what the memory brings
    exp = build(name=name, segments=1)
    alone, _ = evaluate.Evaluator(
      exp.model, exp.task, exp.config, exp.mesh
    ).predict(params, last)
    assert np.abs(alone - got.loss).max() > 1e-3


def test_batches_and_devices_change_nothing():
  exp = build()
  params = params_of(exp)
  expected = streamed(exp, params)
  got = streamed(build(devices=4, batch_size=4), params)
  np.testing.assert_array_equal(got.tokens, expected.tokens)
  np.testing.assert_allclose(got.loss, expected.loss, rtol=1e-4)


def test_shapes_are_compiled_once(monkeypatch):
  monkeypatch.setattr(long_text, 'AT_ONCE', 2)
  exp = build(segments=7)
  reader = long_text.Reader(exp.model, exp.task, exp.config, exp.mesh)
  streaming._read.clear_cache()  # what other tests compiled
  reader.run(params_of(exp), KEY, 'test', 11)
  # Two segments at once, and the last one alone.
  assert streaming._read._cache_size() == 2
  assert reader._answer._cache_size() == 1


def test_the_final_evaluation_streams(tmp_path, monkeypatch):
  exp = build()
  params = params_of(exp)
  current = fresh_state(exp).replace(params=params, ema=None)
  monkeypatch.setattr(
    babilong.BABILong, 'host_sample', lambda *_: pytest.fail('not streamed')
  )
  summary = final.evaluate(exp, current, tmp_path)
  assert summary['num_samples'] == 11
  lines = (tmp_path / 'evaluations/test.jsonl').read_text().splitlines()
  assert len(json.loads(lines[0])['inputs']) == 32


def test_others_are_not_streamed():
  exp = build()
  assert long_text.can(exp.task, exp.model)
  c = exp.config.copy_and_resolve_references().unlock()
  c.model.memory.update(segment_states=64, repeat_states=32)
  overlapping = models.make(c.model, exp.task)
  assert not long_text.can(exp.task, overlapping)
  assert not long_text.can(orbits.Orbits(), exp.model)


def test_an_answer_that_a_segment_does_not_hold_is_named(monkeypatch):
  exp = build()
  original = babilong.BABILong._story

  def wordy(task, rng, trials):
    facts, ending, _ = original(task, rng, trials)
    return facts, ending + [0] * 40, 41

  monkeypatch.setattr(babilong.BABILong, '_story', wordy)
  with pytest.raises(ValueError, match='segment_states=32: the answer does no'):
    streamed(exp, params_of(exp))
