import collections
import functools
import re

import numpy as np
import pytest
from babi_solver import solve
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_depth.tasks import babi

NUMBER = {'qa1': 1000, 'qa2': 400, 'qa3': 400, 'qa4': 5000, 'qa5': 1000}


def rng(*key):
  return np.random.Generator(np.random.Philox(key=np.array(key, np.uint64)))


@functools.cache
def stories(task):
  source = rng(0, 0)
  return [babi.story(task, source) for _ in range(NUMBER[task])]


def asked(task):
  return [(s, q) for s in stories(task) for q in s.questions]


def shares(values):
  counts = collections.Counter(values)
  return {k: n / counts.total() for k, n in counts.items()}


def close(values, wanted, tolerance=0.015):
  found = shares(values)
  assert found.keys() == wanted.keys()
  for name, share in wanted.items():
    # Some are counted too seldom for their bound: four standard deviations.
    spread = 4 * (share * (1 - share) / len(values)) ** 0.5
    assert abs(found[name] - share) < max(tolerance, spread), (name, found)


@pytest.mark.parametrize('task', babi.TASKS)
def test_the_solver_answers_everything(task):
  for story, q in asked(task):
    assert solve(story.facts[: q.after], q.text) == q.answer


@pytest.mark.parametrize('task', babi.TASKS)
def test_every_support_is_needed_and_all_suffice(task):
  for story, q in asked(task):
    assert len(set(q.supports)) == len(q.supports) > 0
    facts = story.facts[: q.after]
    for support in q.supports:
      rest = facts[:support] + facts[support + 1 :]
      assert solve(rest, q.text) != q.answer, (facts, q)


@settings(max_examples=25)
@given(st.sampled_from(babi.TASKS), st.integers(0, 2**63), st.integers(0, 99))
def test_stories_are_functions_of_their_seed(task, seed, index):
  story = babi.story(task, rng(seed, index))
  assert story == babi.story(task, rng(seed, index))
  for q in story.questions:
    assert 2 <= q.after <= len(story.facts)
    assert max(q.supports) < q.after
    assert solve(story.facts[: q.after], q.text) == q.answer


@pytest.mark.parametrize(
  'task,size', list(zip(babi.TASKS, (19, 33, 34, 15, 39), strict=True))
)
def test_words_are_those_of_the_public_text(task, size):
  words = set()
  for story in stories(task):
    for text in (*story.facts, *(q.text for q in story.questions)):
      words |= set(re.findall(r'\w+', text))
  assert len(words) == size
  assert {q.answer for _, q in asked(task)} <= words


def test_lines_are_in_the_public_form():
  for task in babi.TASKS:
    story = stories(task)[0]
    text = babi.lines(story)
    assert len(text) == len(story.facts) + len(story.questions)
    told = {}
    questions = iter(story.questions)
    for number, line in enumerate(text, 1):
      first, _, rest = line.partition(' ')
      assert int(first) == number
      if '\t' not in rest:
        told[number] = rest
        continue
      question, answer, supports = rest.split('\t')
      q = next(questions)
      assert (question.strip(), answer) == (q.text, q.answer)
      facts = [told[int(s)] for s in supports.split()]
      assert facts == [story.facts[s] for s in q.supports]
    assert len(stories(task)[0].questions) == (1 if task == 'qa4' else 5)


def test_qa1_asks_about_one_of_the_last_five_facts():
  distances = []
  for story, q in asked('qa1'):
    number = q.after + story.questions.index(q)  # lines before the question
    support = q.supports[0]
    support += sum(other.after <= support for other in story.questions)
    distances.append(number - support)
  published = {1: 0.452, 2: 0.290, 4: 0.133, 5: 0.086, 7: 0.040}
  found = shares(distances)
  assert found.keys() == published.keys()
  distance = sum(abs(found[d] - p) for d, p in published.items()) / 2
  assert distance < 0.03


@pytest.mark.parametrize('task', ['qa2', 'qa3', 'qa5'])
def test_the_first_support_is_recent(task):
  assert all(q.after - q.supports[0] <= 5 for _, q in asked(task))


@pytest.mark.parametrize('task', ['qa1', 'qa2', 'qa3', 'qa4'])
def test_places_are_answers_equally_often(task):
  answers = [q.answer for _, q in asked(task)]
  close(answers, dict.fromkeys(babi.PLACES, 1 / 6))


def kind(fact):
  return next(
    (k for k, verbs in babi.VERBS.items() for v in verbs if f' {v} the' in fact)
  )


@pytest.mark.parametrize('task,held', [('qa2', 0.31), ('qa3', 0.21)])
def test_objects_are_held_or_dropped_as_often_as_published(task, held):
  kinds = [kind(s.facts[q.supports[0]]) for s, q in asked(task)]
  close(kinds, {'get': held, 'drop': 1 - held})
  supports = {'qa2': 2, 'qa3': 3}[task]
  for s, q in asked(task):
    kinds = [kind(s.facts[i]) for i in q.supports]
    assert kinds[1:] == ['move'] * (supports - 1)


def test_qa4_as_published():
  templates, places, supports = [], [], []
  for story, q in asked('qa4'):
    templates.append(q.text.endswith(' of?'))
    supports.append(q.supports[0])
    named = ' '.join(story.facts)
    places.append('middle' if named.count(q.answer) == 2 else 'outer')
  close(templates, {True: 0.5, False: 0.5})
  close(supports, {0: 0.5, 1: 0.5})
  close(places, {'outer': 2 / 3, 'middle': 1 / 3})
  for story, _ in asked('qa4'):
    sides = {re.search(r'is (\w+) of', fact)[1] for fact in story.facts}
    assert any(sides <= set(axis) for axis in babi.AXES)


def test_qa5_as_published():
  templates, newest = [], []
  for story, q in asked('qa5'):
    text = re.sub('|'.join(babi.PEOPLE['qa5']), 'P', q.text)
    templates.append(re.sub('|'.join(babi.OBJECTS), 'O', text))
    gives = [
      i for i, f in enumerate(story.facts[: q.after]) if kind(f) == 'give'
    ]
    newest.append(gives[-1] == q.supports[0])
  sixth = (
    'Who gave the O?', 'Who gave the O to P?', 'Who received the O?',
    'Who did P give the O to?',
  )  # fmt: skip
  close(
    templates, {'What did P give to P?': 1 / 3} | dict.fromkeys(sixth, 1 / 6)
  )
  close(newest, {True: 0.983, False: 0.017})


@pytest.mark.parametrize('task', ['qa1', 'qa2', 'qa3', 'qa5'])
def test_verbs_are_drawn_equally(task):
  facts = [f for s in stories(task) for f in s.facts]
  there = collections.defaultdict(list)
  for verbs in babi.VERBS.values():
    found = [v for f in facts for v in verbs if f' {v} the ' in f]
    if found:
      close(found, dict.fromkeys(verbs, 1 / len(verbs)))
  for fact in facts:
    there[kind(fact)].append(fact.endswith(' there.'))
  if task != 'qa1':
    close(there['drop'], {True: 0.2, False: 0.8})
    often = {True: 0.2, False: 0.8} if task == 'qa3' else {True: 1.0}
    close(there['get'], often)
  assert not any(there['move'] + there['give'])


@pytest.mark.parametrize(
  'task,mean', [('qa1', 15), ('qa2', 27), ('qa3', 78.6), ('qa5', 32)]
)
def test_stories_are_about_as_long_as_the_public_ones(task, mean):
  lines = [len(babi.lines(s)) for s in stories(task)]
  assert abs(np.mean(lines) - mean) < 0.1 * mean


def test_nobody_moves_to_where_they_are():
  for story in stories('qa1'):
    at = {}
    for fact in story.facts:
      person, *_, place = fact.rstrip('.').split()
      assert at.get(person) != place
      at[person] = place


def test_an_unknown_task_is_named():
  with pytest.raises(ValueError, match="question='qa6': allowed are qa1, qa2"):
    babi.story('qa6', rng(0, 0))
