"""What is in the journal of an image, and a hand that begins, paints and removes strokes."""

from __future__ import annotations

import numpy as np
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_limn.annotation.journal.format import read_journal, replay

CONTROL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier


def write_image(folder):
    """Write a small image with a pixel size; give its path."""
    path = folder / "cells.ome.tif"
    metadata = {"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeXUnit": "µm"}
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 255, (200, 240), np.uint8), metadata=metadata)
    return path


def journal(image):
    return image.with_name(image.name + ".strokes.jsonl")


def kinds(image):
    return [record.kind for record in read_journal(journal(image)).records]


def replayed(image):
    return np.asarray(replay(read_journal(journal(image))))


def key(hand, letter, modifiers):
    QTest.keyClick(hand._of_class("CanvasBackendDesktop"), letter, modifiers)
    hand.pump(0.1)


def remove(hand, layer):
    """Take a layer away; napari 0.9 with Mesa crashes at the next layer if a brush was on the canvas until then."""
    layer.mode = "pan_zoom"
    hand.pump(0.2)
    hand.viewer.layers.remove(layer)
    hand.pump(0.1)


def begin(hand, image):
    """Drop an image, press the button, and choose a thin brush."""
    hand.drop(image)
    widget = hand.open_widget("Strokes")
    hand.press("limn-strokes-new")
    hand.pump(0.2)
    layer = hand.viewer.layers[-1]
    layer.brush_size = 5
    return widget, layer
