import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def process(body, grace=20.0):
  """A process that says 'ready' and then does `body` under a watch."""
  code = textwrap.dedent(
    """
    import os, signal, sys, time
    from reasoning_depth.runtime import preemption
    with preemption.Watch(GRACE) as watch:
      print('ready', flush=True)
    BODY
    """
  ).replace('GRACE', str(grace))
  lines = textwrap.indent(textwrap.dedent(body), '  ')
  started = subprocess.Popen(
    [sys.executable, '-c', code.replace('BODY', lines)],
    cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
  )  # fmt: skip
  assert started.stdout.readline() == 'ready\n'
  return started


def ends(started):
  """Exit code, and what came on stderr."""
  _, err = started.communicate(timeout=30)
  return started.returncode, err


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_wish_to_stop(number):
  started = process("""
    while not watch.asked():
      time.sleep(0.01)
    print('saved')
    sys.exit(75)
  """)
  started.send_signal(number)
  code, err = ends(started)
  assert code == 75
  assert f'{number.name}: saving; again leaves at once' in err


def test_a_second_signal_leaves_at_once():
  started = process('time.sleep(60)')
  started.send_signal(signal.SIGTERM)
  assert 'saving' in started.stderr.readline()
  time.sleep(0.6)
  started.send_signal(signal.SIGTERM)
  assert ends(started)[0] == 128 + signal.SIGTERM


def test_a_signal_that_comes_twice_is_one():
  started = process("""
    while not watch.asked():
      time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.2)
    sys.exit(75)
  """)
  started.send_signal(signal.SIGTERM)
  assert ends(started)[0] == 75


def test_the_grace_ends_also_where_the_main_thread_is_busy():
  started = process('time.sleep(60)', grace=0.5)
  started.send_signal(signal.SIGTERM)
  code, err = ends(started)
  assert code == 75
  assert 'stopped by SIGTERM after 0.5 s (checkpoint.grace), not saved;' in err


def test_where_nothing_is_to_be_saved_it_leaves_at_once():
  started = process("""
    with watch.nothing_to_save():
      print('here', flush=True)
      time.sleep(60)
  """)
  assert started.stdout.readline() == 'here\n'
  started.send_signal(signal.SIGINT)
  assert ends(started)[0] == 75


def test_handlers_are_put_back():
  from reasoning_depth.runtime import preemption

  before = signal.getsignal(signal.SIGTERM)
  with preemption.Watch(1.0) as watch:
    assert signal.getsignal(signal.SIGTERM) != before
    os.kill(os.getpid(), signal.SIGTERM)
    while not watch.asked():
      time.sleep(0.01)
  assert signal.getsignal(signal.SIGTERM) == before
  time.sleep(1.2)  # and nobody leaves any more
