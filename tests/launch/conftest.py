import launchers
import pytest


@pytest.fixture
def stubs(tmp_path):
  return launchers.Stubs(tmp_path)
