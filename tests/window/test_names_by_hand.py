"""Names of classes in a real window: from the legend through training to the prediction."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_limn._napari.layers.class_table import (
    names_of,
)


@pytest.mark.window
def test_names_go_from_the_legend_through_training_to_the_prediction(hand):
    viewer = hand.viewer
    image = np.zeros((64, 64), np.float32)
    image[:, 32:] = 1
    viewer.add_image(image, name="image")
    strokes = viewer.add_labels(np.zeros((64, 64), np.uint8), name="strokes")
    viewer.layers.selection.active = strokes
    strokes.brush_size = 3
    widget, train, predict = (
        hand.open_widget("Classes"),
        hand.open_widget("Train"),
        hand.open_widget("Predict"),
    )
    widget.legend.rename(2, "bright")
    canvas = hand._of_class("CanvasBackendDesktop")
    for key, column in (("1", 10), ("2", 50)):
        QTest.keyClick(canvas, key)
        assert strokes.selected_label == int(key)
        hand.paint([(row, column) for row in range(5, 60, 5)], strokes.selected_label)
    assert strokes.mode == "paint", "a digit took the brush away"
    seconds = hand.find("limn-train-seconds")
    seconds.setFocus()
    QTest.keyClicks(seconds, "1")
    assert strokes.selected_label == 2, "a digit that was typed into a field chose a class"
    seconds.setValue(1)
    hand.press("limn-train-start")
    hand.wait_idle(train)
    assert train.model.spec.classes.names == ("class 1", "bright")
    hand.press("limn-predict-start")
    hand.wait_idle(predict)
    shown = viewer.layers["image labels"]
    assert names_of(shown) == {1: "class 1", 2: "bright"}

    viewer.layers.selection.active = strokes
    strokes.data = np.zeros((64, 64), np.uint8)
    shown.data = (1 + (image > 0.5)).astype(np.uint8)
    viewer.reset_view()
    hand.pump(0.2)
    hand.press("limn-classes-correct")
    QTest.keyClick(canvas, "1")
    hand.pump(0.2)
    QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=hand.canvas_point(20, 50))
    hand.pump(0.1)
    np.testing.assert_array_equal(strokes.data == 1, image > 0.5)
    QTest.keyClick(canvas, "z", Qt.KeyboardModifier.ControlModifier)
    assert not strokes.data.any()
    shift = Qt.KeyboardModifier.ShiftModifier
    QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, shift, pos=hand.canvas_point(20, 50))
    hand.pump(0.1)
    np.testing.assert_array_equal(strokes.data == 2, image > 0.5)
