import pytest

from reasoning_depth.runtime import gpus, sharding


@pytest.fixture
def machine(tmp_path, monkeypatch):
  """A machine with a CUDA device, and JAX left to choose."""
  (tmp_path / 'nvidia0').touch()
  monkeypatch.setattr(gpus, '_DEVICES', tmp_path)
  for name in ('JAX_PLATFORMS', 'CUDA_VISIBLE_DEVICES'):
    monkeypatch.delenv(name, raising=False)
  return monkeypatch


def test_a_device_that_is_left_unused_is_told_once(machine, capsys):
  config = {'data': 1, 'model': 1}
  sharding._tell.cache_clear()
  for _ in range(2):
    sharding.make_mesh(config)
  error = capsys.readouterr().err
  assert 'there is a CUDA device, but JAX runs on the CPU' in error
  assert error.count('\n') == 1


def test_nothing_is_told_where_that_is_as_it_should_be(machine, tmp_path):
  assert gpus.unused('gpu') == ''
  machine.setenv('JAX_PLATFORMS', 'cpu')
  assert gpus.unused('cpu') == ''
  machine.setenv('JAX_PLATFORMS', 'cuda,cpu')
  assert gpus.unused('cpu')
  machine.setenv('CUDA_VISIBLE_DEVICES', '')
  assert gpus.unused('cpu') == ''
  machine.delenv('CUDA_VISIBLE_DEVICES')
  (tmp_path / 'nvidia0').unlink()
  assert gpus.unused('cpu') == ''
