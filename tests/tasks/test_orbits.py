import dataclasses

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth import tasks
from reasoning_depth.tasks import automata, orbit_tokens, orbits

T = orbit_tokens.Token
STATES = jnp.array([[[0, 1, 0], [1, 1, 0], [0, 0, 1], [1, 1, 1]]])
RULES = jnp.array([[1, 0, 0, 1, 1, 1, 0, 1]])


def test_causal_layout_is_the_worked_example():
  task = orbits.Orbits(width=3, radius=1, num_states=2)
  batch = task.tokens.batch(RULES, STATES, jnp.array([1]))
  inputs = [T.SEP, 0, 1, 0, T.SEP, 1, 1, 0, T.GEN, 0, 0, 1]
  assert batch.inputs.tolist() == [inputs]
  assert batch.targets.tolist() == [inputs[1:] + [T.PAD]]
  assert batch.weights.tolist() == [[0] * 8 + [1, 1, 1, 0]]


def test_masked_layout_is_the_worked_example():
  task = orbits.Orbits(width=3, radius=1, num_states=2, layout='masked')
  batch = task.tokens.batch(RULES, STATES, jnp.array([1]))
  prompt = [T.SEP, 0, 1, 0, T.SEP, 1, 1, 0, T.GEN]
  assert batch.inputs.tolist() == [prompt + [T.MASK] * 3]
  assert batch.targets.tolist() == [prompt + [0, 0, 1]]
  assert batch.weights.tolist() == [[0] * 9 + [1, 1, 1]]


def test_shift_token_tells_the_look_ahead():
  task = orbits.Orbits(
    width=3, radius=1, num_states=2, look_ahead=(1, 2), variant='multi_horizon'
  )
  batch = task.tokens.batch(
    jnp.tile(RULES, (2, 1)), jnp.tile(STATES, (2, 1, 1)), jnp.array([1, 2])
  )
  assert batch.inputs[:, 8:].tolist() == [
    [T.SHIFT_1, 0, 0, 1],
    [T.SHIFT_1 + 1, 1, 1, 1],
  ]


def variant(name, layout='causal', look_ahead=(2,), group=None):
  """Inputs, targets and weights of one sample, as text."""
  task = orbits.Orbits(3, 1, 2, look_ahead, name, layout)
  ask = None if group is None else jnp.array([group])
  batch = task.tokens.batch(RULES, STATES, jnp.array([look_ahead[-1]]), ask)
  assert batch.inputs.shape == (1, task.length)
  assert task.length % task.row_tokens == 0
  names = {0: '0', 1: '1', T.SEP: 's', T.GEN: 'g', T.MASK: '?', T.PAD: '.',
           T.RULE: 'r', T.EOS: 'e'}  # fmt: skip
  rows = [''.join(names[t] for t in x[0].tolist())
          for x in (batch.inputs, batch.targets)]  # fmt: skip
  return *rows, ''.join(str(int(w)) for w in batch.weights[0].tolist())


# Two observed states, then what each variant asks; the rule is 10011101.
CASES = {
  ('cot', 'causal'): (
    's010s110g001s111',
    '010s110g001s111e',
    '0000000011111111',
  ),
  ('rule_cot', 'causal'): (
    's010s110g10011101...s001s111',
    '010s110g10011101...s001s111e',
    '0000000011111111111111111111',
  ),
  ('o_o', 'masked'): (
    's010s110g???s???',
    's010s110g001s111',
    '0000000001110111',
  ),
  ('o_rs', 'causal'): (
    's010s110grrrrrrrr...s111',
    '010s110g10011101...s111.',
    '000000001111111100001110',
  ),
  ('o_rs', 'masked'): (
    's010s110grrrrrrrr...s???',
    's010s110g10011101...s111',
    '000000000111111110000111',
  ),
  ('o_sr', 'causal'): (
    's010s110g111srrrrrrrr...',
    '010s110g111s10011101....',
    '000000001110111111110000',
  ),
  ('ro_s', 'causal'): (
    'r10011101...s010s110g111',
    '10011101...s010s110g111.',
    '000000000000000000001110',
  ),
}


@pytest.mark.parametrize('name, layout', CASES)
def test_variants_by_hand(name, layout):
  inputs, targets, weights = variant(
    name, layout, (1, 2) if name in ('cot', 'rule_cot', 'o_o') else (2,)
  )
  assert (inputs, targets) == CASES[name, layout][:2]
  assert weights == CASES[name, layout][2]


def test_held_out_samples_are_asked_for_one_thing():
  assert variant('o_o', 'masked', (1, 2), 1)[2] == '0000000001110000'
  assert variant('o_o', 'masked', (1, 2), 2)[2] == '0000000000000111'
  assert variant('cot', 'causal', (1, 2), 2)[2] == '0000000000001110'
  assert variant('o_rs', 'causal', (2,), 2)[2] == '000000000000000000001110'
  assert variant('o_rs', 'causal', (2,), 0)[2] == '000000001111111100000000'
  assert variant('o_s', 'masked', (2,), 2)[2] == '000000000111'
  task = orbits.Orbits(5, 1, 2, (2,), 'o_sr')
  batch = jax.jit(lambda k: task.sample(k, 64, 'test'))(jax.random.key(0))
  assert set(batch.group.tolist()) == {0, 2}
  np.testing.assert_array_equal(
    batch.weights.sum(-1), jnp.where(batch.group == 0, 8, 5)
  )


def test_any_look_ahead_that_nothing_in_the_input_tells():
  task = orbits.Orbits(5, 1, 3, (1, 7, 300), 'by_depth', 'masked')
  batch, (_, states, k) = jax.device_get(
    jax.jit(lambda key: (task.sample(key, 64), task.sample_orbits(key, 64)))(
      jax.random.key(0)
    )
  )
  assert set(k.tolist()) == {1, 7, 300}
  np.testing.assert_array_equal(batch.group, k)
  ask = [T.GEN] + [T.MASK] * 5
  np.testing.assert_array_equal(batch.inputs[:, 18:], np.tile(ask, (64, 1)))
  np.testing.assert_array_equal(
    batch.targets[:, 19:], states[np.arange(64), 2 + k]
  )


def test_flipped_cells_are_shown_and_answers_are_true():
  clean = orbits.Orbits(12, 1, 6, (2,), 'o_s', 'masked')
  noisy = dataclasses.replace(clean, flip=0.1)
  key, N = jax.random.key(0), 300
  truth, seen = (
    task.draw_held_out(key, 'test', N, 'teacher forcing')
    for task in (clean, noisy)
  )
  np.testing.assert_array_equal(truth.batch.targets[:, -12:],
                                seen.batch.targets[:, -12:])  # fmt: skip
  shown = seen.batch.inputs[:, : 6 * 13].reshape(N, 6, 13)[:, :, 1:]
  np.testing.assert_array_equal(shown, seen.observed)
  flipped = seen.observed != truth.observed
  # In every state, the last one too; 0.1 of 3,600 cells, by 4 deviations.
  assert np.all(np.abs(flipped.mean((0, 2)) - 0.1) < 0.02)
  # No predictor reaches the ceiling of the true orbits: it has another name.
  assert not [n for n in seen.known if n.startswith(('ceiling', 'determined'))]
  np.testing.assert_array_equal(
    seen.known['clean_ceiling_exact_match'], truth.known['ceiling_exact_match']
  )
  right = (seen.observed[:, -1] == seen.batch.targets[:, -12:]).all(-1)
  np.testing.assert_array_equal(seen.known['repeat_last_exact_match'], right)
  train = [
    jax.jit(lambda key, task=task: task.sample(key, 32))(key)
    for task in (clean, noisy)
  ]
  changed = np.asarray(train[0].inputs != train[1].inputs)
  assert 0.05 < changed[:, : 6 * 13].mean() < 0.15
  assert not changed[:, 6 * 13 :].any()


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


@hypothesis.settings(max_examples=15)
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
    assert (
      batch.inputs[i, task.num_states * task.row_tokens] == T.SHIFT_1 + k[i] - 1
    )
  # Nothing of the answer is shown where it is asked by masks.
  if not task.causal:
    assert np.all(batch.inputs[batch.weights > 0] == T.MASK)


@pytest.mark.parametrize(
  'fields,message',
  [
    ({'width': 4}, 'width=4'),
    ({'look_ahead': (0,)}, 'look_ahead=.0,.: must be at least 1'),
    (
      {'look_ahead': (1, 9), 'variant': 'multi_horizon'},
      'look_ahead=.1, 9.: variant multi_horizon has a token for each k up to 8',
    ),
    ({'look_ahead': (1, 2)}, 'variant o_s takes one value'),
    ({'look_ahead': ()}, 'look_ahead=..: at least one value is needed'),
    ({'look_ahead': (3, 1)}, 'look_ahead=.3, 1.: must ascend'),
    ({'flip': 0.6}, 'flip=0.6: must be at most 0.5'),
    ({'layout': 'diagonal'}, 'layout=diagonal.*causal'),
    ({'variant': 'o_p'}, 'variant=o_p'),
    ({'variant': 'o_o'}, 'layout=causal: variant=o_o needs layout=masked'),
    ({'variant': 'cot', 'layout': 'masked'}, 'layout=masked: .*layout=causal'),
    ({'num_states': 0}, 'num_states=0'),
    ({'split_by': 'mirrors'}, 'split_by=mirrors'),
    ({'name': 'orbit'}, 'name=orbit: allowed are .*groups, orbits'),
  ],
)
def test_bad_fields_are_named(fields, message):
  with pytest.raises(ValueError, match=message):
    tasks.make({'name': 'orbits', **fields})


def test_light_cone_is_what_the_predicted_cell_depends_on():
  masked = orbits.Orbits(width=5, radius=1, num_states=3, layout='masked')
  assert masked.cone == ((-1, -1), (-1, 0), (-1, 1), (0, 0))
  # A causal token predicts the next one, whose neighbourhood reaches further.
  causal = dataclasses.replace(masked, layout='causal')
  assert causal.cone == ((-1, -1), (-1, 0), (-1, 1), (-1, 2), (0, 0))
