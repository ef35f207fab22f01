import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import transformer as transformer_config
from reasoning_depth import tasks
from reasoning_depth.runtime import sharding
from reasoning_depth.scoring import evaluate
from reasoning_depth.tasks import automata, baselines, orbits, splits
from reasoning_depth.training import state
from tests import tiny

KEY = jax.random.key(0)
TASK = orbits.Orbits(
  width=6, radius=1, num_states=3, look_ahead=(1, 2), variant='multi_horizon',
  layout='masked',
)  # fmt: skip


@pytest.fixture(scope='module')
def model_and_params():
  exp = tiny.experiment(
    'transformer',
    task={'width': 6, 'look_ahead': (1, 2), 'layout': 'masked'},
  )
  first = jax.jit(
    lambda: state.init(exp.model, exp.optimizer, exp.config, exp.task.length)
  )()
  return exp.model, first.params


def run(model_and_params, batch_size, devices, num_samples=50):
  model, params = model_and_params
  mesh = sharding.make_mesh({'data': devices, 'model': 1})
  config = transformer_config.get_config('smoke')
  config.eval.batch_size = batch_size
  evaluator = evaluate.Evaluator(model, TASK, config, mesh)
  samples = TASK.draw_held_out(KEY, 'test', num_samples, 'teacher forcing')
  params = jax.device_put(params, sharding.replicated(mesh))
  return evaluator.run(params, samples), evaluator


def test_results_do_not_depend_on_batches_or_devices(model_and_params):
  first, evaluator = run(model_and_params, 64, 1)
  assert evaluator.step._cache_size() == 1
  for batch_size, devices in ((7, 1), (8, 4)):
    other, evaluator = run(model_and_params, batch_size, devices)
    np.testing.assert_array_equal(first.tokens, other.tokens)
    np.testing.assert_allclose(first.loss, other.loss, rtol=1e-4)
    assert evaluator.step._cache_size() == 1  # padded: one compile
    ours, theirs = first.summary(), other.summary()
    assert ours['groups'][0].keys() == theirs['groups'][0].keys()
    for a, b in zip(ours['groups'], theirs['groups'], strict=True):
      assert a['exact_match'] == b['exact_match']
      assert a['bit_accuracy_interval'] == b['bit_accuracy_interval']


def test_more_samples_begin_with_the_same_ones():
  few = TASK.draw_held_out(KEY, 'test', 10)
  many = TASK.draw_held_out(KEY, 'test', 300)
  assert many.batch.inputs.shape == (300, TASK.length)
  np.testing.assert_array_equal(few.batch.inputs, many.batch.inputs[:10])
  other = TASK.draw_held_out(KEY, 'validation', 10)
  assert not np.array_equal(few.batch.inputs, other.batch.inputs)


def test_groups_have_the_names_that_the_task_gives_them():
  task = tasks.make(
    {'name': 'composition', 'num_entities': 6, 'num_relations': 4,
     'out_degree': 3, 'ratio': 1.0, 'held_out': 3}
  )  # fmt: skip
  samples = task.draw_held_out(KEY, 'test', 60)
  result = evaluate.Result(samples, np.zeros(60), samples.batch.targets)
  summary = result.summary()
  assert summary['group_name'] == 'set'
  assert [(g['group'], g['label']) for g in summary['groups']] == [
    (0, 'train'), (1, 'id'), (2, 'ood')
  ]  # fmt: skip
  assert all(g['exact_match'] == 1 for g in summary['groups'])
  row = result.rows(1)[0]
  asked = np.flatnonzero(samples.batch.weights[0])
  assert int(row['target']) == samples.batch.targets[0, asked]
  assert row['inputs'] == samples.batch.inputs[0].tolist()


def test_scores_of_known_answers():
  samples = TASK.draw_held_out(KEY, 'test', 40, 'teacher forcing')
  targets = np.array(samples.batch.targets)
  loss = np.arange(40.0)
  perfect = evaluate.Result(samples, loss, targets).summary()
  assert perfect['overall']['exact_match'] == 1
  assert perfect['overall']['bit_accuracy'] == 1
  assert perfect['overall']['loss'] == pytest.approx(19.5)
  assert perfect['group_name'] == 'look_ahead'
  assert perfect['horizon'] == 0  # 20 samples cannot show it
  assert [g['group'] for g in perfect['groups']] == [1, 2]
  assert sum(g['num_samples'] for g in perfect['groups']) == 40

  # One cell wrong in every fourth sample, all cells wrong in none.
  tokens = targets.copy()
  tokens[::4, -1] = 1 - tokens[::4, -1]
  tokens[:, 0] = 7  # not an answer token
  result = evaluate.Result(samples, loss, tokens)
  overall = result.summary()['overall']
  assert overall['exact_match'] == 0.75
  assert overall['bit_accuracy'] == pytest.approx(1 - 0.25 / 6)
  low, high = overall['exact_match_interval']
  assert low < 0.75 < high
  share = 0.75 / overall['ceiling_exact_match']
  assert overall['share_of_ceiling'] == pytest.approx(share)

  # Where the observed states leave one answer alone.
  known = samples.known['determined_share'] == 1
  np.testing.assert_array_equal(
    known, samples.known['ceiling_exact_match'] == 1
  )
  assert overall['determined_share'] == known.mean()
  right = (np.arange(40) % 4 > 0)[known]
  assert overall['determined_exact_match'] == right.mean()
  low, high = overall['determined_exact_match_interval']
  assert [low, high] == evaluate.wilson(right.sum(), len(right))
  undetermined = result._scores(~known)
  assert undetermined['determined_share'] == 0
  assert 'determined_exact_match' not in undetermined

  row = result.rows(8)[4]
  assert (row['index'], row['exact'], row['correct']) == (4, False, 5)
  differs = [a != b for a, b in zip(row['prediction'], row['target'])]  # noqa: B905
  assert differs == [False] * 5 + [True]
  assert len(result.rows(8)) == 8
  orbit = [list(map(int, s)) for s in row['observed']]
  np.testing.assert_array_equal(orbit, samples.observed[4])


def test_baselines_are_scored_on_the_same_samples():
  samples = TASK.draw_held_out(KEY, 'test', 40, 'teacher forcing')
  answers = samples.batch.targets[:, -6:]
  last = samples.observed[:, -1]
  right = (last == answers).all(-1)
  np.testing.assert_array_equal(samples.known['repeat_last_exact_match'], right)
  overall = evaluate.Result(
    samples, np.zeros(40), np.zeros_like(samples.batch.targets)
  ).summary()['overall']
  assert overall['repeat_last_exact_match'] == pytest.approx(right.mean())
  assert overall['majority_bit_accuracy'] > 0.5
  assert overall['ceiling_exact_match'] >= overall['majority_exact_match']


def test_the_rule_is_scored_apart_from_the_state():
  task = orbits.Orbits(6, 1, 3, (1,), 'o_rs', 'masked')
  samples = task.draw_held_out(KEY, 'test', 60, 'teacher forcing')
  targets = np.array(samples.batch.targets)
  wrong = targets.copy()
  wrong[:, -1] = 1 - wrong[:, -1]  # a cell of the state
  result = evaluate.Result(samples, np.zeros(60), wrong)
  rule, state = result.summary()['groups']
  assert (rule['group'], rule['exact_match']) == (0, 1)
  assert (state['group'], state['exact_match']) == (1, 0)
  assert state['bit_accuracy'] == pytest.approx(5 / 6)
  assert 'repeat_last_exact_match' not in rule
  # By hand: an entry that no transition shows is known with probability 1/2.
  asked = samples.batch.group == 0
  index = np.asarray(automata.neighbourhoods(samples.observed[:, :-1], 1))
  unseen = np.array([8 - len(np.unique(i)) for i in index[asked]])
  assert rule['ceiling_exact_match'] == pytest.approx((0.5**unseen).mean())
  assert rule['ceiling_bit_accuracy'] == pytest.approx(1 - unseen.mean() / 16)


def test_who_is_told_the_rule_can_know_everything():
  task = orbits.Orbits(6, 1, 3, (2,), 'ro_s')
  samples = task.draw_held_out(KEY, 'test', 20, 'teacher forcing')
  assert samples.known['ceiling_exact_match'].all()
  assert not samples.known['majority_exact_match'].all()


def test_baselines_by_hand():
  observed = np.array([[[0, 1, 1], [0, 0, 1], [1, 0, 1], [1, 0, 0]]])
  assert baselines.repeat_last(observed).tolist() == [[1, 0, 0]]
  assert baselines.majority(observed).tolist() == [[1, 0, 1]]


def test_held_out_rules_are_not_for_training():
  for split, owner in (('validation', 1), ('test', 2)):
    samples = TASK.draw_held_out(KEY, split, 300)
    key = jax.random.fold_in(KEY, splits.SPLITS.index(split))
    rules, states, _ = TASK.sample_orbits(
      jax.random.fold_in(key, 0), splits.BLOCK, split
    )
    np.testing.assert_array_equal(samples.observed[:256], states[:, :3])
    assert jnp.all(automata.split_of(rules) == owner)


def test_intervals():
  # Wilson's interval of 8 of 10, from his formula.
  assert evaluate.wilson(8, 10) == pytest.approx([0.4902, 0.9433], abs=1e-4)
  assert evaluate.wilson(0, 10)[0] == pytest.approx(0)
  assert evaluate.wilson(10, 10)[1] == pytest.approx(1)
  rng = np.random.default_rng(0)
  covered = 0
  for _ in range(400):
    low, high = evaluate.mean_interval(rng.uniform(size=200))
    covered += low <= 0.5 <= high
  assert 0.91 < covered / 400 < 0.98
