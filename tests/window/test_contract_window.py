"""The public contract of the window: names of controls, and the files that are written there; see tests/test_contract.py."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QDockWidget, QFileDialog

pytestmark = pytest.mark.window

OLD = Path(__file__).parents[1] / "contract" / "files"
WIDGETS = ("Strokes", "Train", "Predict", "Review", "Classes", "Compare")


def names_in(hand, widget):
    """Object names of ours in the dock of a widget."""
    dock = widget
    while not isinstance(dock, QDockWidget):
        dock = dock.parentWidget()
    hand.pump(0.1)
    return sorted({o.objectName() for o in dock.findChildren(QObject) if o.objectName().startswith("limn-")})


def test_names_of_the_controls(hand, contract):
    hand.viewer.add_image(np.indices((64, 64))[1].astype(np.uint8), name="image", scale=(0.5, 0.5))
    hand.viewer.add_labels(
        np.zeros((64, 64), np.uint8), name="strokes"
    )  # of another scale: a finding with a remedy
    widgets = {"Train": hand.open_widget("Train")}
    hand.wait(lambda: "limn-train-remedy" in names_in(hand, widgets["Train"]))
    widgets |= {name: hand.open_widget(name) for name in WIDGETS if name != "Train"}
    contract("controls", {name: names_in(hand, widget) for name, widget in widgets.items()})


# ---- the journal of strokes --------------------------------------------------------------------------------------------
def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def keys_by_kind(rows):
    """Keys of the lines of a journal, by the kind of record."""
    return {row.get("kind", "header"): list(row) for row in rows}


def paint_on_a_layer_of_ones_own(hand, folder, monkeypatch):
    """Add a layer that holds something, do to it all that is journalled beside strokes, remove it."""
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(folder / "mine.tif"), ""))
    layer = hand.viewer.add_labels(np.eye(96, 112, dtype=np.uint8), name="mine", scale=(0.5, 0.5))
    hand.viewer.layers.selection.active = layer
    layer.paint((30, 30), 2)
    layer.data = np.roll(layer.data, 3, axis=0)
    hand.find("limn-strokes-labels").setCurrentText("mine")
    hand.press("limn-strokes-start")
    hand.wait((folder / "mine.tif").exists)
    hand.pump(0.3)
    layer.data[50] = 2
    layer.mode = "pan_zoom"
    hand.pump(0.2)
    hand.viewer.layers.remove(layer)
    hand.pump(0.2)


def test_strokes_of_before_are_offered_back_and_their_journal_goes_on(hand, contract, tmp_path, monkeypatch):
    for path in OLD.glob("cells.ome.tif*"):
        shutil.copy(path, tmp_path / path.name)
    journal, other = (tmp_path / f"cells.ome.tif{number}.strokes.jsonl" for number in ("", "-2"))
    before = records(journal)
    hand.drop(tmp_path / "cells.ome.tif")
    hand.open_widget("Strokes")
    hand.wait(hand.find("limn-strokes-offer").isVisible)
    hand.press("limn-strokes-offer-back")
    hand.pump(0.2)
    layer = hand.viewer.layers[-1]
    np.testing.assert_array_equal(np.asarray(layer.data), tifffile.imread(OLD / "cells_strokes.tif"))
    assert list(layer.features["class"])[-1] == "cell"
    hand.viewer.layers.selection.active = layer
    layer.paint((30, 30), 3)
    hand.press("limn-strokes-undo")
    hand.press("limn-strokes-redo")
    hand.wait(lambda: len(records(journal)) == len(before) + 3)
    assert records(journal)[: len(before)] == before
    new = records(journal)[len(before) :]
    assert [(row["n"], row["kind"]) for row in new] == [(17, "stroke"), (18, "undo"), (19, "redo")]

    paint_on_a_layer_of_ones_own(hand, tmp_path, monkeypatch)
    contract("journal", keys_by_kind(new + records(other)))
    assert keys_by_kind(before) == keys_by_kind(new + records(other))
    changed = {"path": "", "layer": "", "crc": ""}
    assert records(other)[0] | changed == before[0] | changed


# ---- audits --------------------------------------------------------------------------------------------------------------
def test_an_audit_of_before_is_taken_up_again(hand, contract, tmp_path):
    y, x = np.indices((300, 320))
    truth = np.where((y // 60 + x // 80) % 2, 2, 1).astype(np.uint8)
    tifffile.imwrite(tmp_path / "image.tif", truth * 60)
    [old] = OLD.glob("*.audit.json")
    path = Path(shutil.copy(old, tmp_path / old.name))
    before = json.loads(path.read_text())

    hand.drop(tmp_path / "image.tif")
    hand.viewer.add_labels(np.roll(truth, 3, axis=1), name="labels")
    review = hand.open_widget("Review")
    hand.press("limn-review-audit")
    hand.wait(hand.find("limn-review-estimate").text)
    said = hand.find("limn-review-estimate").text()
    hand.wait_idle(review)
    hand.press("limn-review-accept")
    after = json.loads(path.read_text())
    assert after["verdicts"][: len(before["verdicts"])] == before["verdicts"]
    assert len(after["verdicts"]) == len(before["verdicts"]) + 1
    contract(
        "audit",
        {
            "file": list(after),
            "verdict": list(after["verdicts"][-1]),
            "estimate": re.findall(r"\d\.\d+", said),
        },
    )
    hand.press("limn-review-skip")
    assert json.loads(path.read_text())["verdicts"][-1]["counts"] is None
