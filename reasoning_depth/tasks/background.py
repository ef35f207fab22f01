"""Long text to hide the facts of a story in: invented, or from real books."""

import pathlib
import re
from collections.abc import Iterator

import numpy as np

from reasoning_depth import errors
from reasoning_depth.tasks import babi

# None of these words is a person, a place or an object of a story.
WORDS = {
  'who': (
    'merchant', 'captain', 'widow', 'lawyer', 'shepherd', 'painter', 'doctor',
    'sailor', 'farmer', 'judge', 'teacher', 'soldier', 'miller', 'baker',
    'stranger', 'neighbour', 'poet', 'clerk', 'traveller', 'governess',
  ),
  'thing': (
    'letter', 'lantern', 'carriage', 'portrait', 'candle', 'ledger', 'violin',
    'basket', 'blanket', 'hammer', 'mirror', 'ribbon', 'saddle', 'trumpet',
    'umbrella', 'kettle', 'compass', 'barrel', 'ladder', 'newspaper',
  ),
  'where': (
    'harbour', 'market', 'valley', 'castle', 'village', 'forest', 'chapel',
    'river', 'bridge', 'meadow', 'tavern', 'station', 'orchard', 'cottage',
    'library', 'mountain', 'quarry', 'island', 'theatre', 'cemetery',
  ),
  'which': (
    'old', 'quiet', 'weary', 'gentle', 'proud', 'curious', 'pale', 'clever',
    'forgotten', 'narrow', 'heavy', 'golden', 'broken', 'distant', 'humble',
    'stern', 'famous', 'crooked', 'silent', 'cheerful',
  ),
  'did': (
    'admired', 'described', 'examined', 'remembered', 'mentioned', 'painted',
    'repaired', 'noticed', 'ignored', 'borrowed', 'praised', 'counted',
    'polished', 'missed', 'imagined', 'feared', 'measured', 'blamed',
  ),
  'how': (
    'slowly', 'rarely', 'often', 'gladly', 'secretly', 'calmly', 'eagerly',
    'politely', 'twice', 'seldom', 'patiently', 'bravely',
  ),
  'when': (
    'before dawn', 'after supper', 'during winter', 'at midnight',
    'every sunday', 'in spring', 'since childhood', 'until evening',
    'long ago', 'that autumn', 'on holidays', 'without warning',
  ),
  'link': ('because', 'although', 'while', 'whenever', 'until', 'so'),
}  # fmt: skip
FORMS = tuple(
  form.split()
  for form in (
    'the which who how did the which thing of the who near the where .',
    'when , the who did a which thing and the which where .',
    'the who did the which thing link the which who how did it when .',
    'nobody in the which where how did the thing of the which who .',
    'link the who did a thing , the which who how did the where when .',
    'a which thing and a which thing were all that the who did when .',
  )
)
SHORTEST = 10  # tokens in a sentence that is kept
_DRAWN_AT_ONCE = 16  # sentences
_NAMES = {name.lower() for name in babi.ENTITIES}


def invented_words() -> set[str]:
  """All words of invented sentences."""
  filled = {
    word for words in WORDS.values() for w in words for word in w.split()
  }
  return filled | {w for form in FORMS for w in form if w not in WORDS}


def invented(rng: np.random.Generator) -> Iterator[str]:
  """An endless stream of random sentences from `FORMS`."""
  most = max(map(len, FORMS))
  while True:
    draws = rng.integers(2**31, size=(_DRAWN_AT_ONCE, 1 + most)).tolist()
    for first, *rest in draws:
      form = FORMS[first % len(FORMS)]
      yield ' '.join(
        WORDS[w][n % len(WORDS[w])] if w in WORDS else w
        for w, n in zip(form, rest, strict=False)
      )


def of_books(paths: str) -> list[str]:
  """Sentences of text files, without those that name an entity of a story.

  Args:
    paths: comma-separated files of UTF-8 text.

  Raises:
    UsageError: for a file that cannot be read, or if no sentence is left.
  """
  kept = []
  for path in paths.split(','):
    try:
      text = pathlib.Path(path).read_text('utf-8')
    except UnicodeDecodeError as error:
      raise errors.UsageError(
        f'background={shown(path)}: not UTF-8 text (byte {error.start})'
      ) from None
    except (OSError, ValueError) as error:
      reason = getattr(error, 'strerror', None) or error
      raise errors.UsageError(f'background={shown(path)}: {reason}') from None
    for sentence in re.split(r'(?<=[.!?])\s+', ' '.join(text.split())):
      if not _NAMES & set(re.findall(r'[^\W_]+', sentence.lower())):
        kept.append(sentence)
  if not any(kept):
    raise errors.UsageError(
      f'background={shown(paths)}: no usable sentence; needed are some that '
      'name no person, place or object of a story'
    )
  return kept


def shown(paths: str) -> str:
  """Paths, printable in an error message."""
  return paths if paths.isprintable() else ascii(paths)
