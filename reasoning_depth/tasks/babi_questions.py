"""Valid questions about the facts of a story, with answers and supports."""

import collections
import dataclasses
import functools
from collections.abc import Callable, Sequence

RECENT = 5  # the first support is among this many last facts
# Probability that the object asked about was taken last; else it was dropped.
HELD = {'qa2': 0.31, 'qa3': 0.21}
MOST_RECENT_GIVE = 0.983  # probability that the latest give is asked about


@dataclasses.dataclass(frozen=True)
class Fact:
  """An action of a person.

  Attributes:
    kind: 'move', 'get', 'drop' or 'give'.
    actor: a person.
    what: the place gone to, or the object.
    to: the person who receives it.
    text: the sentence.
  """

  kind: str
  actor: str
  what: str
  to: str
  text: str


_Facts = Sequence[Fact | None]  # None for a removed fact


@dataclasses.dataclass(frozen=True)
class _Query:
  """A candidate question.

  Attributes:
    text: the question.
    find: maps facts to the answer and its supports, or to None.
    thing: the object whose place is asked for; '' for none.
    before: the place named after "before" in the question; '' for none.
  """

  text: str
  find: Callable[[_Facts], tuple[str, tuple[int, ...]] | None]
  thing: str = ''
  before: str = ''


def askable(
  task: str, facts: list[Fact], wish
) -> list[tuple[str, str, tuple[int, ...]]]:
  """Text, answer and supports of each valid question; `wish` is from WISHES."""
  recent = range(max(0, len(facts) - RECENT), len(facts))
  if task == 'qa1':
    actor = facts[recent[int(wish * len(recent))]].actor
    find = functools.partial(_person, actor)
    queries = [_Query(f'Where is {actor}?', find)]
  elif task == 'qa5':
    queries = _give_queries(facts, recent, *wish)
  else:
    things = {facts[i].what for i in recent if facts[i].kind == wish}
    queries = [
      q for o in sorted(things) for q in _object_queries(task, facts, o)
    ]
  found = []
  for query in queries:
    answer, supports = query.find(facts) or ('', ())
    if not supports or supports[0] not in recent:
      continue
    if task in HELD and facts[supports[0]].kind != wish:
      continue
    if not any(_follows(query, facts, s, answer) for s in supports):
      found.append((query.text, answer, supports))
  return found


def _follows(
  query: _Query, facts: list[Fact], without: int, answer: str
) -> bool:
  """Whether the answer still follows with one fact removed."""
  rest = [*facts[:without], None, *facts[without + 1 :]]
  found = query.find(rest)
  if found and found[0] == answer:
    return True
  # Places can also be inferred from who met whom and who found what. Without
  # one fact the others may contradict each other, so both directions of
  # inference are tried; the answer must follow in neither.
  for backward in (False, True):
    *earlier, now = _trails(rest, backward).get(query.thing, ['?'])
    if not query.before and now == answer:
      return True
    if query.before and (now, earlier[-1:]) == (query.before, [answer]):
      return True
  return False


def _moves(facts: _Facts, actor: str, before: int) -> list[int]:
  """The actor's moves before a fact, the last one first."""
  return [
    i for i in reversed(range(before))
    if facts[i] and facts[i].kind == 'move' and facts[i].actor == actor
  ]  # fmt: skip


def _last(facts: _Facts, before: int, **fields: str) -> int | None:
  """Index of the last get, drop or give with these fields, if any."""
  for i in reversed(range(before)):
    f = facts[i]
    if (
      f and f.kind != 'move'
      and all(getattr(f, k) == v for k, v in fields.items())
    ):  # fmt: skip
      return i
  return None


def _person(actor: str, facts: _Facts):
  moves = _moves(facts, actor, len(facts))
  return (facts[moves[0]].what, (moves[0],)) if moves else None


def _place(thing: str, facts: _Facts):
  """Where an object is."""
  last = _last(facts, len(facts), what=thing)
  if last is None:
    return None
  until = last if facts[last].kind == 'drop' else len(facts)
  moves = _moves(facts, facts[last].actor, until)
  return (facts[moves[0]].what, (last, moves[0])) if moves else None


def _place_before(thing: str, place: str, facts: _Facts):
  """Where an object was before it was brought to `place`, where it is now."""
  last = _last(facts, len(facts), what=thing)
  if last is None:
    return None
  actor, dropped = facts[last].actor, facts[last].kind == 'drop'
  moves = _moves(facts, actor, last if dropped else len(facts))
  got = _last(facts, last, what=thing) if dropped else last
  carried = got is not None and (facts[got].kind, facts[got].actor) == (
    'get', actor
  )  # fmt: skip
  if len(moves) < 2 or not carried or not got < moves[0]:
    return None
  if facts[moves[0]].what != place:
    return None
  return facts[moves[1]].what, (last, *moves[:2])


def _object_queries(task: str, facts: list[Fact], thing: str) -> list[_Query]:
  if task == 'qa2':
    find = functools.partial(_place, thing)
    return [_Query(f'Where is the {thing}?', find, thing)]
  return [
    _Query(
      f'Where was the {thing} before the {place}?',
      functools.partial(_place_before, thing, place),
      thing,
      place,
    )
    for place in sorted({f.what for f in facts if f.kind == 'move'})
  ]


def _trails(facts: _Facts, backward: bool) -> dict[str, list[str]]:
  """Sequence of places of each object, as far as they can be inferred.

  Union-find over stays (a person's time in one place), numbered; an unknown
  place is '?'.

  Args:
    facts: of the story.
    backward: whether a place inferred later also applies to stays that were
      joined earlier.
  """
  joined, named = [], []

  def stay(place=''):
    joined.append(len(joined))
    named.append(place)
    return joined[-1]

  def first(a):
    while joined[a] != a:
      a = joined[a]
    return a

  def join(a, b):
    """Joins two stays; False if their places are known to differ."""
    a, b = first(a), first(b)
    if named[a] and named[b]:
      return named[a] == named[b]
    a, b = (b, a) if named[a] else (a, b)
    if backward:
      joined[a] = b
    named[a] = named[b]
    return True

  at = collections.defaultdict(stay)
  trails, holder = collections.defaultdict(lambda: [stay()]), {}
  for f in filter(None, facts):
    if f.kind == 'move':
      at[f.actor] = stay(f.what)
      for thing, person in holder.items():
        if person == f.actor:
          trails[thing].append(at[f.actor])
      continue
    trail = trails[f.what]
    if holder.get(f.what) != f.actor:  # so it was where the actor is
      if f.what in holder or not join(trail[-1], at[f.actor]):
        trail.append(at[f.actor])
    if f.kind == 'give':
      join(at[f.actor], at[f.to])
    holder.pop(f.what, None)
    if f.kind != 'drop':
      holder[f.what] = f.to or f.actor
  return {
    thing: [named[first(a)] or '?' for a in trail]
    for thing, trail in trails.items()
  }


# Questions about a give: text, the fields it names, the field it asks for.
_GIVE_QUESTIONS = {
  'object': ('What did {actor} give to {to}?', ('actor', 'to'), 'what'),
  'giver': ('Who gave the {what}?', ('what',), 'actor'),
  'giver to': ('Who gave the {what} to {to}?', ('what', 'to'), 'actor'),
  'receiver': ('Who received the {what}?', ('what',), 'to'),
  'receiver from': (
    'Who did {actor} give the {what} to?', ('actor', 'what'), 'to'
  ),
}  # fmt: skip


def _give_queries(
  facts: list[Fact], recent: range, name: str, newest: bool
) -> list[_Query]:
  gives = [i for i in recent if facts[i].kind == 'give']
  text, given, asked = _GIVE_QUESTIONS[name]
  queries = []
  for i in gives[-1:] if newest else gives[:-1]:
    fields = {field: getattr(facts[i], field) for field in given}
    find = functools.partial(_give, fields, asked)
    if find(facts)[1] == (i,):
      queries.append(_Query(text.format(**fields), find))
  return queries


def _give(fields: dict[str, str], asked: str, facts: _Facts):
  last = _last(facts, len(facts), kind='give', **fields)
  return None if last is None else (getattr(facts[last], asked), (last,))


# 'What did … give to …?' is asked twice as often as each of the others.
_GIVE_NAMES = ['object', *_GIVE_QUESTIONS]
# Properties of a question, drawn before its facts: which of the last five facts
# it is about (qa1), the kind of its first support (qa2, qa3), or the question
# about a give and whether it is about the latest one (qa5).
WISHES = {
  'qa1': lambda rng: rng.random(),
  'qa2': lambda rng: 'get' if rng.random() < HELD['qa2'] else 'drop',
  'qa3': lambda rng: 'get' if rng.random() < HELD['qa3'] else 'drop',
  'qa5': lambda rng: (
    _GIVE_NAMES[rng.integers(len(_GIVE_NAMES))],
    bool(rng.random() < MOST_RECENT_GIVE),
  ),
}  # fmt: skip
