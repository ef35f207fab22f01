import matplotlib.figure
import pytest

from reasoning_depth.report import style


@pytest.mark.parametrize('letters,rows', [(10, 1), (60, 2)])
def test_names_under_the_panels_stay_within_the_figure(tmp_path, letters, rows):
  figure = matplotlib.figure.Figure(figsize=(6, 3), layout='constrained')
  ax = figure.subplots()
  drawn = [ax.plot([0, 1])[0] for _ in range(2)]
  names = [letter * letters for letter in 'ab']
  style.legend_below(figure, 2, handles=drawn, labels=names)
  style.save(figure, tmp_path / 'plot.png')
  (legend,) = figure.legends
  boxes = [text.get_window_extent() for text in legend.get_texts()]
  assert [text.get_text() for text in legend.get_texts()] == names
  assert len({round(box.y0) for box in boxes}) == rows
  assert all(0 <= box.x0 and box.x1 <= figure.bbox.width for box in boxes)


def test_names_wider_than_the_figure_take_rows(tmp_path):
  figure = matplotlib.figure.Figure(figsize=(6, 3), layout='constrained')
  ax = figure.subplots()
  names = ['armt · decay=1.0, ' * 12, 'short']
  for name in names:
    ax.plot([0, 1], label=name.strip())
  style.legend_below(figure, 2)
  style.save(figure, tmp_path / 'plot.png')
  (legend,) = figure.legends
  texts = [text.get_text() for text in legend.get_texts()]
  assert texts[0].count('\n') and texts[1] == 'short'
  assert texts[0].split() == names[0].split()
  box = legend.get_window_extent()
  assert 0 <= box.x0 and box.x1 <= figure.bbox.width
