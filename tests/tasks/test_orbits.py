import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth import tasks
from reasoning_depth.tasks import automata, orbits

T = orbits.Token
STATES = jnp.array([[[0, 1, 0], [1, 1, 0], [0, 0, 1], [1, 1, 1]]])


def test_causal_layout_is_the_worked_example():
  task = orbits.Orbits(width=3, radius=1, num_states=2)
  batch = task.tokens(STATES, jnp.array([1]))
  inputs = [T.SEP, 0, 1, 0, T.SEP, 1, 1, 0, T.GEN, 0, 0, 1]
  assert batch.inputs.tolist() == [inputs]
  assert batch.targets.tolist() == [inputs[1:] + [T.PAD]]
  assert batch.weights.tolist() == [[0] * 8 + [1, 1, 1, 0]]


def test_masked_layout_is_the_worked_example():
  task = orbits.Orbits(width=3, radius=1, num_states=2, layout='masked')
  batch = task.tokens(STATES, jnp.array([1]))
  prompt = [T.SEP, 0, 1, 0, T.SEP, 1, 1, 0, T.GEN]
  assert batch.inputs.tolist() == [prompt + [T.MASK] * 3]
  assert batch.targets.tolist() == [prompt + [0, 0, 1]]
  assert batch.weights.tolist() == [[0] * 9 + [1, 1, 1]]


def test_shift_token_tells_the_look_ahead():
  task = orbits.Orbits(
    width=3, radius=1, num_states=2, look_ahead=(1, 2), variant='multi_horizon'
  )
  batch = task.tokens(jnp.tile(STATES, (2, 1, 1)), jnp.array([1, 2]))
  assert batch.inputs[:, 8:].tolist() == [
    [T.SHIFT_1, 0, 0, 1],
    [T.SHIFT_1 + 1, 1, 1, 1],
  ]


TASKS = [
  tasks.make({'name': 'orbits', 'variant': 'multi_horizon', **fields})
  for fields in (
    {'width': 5, 'num_states': 1, 'look_ahead': (1, 3)},
    {'width': 8, 'num_states': 4, 'look_ahead': (8,), 'layout': 'masked'},
    {'width': 40, 'num_states': 2, 'look_ahead': (1, 2), 'layout': 'masked'},
  )
]
SAMPLE = jax.jit(lambda task, key: task.sample(key, 4), static_argnums=0)
ORBITS = jax.jit(lambda task, key: task.sample_orbits(key, 4), static_argnums=0)
ROLLOUT = jax.jit(automata.rollout, static_argnums=(2, 3))


@hypothesis.settings(deadline=None, max_examples=15)
@hypothesis.given(task=st.sampled_from(TASKS), seed=st.integers(0, 1000))
def test_answers_are_rolled_out_from_what_was_observed(task, seed):
  key = jax.random.key(seed)
  batch = jax.device_get(SAMPLE(task, key))
  rules, states, k = jax.device_get(ORBITS(task, key))
  assert batch.inputs.shape == (4, task.length)
  np.testing.assert_array_equal(batch.group, k)
  assert set(k.tolist()) <= set(task.look_ahead)
  orbits_on = ROLLOUT(rules, states[:, task.num_states - 1], 8, 2)
  for i in range(4):
    answer = batch.targets[i][batch.weights[i] > 0]
    np.testing.assert_array_equal(answer, orbits_on[i, k[i]])
    assert batch.inputs[i, task.num_states * task.block] == T.SHIFT_1 + k[i] - 1
  # Nothing of the answer is shown where it is asked by masks.
  if not task.causal:
    assert np.all(batch.inputs[batch.weights > 0] == T.MASK)


@pytest.mark.parametrize(
  'fields,message',
  [
    ({'width': 4}, 'width=4'),
    ({'look_ahead': (0,)}, 'look_ahead=0: allowed are 1 to 8'),
    ({'look_ahead': (9,)}, 'look_ahead=9'),
    ({'look_ahead': (1, 2)}, 'variant o_s takes one value'),
    ({'look_ahead': ()}, 'look_ahead'),
    ({'layout': 'diagonal'}, "layout='diagonal'.*causal"),
    ({'variant': 'o_p'}, "variant='o_p'"),
    ({'num_states': 0}, 'num_states=0'),
    ({'split': 'mirrors'}, "split='mirrors'"),
    ({'name': 'orbit'}, "name='orbit': allowed are orbits"),
  ],
)
def test_bad_fields_are_named(fields, message):
  with pytest.raises(ValueError, match=message):
    tasks.make({'name': 'orbits', **fields})
