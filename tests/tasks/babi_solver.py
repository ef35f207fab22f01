"""Answers questions about stories from their text alone.

Reads the facts once, from the first to the last, and keeps what is known: where
everyone is, where every object is or who has it, and where it has been.
"""

import re

MOVE = re.compile(
  r'(\w+) (?:went|went back|moved|journeyed|travelled) to the (\w+)\.'
)
GET = re.compile(r'(\w+) (?:took|got|grabbed|picked up) the (\w+)(?: there)?\.')
DROP = re.compile(
  r'(\w+) (?:dropped|left|discarded|put down) the (\w+)(?: there)?\.'
)
GIVE = re.compile(r'(\w+) (?:gave|handed|passed) the (\w+) to (\w+)\.')
SIDE = re.compile(r'The (\w+) is (north|south|east|west) of the (\w+)\.')
INVERSE = {'north': 'south', 'south': 'north', 'east': 'west', 'west': 'east'}


def solve(facts, question):
  """The answer, or None where it does not follow."""
  known = Known()
  for fact in facts:
    known.read(fact)
  for pattern, answer in (
    (r'Where is the (\w+)\?', known.where_is),
    (r'Where is (\w+)\?', known.people.get),
    (r'Where was the (\w+) before the (\w+)\?', known.before),
    (r'What is (\w+) of the (\w+)\?', known.beside),
    (
      r'What is the (\w+) (\w+) of\?',
      lambda place, side: known.beside(INVERSE[side], place),
    ),
    (
      r'What did (\w+) give to (\w+)\?',
      lambda a, b: known.given(1, giver=a, to=b),
    ),
    (r'Who gave the (\w+)\?', lambda o: known.given(0, what=o)),
    (
      r'Who gave the (\w+) to (\w+)\?',
      lambda o, b: known.given(0, what=o, to=b),
    ),
    (r'Who received the (\w+)\?', lambda o: known.given(2, what=o)),
    (
      r'Who did (\w+) give the (\w+) to\?',
      lambda a, o: known.given(2, giver=a, what=o),
    ),
  ):
    match = re.fullmatch(pattern, question)
    if match:
      return answer(*match.groups())
  raise AssertionError(question)


class Known:
  """What is known after some facts."""

  def __init__(self):
    self.people = {}  # person: place
    self.holders = {}  # object: person
    self.trails = {}  # object: places it has been in, None for an unknown one
    self.gifts = []
    self.sides = {}

  def read(self, fact):
    for pattern, note in (
      (MOVE, self.move), (GET, self.get), (DROP, self.drop), (GIVE, self.give),
      (SIDE, self.side),
    ):  # fmt: skip
      match = pattern.fullmatch(fact)
      if match:
        note(*match.groups())
        return
    raise AssertionError(fact)

  def move(self, person, place):
    self.people[person] = place
    for thing, holder in self.holders.items():
      if holder == person:
        self.trails[thing].append(place)

  def handle(self, person, thing):
    """A person has an object in hand: both are in one place."""
    trail = self.trails.setdefault(thing, [None])
    place = self.people.get(person)
    if self.holders.get(thing, person) != person:
      trail.append(place)
    elif place is None and trail[-1]:
      self.people[person] = trail[-1]
    elif trail[-1] is None:
      trail[-1] = place
    elif place != trail[-1]:
      trail.append(place)

  def get(self, person, thing):
    self.handle(person, thing)
    self.holders[thing] = person

  def drop(self, person, thing):
    self.handle(person, thing)
    self.holders.pop(thing, None)

  def give(self, person, thing, to):
    self.handle(person, thing)
    place = self.people.get(person) or self.people.get(to)
    if place:
      self.people.setdefault(person, place)
      self.people.setdefault(to, place)
    self.holders[thing] = to
    self.gifts.append((person, thing, to))

  def side(self, subject, side, place):
    self.sides[side, place] = subject
    self.sides[INVERSE[side], subject] = place

  def where_is(self, thing):
    return self.trails.get(thing, [None])[-1]

  def before(self, thing, place):
    *earlier, now = self.trails.get(thing, [None])
    return earlier[-1] if earlier and now == place else None

  def beside(self, side, place):
    return self.sides.get((side, place))

  def given(self, asked, giver=None, what=None, to=None):
    for gift in reversed(self.gifts):
      if all(
        w in (None, g) for w, g in zip((giver, what, to), gift, strict=True)
      ):
        return gift[asked]
    return None
