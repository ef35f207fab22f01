import json

from reasoning_depth.runtime import environment


def test_changed_surroundings_are_said(tmp_path, capsys):
  path = tmp_path / 'environment.json'
  now = environment.record()
  path.write_text(json.dumps(now))
  environment.compare(path)
  assert capsys.readouterr().err == ''
  packages = now['packages'] | {'flax': '0.1'}
  other = {'cores': 96, 'command': 'another', 'packages': packages}
  path.write_text(json.dumps(now | other))
  environment.compare(path)
  cores, flax = capsys.readouterr().err.splitlines()
  assert cores.startswith(f'cores: {now["cores"]}, was 96; numbers may differ')
  assert "was {'flax': '0.1'}" in flax
