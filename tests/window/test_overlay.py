"""Predictions that one can see through, and what a place that is looked at shows."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from napari.layers import Labels
from qtpy.QtCore import Qt

from napari_limn._napari.files.reader import read
from napari_limn._napari.layers.class_table import legend_of, set_legend
from napari_limn._napari.layers.facts import LayerFacts
from napari_limn._napari.layers.layers import hand_over, note_name, show_labels, volume_of
from napari_limn._napari.layers.overlay import OutlineOnly
from napari_limn.annotation.classes import Classes
from napari_limn.annotation.legend import Legend

RED, BLUE = (1.0, 0.0, 0.0, 1.0), (0.0, 0.0, 1.0, 1.0)
TWO = Classes((1, 2)).with_legend({1: "background", 2: "nucleus"}, {1: RED, 2: BLUE})


@pytest.fixture
def predicted(viewer):
    image = viewer.layers["cells"]
    return show_labels(viewer, image, volume_of(image), np.ones((4, 20, 30), np.uint8), TWO, "model")


def alpha(layer, value):
    return float(layer.get_color(value)[3])


def test_background_is_clear_in_a_prediction_and_the_legend_knows_its_colour(predicted):
    assert (alpha(predicted, 1), alpha(predicted, 2)) == (0, 1)
    assert legend_of(predicted).color(1) == RED


def test_a_class_that_is_renamed_is_clear_or_seen_as_its_name_says(predicted):
    set_legend(predicted, Legend({1: "matrix", 2: "background"}, {1: RED, 2: BLUE}))
    assert (alpha(predicted, 1), alpha(predicted, 2)) == (1, 0)


def test_paint_is_seen_background_too(predicted):
    hand_over(predicted)
    np.testing.assert_allclose(predicted.get_color(1), RED)
    np.testing.assert_allclose(predicted.get_color(2), BLUE)


def test_strokes_show_their_background(viewer):
    strokes = viewer.add_labels(np.zeros((4, 20, 30), np.uint8))
    set_legend(strokes, Legend({1: "background"}, {1: RED}))
    assert alpha(strokes, 1) == 1


def test_a_place_shows_outlines_only_and_all_comes_back(viewer, predicted):
    other = viewer.add_labels(
        np.ones((4, 20, 30), np.uint8),
        name="other",
        metadata=LayerFacts(model="m", kind="labels").to_metadata(),
    )
    other.contour = 1
    viewer.scene.camera.zoom, viewer.scene.camera.center = 3.0, (0.0, 5.0, 6.0)
    outline = OutlineOnly(viewer)
    outline.begin([predicted])
    outline.begin([predicted])  # the next place
    assert (predicted.contour, predicted.visible, other.visible) == (2, True, False)
    viewer.scene.camera.zoom, viewer.scene.camera.center = 30.0, (0.0, 1.0, 1.0)
    outline.end()
    assert (predicted.contour, predicted.visible, other.visible, other.contour) == (0, True, True, 1)
    assert (viewer.scene.camera.zoom, tuple(viewer.scene.camera.center)) == (3.0, (0.0, 5.0, 6.0))
    assert not outline.on


@pytest.mark.parametrize(("low", "high", "dim"), [(4, 50, True), (0, 250, False), (7, 7, False)])
def test_dim_images_of_8_bits_are_shown_over_their_own_range(tmp_path, low, high, dim):
    data = np.random.default_rng(0).integers(low, high + 1, (300, 200)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", data)
    [(_, look, kind)] = read(str(tmp_path / "a.tif"))
    assert kind == "image"
    if dim:
        assert look["contrast_limits"] == pytest.approx((low, high), abs=1)
    else:
        assert "contrast_limits" not in look


@pytest.mark.window
def test_the_key_b_hides_the_labels_of_the_image_and_shows_them_again(hand):
    dock = hand.open_dock()
    image = hand.viewer.add_image(np.zeros((40, 50), np.float32), name="cells")
    hand.pump(0.2)
    labels = Labels(
        np.ones((40, 50), np.uint8),
        name="cells labels",
        metadata=LayerFacts.of(image, model="m", kind="labels").to_metadata(),
    )
    hand.viewer.layers.insert(1, labels)
    note_name(labels)
    hand.viewer.layers.selection.active = hand.viewer.layers["cells strokes"]
    hand.pump(0.1)
    preserve = hand.viewer.layers["cells strokes"].preserve_labels
    dock.unfold("check")
    hand.press("limn-overlay-outline")
    assert labels.contour > 0
    hand.key(Qt.Key.Key_B)
    assert not labels.visible
    hand.key(Qt.Key.Key_B)
    assert labels.visible
    assert labels.contour > 0
    assert hand.viewer.layers["cells strokes"].preserve_labels == preserve
    hand.main.findChild(type(dock.parent()), "Limn (napari-limn)").hide()
    hand.pump(0.1)
    hand.key(Qt.Key.Key_B)
    assert labels.visible, "the key was not given back"
    assert hand.viewer.layers["cells strokes"].preserve_labels != preserve


@pytest.mark.window
def test_the_next_image_comes_with_its_strokes_and_the_brush(hand):
    hand.open_dock()
    for name in ("a", "b"):
        hand.viewer.add_image(np.zeros((40, 50), np.float32), name=name)
        hand.pump(0.2)
    assert hand.find("limn-image").currentText() == "b"
    hand.key(Qt.Key.Key_W)
    hand.pump(0.1)
    assert hand.find("limn-image").currentText() == "a"
    assert hand.viewer.layers.selection.active.name == "a strokes"
    assert str(hand.viewer.layers.selection.active.mode) == "paint"


@pytest.mark.window
def test_digits_choose_classes_in_every_step_and_are_napari_s_own_for_other_layers(hand):
    dock = hand.open_dock()
    hand.viewer.add_image(np.zeros((40, 50), np.float32), name="cells")
    hand.pump(0.2)
    strokes = hand.viewer.layers.selection.active
    for step in ("paint", "check", "apply"):
        dock.unfold(step)
        strokes.selected_label = 1
        hand.key("2")
        assert (strokes.selected_label, str(strokes.mode)) == (2, "paint"), step
    shapes = hand.viewer.add_shapes(name="places")
    hand.pump(0.1)
    before = str(shapes.mode)
    hand.key("5")
    assert str(shapes.mode) != before
