"""Pages in a headless Chromium: quiet, offline, on a phone, in the dark."""

import browser
import pytest
import run_folders

from reasoning_depth import report

pytestmark = pytest.mark.skipif(
  browser.PROGRAM is None, reason='there is no Chromium to open pages with'
)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('pages') / 'run'
  run_folders.write_run(folder, {1: 0.83, 2: 0.71})
  run_folders.write_samples(folder)
  report.write(folder)
  return folder


@pytest.mark.parametrize('name', ['report.html', 'look_inside.html'])
def test_a_page_is_quiet_and_as_wide_as_a_phone(folder, name):
  path = folder / name
  with browser.opened(path) as page:
    for dark in (False, True):
      for width in (390, 1280):
        page.screen(width, dark=dark)
        assert page.value('document.documentElement.scrollWidth') <= width
      paper = page.value('getComputedStyle(document.body).backgroundColor')
      assert (paper == 'rgb(255, 255, 255)') != dark
    assert page.requests == [path.resolve().as_uri()]
    assert page.complaints == []


def test_a_browser_tells_of_errors_and_requests(tmp_path):
  """Else the test above could not fail."""
  path = tmp_path / 'bad.html'
  path.write_text('<img src="http://127.0.0.1:9/x"><script>nothing()</script>')
  with browser.opened(path) as page:
    assert page.value('1 + 1') == 2
    assert 'http://127.0.0.1:9/x' in page.requests
    assert page.complaints


def test_looking_inside_steps_through_samples_loops_and_cells(folder):
  with browser.opened(folder / 'look_inside.html') as page:
    page.screen(390)
    told = "document.getElementById('verdict').textContent"
    # The second of three loops says a wrong first cell.
    assert page.value(told).startswith(
      'After loop 2, layer 2 (scored): 7 of 8 '
    )
    page.value(
      'document.querySelector(\'[aria-label="one loop more"]\').click()'
    )
    assert page.value(told).startswith('After loop 3, layer 2: 8 of 8 right.')
    assert 'chance of 30 %' in page.value(told)
    assert 'answer is wrong in 1 of 8' in page.value(told)
    page.value('document.querySelector(\'[aria-label="next sample"]\').click()')
    assert 'answer is right' in page.value(told)
    page.value("choose('cell', 3)")
    assert 'Cell 40: says 0, right is 0' in page.value(told)
    drawn = (
      '(id => { const c = document.getElementById(id); return new Set(c'
      ".getContext('2d').getImageData(0, 0, c.width, c.height).data).size })"
    )
    for canvas in ('orbit', 'heat', 'match', 'curve', 'steps'):
      assert page.value(f"{drawn}('{canvas}')") > 4
    assert page.complaints == []
