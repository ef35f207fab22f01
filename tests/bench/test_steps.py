"""Training steps of the configs: what is measured, and what bounds it."""

import argparse

from reasoning_depth.bench import steps


def test_a_step_is_measured_and_set_beside_the_peaks(monkeypatch):
  peak = {'float32': 1e12, 'bytes': 1e6}
  monkeypatch.setattr(steps, 'peaks', lambda: peak)
  a = argparse.Namespace(batch=8, dispatch=2, rounds=1, profile=None)
  found = steps.measure(a, 'transformer:smoke', 'float32')
  assert found['seconds'] > 0
  assert found['samples_per_second'] == 8 / found['seconds']
  # At a megabyte a second, bytes bound everything.
  assert found['bound_by'] == 'bytes'
  least = found['least_seconds']
  assert least['bytes'] == found['bytes_by_xla'] / 1e6
  assert least['operations'] == found['operations'] / 1e12
  assert '| bytes |' in steps.table({'transformer': found})
