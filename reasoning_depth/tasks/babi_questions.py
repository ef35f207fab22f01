"""What can be asked of the facts of a story, and what follows from them."""

import collections
import dataclasses
import functools
from collections.abc import Callable, Sequence

RECENT = 5  # facts among which the first support is
# Share of questions about an object that is held; the others are about one that
# was dropped.
HELD = {'qa2': 0.31, 'qa3': 0.21}
MOST_RECENT_GIVE = 0.983


@dataclasses.dataclass(frozen=True)
class Fact:
  """What someone did.

  Attributes:
    kind: 'move', 'get', 'drop' or 'give'.
    actor: a person.
    what: the place gone to, or the object.
    to: who is given it.
    text: the sentence.
  """

  kind: str
  actor: str
  what: str
  to: str
  text: str


_Facts = Sequence[Fact | None]  # None: a fact that is left out


@dataclasses.dataclass(frozen=True)
class _Query:
  """What may be asked.

  Attributes:
    text: the question.
    find: facts to the answer and its supports, or None.
    thing: the object whose place is asked for; '' if none is.
    before: the place that it is asked to have come to last; '' for none.
  """

  text: str
  find: Callable[[_Facts], tuple[str, tuple[int, ...]] | None]
  thing: str = ''
  before: str = ''


def askable(
  task: str, facts: list[Fact], wish
) -> list[tuple[str, str, tuple[int, ...]]]:
  """Text, answer and supports of the questions that there are."""
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
  """Whether the answer still follows where a fact is left out."""
  rest = [*facts[:without], None, *facts[without + 1 :]]
  found = query.find(rest)
  if found and found[0] == answer:
    return True
  # Places also follow from who met whom, and found what. Without a fact the
  # others may disagree; whichever way they are read, the answer may not follow.
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
  """The last thing done to an object that has these fields, if any."""
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
  """Where an object that is in a place was before it was brought there."""
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
  """Places that each object has been in, as far as they can be known.

  A stay of somebody in a place is a number. An unknown place is '?'.

  Args:
    facts: of the story.
    backward: whether a place that comes out later is known of the stays that
      were found to be in one place before.
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
    """Whether two stays can be in one place."""
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
    if holder.get(f.what) != f.actor:  # it has been where the actor is
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


# What is asked of a give: which of its fields are told, which is the answer.
_GIVES = {
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
  text, told, asked = _GIVES[name]
  queries = []
  for i in gives[-1:] if newest else gives[:-1]:
    fields = {field: getattr(facts[i], field) for field in told}
    find = functools.partial(_give, fields, asked)
    if find(facts)[1] == (i,):
      queries.append(_Query(text.format(**fields), find))
  return queries


def _give(fields: dict[str, str], asked: str, facts: _Facts):
  last = _last(facts, len(facts), kind='give', **fields)
  return None if last is None else (getattr(facts[last], asked), (last,))


# 'What did … give to …?' is asked twice as often as each of the others.
_ASKED = ['object', *_GIVES]
# Drawn before the facts that a question is about: its place among the last
# five (qa1), the kind of its first support (qa2, qa3), or what is asked of a
# give and whether of the most recent one (qa5).
WISHES = {
  'qa1': lambda rng: rng.random(),
  'qa2': lambda rng: 'get' if rng.random() < HELD['qa2'] else 'drop',
  'qa3': lambda rng: 'get' if rng.random() < HELD['qa3'] else 'drop',
  'qa5': lambda rng: (
    _ASKED[rng.integers(len(_ASKED))], bool(rng.random() < MOST_RECENT_GIVE)
  ),
}  # fmt: skip
