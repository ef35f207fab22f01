"""From text to token ids: a fixed list of words, or a tokenizer's file."""

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Protocol

from reasoning_depth import errors
from reasoning_depth.tasks import babi, background


class Vocabulary(Protocol):
  """Maps text to ids below `size`; special tokens come after."""

  size: int

  def encode(self, text: str) -> list[int]:
    """Ids of a text; raises `UsageError` where a part has no id."""
    ...

  def decode(self, ids: Sequence[int]) -> str:
    """The text of ids."""
    ...


class Words:
  """Lower-case words and punctuation, each with an id.

  Attributes:
    size: number of ids.
  """

  def __init__(self, words: Iterable[str]):
    self._words = sorted(set(words))
    self._ids = {w: i for i, w in enumerate(self._words)}
    self.size = len(self._ids)

  def encode(self, text: str) -> list[int]:
    """Ids of a text.

    Raises:
      UsageError: naming the first word that is not in the list.
    """
    ids = self._ids
    try:
      return [ids[w] for w in text.split()]  # enough for invented text
    except KeyError:
      pass
    try:
      return [ids[w] for w in split(text)]
    except KeyError as error:
      raise errors.UsageError(
        f'{error} is not among the {self.size} words of the vocabulary; '
        'tokenizer=FILE takes other text'
      ) from None

  def decode(self, ids: Sequence[int]) -> str:
    """Words with spaces, none before punctuation."""
    text = ' '.join(self._words[i] for i in ids)
    return re.sub(r' ([^\w\s])', r'\1', text)


def split(text: str) -> list[str]:
  """Lower-case words and punctuation."""
  return re.findall(r'\w+|[^\w\s]', text.lower())


def words_of_stories() -> set[str]:
  """All words and punctuation of stories and invented background."""
  texts = [
    *itertools.chain(*babi.VERBS.values(), *babi.PEOPLE.values(), *babi.AXES),
    *babi.PLACES, *babi.OBJECTS, *babi.FRAMES,
  ]  # fmt: skip
  words = {w for text in texts for w in split(text)}
  return words | background.invented_words()


class FromFile:
  """A tokenizer of the `tokenizers` library, read from its JSON file.

  Attributes:
    size: number of ids.
  """

  def __init__(self, path: str):
    self._shown = background.shown(path)
    try:
      import tokenizers  # only here: it is an extra
    except ImportError:
      raise errors.UsageError(
        f'tokenizer={self._shown}: needs the package tokenizers; pip install '
        "'reasoning_depth[text]', or tokenizer='' for whole words"
      ) from None
    try:
      self._tokenizer = tokenizers.Tokenizer.from_file(path)
    except Exception as error:  # the library raises no narrower kind
      raise errors.UsageError(
        f'tokenizer={self._shown}: not a tokenizers JSON file ({error})'
      ) from None
    self.size = self._tokenizer.get_vocab_size()

  def encode(self, text: str) -> list[int]:
    """Ids of a text, without special tokens.

    Raises:
      UsageError: where the tokenizer has no id for a part of it.
    """
    error = ''
    try:
      ids = self._tokenizer.encode(text, add_special_tokens=False).ids
    except Exception as raised:  # the library raises no narrower kind
      ids, error = [], f' ({raised})'
    if text.strip() and not ids:
      raise errors.UsageError(
        f'tokenizer={self._shown}: cannot say {text.strip()!r}{error}'
      )
    return ids

  def decode(self, ids: Sequence[int]) -> str:
    """The text of ids."""
    return self._tokenizer.decode(ids, skip_special_tokens=False).strip()
