"""A headless Chromium without a network, to open pages in.

It is driven over its debugging pipe: JSON messages that end in a zero byte.
"""

import base64
import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

PROGRAM = shutil.which('chromium') or shutil.which('chromium-browser')
_FLAGS = (
  '--headless=new', '--no-sandbox', '--disable-gpu', '--no-first-run',
  '--disable-dev-shm-usage', '--disable-background-networking',
  '--disable-component-update', '--proxy-server=127.0.0.1:9',
  '--remote-debugging-pipe',
)  # fmt: skip
_BAD = ('Runtime.exceptionThrown', 'Log.entryAdded', 'Runtime.consoleAPICalled')


class Page:
  """A page that is open.

  Attributes:
    requests: addresses asked for, the page's own file among them.
    complaints: what reached the console, and errors of scripts.
  """

  def __init__(self, into: int, out: int):
    self._into, self._out = into, out
    self._number, self._rest = 0, b''
    self._session = ''
    self.requests: list[str] = []
    self.complaints: list[Any] = []

  def send(self, method: str, **params: Any) -> dict[str, Any]:
    """Calls a method of the debugging protocol; returns its result."""
    self._number += 1
    message = {'id': self._number, 'method': method, 'params': params}
    if self._session:
      message['sessionId'] = self._session
    os.write(self._into, json.dumps(message).encode() + b'\0')
    while (answer := self._next()).get('id') != self._number:
      self._note(answer)
    assert 'error' not in answer, answer
    return answer['result']

  def _next(self) -> dict[str, Any]:
    while b'\0' not in self._rest:
      part = os.read(self._out, 2**16)
      assert part, 'the browser has ended'
      self._rest += part
    text, _, self._rest = self._rest.partition(b'\0')
    return json.loads(text)

  def _note(self, event: dict[str, Any]) -> None:
    method, params = event.get('method'), event.get('params', {})
    if method == 'Network.requestWillBeSent':
      address = params['request']['url']
      # A picture inside of the page counts as a request, but asks nobody.
      self.requests += [address] * (not address.startswith('data:'))
    elif method in _BAD:
      self.complaints.append(params)

  def open(self, path: pathlib.Path) -> None:
    """Opens a file, and waits until it is there."""
    found = self.send('Target.createTarget', url='about:blank')
    self._session = self.send(
      'Target.attachToTarget', targetId=found['targetId'], flatten=True
    )['sessionId']
    for domain in ('Page', 'Runtime', 'Log', 'Network'):
      self.send(f'{domain}.enable')
    self.send('Page.navigate', url=path.resolve().as_uri())
    ready = "document.readyState === 'complete' && location.href !== "
    while not self.value(f"{ready}'about:blank'"):
      pass

  def value(self, expression: str) -> Any:
    """The value of a JavaScript expression in the page."""
    found = self.send(
      'Runtime.evaluate', expression=expression, returnByValue=True
    )
    assert 'exceptionDetails' not in found, found
    return found['result'].get('value')

  def screen(self, width: int, height: int = 800, dark: bool = False) -> None:
    """Sets the size of the screen, and whether it is dark."""
    self.send(
      'Emulation.setDeviceMetricsOverride', width=width, height=height,
      deviceScaleFactor=1, mobile=width < 600,
    )  # fmt: skip
    scheme = {
      'name': 'prefers-color-scheme',
      'value': 'dark' if dark else 'light',
    }
    self.send('Emulation.setEmulatedMedia', features=[scheme])

  def picture(self, path: pathlib.Path, whole: bool = True) -> None:
    """Takes a picture, PNG, of the whole page or of the screen."""
    found = self.send('Page.captureScreenshot', captureBeyondViewport=whole)
    path.write_bytes(base64.b64decode(found['data']))


def _pipe() -> list[int]:
  """Both ends of a pipe, by numbers above those that the browser wants."""
  ends = os.pipe()
  found = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in ends]
  for end in ends:
    os.close(end)
  return found


@contextlib.contextmanager
def opened(path: pathlib.Path) -> Iterator[Page]:
  """Opens a page in a browser of its own."""
  (to_read, into), (out, to_write) = _pipe(), _pipe()
  # Parts of the browser may write for a moment after it has ended.
  with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
    # The browser reads file 3 and writes file 4; the shell puts them there.
    command = f'exec "$@" 3<&{to_read} 4>&{to_write}'
    process = subprocess.Popen(
      ['bash', '-c', command, 'bash', PROGRAM, *_FLAGS,
       f'--user-data-dir={folder}'],
      pass_fds=(to_read, to_write), stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(to_read)
    os.close(to_write)
    try:
      page = Page(into, out)
      page.open(path)
      yield page
    finally:
      process.terminate()
      process.wait()
      os.close(into)
      os.close(out)
