"""Answers made elsewhere are scored as a model's own are."""

import jax
import numpy as np
import pytest

from reasoning_depth import errors
from reasoning_depth.scoring import answers, evaluate
from reasoning_depth.tasks import babilong, groups, orbits

TASKS = {
  'orbits': orbits.Orbits(width=6, radius=1, num_states=3),
  'groups': groups.Groups(word_length=3),
  'babilong': babilong.BABILong(length=64),
}
SAMPLES = 12


def samples(task):
  return task.draw_held_out(jax.random.key(0), 'test', SAMPLES, 'generation')


def guesses(batch):
  """The targets, of every second sample with a wrong last token."""
  tokens = batch.targets.copy()
  for i in range(0, SAMPLES, 2):
    last = np.flatnonzero(batch.weights[i])[-1]
    tokens[i, last] = 1 - min(tokens[i, last], 1)
  return tokens


@pytest.mark.parametrize('name', TASKS)
def test_scores_are_those_of_the_same_tokens(name):
  task = TASKS[name]
  drawn = samples(task)
  tokens = guesses(drawn.batch)
  own = evaluate.Result(
    drawn, None, tokens, judged=task.judged(drawn.batch, tokens)
  ).summary()
  given = {
    i: tokens[i][asked].tolist()
    for i, asked in enumerate(drawn.batch.weights > 0)
  }
  found = answers.result(task, drawn, given).summary()
  assert found.pop('scored_by') == 'answers from a file'
  del own['scored_by']
  assert found == own
  assert 0.4 <= found['overall']['exact_match'] < 1


def test_words_are_judged_as_they_were_said():
  task = TASKS['babilong']
  drawn = samples(task)
  right = [
    task.decode(row[weights > 0])
    for row, weights in zip(
      drawn.batch.targets, drawn.batch.weights, strict=True
    )
  ]
  given = dict(enumerate(right))
  given[0] = f'{right[0].title()}.'  # as good
  given[1] = f'It is the {right[1]}. Or the office, the garden, the hallway.'
  given[2] = 'I cannot say'
  found = answers.result(task, drawn, given).summary()['overall']
  assert found['exact_match'] == (SAMPLES - 2) / SAMPLES
  assert found['official_match'] == (SAMPLES - 1) / SAMPLES


def test_no_token_is_no_word():
  task = TASKS['babilong']
  drawn = samples(task)
  asked = drawn.batch.weights > 0
  given = {  # from the end of the list of words they would be the right ones
    i: (row[at] - task.pad).tolist()
    for i, (row, at) in enumerate(zip(drawn.batch.targets, asked, strict=True))
  }
  found = answers.result(task, drawn, given).summary()['overall']
  assert found['exact_match'] == found['official_match'] == 0


def test_what_is_no_answer_is_wrong():
  task = TASKS['orbits']
  drawn = samples(task)
  for bad in ('', '01', '0101010', 'x', [0, 1], [0] * 5 + [10**6], [-5] * 6):
    given = {i: bad for i in range(SAMPLES)}
    found = answers.result(task, drawn, given).summary()
    assert found['overall']['bit_accuracy'] == 0


def test_answers_and_samples_must_be_the_same_ones():
  task = TASKS['orbits']
  drawn = samples(task)
  every = {i: '000000' for i in range(SAMPLES)}
  with pytest.raises(errors.UsageError, match='1 of 12 samples .* id=4;'):
    answers.result(task, drawn, {i: x for i, x in every.items() if i != 4})
  with pytest.raises(errors.UsageError, match='id=12: there are 12 samples'):
    answers.result(task, drawn, every | {12: '000000'})
