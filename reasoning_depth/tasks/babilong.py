"""BABILong: the facts of a story, in order, anywhere in long text (2406.10149).

The context is background text in whole sentences, with the facts at random gaps
between sentences and PAD in front. The question and its answer come last::

  PAD … background fact background … fact … background question GEN answer

A sample is a function of (seed, step, index, split); nothing is downloaded.
Sequences that do not fit in memory are made in segments by `stream`.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from reasoning_depth import errors, settings
from reasoning_depth.tasks import (
  babi,
  babilong_files,
  background,
  base,
  splits,
  vocabulary,
)

MAX_LENGTH = 2**30
# Stories drawn at most, until one fits into the length.
_TRIALS, _MORE_TRIALS = 50, 10_000
_KEPT = 2**20  # background up to this many tokens is kept, not made twice
_STORY, _PLACES, _BACKGROUND = range(3)  # streams of random numbers


@dataclasses.dataclass(frozen=True)
class BABILong(base.Task):
  """Questions about stories hidden in long text; see the module docstring.

  Raises:
    UsageError: naming the field that is out of range.
  """

  question: str = settings.field('qa1', 'as in `babi`', choices=babi.TASKS)
  length: int = settings.field(
    1024, 'tokens in a sequence', least=1, most=MAX_LENGTH
  )
  background: str = settings.field(
    '',
    'comma-separated text files of real books; sentences that name a person, '
    'place or object of a story are dropped; empty: invented text',
  )
  tokenizer: str = settings.field(
    '', 'JSON file of the library `tokenizers`; empty: whole words'
  )
  data: str = settings.field(
    '',
    'file or folder of texts with questions, in the public layout, to use; '
    'empty: texts are made',
  )

  causal = True  # the answer is predicted left to right
  group_name = 'length'
  on_host = True
  reads_data = True
  streams = True

  def __post_init__(self):
    super().__post_init__()
    if self.data:
      for rows in self.files.splits.values():
        self._row(rows[0])
    else:
      self._story(_generator(0, 0, 0, 0, _STORY), _TRIALS)
    if self.background:
      self._sentences_of_books  # noqa: B018, read here to raise early

  @property
  def vocab_size(self) -> int:
    """Number of token ids."""
    return self._vocabulary.size + 2

  @property
  def pad(self) -> int:
    """The token that pads a short context in front."""
    return self._vocabulary.size

  @property
  def gen(self) -> int:
    """The token that asks for the answer."""
    return self._vocabulary.size + 1

  @functools.cached_property
  def files(self) -> babilong_files.Files:
    """The texts of `data`."""
    return babilong_files.read(self.data, self.question)

  @property
  def data_record(self) -> dict[str, Any]:
    """See `base.Task`."""
    return self.files.record if self.data else {}

  def available(self, split: str, count: int) -> int:
    """See `base.Task`."""
    return min(count, len(self.files.split(split))) if self.data else count

  @functools.cached_property
  def _vocabulary(self) -> vocabulary.Vocabulary:
    if self.tokenizer:
      return vocabulary.FromFile(self.tokenizer)
    return vocabulary.Words(vocabulary.words_of_stories())

  @functools.cached_property
  def _sentences_of_books(self) -> list[np.ndarray]:
    encoded = []
    for sentence in background.of_books(self.background):
      try:
        encoded.append(np.array(self.encode(sentence), np.int32))
      except errors.UsageError as error:
        raise errors.UsageError(
          f'background={background.shown(self.background)}: {error}'
        ) from None
    kept = [s for s in encoded if len(s) >= background.SHORTEST]
    if not kept:
      raise errors.UsageError(
        f'background={background.shown(self.background)}: no usable sentence; '
        f'needed are some of at least {background.SHORTEST} tokens'
      )
    return kept

  def encode(self, sentence: str) -> list[int]:
    """Tokens of a text; raises `UsageError` where a part has none."""
    return self._vocabulary.encode(f' {sentence}')

  def host_sample(
    self,
    seed: int,
    step: int,
    batch_size: int,
    split: str = 'train',
    first: int = 0,
  ) -> base.Batch:
    """A batch of NumPy arrays, made on the host; see `base.Task`.

    Splits differ in their random numbers only. The group is the length.
    """
    rows = [
      next(self.stream(seed, step, index, split, self.length))
      for index in range(first, first + batch_size)
    ]
    fields = [f.name for f in dataclasses.fields(base.Batch)]
    return base.Batch(
      **{f: np.concatenate([getattr(row, f) for row in rows]) for f in fields}
    )

  def stream(
    self, seed: int, step: int, index: int, split: str, segment: int
  ) -> Iterator[base.Batch]:
    """One sequence in segments, for lengths that do not fit into memory.

    Args:
      seed: of the run.
      step: index of the batch.
      index: of the sample in the batch.
      split: one of `splits.SPLITS`.
      segment: tokens in a segment, a divisor of the length.

    Yields:
      batches [1, segment], the segments of the sample in order.
    """
    splits.check_split(split)
    if segment < 1 or self.length % segment:
      raise ValueError(f'segment={segment}: must divide length={self.length}')
    generator = functools.partial(
      _generator, seed, splits.SPLITS.index(split), step, index
    )
    if self.data:
      rows = self.files.split(split)
      drawn = split == 'train'
      row = int(generator(_STORY).integers(len(rows))) if drawn else index
      pieces, answered = self._row(rows[row % len(rows)])
    else:
      facts, ending, answered = self._story(generator(_STORY), _MORE_TRIALS)
      pieces = self._pieces(facts, ending, generator)
    waiting, at = [], 0
    for piece in pieces:
      waiting.extend(piece)
      while len(waiting) > segment:
        yield self._part(waiting[: segment + 1], at, answered)
        del waiting[:segment]
        at += segment
    yield self._part([*waiting, self.pad], at, answered)

  def _part(self, tokens: list[int], at: int, answered: int) -> base.Batch:
    """A batch of tokens from position `at` on, the last one a target only."""
    tokens = np.array([tokens], np.int32)
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    # Tokens of the sequence after each target.
    left = self.length - 1 - (at + 1 + np.arange(inputs.shape[1]))
    weights = (0 <= left) & (left < answered)
    return base.Batch(
      inputs=inputs,
      targets=targets,
      weights=weights[None].astype(np.float32),
      group=np.array([self.length], np.int32),
    )

  def _row(self, row: babilong_files.Row) -> tuple[list[list[int]], int]:
    """Tokens of a text with its question and answer; length of the answer."""
    try:
      text, question, answer = map(
        self.encode, (row.input, row.question, row.target)
      )
    except errors.UsageError as error:
      raise errors.UsageError(f'data={row.where}: {error}') from None
    ending = [*question, self.gen, *answer]
    room = self.length - len(text) - len(ending)
    if room < 0:
      raise errors.UsageError(
        f'length={self.length}: data={row.where} takes '
        f'{len(text) + len(ending):,} tokens'
      )
    return [[self.pad] * room, text, ending], len(answer)

  def records(
    self, key: jax.Array, split: str, num_samples: int
  ) -> Iterator[dict[str, np.ndarray]]:
    """See `base.Task`; texts in the public layout."""
    for part in super().records(key, split, num_samples):
      texts = [
        self._texts(row, self._asked(targets, weights))
        for row, targets, weights in zip(
          part['inputs'], part['targets'], part['weights'], strict=True
        )
      ]
      columns = map(list, zip(*texts, strict=True))
      names = babilong_files.COLUMNS
      yield {
        name: np.array(column, object)
        for name, column in zip(names, columns, strict=True)
      }

  def judged(
    self,
    batch: base.Batch,
    tokens: np.ndarray,
    texts: Sequence[str] | None = None,
  ) -> dict[str, np.ndarray]:
    """See `base.Task`; the score of BABILong's authors."""
    labels, right = babilong_files.LABELS[self.question], []
    for i, row in enumerate(batch.inputs):
      weights = batch.weights[i]
      output = (
        texts[i] if texts else self.decode(self._asked(tokens[i], weights))
      )
      _, question, target = self._texts(
        row, self._asked(batch.targets[i], weights)
      )
      right.append(
        babilong_files.official_match(target, output, question, labels)
      )
    return {'official_match': np.array(right, float)}

  def read_answer(self, answer: str) -> list[int]:
    """See `base.Task`; a full stop at the end does not count."""
    try:
      return self.encode(answer.strip().removesuffix('.'))
    except errors.UsageError:
      return []

  def _asked(self, tokens: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return tokens[weights > 0]

  def decode(self, tokens: np.ndarray) -> str:
    """Text of tokens; PAD, GEN and what is no token have none."""
    words = (tokens >= 0) & (tokens < self.pad)
    return self._vocabulary.decode(tokens[words].tolist())

  def _texts(self, row: np.ndarray, answer: np.ndarray) -> tuple[str, str, str]:
    """Context, question and answer of a sequence or its last segment [L]."""
    before = self.decode(row[: np.argmax(row == self.gen)])
    context, stop, question = before.rpartition('.')
    return context + stop, question.strip(), self.decode(answer)

  def _story(
    self, rng: np.random.Generator, trials: int
  ) -> tuple[list[list[int]], list[int], int]:
    """Tokens of the facts; of question, GEN, answer; length of the answer."""
    shortest = MAX_LENGTH
    for _ in range(trials):
      story = babi.story(self.question, rng)
      facts = [self.encode(fact) for fact in story.facts]
      fitting = []
      for q in story.questions:
        answer = self.encode(q.answer)
        ending = [*self.encode(q.text), self.gen, *answer]
        needed = sum(map(len, facts[: q.after])) + len(ending)
        shortest = min(shortest, needed)
        if needed <= self.length:
          fitting.append((facts[: q.after], ending, len(answer)))
      if fitting:
        return fitting[rng.integers(len(fitting))]
    raise errors.UsageError(
      f'length={self.length}: too short for the facts of question='
      f'{self.question}; the shortest of {trials} stories takes {shortest} '
      'tokens'
    )

  def _pieces(
    self, facts: list[list[int]], ending: list[int], generator
  ) -> Iterator[Sequence[int]]:
    """All tokens of a sequence, one sentence at a time."""
    room = self.length - sum(map(len, facts)) - len(ending)

    def make():
      return self._background(generator(_BACKGROUND), room)

    kept = list(make()) if room <= _KEPT else None
    count = used = 0
    for sentence in kept or make():
      count, used = count + 1, used + len(sentence)
    gaps = generator(_PLACES).integers(count + 1, size=len(facts))
    placed = iter(zip(sorted(gaps.tolist()), facts, strict=True))
    gap, fact = next(placed)
    yield [self.pad] * (room - used)
    for i, sentence in enumerate(itertools.chain(kept or make(), [[]])):
      while gap == i:
        yield fact
        gap, fact = next(placed, (-1, []))
      yield sentence
    yield ending

  def _background(
    self, rng: np.random.Generator, room: int
  ) -> Iterator[Sequence[int]]:
    """Background sentences, up to the first that does not fit `room`."""
    if self.background:
      books = self._sentences_of_books
      first = int(rng.integers(len(books)))
      sentences = itertools.chain(books[first:], itertools.cycle(books))
    else:
      sentences = map(self.encode, background.invented(rng))
    for sentence in sentences:
      room -= len(sentence)
      if room < 0:
        return
      yield sentence


def _generator(
  seed: int, split: int, step: int, index: int, stream: int
) -> np.random.Generator:
  key = np.array(
    [len(splits.SPLITS) * seed + split, (step << 32) + index], np.uint64
  )
  counter = np.array([0, 0, 0, stream], np.uint64)
  return np.random.Generator(np.random.Philox(key=key, counter=counter))
