"""A short form of the fuzzing, and that it sees what it is there to see."""

import argparse
import time

import numpy as np
import pytest

from reasoning_depth.bench import fuzz


def test_readers_accept_or_refuse_in_one_line():
  result = fuzz.measure(argparse.Namespace(inputs=800, seed=1))
  assert not result['bad']
  total = result['total']
  assert total['accepted'] + total['refused'] == 800
  assert total['accepted'] > 40
  assert all(sum(count.values()) > 20 for count in result['readers'].values())


@pytest.mark.parametrize('name', fuzz.READERS)
def test_what_is_not_mutated_is_accepted(name, tmp_path):
  reader = fuzz.READERS[name](tmp_path)
  for seed in reader.seeds:
    kind, error = fuzz.outcome(reader.read, seed)
    words = name == 'config and words' and 'refused' == kind
    assert kind == 'accepted' or words, error


def test_inputs_are_many_and_the_same_for_a_seed():
  def some(seed):
    return [
      fuzz.mutate(np.random.default_rng((seed, i)), b'train.num_steps=40')
      for i in range(500)
    ]

  assert some(0) == some(0) != some(1)
  assert len(set(some(0))) > 200


@pytest.mark.parametrize(
  'error,kind',
  [
    (None, 'accepted'),
    (ValueError('seed=-1: must be at least 0'), 'refused'),
    (ValueError('two\nlines'), 'tracebacks'),
    (ValueError(), 'tracebacks'),
    (KeyError('seed'), 'tracebacks'),
    (UnicodeDecodeError('utf-8', b'x', 0, 1, 'bad'), 'tracebacks'),
    (RecursionError('deep'), 'tracebacks'),
  ],
)
def test_outcomes(error, kind):
  def read(data):
    if error:
      raise error

  assert fuzz.outcome(read, b'')[0] == kind


def test_a_hang_is_cut_short(monkeypatch):
  monkeypatch.setattr(fuzz, 'HANG', 0.05)
  assert fuzz.outcome(lambda data: time.sleep(60), b'')[0] == 'hangs'
