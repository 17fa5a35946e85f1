"""Predictions into files, seen in the window while they are written, and dropped on it afterwards."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch

from napari_limn import Classes, Model, ModelSpec, UNetSpec
from napari_limn._napari.layers.refresh import LayerRefresher
from napari_limn._napari.panel.session import shared_models
from napari_limn._napari.prediction.pairs import keep
from napari_limn.inference.pipeline import PredictSpec, predict
from napari_limn.network.unet import UNet
from napari_limn.volume.reading.open import open_volume

pytestmark = pytest.mark.window


@pytest.fixture
def model():
    torch.manual_seed(0)
    network = UNetSpec(width=8, factors=((2, 2),) * 2)
    looks = {1: (1.0, 0.0, 0.0, 1.0), 2: (0.0, 1.0, 0.0, 1.0)}
    spec = ModelSpec(
        network=network, classes=Classes((1, 2), "unlabelled", ("rim", "core"), tuple(looks.values()))
    )
    return Model(spec, UNet(network).eval())


@pytest.fixture
def writing(hand, model, tmp_path):
    """The Predict widget, set to write labels of a stack of two boxes of noise."""

    def prepare(shape):
        image = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
        hand.viewer.add_image(image, name="stack", scale=(2, 1, 1), units=("um",) * 3)
        shared_models().put("untrained", model)
        widget = hand.open_widget("Predict")
        widget.reset_choices()
        widget.out.value = tmp_path / "labels.ome.zarr"
        widget.precision.value = "float32"
        return image, widget

    return prepare


@pytest.mark.alone
def test_a_file_is_shown_while_it_is_written_and_stays_when_done(hand, writing, model, tmp_path):
    image, widget = writing((3, 1500, 1400))
    seen = []
    hand.press("limn-predict-start")
    hand.qtbot.waitUntil(lambda: widget.layer is not None or widget.job is None, timeout=60_000)
    layer = widget.layer
    assert layer.multiscale
    assert not layer.editable
    while widget.job is not None:
        hand.pump(0.05)
        seen.append(int((np.asarray(layer.data[-1]) > 0).sum()))
    assert len(set(seen)) > 3, f"the picture did not grow: {seen}"
    assert "Done" in hand.find("limn-predict-status").text()
    assert (np.asarray(widget.layer.data[0]) > 0).all()
    assert tuple(widget.layer.scale) == (2, 1, 1)
    np.testing.assert_allclose(widget.layer.get_color(1), (1, 0, 0, 1), atol=0.01)
    plain = predict(model, image, spec=PredictSpec(precision="float32")).data
    np.testing.assert_array_equal(np.asarray(widget.layer.data[0]), np.asarray(plain))

    hand.press("limn-predict-start")
    hand.wait_idle(widget)
    assert "complete already" in hand.find("limn-predict-status").text()
    assert (np.asarray(widget.layer.data[0]) > 0).all()

    keep(widget.layer)
    widget.overwrite.value = True
    hand.press("limn-predict-start")
    hand.wait_idle(widget)
    assert "was kept and would show the new labels" in hand.find("limn-predict-status").text()


def test_a_corrected_file_is_written_over_and_the_corrections_stay(hand, model, tmp_path):
    hand.viewer.add_image(np.random.default_rng(0).random((200, 220), np.float32), name="cells")
    shared_models().put("untrained", model)
    widget = hand.open_widget("Predict")
    widget.out.value, widget.overwrite.value = tmp_path / "labels.ome.zarr", True
    hand.press("limn-predict-start")
    hand.wait_idle(widget)
    layer = widget.layer
    layer.paint((20, 20), 2)
    layer.paint((60, 20), 1)
    corrected = np.asarray(layer.data).copy()
    torch.manual_seed(5)
    shared_models().put("other", Model(model.spec, UNet(model.spec.network).eval()))
    hand.press("limn-predict-start")
    hand.wait_idle(widget)
    assert "Done" in hand.find("limn-predict-status").text()
    assert (np.asarray(widget.layer.data) != corrected).mean() > 0.01
    np.testing.assert_array_equal(layer.data, corrected)
    strokes = hand.open_widget("Strokes")
    strokes.labels.value = layer
    assert "2 strokes" in hand.find("limn-strokes-journal").text()


@pytest.mark.alone
def test_a_cancelled_file_goes_on_from_where_it_was(hand, writing, tmp_path):
    _, widget = writing((5, 900, 800))
    hand.press("limn-predict-start")
    hand.qtbot.waitUntil(lambda: widget.run_box.progress.value() > 0, timeout=60_000)
    hand.press("limn-predict-cancel")
    hand.wait_idle(widget, 5)
    assert "goes on from there" in hand.find("limn-predict-status").text()
    assert not (tmp_path / "labels.ome.zarr").exists()
    assert (tmp_path / "labels.ome.zarr.partial").exists()
    keep(kept := widget.layer)
    hand.press("limn-predict-start")
    hand.wait_idle(widget)
    assert kept is not widget.layer
    assert (np.asarray(kept.data[0]) > 0).all(), "what was kept of the first run went blank"
    assert (np.asarray(open_volume(tmp_path / "labels.ome.zarr").data) > 0).all()


def test_seams_are_checked_in_the_window(hand, writing):
    _, widget = writing((2, 400, 400))
    hand.press("limn-predict-check")
    hand.wait_idle(widget)
    assert "0 labels differ" in hand.find("limn-predict-seams").text()
    hand.viewer.add_image(np.zeros((9, 9)), name="other")
    widget.reset_choices()
    widget.image.value = hand.viewer.layers["other"]
    assert hand.find("limn-predict-seams").text() == ""


def test_only_blocks_in_sight_make_a_refresh(hand):
    data = np.zeros((10, 600, 600), np.uint8)
    layer = hand.viewer.add_labels(data)
    hand.viewer.dims.set_point(0, 3)
    hand.pump(0.2)
    follower = LayerRefresher(hand.viewer, layer, "ZYX")
    follower.block_done(((0, 1), (7, 8), (0, 600), (0, 600)))
    assert not follower.due, "a block of another plane refreshed the layer"
    follower.block_done(((0, 1), (3, 4), (0, 600), (0, 600)))
    assert follower.due
    hand.pump(0.5)
    assert not follower.due
    layer.visible = False
    follower.block_done(((0, 1), (3, 4), (0, 600), (0, 600)))
    assert not follower.due, "a hidden layer was refreshed"


def test_dropped_predictions_have_their_scale_colours_and_probabilities(hand, model, tmp_path):
    from napari_limn import Volume
    from napari_limn.volume.axes import Axes

    image = np.random.default_rng(0).integers(0, 255, (700, 900), np.uint8)
    axes = Axes.of("YX", (0.5, 0.25), ("micrometer",) * 2)
    path = tmp_path / "cells.ome.zarr"
    predict(model, Volume.of(image, axes), path, PredictSpec(probabilities="uint8"))
    hand.drop(path)
    rim, core, labels = hand.viewer.layers
    assert (rim.name, core.name) == ("cells rim", "cells core")
    assert labels.multiscale
    assert tuple(labels.scale) == (0.5, 0.25)
    assert tuple(rim.scale) == (0.5, 0.25)
    np.testing.assert_allclose(labels.get_color(2), (0, 1, 0, 1), atol=0.01)
    total = np.asarray(rim.data[0], int) + np.asarray(core.data[0], int)
    assert abs(total - 255).max() <= 1
    assert tuple(rim.contrast_limits) == (0, 255)


def test_an_image_is_not_overwritten_by_its_own_labels(hand, model, tmp_path):
    path = tmp_path / "cells.tif"
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 255, (40, 50), np.uint8))
    before = path.read_bytes()
    hand.viewer.open(path, plugin="napari-limn")
    shared_models().put("untrained", model)
    widget = hand.open_widget("Predict")
    widget.reset_choices()
    widget.out.value, widget.overwrite.value = path, True
    hand.press("limn-predict-start")
    assert "the labels would replace an image" in hand.find("limn-predict-status").text()
    assert path.read_bytes() == before
