"""Whether a single-column figure has room for everything on it."""

from __future__ import annotations

from itertools import combinations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reports.drawing.style import COLUMN_WIDTH


def assert_fits(figure: Figure) -> None:
    """Panels with their labels, title and legend lie apart and inside the figure, and the panels are not squeezed."""
    FigureCanvasAgg(figure).draw()
    assert figure.get_figwidth() == COLUMN_WIDTH
    (legend,) = figure.legends
    boxes = [legend.get_window_extent(), *(ax.get_tightbbox() for ax in figure.axes)]
    boxes += [text.get_window_extent() for text in figure.texts]
    for box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
    for a, b in combinations(boxes, 2):
        assert a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0
    assert all(ax.get_window_extent().width > 0.25 * figure.bbox.width for ax in figure.axes)
    assert all(ax.get_window_extent().height > 0.7 * figure.dpi for ax in figure.axes)
