"""Matplotlib's SVG files as parts of a page: small, without what it has itself.

Ids are made unique, since several drawings share a page. In the dark the page
inverts drawings, so that all contrasts stay (page.css).
"""

import html
import pathlib
import re

_LEFT_OUT = re.compile(
  r'<\?xml[^>]*\?>|<!DOCTYPE[^>]*>|<!--.*?-->|<metadata>.*?</metadata>'
  r'|<style.*?</style>',
  re.S,
)
_SIZE = re.compile(r'<svg\b[^>]*>')
_VIEW = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')
_PLACES = re.compile(r'\b(d|x|y|points|width|height)="([^"]*)"')
_LONG = re.compile(r'(\.\d\d)\d+')
_IDS = re.compile(r'(\bid="|href="#|url\(#)')
_PIXELS = 4 / 3  # of a point


def read(path: pathlib.Path, name: str, label: str) -> str:
  """A drawing to put in a page.

  Args:
    path: of a file that `style.save` wrote.
    name: that its ids begin with.
    label: what it shows.
  """
  text = _LEFT_OUT.sub('', path.read_text(encoding='utf-8'))
  width, height = _VIEW.search(text).groups()
  pixels = round(float(width) * _PIXELS)
  # As wide as drawn; on a phone as narrow as can still be read.
  head = (
    f'<svg class="plot" viewBox="0 0 {width} {height}" role="img" '
    f'style="width: {pixels}px" aria-label="{html.escape(label)}">'
  )
  text = _SIZE.sub(head, text, count=1)
  text = _PLACES.sub(_shorter, text)
  text = _IDS.sub(lambda m: f'{m[1]}{name}-', text)
  return re.sub(r'\n\s*', '\n', text).strip()


def _shorter(place: re.Match) -> str:
  """An attribute with two digits after the point, in one line."""
  value = _LONG.sub(r'\1', ' '.join(place[2].split()))
  return f'{place[1]}="{value}"'
