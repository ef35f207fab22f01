"""Pieces of a page; all text that is not of this code is escaped."""

import html
import json
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

_HERE = pathlib.Path(__file__).parent
# Whatever stands in the page, a browser asks nobody for anything.
_POLICY = (
  "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
  'img-src data:'
)


def escape(text: Any) -> str:
  """Text as it may stand in an element or an attribute."""
  return html.escape(str(text), quote=True)


def packaged(name: str) -> str:
  """The content of a file beside this one."""
  return (_HERE / name).read_text(encoding='utf-8')


def document(title: str, body: str, script: str = '') -> str:
  """A whole page.

  Args:
    title: as text.
    body: as HTML.
    script: as JavaScript; run after the body.
  """
  end = f'<script>\n{script}</script>\n' if script else ''
  return (
    '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    '<meta name="color-scheme" content="light dark">\n'
    '<link rel="icon" href="data:,">\n'
    f'<title>{escape(title)}</title>\n<style>\n{packaged("page.css")}</style>\n'
    f'</head>\n<body>\n{body}\n{end}</body>\n</html>\n'
  )


def write(path: pathlib.Path, text: str) -> pathlib.Path:
  """Writes a page under another name first, so that it is never half there."""
  path.parent.mkdir(parents=True, exist_ok=True)
  unfinished = path.with_suffix('.unfinished')
  unfinished.write_text(text, encoding='utf-8')
  os.replace(unfinished, path)
  return path


def data(name: str, value: Any) -> str:
  """A JSON value that a script reads from the element of this id."""
  text = json.dumps(value, separators=(',', ':')).replace('<', '\\u003c')
  return f'<script type="application/json" id="{escape(name)}">{text}</script>'


def section(title: str, *parts: str) -> str:
  """A part of the page with a heading; '' where it has no content."""
  content = '\n'.join(filter(None, parts))
  if not content:
    return ''
  name = anchor(title)
  return (
    f'<section id="{name}" aria-labelledby="{name}-title">\n'
    f'<h2 id="{name}-title">{escape(title)}</h2>\n{content}\n</section>'
  )


def anchor(title: str) -> str:
  """The id of a section."""
  return re.sub(r'[^a-z0-9]+', '-', title.lower()).strip('-')


def paragraphs(texts: Sequence[str], kind: str = 'note') -> str:
  """Lines of text, a paragraph each."""
  return '\n'.join(f'<p class="{kind}">{escape(text)}</p>' for text in texts)


def folded(title: str, content: str) -> str:
  """Content that is shown at a click; '' without content."""
  if not content:
    return ''
  return f'<details>\n<summary>{escape(title)}</summary>\n{content}\n</details>'


def numbers(values: Mapping[str, str]) -> str:
  """Numbers with their names, as tiles."""
  tiles = ''.join(
    f'<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>'
    for name, value in values.items()
  )
  return f'<dl class="numbers">{tiles}</dl>' if tiles else ''


def table(
  rows: Sequence[Mapping[str, str]], caption: str, left: Sequence[str] = ()
) -> str:
  """A table that scrolls by itself where it is wider than the page.

  Args:
    rows: text by column; the first column names the row.
    caption: what the table shows.
    left: columns of text; all others are of numbers and align right.

  Returns:
    '' where there are no rows.
  """
  if not rows:
    return ''
  columns = list(rows[0])
  kinds = [' class="text"' if name in left else '' for name in columns]
  head = ''.join(
    f'<th scope="col"{kind}>{escape(name)}</th>'
    for name, kind in zip(columns, kinds, strict=True)
  )
  lines = []
  for row in rows:
    first, *rest = (escape(row[name]) for name in columns)
    cells = ''.join(
      f'<td{kind}>{text}</td>'
      for text, kind in zip(rest, kinds[1:], strict=True)
    )
    lines.append(f'<tr><th scope="row"{kinds[0]}>{first}</th>{cells}</tr>')
  head = f'<thead><tr>{head}</tr></thead>'
  body = '<tbody>\n' + '\n'.join(lines) + '\n</tbody>'
  return (
    f'<figure>\n<figcaption>{escape(caption)}</figcaption>\n'
    f'{_wide(f"<table>{head}{body}</table>", caption)}\n</figure>'
  )


def _wide(content: str, label: str) -> str:
  """Content that scrolls by itself, also with the keyboard."""
  return (
    f'<div class="wide" role="region" tabindex="0" '
    f'aria-label="{escape(label)}">{content}</div>'
  )


def figure(drawing: str, caption: str) -> str:
  """A drawing, as SVG, with its caption."""
  return (
    f'<figure>\n{_wide(drawing, caption)}\n'
    f'<figcaption>{escape(caption)}</figcaption>\n</figure>'
  )
