"""A button is lit when what it needs is there, and says what lacks."""

from __future__ import annotations

import numpy as np
import pytest

from napari_limn._napari.panel.session import shared_models
from napari_limn.annotation.classes import Classes
from napari_limn.model import Model, ModelSpec
from napari_limn.network.spec import UNetSpec
from napari_limn.network.unet import UNet

pytestmark = pytest.mark.window

SPEC = ModelSpec(network=UNetSpec(width=4, factors=((2, 2),)), classes=Classes((1, 2)))
BUTTONS = (
    "strokes-new", "strokes-start", "classes-add", "classes-color", "classes-correct", "train-start", "predict-start", "predict-check",
    "review-start", "review-audit", "review-take", "review-accept", "review-correct", "review-skip", "review-finish", "compare-show-first",
)  # fmt: skip
WITH_IMAGE = {"strokes-new"}
WITH_STROKES = {
    "strokes-start",
    "classes-add",
    "classes-color",
    "classes-correct",
    "train-start",
    "review-audit",
}
WITH_MODEL = {"predict-start", "predict-check", "review-start"}


def lit(hand):
    hand.pump(0.05)
    return {name for name in BUTTONS if hand.find(f"limn-{name}").isEnabled()}


def test_a_button_is_lit_when_what_it_needs_is_there(hand):
    for name in ("Strokes", "Classes", "Train", "Predict", "Objects", "Review", "Compare"):
        hand.open_widget(name)
    assert lit(hand) == set()
    assert "Drag an image onto the window first." in hand.find("limn-train-start").toolTip()
    image = hand.viewer.add_image(np.zeros((30, 30)), name="img")
    assert lit(hand) == WITH_IMAGE
    assert "Press New strokes layer" in hand.find("limn-train-start").toolTip()
    assert "Train a model, or load one" in hand.find("limn-predict-start").toolTip()
    strokes = hand.viewer.add_labels(np.zeros((30, 30), np.uint8), name="strokes")
    assert lit(hand) == WITH_IMAGE | WITH_STROKES
    shared_models().put("m", Model(SPEC, UNet(SPEC.network).eval()))
    assert lit(hand) == WITH_IMAGE | WITH_STROKES | WITH_MODEL
    assert "first" not in hand.find("limn-predict-start").toolTip()
    hand.viewer.layers.remove(strokes)
    assert lit(hand) == WITH_IMAGE | WITH_MODEL
    hand.viewer.layers.remove(image)
    assert lit(hand) == set()
