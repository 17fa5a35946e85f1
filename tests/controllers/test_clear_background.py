"""What one sees through in a prediction."""

from __future__ import annotations

from napari_limn._napari.layers.layer_classes import with_clear_background

RED, BLUE = (1.0, 0.0, 0.0, 1.0), (0.0, 0.0, 1.0, 1.0)


def test_the_class_called_background_is_clear_and_keeps_its_colour():
    assert with_clear_background({1: RED, 2: BLUE}, {1: "Background", 2: "nucleus"}) == {
        1: (1.0, 0.0, 0.0, 0.0),
        2: BLUE,
    }


def test_classes_of_other_names_are_seen():
    colors = {1: RED, 2: BLUE}
    assert with_clear_background(colors, {1: "class 1", 2: "nucleus"}) == colors
    assert with_clear_background(colors, {}) == colors
