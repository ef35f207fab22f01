import itertools
import re
import sys

import jax
import numpy as np
import pytest
from babi_solver import solve
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_depth.tasks import babi, babilong, background, splits, vocabulary

NAMES = sorted(set(itertools.chain(*babi.PEOPLE.values())))
ENTITIES = {name.lower() for name in babi.ENTITIES}


def decode(task, tokens):
  """Sentences of a row of tokens; PAD and GEN as words of their own."""
  words = sorted(vocabulary.words_of_stories()) + ['PAD', 'GEN']
  assert task.vocab_size == len(words)
  text = ' '.join(words[t] for t in tokens)
  text = re.sub(r' ([.?])', r'\1', text)
  for name in NAMES:
    text = re.sub(rf'\b{name.lower()}\b', name, text)
  return text


def read(task, row):
  """Background sentences, facts, question and answer of inputs [L]."""
  text = decode(task, row)
  text, answer = text.split(' GEN ')
  pads, text = re.fullmatch(r'((?:PAD )*)(.*)', text).groups()
  assert 'PAD' not in text and '. ' in text
  *sentences, question = re.split(r'(?<=\.) ', text)
  question = question[0].upper() + question[1:]
  facts, other = [], []
  for sentence in sentences:
    if set(re.findall(r'\w+', sentence.lower())) & ENTITIES:
      facts.append(re.sub('^the', 'The', sentence))
    else:
      other.append(sentence)
  return pads.split(), facts, other, question, answer


def assert_same(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


@settings(max_examples=20)
@given(
  question=st.sampled_from(babi.TASKS),
  length=st.integers(600, 3000),
  seed=st.integers(0, 2**31 - 1),
  step=st.integers(0, 10**6),
  split=st.sampled_from(splits.SPLITS),
)
def test_the_answer_follows_from_the_facts_in_the_text(
  question, length, seed, step, split
):
  task = babilong.BABILong(question, length)
  batch = task.host_sample(seed, step, 2, split)
  assert batch.inputs.shape == batch.targets.shape == (2, length)
  assert batch.inputs.dtype == batch.targets.dtype == np.int32
  assert batch.weights.dtype == np.float32
  assert batch.group.tolist() == [length] * 2
  for row, targets, weights in zip(
    batch.inputs, batch.targets, batch.weights, strict=True
  ):
    np.testing.assert_array_equal(targets, [*row[1:], task.pad])
    assert weights.sum() == 1 and row[weights == 1] == [task.gen]
    pads, facts, other, asked, answer = read(task, row)
    assert solve(facts, asked) == answer
    assert decode(task, targets[weights == 1]) == answer
    # Whole sentences of ten tokens and more, and none that would still fit.
    lengths = [len(vocabulary.split(s)) for s in other]
    assert min(lengths, default=10) >= 10
    assert len(pads) < 30


@settings(max_examples=10)
@given(
  parts=st.integers(1, 40),
  segment=st.integers(40, 90),
  seed=st.integers(0, 2**31 - 1),
  kept=st.sampled_from([0, 2**20]),
)
def test_a_stream_is_the_array_in_parts(parts, segment, seed, kept):
  task = babilong.BABILong('qa4', parts * segment)
  whole = task.host_sample(seed, 3, 2)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(babilong, '_KEPT', kept)
    streamed = list(task.stream(seed, 3, 1, 'train', segment))
  assert len(streamed) == parts
  for name in ('inputs', 'targets', 'weights'):
    joined = np.concatenate([getattr(part, name)[0] for part in streamed])
    np.testing.assert_array_equal(joined, getattr(whole, name)[1])


def test_samples_are_functions_of_their_arguments():
  task = babilong.BABILong('qa2', 512)
  arguments = [(0, 0, 3, 'train'), (1, 0, 3, 'train'), (0, 1, 3, 'train'),
               (0, 0, 3, 'validation'), (0, 0, 3, 'test')]  # fmt: skip
  batches = [task.host_sample(*a) for a in arguments]
  rows = {row.tobytes() for b in batches for row in b.inputs}
  assert len(rows) == 15
  assert_same(batches[0], babilong.BABILong('qa2', 512).host_sample(0, 0, 3))
  # More of them begin with the same.
  more = task.host_sample(0, 0, 5).inputs[:3]
  np.testing.assert_array_equal(batches[0].inputs, more)


def test_facts_are_anywhere():
  task = babilong.BABILong('qa4', 1000)
  places = []
  for row in task.host_sample(0, 0, 200).inputs:
    text = decode(task, row)
    at = [m.start() for m in re.finditer(r'the \w+ is \w+ of the \w+\.', text)]
    assert len(at) == 2
    places.append(np.array(at) / len(text))
  # Two uniform places in order; four standard errors of 0.236 / sqrt(200).
  assert np.abs(np.mean(places, 0) - [1 / 3, 2 / 3]).max() < 0.07


def test_invented_text_has_no_word_that_stories_are_about():
  words = background.invented_words()
  assert not words & ENTITIES
  story = set(itertools.chain(*babi.VERBS.values(), *babi.AXES))
  assert not words & {w for text in story for w in text.split()} - {'to'}
  source = np.random.Generator(np.random.Philox(key=np.array([0, 0])))
  seen = set()
  for sentence in itertools.islice(background.invented(source), 5000):
    assert len(sentence.split()) >= background.SHORTEST
    assert sentence.endswith(' .')
    seen |= set(sentence.split())
  assert seen == words


BOOK = """The old merchant slowly admired the pale letter of
the captain. The old merchant saw John in the quiet valley near the river! The
captain counted an APPLE before dawn. Nobody missed it. Long ago, the widow
borrowed a humble basket?
"""


def test_books_are_read_without_who_is_in_stories(tmp_path):
  path = tmp_path / 'book.txt'
  path.write_text(BOOK)
  kept = background.of_books(str(path))
  assert [s.split()[1] for s in kept] == ['old', 'missed', 'ago,']
  other = tmp_path / 'other.txt'
  other.write_text('So the judge gladly did it until evening, in the old inn.')
  assert len(background.of_books(f'{path},{other}')) == 4


def test_sentences_of_books_are_the_background(tmp_path):
  path = tmp_path / 'book.txt'
  words = sorted(background.invented_words() - {'.', ','})
  book = [' '.join(words[i : i + 11]).capitalize() for i in range(0, 99, 11)]
  path.write_text('. '.join(book) + '. Nobody did it. Nobody did Mary.')
  task = babilong.BABILong('qa1', 700, background=str(path))
  starts = set()
  for row in task.host_sample(0, 0, 8).inputs:
    _, facts, other, asked, answer = read(task, row)
    assert solve(facts, asked) == answer
    said = [s.rstrip('.').capitalize() for s in other]
    start = book.index(said[0])
    starts.add(start)
    assert said == [book[(start + i) % 9] for i in range(len(said))]
  assert len(starts) > 2


@pytest.mark.parametrize(
  'fields,message',
  [
    ({'question': 'qa6'}, 'question=qa6: allowed are qa1, qa2'),
    ({'length': 0}, 'length=0: must be at least 1'),
    ({'length': 12}, 'length=12: too short for the facts of question=qa1; .*'),
    ({'question': 'qa3', 'length': 30}, 'length=30: too short'),
    ({'background': 'no/file'}, 'background=no/file: No such file'),
    ({'background': 'a\0b'}, 'background=.*null'),
    ({'background': 'a\nb'}, "background='a.*nb': No such file"),
    ({'tokenizer': 'a\nb'}, "tokenizer='a.*nb': not a tokenizers JSON"),
    ({'tokenizer': 'no/file'}, 'tokenizer=no/file: not a tokenizers JSON'),
  ],
)
def test_bad_fields_are_named(fields, message):
  with pytest.raises(ValueError, match=message) as error:
    babilong.BABILong(**fields)
  assert '\n' not in str(error.value)


@pytest.mark.parametrize(
  'content,message',
  [
    (b'caf\xe9', 'not UTF-8 text .byte 3'),
    (b'', 'no usable sentence; .* name no person'),
    (b'Mary saw it. John and Daniel were in the garden.', 'no usable sentence'),
    (b'The merchant slowly did it.', 'sentence; .* at least 10 tokens'),
    (b'The zebra slept.', "'zebra' is not among the .* tokenizer=FILE"),
  ],
)
def test_bad_books_are_named(tmp_path, content, message):
  path = tmp_path / 'book.txt'
  path.write_bytes(content)
  with pytest.raises(ValueError, match=message) as error:
    babilong.BABILong(background=str(path))
  assert str(error.value).startswith(f'background={path}: ')
  assert '\n' not in str(error.value)


def test_bad_arguments_are_named():
  task = babilong.BABILong('qa1', 512)
  with pytest.raises(ValueError, match="split='dev': allowed are train"):
    task.host_sample(0, 0, 1, 'dev')
  with pytest.raises(ValueError, match='segment=100: must divide length=512'):
    next(task.stream(0, 0, 0, 'test', 100))


def tokenizer_file(folder, words):
  tokenizers = pytest.importorskip('tokenizers')
  made = tokenizers.Tokenizer(
    tokenizers.models.WordLevel({w: i for i, w in enumerate(words)})
  )
  made.normalizer = tokenizers.normalizers.Lowercase()
  made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
  path = folder / 'words.json'
  made.save(str(path))
  return str(path)


def test_a_tokenizer_file_takes_the_place_of_the_words(tmp_path):
  words = sorted(vocabulary.words_of_stories())
  path = tokenizer_file(tmp_path, words)
  fields = {'question': 'qa5', 'length': 900}
  ours = babilong.BABILong(**fields)
  theirs = babilong.BABILong(**fields, tokenizer=path)
  assert theirs.vocab_size == ours.vocab_size
  assert_same(theirs.host_sample(0, 1, 2), ours.host_sample(0, 1, 2))


def test_what_a_tokenizer_does_not_know_is_named(tmp_path):
  path = tokenizer_file(tmp_path, ['mary', 'the'])
  with pytest.raises(
    ValueError, match='tokenizer=.*words.json: cannot say .*Mary'
  ):
    babilong.BABILong(tokenizer=path)


def test_a_missing_package_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, 'tokenizers', None)
  with pytest.raises(ValueError, match='tokenizer=a.json: needs the package'):
    babilong.BABILong(tokenizer='a.json')
