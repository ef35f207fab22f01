"""Every config's smoke form, cut to seconds, trains and is scored.

Not part of the test command, whose tests take the parts one by one: CI runs
this with the oldest versions that requirements.txt allows.
"""

import json
import math

import pytest

from reasoning_depth import modes
from tests import tiny
from tests.runtime import test_configuration

pytestmark = pytest.mark.smoke


@pytest.mark.parametrize('name', test_configuration.CONFIGS)
def test_smoke_form(name, tmp_path):
  config = tiny.run_config(name)
  modes.train(config, tmp_path / 'run', [])
  lines = (tmp_path / 'run/metrics.jsonl').read_text().splitlines()
  assert json.loads(lines[-1])['step'] == config.train.num_steps
  found = json.loads((tmp_path / 'run/evaluations/test.json').read_text())
  assert found['overall']['num_samples'] == config.eval.test_samples
  assert math.isfinite(found['overall']['loss'])
