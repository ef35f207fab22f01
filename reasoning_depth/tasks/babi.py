"""Stories and questions in the form of bAbI's QA1 to QA5 (1502.05698).

People move between places, take, leave and hand over objects; an answer follows
from one to three facts of the story. A story of `qa2`, as lines::

  1 Mary moved to the kitchen.
  2 Mary got the milk there.
  3 Where is the milk? <tab>kitchen<tab>2 1

The actor of a fact is drawn uniformly, and so is the action, of those that are
possible; the story does not state where people and objects are at the start.
Facts come in pairs. The subject of a question, the last action on it and the
form of the question have the frequencies of the public text. A question is
valid only if each supporting fact is needed for its answer: the facts since the
previous question, and their number, are drawn again until there is one.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from reasoning_depth.tasks import babi_questions

TASKS = ('qa1', 'qa2', 'qa3', 'qa4', 'qa5')
PLACES = ('bathroom', 'bedroom', 'garden', 'hallway', 'kitchen', 'office')
OBJECTS = ('apple', 'football', 'milk')
PEOPLE = {
  'qa1': ('Mary', 'John', 'Daniel', 'Sandra'),
  'qa2': ('Mary', 'John', 'Daniel', 'Sandra'),
  'qa3': ('Mary', 'John', 'Daniel', 'Sandra'),
  'qa5': ('Bill', 'Fred', 'Jeff', 'Mary'),
}
ENTITIES = (
  frozenset(PLACES) | frozenset(OBJECTS) | set(sum(PEOPLE.values(), ()))
)
VERBS = {
  'move': (
    'went to',
    'went back to',
    'moved to',
    'journeyed to',
    'travelled to',
  ),
  'get': ('took', 'got', 'grabbed', 'picked up'),
  'drop': ('dropped', 'left', 'discarded', 'put down'),
  'give': ('gave', 'handed', 'passed'),
}
# The other words of sentences and questions.
FRAMES = (
  'The is of the. there to', 'Where is the was before?', 'What is of the?',
  'What did give to?', 'Who gave the to? Who received the? Who did give?',
)  # fmt: skip
AXES = (('north', 'south'), ('east', 'west'))
# Probability that ' there' follows.
THERE_AFTER_GET = {'qa2': 1.0, 'qa3': 0.2, 'qa5': 1.0}
THERE_AFTER_DROP = 0.2
GIVE_WEIGHT = 4  # of drawing a give; the other actions have 1
# Mean number of pairs of facts before a question, for stories about as long as
# the public ones.
PAIRS = {'qa2': 1.5, 'qa3': 6.1, 'qa5': 2.5}
QUESTIONS = 5  # in a story; one in qa4


@dataclasses.dataclass(frozen=True)
class Question:
  """A question with its answer.

  Attributes:
    after: number of facts before it.
    text: the question.
    answer: one word.
    supports: indices of the facts that it follows from, in the order of the
      public text.
  """

  after: int
  text: str
  answer: str
  supports: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Story:
  """Facts in order, and the questions among them."""

  facts: tuple[str, ...]
  questions: tuple[Question, ...]


def story(task: str, rng: np.random.Generator) -> Story:
  """Draws a story.

  Args:
    task: 'qa1' to 'qa5'.
    rng: the same state gives the same story.

  Raises:
    ValueError: for an unknown task.
  """
  if task not in TASKS:
    raise ValueError(f'question={task!r}: allowed are {", ".join(TASKS)}')
  return _map(rng) if task == 'qa4' else _acts(task, rng)


def lines(told: Story) -> list[str]:
  """A story as numbered lines of the public text, questions among the facts."""
  numbers, text = [], []
  for at in range(len(told.facts) + 1):
    for q in told.questions:
      if q.after == at:
        support = ' '.join(str(numbers[s]) for s in q.supports)
        text.append(f'{len(text) + 1} {q.text} \t{q.answer}\t{support}')
    if at < len(told.facts):
      numbers.append(len(text) + 1)
      text.append(f'{len(text) + 1} {told.facts[at]}')
  return text


# --- QA4: three places in a line ----------------------------------------------


def _map(rng: np.random.Generator) -> Story:
  first, middle, last = _some(rng, PLACES, 3)
  toward, away = _one(rng, AXES)
  facts = []
  for outer, side, other in ((first, toward, away), (last, away, toward)):
    if rng.random() < 2 / 3:
      facts.append((outer, side, middle))
    else:
      facts.append((middle, other, outer))
  facts = _some(rng, facts, 2)
  support = int(rng.integers(2))
  subject, side, other_place = facts[support]
  if rng.random() < 0.5:
    text = f'What is {side} of the {other_place}?'
  else:
    opposite = {a: b for pair in AXES for a, b in (pair, pair[::-1])}[side]
    text = f'What is the {other_place} {opposite} of?'
  sentences = tuple(f'The {a} is {side} of the {b}.' for a, side, b in facts)
  return Story(sentences, (Question(2, text, subject, (support,)),))


# --- QA1, QA2, QA3, QA5: people who act ---------------------------------------


class _World:
  """Where people and objects are."""

  def __init__(self, task: str, rng: np.random.Generator):
    self._task, self._rng = task, rng
    self._at = {p: _one(rng, PLACES) for p in PEOPLE[task]}
    # An object is at a place or held by a person.
    things = () if task == 'qa1' else OBJECTS
    self._where = {o: _one(rng, PLACES) for o in things}

  def saved(self) -> tuple[dict[str, str], dict[str, str]]:
    return dict(self._at), dict(self._where)

  def restore(self, saved: tuple[dict[str, str], dict[str, str]]) -> None:
    self._at, self._where = map(dict, saved)

  def act(self) -> babi_questions.Fact:
    """Draws an action and applies it."""
    rng, actor = self._rng, _one(self._rng, PEOPLE[self._task])
    here = [o for o, where in self._where.items() if where == self._at[actor]]
    held = [o for o, where in self._where.items() if where == actor]
    near = [
      p for p, at in self._at.items() if p != actor and at == self._at[actor]
    ]
    kinds = ['move'] + ['get'] * bool(here) + ['drop'] * bool(held)
    if self._task == 'qa5' and held and near:
      kinds += ['give'] * GIVE_WEIGHT
    kind = _one(rng, kinds)
    verb = _one(rng, VERBS[kind])
    if kind == 'move':
      place = _one(rng, [p for p in PLACES if p != self._at[actor]])
      self._at[actor] = place
      return babi_questions.Fact(
        kind, actor, place, '', f'{actor} {verb} the {place}.'
      )
    what = _one(rng, here if kind == 'get' else held)
    text = f'{actor} {verb} the {what}'
    if kind == 'give':
      to = self._where[what] = _one(rng, near)
      return babi_questions.Fact(kind, actor, what, to, f'{text} to {to}.')
    getting = kind == 'get'
    self._where[what] = actor if getting else self._at[actor]
    often = THERE_AFTER_GET[self._task] if getting else THERE_AFTER_DROP
    there = ' there' if rng.random() < often else ''
    return babi_questions.Fact(kind, actor, what, '', f'{text}{there}.')


def _acts(task: str, rng: np.random.Generator) -> Story:
  world, facts, questions = _World(task, rng), [], []
  for _ in range(QUESTIONS):
    wish = babi_questions.WISHES[task](rng)
    saved, count = world.saved(), len(facts)
    while True:
      pairs = rng.geometric(1 / PAIRS[task]) if task in PAIRS else 1
      facts += [world.act() for _ in range(2 * pairs)]
      found = babi_questions.askable(task, facts, wish)
      if found:
        break
      world.restore(saved)
      del facts[count:]
    text, answer, supports = _one(rng, found)
    questions.append(Question(len(facts), text, answer, supports))
  return Story(tuple(f.text for f in facts), tuple(questions))


def _one(rng: np.random.Generator, values: Sequence):
  return values[int(rng.integers(len(values)))]


def _some(rng: np.random.Generator, values: Sequence, count: int) -> list:
  """`count` of the values without replacement, in random order."""
  return [values[i] for i in rng.permutation(len(values))[:count]]
