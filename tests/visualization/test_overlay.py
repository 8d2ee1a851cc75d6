"""Overlays drawn with Matplotlib; `tests/engines/test_pictures.py` covers whole pictures."""

import numpy as np
import pytest

from mtmedformer_monai.visualization.overlay import _rectangle
from mtmedformer_monai.visualization.palette import new_figure


@pytest.mark.parametrize(
    "box",
    [(40, 40, 60, 60), (95, 40, 100, 60), (0, 0, 20, 20), (90, 0, 100, 20), (0, 0, 100, 100), (60, 90, 80, 100)],
    ids=["middle", "right", "top left", "top right", "whole", "bottom"],
)
def test_the_label_of_a_box_lies_within_the_image(box):
    figure = new_figure(3.4, 3.4)
    axes = figure.subplots()
    axes.imshow(np.zeros((100, 100)))
    axes.axis("off")
    _rectangle(axes, box, "opacity 0.97")
    figure.draw_without_rendering()
    label, image = axes.texts[0].get_window_extent(), axes.get_window_extent()
    assert image.x0 <= label.x0
    assert label.x1 <= image.x1
    assert image.y0 <= label.y0
    assert label.y1 <= image.y1
