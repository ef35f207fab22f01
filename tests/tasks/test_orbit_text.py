"""Orbits as questions in text."""

import json
import pathlib

import jax
import numpy as np
import pytest

from reasoning_depth import errors
from reasoning_depth.exchange import archive
from reasoning_depth.runtime import configuration
from reasoning_depth.tasks import make, orbit_text, orbits
from reasoning_depth.training import state

QUESTIONS = pathlib.Path(__file__).parents[2] / 'questions'


@pytest.mark.parametrize('variant', orbit_text.VARIANTS)
def test_a_question_shows_the_states_and_its_target_answers_it(variant):
  several = variant in ('multi_horizon', 'by_depth')
  task = orbits.Orbits(
    width=7, num_states=4, variant=variant,
    layout='masked' if variant == 'o_o' else 'causal',
    look_ahead=(1, 3) if several else (3,),
  )  # fmt: skip
  key = jax.random.key(0)
  (rows,) = task.text_records(key, 'test', 9)
  samples = task.draw_held_out(key, 'test', 9)
  assert rows['id'].tolist() == list(range(9))
  assert rows['look_ahead'].tolist() == samples.batch.group.tolist()
  for i, text in enumerate(rows['input']):
    k = rows['look_ahead'][i]
    states = text.split('\n\n')[1].split('\n')
    assert states == [''.join(map(str, x)) for x in samples.observed[i]]
    assert f'state {k} step{"s" if k > 1 else ""} after' in text
    batch = samples.batch
    tokens = batch.targets[i][batch.weights[i] > 0].tolist()
    assert task.read_answer(f'{text}\n{rows["target"][i]}') == tokens


def test_what_counts_is_the_last_state_in_a_text():
  read = orbit_text.read
  assert read('0101 then 1100.', 4) == [1, 1, 0, 0]
  assert read('01011', 4) == read('0120', 4) == read('', 4) == []
  assert read('**0101**\n', 4) == [0, 1, 0, 1]


def test_no_text_where_the_rule_is_asked():
  task = orbits.Orbits(variant='o_rs', width=7, radius=1, look_ahead=(2,))
  with pytest.raises(errors.UsageError, match='variant=o_rs: as text'):
    next(task.text_records(jax.random.key(0), 'test', 2))


def test_the_questions_that_come_along_are_what_their_config_makes():
  config = configuration.load('configs/recall.py:cpu')
  (rows,) = make(config.task).text_records(
    state.evaluation_key(config.seed), 'test', 400
  )
  lines = (QUESTIONS / 'orbits/test.jsonl').read_text().splitlines()
  for i, line in enumerate(lines):
    assert json.loads(line) == {n: np.array(x)[i] for n, x in rows.items()}
  card = archive.read_json(QUESTIONS / 'orbits/card.json')
  assert card['samples'] == {'test': len(lines)} == {'test': 400}
