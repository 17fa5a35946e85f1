"""The dock by hand: from a dropped image to its answer, and whose answer it is."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
import tifffile
from qtpy.QtWidgets import QDockWidget, QLabel, QScrollArea, QWidget

from napari_limn._napari.layers.facts import facts_of
from napari_limn._napari.painting.strokes import StrokesWidget
from napari_limn._napari.panel.session import shared_models
from napari_limn._napari.prediction.predict import PredictWidget

pytestmark = pytest.mark.window

STEPS = ("paint", "learn", "check", "apply")


def halves(columns, rows=120):
    """An image whose right part is brighter, from a column on."""
    noise = np.random.default_rng(columns).normal(0, 6, (rows, 160))
    return (np.where(np.arange(160) > columns, 160, 60) + noise).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    for name, columns in (("cells", 80), ("fibres", 50)):
        tifffile.imwrite(tmp_path / f"{name}.tif", halves(columns))
    return tmp_path


def active(hand):
    return hand.viewer.layers.selection.active


def preview(hand, image):
    """The live layer of an image, if it covers it all."""
    for layer in hand.viewer.layers:
        facts = facts_of(layer)
        covers = facts.kind == "live" and facts.belongs_to(image) and layer.visible
        if covers and (np.asarray(layer.data) > 0).all():
            return layer
    return None


def paint_two_classes(hand, right):
    layer = active(hand)
    for row in range(20, 100, 8):
        layer.paint((row, 20), 1)
        layer.paint((row, right), 2)


def test_two_strokes_after_a_drop_there_is_an_answer_and_nothing_was_pressed(hand, folder):
    hand.open_dock()
    hand.drop(folder / "cells.tif")
    image = hand.viewer.layers["cells"]
    assert active(hand) is hand.viewer.layers["cells strokes"]
    assert str(active(hand).mode) == "paint"
    assert len(hand.main.findChildren(QDockWidget, "Limn (napari-limn)")) == 1
    active(hand).brush_size = 5
    hand.paint([(row, 20) for row in range(20, 100, 8)], 1)
    hand.paint([(row, 140) for row in range(20, 100, 8)], 2)
    hand.wait(lambda: preview(hand, image))
    hand.wait(lambda: (np.asarray(preview(hand, image).data)[:, 100:] == 2).mean() > 0.9)
    assert "follows your strokes" in hand.find("limn-train-status").text()


def test_a_second_image_has_strokes_preview_and_prediction_of_its_own(hand, folder):
    dock = hand.open_dock()
    hand.drop(folder / "cells.tif")
    cells = hand.viewer.layers["cells"]
    paint_two_classes(hand, 140)
    hand.wait(lambda: preview(hand, cells))
    hand.drop(folder / "fibres.tif")
    fibres = hand.viewer.layers["fibres"]
    assert hand.find("limn-image").currentText() == "fibres"
    strokes = active(hand)
    assert facts_of(strokes).belongs_to(fibres)
    paint_two_classes(hand, 140)
    hand.wait(lambda: preview(hand, fibres))
    assert dock.train.name == "fibres model"
    dock.unfold("apply")
    hand.press("limn-predict-start")
    hand.wait_idle(dock.sections[PredictWidget])
    labels = hand.viewer.layers["fibres labels"]
    assert facts_of(labels).belongs_to(fibres)
    assert facts_of(labels).model == "fibres model"
    assert (np.asarray(labels.data) > 0).all()
    assert preview(hand, fibres) is None, "the labels take the place of the preview"
    hand.viewer.layers.selection.active = hand.viewer.layers["cells strokes"]
    hand.pump(0.1)
    assert hand.find("limn-image").currentText() == "cells"
    assert hand.find("limn-train-from").currentText() == "cells model"


def test_train_is_lit_while_live_mode_runs_and_ends_it(hand, folder):
    dock = hand.open_dock()
    hand.drop(folder / "cells.tif")
    paint_two_classes(hand, 140)
    hand.wait(lambda: dock.train.live_run is not None)
    hand.wait(lambda: preview(hand, hand.viewer.layers["cells"]))
    dock.unfold("learn")
    hand.find("limn-train-seconds").setValue(1)
    assert hand.find("limn-train-start").isEnabled()
    hand.press("limn-train-start")
    hand.wait(lambda: not dock.train.controller.live)
    assert not hand.find("limn-train-live").isChecked()
    hand.wait(lambda: dock.train.job is not None or "Done" in hand.find("limn-train-status").text())
    hand.wait_idle(dock.train)
    assert "Done" in hand.find("limn-train-status").text()
    image = hand.viewer.layers["cells"]
    assert preview(hand, image), "the answers of the training are not shown"
    assert facts_of(preview(hand, image)).model == "live"
    assert shared_models()[dock.train.name] is dock.train.model


def test_live_mode_that_is_switched_off_stays_off(hand, folder):
    dock = hand.open_dock()
    hand.drop(folder / "cells.tif")
    paint_two_classes(hand, 140)
    hand.wait(lambda: dock.train.live_run is not None)
    hand.find("limn-train-live").click()
    hand.wait_idle(dock.train)
    paint_two_classes(hand, 120)
    hand.pump(0.3)
    assert dock.train.live_run is None


@pytest.mark.parametrize(
    ("entry", "step", "control"),
    [
        ("Strokes", "paint", "limn-strokes-undo"),
        ("Classes", "paint", "limn-classes-table"),
        ("Train", "learn", "limn-train-start"),
        ("Review", "check", "limn-review-start"),
        ("Compare", "check", "limn-compare-first"),
        ("Predict", "apply", "limn-predict-start"),
    ],
)
def test_the_entries_that_people_know_lead_to_their_step(hand, entry, step, control):
    _, door = hand.viewer.window.add_plugin_dock_widget("napari-limn", entry)
    assert door.objectName() == ""

    def docks():
        return [
            d.objectName() for d in hand.main.findChildren(QDockWidget) if "napari-limn" in d.objectName()
        ]

    hand.wait(lambda: docks() == ["Limn (napari-limn)"], 10)
    assert hand.open_dock().steps.now == step
    assert hand.find(control).isVisible()


def test_an_entry_gives_scripts_the_section(hand):
    _, door = hand.viewer.window.add_plugin_dock_widget("napari-limn", "Strokes")
    assert door.new_button is hand.open_dock().sections[StrokesWidget].new_button


def cut_off(dock):
    """Names of what is not in sight as a whole, and of what scrolls."""
    for widget in dock.findChildren(QWidget):
        if not widget.isVisible():
            continue
        if isinstance(widget, QScrollArea) and widget.verticalScrollBar().maximum():
            yield f"{type(widget.parent()).__name__} scrolls"
        name = widget.objectName()
        if name.startswith("limn-"):
            if not dock.rect().contains(widget.mapTo(dock, widget.rect().bottomRight())):
                yield f"{name} reaches out"
            lines = isinstance(widget, QLabel) and widget.hasHeightForWidth()
            if lines and widget.height() < widget.heightForWidth(widget.width()):
                yield f"{name} is too low"


@pytest.mark.parametrize("size", [(1280, 786), (1500, 950)])  # the dock is 720 pixels high, and more
def test_each_step_is_whole_and_nothing_scrolls(hand, folder, size):
    hand.viewer.window.resize(*size)
    dock = hand.open_dock()
    (folder / ("m" * 60 + ".tif")).write_bytes((folder / "cells.tif").read_bytes())
    hand.drop(folder / ("m" * 60 + ".tif"))
    assert dock.width() <= 320
    for step in STEPS:
        dock.unfold(step)
        hand.pump(0.2)
        heads = [name for name in STEPS if hand.find(f"limn-step-{name}").isVisible()]
        assert heads == list(STEPS)
        with suppress(TimeoutError):  # layouts settle in several rounds
            hand.wait(lambda: not list(cut_off(dock)), 3)
        assert list(cut_off(dock)) == [], step
