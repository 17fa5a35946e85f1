"""What a click in a prediction corrects."""

from __future__ import annotations

import numpy as np
import pytest

from napari_limn import LimnError
from napari_limn._napari.painting.click import (
    Plane,
    is_click,
    paint_region,
    refuse_other_extent,
    refuse_unpaintable,
    region_in,
    sentence_of,
    visible_plane,
)

LABELS = np.zeros((3, 20, 30), np.uint8)
LABELS[1, 5:10, 5:12] = 2
WHOLE = ((0, 20), (0, 30))


class Strokes:
    """A layer that counts its steps."""

    name = "strokes"

    def __init__(self, dtype=np.uint8):
        self.data, self.steps = np.zeros(LABELS.shape, dtype), 0

    def data_setitem(self, indices, value):
        self.data[indices] = value
        self.steps += 1


def plane(z=1, y=6, x=7):
    return Plane((z, y, x), (-2, -1))


@pytest.mark.parametrize(
    ("end", "button", "mode", "corrects"),
    [
        ((10, 10), 1, "pan_zoom", True),
        ((13, 7), 1, "pan_zoom", True),
        ((14, 10), 1, "pan_zoom", False),
        ((10, 10), 2, "pan_zoom", False),
        ((10, 10), 1, "paint", False),
    ],
)
def test_a_click_stays_in_its_place_and_is_of_the_left_button(end, button, mode, corrects):
    assert is_click((10, 10), end, button, mode) is corrects


def test_a_slice_is_clicked_and_no_volume():
    assert visible_plane((2, 1), 3) == (-2, -1)
    assert visible_plane((0, 2), 3) == (-3, -1)
    with pytest.raises(LimnError, match="found the view in 3D, expected a slice"):
        visible_plane((0, 1, 2), 3)


def test_what_cannot_be_painted_on_is_refused():
    refuse_unpaintable("strokes", editable=True, lazy=False)
    with pytest.raises(LimnError, match="strokes: this layer cannot be painted on"):
        refuse_unpaintable("strokes", editable=False, lazy=False)
    with pytest.raises(LimnError, match="read from a file piece by piece, expected labels in memory"):
        refuse_unpaintable("strokes", editable=True, lazy=True)
    refuse_other_extent("strokes", (3, 4), [3, 4])
    with pytest.raises(LimnError, match=r"strokes: found the extent \(3, 4\), expected \(3, 5\)"):
        refuse_other_extent("strokes", (3, 4), [3, 5])


def test_the_region_is_that_of_one_label_on_the_slice_and_in_sight():
    region = region_in("prediction", LABELS, plane(), WHOLE)
    assert (region.value, len(region.rows), region.cut) == (2, 35, False)
    part = region_in("prediction", LABELS, plane(), ((0, 8), (0, 30)))
    assert (len(part.rows), part.cut) == (21, True)
    upright = region_in("prediction", LABELS, Plane((1, 6, 7), (-3, -1)), ((0, 3), (0, 30)))
    assert (upright.value, len(upright.rows)) == (2, 7)
    for outside in (plane(z=3), plane(y=-1), plane(x=30)):
        with pytest.raises(LimnError, match="prediction: found a click outside the layer"):
            region_in("prediction", LABELS, outside, WHOLE)


def test_a_region_is_painted_in_one_step():
    strokes, region = Strokes(), region_in("prediction", LABELS, plane(), WHOLE)
    assert paint_region(strokes, region, plane(), 3, only_unlabelled=False) == 35
    assert strokes.steps == 1
    np.testing.assert_array_equal(strokes.data == 3, LABELS == 2)
    assert paint_region(strokes, region, plane(), 3, only_unlabelled=False) == 0
    assert strokes.steps == 1, "a click that changes nothing would be a step to undo"


def test_confirming_leaves_strokes_that_are_there():
    strokes, region = Strokes(), region_in("prediction", LABELS, plane(), WHOLE)
    strokes.data[1, 5] = 1
    assert paint_region(strokes, region, plane(), 2, only_unlabelled=True) == 28
    assert (strokes.data[1, 5] == 1).all()


def test_a_class_that_the_layer_cannot_hold_is_refused():
    region = region_in("prediction", LABELS, plane(), WHOLE)
    with pytest.raises(LimnError, match="found class 300, expected up to 255"):
        paint_region(Strokes(), region, plane(), 300, only_unlabelled=False)
    assert paint_region(Strokes(np.uint16), region, plane(), 300, only_unlabelled=False) == 35


def test_the_sentence_names_the_class():
    assert sentence_of(1234, 2, {2: "axon"}, cut=False).startswith("1,234 pixels are “axon” now.")
    assert "“class 3”" in sentence_of(1, 3, {2: "axon"}, cut=False)
    assert "“not labelled”" in sentence_of(1, 0, {}, cut=False)
    assert "“rest”" in sentence_of(1, 0, {0: "rest"}, cut=False)
    assert "near the click" in sentence_of(1, 1, {}, cut=True)
