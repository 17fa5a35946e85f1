"""Two predictions of an image side by side."""

from __future__ import annotations

import re

import numpy as np
import pytest
from napari.layers import Labels
from predictions import CLASSES, GREEN, GREY, RED, predict
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest

from napari_limn import Classes, LimnError
from napari_limn._napari.layers.facts import facts_of
from napari_limn._napari.layers.layers import (
    hand_over,
    note_file,
    refuse_kept,
    show_labels,
    volume_of,
)
from napari_limn._napari.prediction.compare import CompareWidget
from napari_limn._napari.prediction.pairs import difference_layer, disagreement, keep

da = pytest.importorskip("dask.array")

FULL = Classes((0, 1), "background", ("rest", "cell"), (GREEN, RED))


@pytest.fixture
def two(viewer):
    """A kept prediction and another one, which differ in 30 voxels of slice 1 and in all of slice 3."""
    data = np.ones((4, 20, 30), np.uint8)
    first = predict(viewer, data, "model a")
    keep(first)
    other = data.copy()
    other[1, 5], other[3] = 2, 2
    viewer.dims.set_point(0, 1 + 2 * 1)
    return first, predict(viewer, other, "model b")


@pytest.fixture
def widget(qtbot, viewer):
    found = CompareWidget(viewer)
    qtbot.addWidget(found)
    for event in (viewer.layers.events.inserted, viewer.layers.events.removed, viewer.layers.events.renamed):
        event.connect(found.reset_choices)  # as napari does for a dock widget
    with qtbot.waitExposed(found):
        found.show()
    return found


# ---- compare ---------------------------------------------------------------------------------------------------------
def test_a_kept_prediction_is_not_replaced(viewer):
    first = predict(viewer, np.ones((4, 20, 30)), "model a")
    keep(first)
    keep(first)
    second = predict(viewer, np.ones((4, 20, 30)), "model b")
    third = predict(viewer, np.ones((4, 20, 30)), "model b")
    assert [layer.name for layer in viewer.layers] == ["cells", "cells labels (model a)", "cells labels"]
    assert first in viewer.layers
    assert third in viewer.layers
    assert second not in viewer.layers


def test_what_has_another_name_or_is_of_another_kind_is_kept_too(viewer):
    viewer.add_labels(np.zeros((4, 20, 30), np.uint8), name="cells labels")
    second = predict(viewer, np.ones((4, 20, 30)), "model a")
    image = viewer.layers["cells"]
    live = show_labels(viewer, image, volume_of(image), second.data, CLASSES, "live", kind="live")
    keep(second)
    keep(live)
    assert (second.name, live.name) == ("cells labels (model a)", "cells live (live)")
    predict(viewer, np.ones((4, 20, 30)), "model b")
    show_labels(viewer, image, volume_of(image), second.data, CLASSES, "live", kind="live")
    assert second in viewer.layers
    assert live in viewer.layers


def test_one_of_two_that_is_painted_on_is_no_prediction_any_more(viewer, widget, two):
    first, second = two
    hand_over(second)
    assert widget.second.value is first  # its only prediction
    widget.keep(second)
    assert difference_layer(first, second).name == "cells corrected difference"


def test_the_difference_lies_where_the_image_lies_in_the_colours_of_the_second(viewer, two):
    first, second = two
    layer = difference_layer(first, second)
    data = np.asarray(layer.data)
    assert (data == np.where(np.asarray(second.data) == 2, 2, 0)).all()
    np.testing.assert_allclose(layer.get_color(2), GREEN)
    for what in ("scale", "translate", "rotate", "shear"):
        np.testing.assert_allclose(getattr(layer, what), getattr(second, what))
    assert layer.units == second.units
    viewer.add_layer(layer)
    assert "core" in layer.get_status((1, 5, 3), dims_displayed=[1, 2])["value"]
    assert not facts_of(layer).is_prediction, "the difference was offered as a prediction"


def test_background_in_a_difference_can_be_seen(viewer):
    first = predict(viewer, np.ones((4, 20, 30)), "model a", FULL)
    keep(first)
    second = predict(viewer, np.zeros((4, 20, 30)), "model b", FULL)
    layer = difference_layer(first, second)
    assert set(np.unique(np.asarray(layer.data))) == {2}
    np.testing.assert_allclose(layer.get_color(2), GREY)
    assert "rest" in layer.get_status((0, 0, 0), dims_displayed=[1, 2])["value"]


def test_predictions_of_different_images_are_refused(viewer, two):
    viewer.add_image(np.zeros((9, 9)), name="other")
    image = viewer.layers["other"]
    other = show_labels(viewer, image, volume_of(image), np.ones((9, 9), np.uint8), CLASSES, "model a")
    with pytest.raises(LimnError, match="expected two predictions of one image"):
        difference_layer(two[0], other)
    with pytest.raises(LimnError, match="found one prediction, expected two"):
        difference_layer(two[0], two[0])


def test_the_share_is_that_of_the_visible_slice(viewer, two):
    assert disagreement(viewer, *two) == "5.00% of the voxels of this slice differ (30 of 600)."
    viewer.dims.set_point(0, 1 + 2 * 3)
    assert "100.00% of the voxels of this slice" in disagreement(viewer, *two)
    viewer.dims.set_point(0, 1)
    assert "0.00% of the voxels of this slice" in disagreement(viewer, *two)
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_point(1, 2 + 0.5 * 5)
    assert "(60 of 120)" in disagreement(viewer, *two)
    viewer.dims.ndisplay = 3
    assert "Switch to 2D" in disagreement(viewer, *two)


def test_of_a_large_slice_a_coarser_level_is_counted(viewer):
    viewer.layers.clear()
    image = viewer.add_image(np.broadcast_to(np.uint8(0), (6000, 6000)), name="cells")
    levels = [[np.broadcast_to(np.uint8(v), (n, n)) for n in (6000, 1500)] for v in (1, 2)]
    first, second = (
        show_labels(viewer, image, volume_of(image), found, CLASSES, f"model {i}", multiscale=True)
        for i, found in enumerate(levels)
    )
    assert disagreement(viewer, first, second).startswith("About 100.00% of the voxels of this slice")
    assert "in the middle of the view" in disagreement(
        viewer, first, Labels(levels[1][0], metadata=second.metadata)
    )


def test_what_is_not_computed_yet_does_not_count(viewer):
    first = predict(viewer, np.ones((4, 20, 30)), "model a")
    keep(first)
    second = predict(viewer, np.zeros((4, 20, 30)), "model b")
    assert disagreement(viewer, first, second) == "One of the two has no labels here yet."


def test_the_widget_shows_one_at_a_time(qtbot, viewer, widget, two):
    first, second = two
    assert (widget.first.value, widget.second.value) == (first, second)
    viewer.layers.selection.active = viewer.layers["cells"]
    QTest.mouseClick(widget.show_buttons["difference"], Qt.MouseButton.LeftButton)
    difference = viewer.layers["cells difference"]
    assert [layer.visible for layer in (first, second, difference)] == [False, False, True]
    assert viewer.layers.selection.active is viewer.layers["cells"]
    QTest.mouseClick(widget.show_buttons["first"], Qt.MouseButton.LeftButton)
    assert [layer.visible for layer in (first, second, difference)] == [True, False, False]
    qtbot.waitUntil(lambda: "(30 of 600)" in widget.status.text())
    viewer.dims.set_point(0, 7)
    qtbot.waitUntil(lambda: "(600 of 600)" in widget.status.text())


def test_another_pair_has_another_difference(viewer, widget, two):
    widget.show_only("difference")
    widget.keep(widget.second.value)
    third = predict(viewer, np.full((4, 20, 30), 2), "model c")
    assert "cells difference" in viewer.layers, "a further prediction took the pair away"
    widget.second.value = third
    assert "cells difference" not in viewer.layers
    widget.show_only("difference")
    assert (np.asarray(viewer.layers["cells difference"].data) == 2).all()


def test_a_difference_follows_a_file_that_is_finished(viewer, widget, two):
    _, second = two
    QTest.mouseClick(widget.show_buttons["difference"], Qt.MouseButton.LeftButton)
    assert np.asarray(widget.difference.data[1, 5]).all()
    finished = np.ones((4, 20, 30), np.uint8)
    finished[2, 7] = 2
    second.data = finished
    found = np.asarray(widget.difference.data)
    assert found[2, 7].all()
    assert not found[1].any()
    assert widget.difference.visible
    assert [layer.name for layer in viewer.layers].count(widget.difference.name) == 1


def test_a_kept_layer_forbids_writing_over_its_file(viewer, two, tmp_path):
    first, _ = two
    for layer in two:
        note_file(layer, tmp_path / f"{facts_of(layer).model}.ome.zarr")
    refuse_kept(viewer, tmp_path / "model b.ome.zarr")
    with pytest.raises(LimnError, match=f"layer “{re.escape(first.name)}”, which was kept"):
        refuse_kept(viewer, tmp_path / "model a.ome.zarr")


def test_discarding_leaves_nothing_to_compare(viewer, widget, two):
    widget.show_only("difference")
    widget.discard(two[1])
    assert [layer.name for layer in viewer.layers] == ["cells", "cells labels (model a)"]
    assert "predict it with another model" in widget.status.text()
    assert not widget.show_buttons["first"].isEnabled()
    widget.discard(two[0])
    assert widget.first.value is None
    widget.show_only("first")
    assert "Found one prediction, expected two" in widget.status.text()


def test_one_of_two_may_be_given_the_name_of_the_other(viewer, widget, two):
    first, second = two
    first.name = second.name  # napari makes another of it, and tells of both
    assert (widget.first.value, widget.second.value) == two
    assert (widget.first.current_choice, widget.second.current_choice) == (first.name, second.name)


def test_counting_leaves_no_timers_behind(widget, two):
    before = len(widget.findChildren(QTimer))
    for _ in range(3):
        widget.count()
    assert len(widget.findChildren(QTimer)) == before


def state(viewer):
    grid = viewer.canvas.grid
    layers = [(x.name, x.visible, x.opacity, x.name_overlay.visible) for x in viewer.layers]
    return layers, grid.enabled, grid.stride, grid.shape, grid.spacing, viewer.scene.camera.zoom


def test_side_by_side_shows_image_and_both_and_leaves_no_trace(viewer, widget, two):
    first, second = two
    strokes = viewer.add_labels(np.zeros((4, 20, 30), np.uint8), name="strokes")
    viewer.layers.move(viewer.layers.index(first), len(viewer.layers))  # above the second
    viewer.dims.set_point(0, 3)
    before = state(viewer)
    QTest.mouseClick(widget.show_buttons["beside"], Qt.MouseButton.LeftButton)
    grid = viewer.canvas.grid
    assert grid.enabled
    boxes = {
        layer.name: grid.position(i, viewer.layers) for i, layer in enumerate(viewer.layers) if layer.visible
    }
    assert list(boxes) == ["cells", "cells labels (model a)", "cells labels"]
    assert sorted(boxes.values()) == list(boxes.values()), "not in the order of the form"
    assert first.name_overlay.visible
    assert first.opacity == second.opacity == 1, "there is no image below them now"
    assert not strokes.visible
    widget.show_only("second")
    assert not grid.enabled
    assert (first.visible, second.visible, strokes.visible) == (False, True, True)
    first.visible = True
    assert state(viewer) == before


@pytest.mark.parametrize("leave", ["hide", "grid off", "discard"])
def test_whoever_leaves_side_by_side_finds_all_as_it_was(viewer, widget, two, leave):
    before = state(viewer)
    widget.show_only("beside")
    if leave == "hide":
        widget.hide()
    elif leave == "grid off":
        viewer.canvas.grid.enabled = False
    else:
        widget.discard(two[1])
        before = (before[0][:2], *before[1:])
    assert state(viewer) == before
    assert not widget.show_buttons["beside"].isChecked()
    assert not widget.boxes.shown


def test_what_somebody_changed_beside_stays_changed(viewer, widget, two):
    widget.show_only("beside")
    viewer.layers["cells"].visible = False
    viewer.canvas.grid.spacing = 0.1
    viewer.layers.remove(two[0])
    assert not viewer.layers["cells"].visible
    assert viewer.canvas.grid.spacing == 0.1
    assert not viewer.canvas.grid.enabled


@pytest.mark.window
def test_boxes_beside_each_other_show_the_same_place(hand):
    rng = np.random.default_rng(0)
    hand.viewer.add_image(rng.random((60, 80)), name="cells")
    for model, value in (("model a", 1), ("model b", 2)):
        data = np.full((60, 80), value, np.uint8)
        keep(predict(hand.viewer, data, model))
    hand.open_widget("Compare")
    hand.press("limn-compare-show-beside")
    hand.pump(0.5)
    shot = hand.viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)
    red, green = shot[..., 0] - shot[..., 1] > 100, shot[..., 1] - shot[..., 0] > 100
    assert red.mean() > 0.02
    assert green.mean() == pytest.approx(red.mean(), rel=0.1)
    hand.press("limn-compare-show-first")
    hand.pump(0.5)
    assert not hand.viewer.canvas.grid.enabled


@pytest.mark.window
def test_the_difference_goes_with_the_panel(hand):
    hand.viewer.add_image(np.zeros((60, 80)), name="cells")
    for model, value in (("model a", 1), ("model b", 2)):
        keep(predict(hand.viewer, np.full((60, 80), value, np.uint8), model))
    compare = hand.open_widget("Compare")
    hand.press("limn-compare-show-difference")
    compare.parentWidget().hide()  # as behind another tab
    compare.parentWidget().show()
    hand.pump(0.1)
    assert "cells difference" in hand.viewer.layers
    hand.viewer.window.remove_dock_widget(compare)
    hand.pump(0.1)
    assert "cells difference" not in hand.viewer.layers
