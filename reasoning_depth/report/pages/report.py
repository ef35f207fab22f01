"""`report.html`: one run, several, or a sweep, in one file."""

import pathlib
from collections.abc import Sequence

from reasoning_depth.report.pages import figures, html, sections

NAME = 'report.html'
INSIDE = 'look_inside.html'  # beside it, after --mode=analyze
_MOST_BYTES = 950_000
_ORDER = (
  'Results', 'Look-ahead', 'DepthScore and horizon', 'Equal compute',
  'Training', 'Depth steps', 'Halting', 'Inside', 'Other plots', 'Configs',
  'Hardware and time',
)  # fmt: skip


def write(
  named: sections.Named, drawn: Sequence[pathlib.Path], folder: pathlib.Path
) -> pathlib.Path:
  """Writes the page of runs.

  Figures that would make it larger than 950 kB are left out and named.

  Args:
    named: runs by the name of what they have in common; at least one run.
    drawn: plots, as `style.save` wrote them.
    folder: where the page goes.

  Returns:
    the path.
  """
  words = _words(named, folder)
  size = len(''.join(words.values()).encode())
  shown, left_out = figures.fitting(figures.load(drawn), _MOST_BYTES - size)
  parts = {title: [words.get(title, '')] for title in _ORDER}
  for figure in shown:
    parts[figure.section].append(figure.html)
  made = {title: html.section(title, *parts[title]) for title in _ORDER}
  made = {title: text for title, text in made.items() if text}
  headline = sections.headline(named)
  body = [_header(headline, named), _contents(list(made)), '<main>']
  body += [*made.values(), *_missing(left_out, folder), '</main>']
  page = html.document(headline, '\n'.join(body))
  return html.write(folder / NAME, page)


def _words(named: sections.Named, folder: pathlib.Path) -> dict[str, str]:
  """The text of sections, by title."""
  return {
    'Results': sections.results(named),
    'Look-ahead': sections.look_ahead(named),
    'DepthScore and horizon': sections.depth(named),
    'Inside': (
      f'<p><a href="{INSIDE}">Step through single samples</a>, loop by loop '
      'and cell by cell.</p>'
      if (folder / INSIDE).is_file()
      else ''
    ),
    'Configs': sections.configs(named),
    'Hardware and time': sections.hardware(named),
  }


def _header(headline: str, named: sections.Named) -> str:
  members = [run for found in named.values() for run in found]
  tiles = sections.tiles(members[0]) if len(members) == 1 else {}
  return (
    f'<header>\n<h1>{html.escape(headline)}</h1>\n{html.numbers(tiles)}\n'
    '</header>'
  )


def _contents(titles: Sequence[str]) -> str:
  items = ''.join(
    f'<li><a href="#{html.anchor(title)}">{html.escape(title)}</a></li>'
    for title in titles
  )
  return f'<nav aria-label="Sections"><ul>{items}</ul></nav>'


def _missing(
  left_out: Sequence[figures.Figure], folder: pathlib.Path
) -> list[str]:
  """Names the figures that did not fit."""
  if not left_out:
    return []
  names = ', '.join(
    str(figure.path.relative_to(folder))
    if figure.path.is_relative_to(folder)
    else figure.path.name
    for figure in left_out
  )
  text = f'Left out, so that the page stays below 1 MB: {names}.'
  return [html.paragraphs([text])]
