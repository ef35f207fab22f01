import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning_depth import errors
from reasoning_depth.analysis import lens
from reasoning_depth.tasks import composition
from tests import tiny
from tests.analysis import plain
from tests.models import test_hooks

TASK = composition.Composition(8, 4, 3, 1, 1.0, 6)
MODEL = tiny.model('transformer', vocab_size=TASK.vocab_size)


def params():
  return tiny.init(MODEL)


@pytest.mark.parametrize(
  'name', ['transformer', 'looped', 'armt', 'rmt', 'trm']
)
def test_the_last_layer_and_loop_are_the_models_logits(name):
  model, weights, _, (output, seen), _ = test_hooks.build(name)
  shown = jax.jit(functools.partial(lens.logits, model))(
    weights, test_hooks.ONE
  )
  loops, depth = {'looped': (3, 2), 'trm': (6, 1)}.get(name, (1, 2))
  assert shown.shape == (loops, depth, *output.logits.shape)
  np.testing.assert_array_equal(shown[-1, -1], output.logits)
  if depth > 1:
    assert jnp.abs(shown[-1, 0] - output.logits).max() > 1e-2
  # Each state by itself, as if the model ended there.
  if name == 'transformer':
    first = model.lens_read_out(weights, seen['residual'][0])
    np.testing.assert_allclose(shown[0, 0], first, atol=1e-5)


def test_a_recall_models_steps_are_read_at_the_cells_of_its_answer():
  model, weights, _, (output, _), _ = test_hooks.build('recall')
  shown = jax.jit(functools.partial(lens.logits, model))(
    weights, test_hooks.ONE
  )
  assert shown.shape == (3, 2, *output.logits.shape)
  cells = slice(test_hooks.SEGMENT + 1, None)
  for n, logits in enumerate(output.depth_logits):
    np.testing.assert_allclose(
      shown[n, -1][:, cells], logits[:, cells], atol=1e-5
    )


def test_probability_and_rank():
  logits = jnp.log(jnp.array([[[0.5, 0.2, 0.3]]]))
  chance, rank = lens.scores(logits, jnp.array([[[1]], [[0]]]))
  np.testing.assert_allclose(chance[:, 0, 0], [0.2, 0.5], atol=1e-6)
  assert rank[:, 0, 0].tolist() == [3, 1]


def test_a_tuned_lens_comes_closer_to_the_answer():
  fit = jax.jit(lambda p: lens.tune(MODEL, p, TASK, jax.random.key(1), 100, 32))
  maps, losses = fit(params())
  assert losses[-10:].mean() < 0.5 * losses[:10].mean()
  # The last state is said as it is, so that its map has nothing to learn.
  assert jnp.abs(maps['kernel'][0, 1]).max() < 0.01
  assert jnp.abs(maps['kernel'][0, 0]).max() > 0.02


def analyze(model, task, weights):
  config = types.SimpleNamespace(
    analyze=types.SimpleNamespace(samples=20, tuned_steps=2, hooks=''),
    eval=types.SimpleNamespace(batch_size=8),
  )
  return lens.analyze(model, task, weights, jax.random.key(1), config)


def test_analysis_averages_over_the_samples_of_a_set():
  found = analyze(MODEL, TASK, params())
  assert found['loop_name'] == 'loop'
  assert found['milestones'] == ['bridge entity', 'answer']
  assert found['positions'] == ['entity', 'relation 1', 'relation 2']
  for kind in ('logit', 'tuned'):
    assert [e['set'] for e in found[kind]] == ['train', 'id', 'ood']
    assert sum(e['num_samples'] for e in found[kind]) == 20
  entry = found['logit'][1]
  assert np.shape(entry['probability']) == (2, 1, 2, 3)
  assert (np.array(entry['rank']) >= 1).all()
  assert 0 < np.min(entry['probability']) < np.max(entry['probability']) < 1


def test_a_plain_model_has_nothing_to_read_out():
  model, weights = plain.build(TASK)
  assert analyze(model, TASK, weights) is None


class OnHost(composition.Composition):
  """The same samples, made on the host as text is."""

  on_host = True

  def host_sample(self, seed, step, batch_size, split='train', first=0):
    """See `base.Task`."""
    sample = jax.jit(TASK.sample, static_argnums=(1, 2))
    return jax.device_get(sample(jax.random.key(seed), batch_size, split))


def test_a_tuned_lens_needs_samples_made_on_the_device():
  task = OnHost(8, 4, 3, 1, 1.0, 6)
  with pytest.raises(errors.UsageError, match='analyze.tuned_steps=2: must be'):
    analyze(MODEL, task, params())
