"""Strokes in a real window: every one is in the journal, whatever happens to the layer, the image or the window."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers._layer_actions import _duplicate_layer
from qtpy.QtCore import Qt
from strokes_by_hand import CONTROL, SHIFT, begin, journal, key, kinds, remove, replayed, write_image

from napari_limn import Classes, Model, ModelSpec, UNetSpec
from napari_limn._napari.layers.class_table import legend_of
from napari_limn._napari.layers.facts import LayerFacts
from napari_limn._napari.painting.recorder import Journals
from napari_limn._napari.panel.session import shared_models
from napari_limn.annotation.journal.format import read_journal, replay
from napari_limn.cli import main
from napari_limn.network.unet import UNet
from napari_limn.volume.reading.open import open_volume

pytestmark = pytest.mark.window

BLUE = (0.0, 0.0, 1.0, 1.0)


@pytest.fixture
def image(tmp_path):
    return write_image(tmp_path)


def test_every_deed_on_a_layer_is_in_the_journal(hand, image):
    widget, layer = begin(hand, image)
    assert not journal(image).exists(), "nothing was painted"
    assert (layer.name, layer.mode, tuple(layer.scale)) == ("cells strokes", "paint", (0.5, 0.5))
    hand.paint([(50, 50), (60, 90), (80, 120)], 1)
    hand.paint([(60, 60), (60, 160)], 2)
    assert kinds(image) == ["stroke", "stroke"]
    np.testing.assert_array_equal(replayed(image), layer.data)
    hand.qtbot.waitUntil(
        lambda: hand.find("limn-strokes-journal").text() == f"2 strokes, all saved in {journal(image).name}"
    )
    drawn = layer.data.copy()

    key(hand, Qt.Key.Key_Z, CONTROL)
    assert (layer.data != drawn).any(), "napari's own undo was not reached"
    assert kinds(image)[2:] == ["undo"]
    np.testing.assert_array_equal(replayed(image), layer.data)
    key(hand, Qt.Key.Key_Z, CONTROL | SHIFT)
    assert kinds(image)[3:] == ["redo"]
    np.testing.assert_array_equal(layer.data, drawn)
    np.testing.assert_array_equal(replayed(image), drawn)

    layer.fill((0, 0), 3)
    layer.paint_polygon([[10, 10], [10, 50], [40, 30]], 4)
    layer.data_setitem((np.array([150, 150, 151]), np.array([7, 8, 7])), [5, 6, 5])
    layer.mode = "erase"
    with layer.block_history():
        layer.paint((30, 30), 0)
        layer.paint((30, 33), 0)
    assert kinds(image)[4:] == 4 * ["stroke"]
    np.testing.assert_array_equal(replayed(image), layer.data)

    layer.visible = False
    layer.undo()
    layer.undo()
    layer.visible = True
    layer.name = "renamed"
    new = np.roll(layer.data, 3, axis=0)
    layer.data = new
    layer.data[5:9] = 7
    layer.refresh()
    assert kinds(image)[8:11] == ["undo", "undo", "replace"]
    hand.viewer.layers.remove("cells")  # the image is closed; its strokes go on
    hand.viewer.layers.selection.active = layer
    hand.press("limn-strokes-undo")
    hand.pump(0.1)
    final = np.asarray(layer.data).copy()
    remove(hand, layer)
    np.testing.assert_array_equal(replayed(image), final)
    assert widget.labels.value is None


def test_what_was_written_in_place_is_found_when_the_layer_goes(hand, image):
    _, layer = begin(hand, image)
    hand.paint([(50, 50), (60, 90)], 1)
    layer.data[100:110] = 9
    remove(hand, layer)
    assert kinds(image) == ["stroke", "edit"]
    assert (replayed(image)[100:110] == 9).all()


def test_strokes_are_offered_back_and_undo_reaches_across_sessions(hand, image):
    widget, layer = begin(hand, image)
    hand.paint([(50, 50), (60, 90)], 1)
    hand.paint([(90, 50), (90, 90)], 2)
    drawn = layer.data.copy()
    assert not hand.find("limn-strokes-offer").isVisible(), "they are in a layer"
    remove(hand, layer)
    hand.pump(0.1)
    assert hand.find("limn-strokes-offer").isVisible()
    train = hand.open_widget("Train")
    assert hand.find("limn-train-offer").isVisible()
    assert "2 strokes on this image" in train.offer.sentence.text()

    hand.press("limn-train-offer-back")
    hand.pump(0.2)
    assert not hand.find("limn-strokes-offer").isVisible()
    back = train.labels.value
    np.testing.assert_array_equal(back.data, drawn)
    assert tuple(back.scale) == (0.5, 0.5)
    widget.labels.value = back
    hand.viewer.layers.selection.active = back
    back.brush_size = 5
    hand.paint([(20, 20), (20, 50)], 3)
    for left in (2, 1, 0):
        hand.press("limn-strokes-undo")
        hand.pump(0.05)
        assert len(np.unique(back.data)) == left + 1
    assert not hand.find("limn-strokes-undo").isEnabled()
    hand.press("limn-strokes-redo")
    hand.press("limn-strokes-redo")
    hand.pump(0.05)
    np.testing.assert_array_equal(back.data, drawn)
    np.testing.assert_array_equal(replayed(image), drawn)
    assert kinds(image) == ["stroke"] * 3 + ["undo"] * 3 + ["redo"] * 2


def test_names_and_colours_come_back_with_the_strokes(hand, image, tmp_path):
    widget, layer = begin(hand, image)
    legend = hand.open_widget("Classes").legend
    hand.viewer.layers.selection.active = layer
    legend.rename(1, "axon")
    assert not journal(image).exists(), "nothing was painted"
    hand.paint([(50, 50), (60, 90)], 1)
    hand.paint([(90, 50), (90, 90)], 2)
    legend.rename(2, "sheath")
    legend.recolor(2, BLUE)
    legend.add_class()
    legend.rename(3, "fat")
    widget.labels.value = layer
    hand.press("limn-strokes-undo")
    hand.press("limn-strokes-redo")
    legend.set_zero("background")
    before, written, kept = legend_of(layer), kinds(image), read_journal(journal(image)).legend
    assert (kept.names, kept.zero) == ({1: "axon", 2: "sheath", 3: "fat"}, "background")
    assert written[:2] == ["classes", "stroke"], "classes named before the first stroke come with it"
    copy = tmp_path / "as after a crash.strokes.jsonl"
    copy.write_bytes(journal(image).read_bytes())
    remove(hand, layer)

    hand.press("limn-strokes-offer-back")
    hand.pump(0.2)
    back = widget.labels.value
    assert legend_of(back) == before
    np.testing.assert_allclose(back.get_color(2), BLUE)
    assert list(back.features["class"]) == ["background", "axon", "sheath", "fat"]
    assert legend.legend == before
    assert kinds(image) == written, "nothing new was to be written"
    assert main(["journal", "replay", str(copy), "-o", str(tmp_path / "rebuilt.tif")]) == 0
    assert open_volume(tmp_path / "rebuilt.tif").names == {1: "axon", 2: "sheath"}


@pytest.mark.exhaustive
def test_colours_of_napari_s_own_come_back_where_none_was_chosen(hand, image):
    widget, _ = begin(hand, image)
    layer = hand.viewer.add_labels(np.zeros((200, 240), np.uint8), scale=(0.5, 0.5), name="mine")
    hand.viewer.layers.selection.active = layer
    layer.paint((10, 10), 5)
    color = layer.get_color(5)
    assert kinds(image) == ["classes", "stroke"]
    remove(hand, layer)
    hand.press("limn-strokes-offer-back")
    hand.pump(0.2)
    np.testing.assert_allclose(widget.labels.value.get_color(5), color, atol=1e-3)


def test_a_layer_that_the_user_added_is_journalled_with_what_it_held(hand, image):
    hand.drop(image)
    data = np.zeros((200, 240), np.uint16)
    data[100:120, 100:120] = 1000
    hand.open_widget("Train")
    layer = hand.viewer.add_labels(data, scale=(0.5, 0.5), name="mine")
    hand.viewer.layers.selection.active = layer
    hand.paint([(50, 50), (60, 90)], 1)
    layer.data = layer.data.astype(np.uint8)  # another type: another journal
    layer.paint((10, 10), 3)
    first, second = replayed(image), read_journal(image.with_name("cells.ome.tif-2.strokes.jsonl"))
    assert first.dtype == np.uint16
    assert kinds(image) == ["base", "classes", "stroke"], "napari's own colours are written down"
    assert [r.kind for r in second.records] == ["base", "classes", "stroke"]
    np.testing.assert_array_equal(np.asarray(replay(second)), layer.data)


@pytest.mark.exhaustive
def test_strokes_that_were_given_another_type_are_not_offered_back(hand, image):
    hand.drop(image)
    strokes = hand.open_widget("Strokes")
    hand.press("limn-strokes-new")
    layer = strokes.labels.value
    layer.paint((10, 10), 1)
    layer.data = layer.data.astype(np.uint16)
    hand.pump(0.1)
    assert "No strokes yet" in hand.find("limn-strokes-journal").text()
    assert hand.find("limn-strokes-offer").sentence.text() == ""
    hand.viewer.layers.remove(layer)
    hand.pump(0.1)
    assert "1 stroke on this image" in hand.find("limn-strokes-offer").sentence.text()


def test_corrections_on_a_prediction_or_a_copy_of_it_are_journalled_and_stay(hand, image):
    hand.drop(image)
    spec = ModelSpec(network=UNetSpec(width=4), classes=Classes((1, 2)))
    shared_models().put("untrained", Model(spec, UNet(spec.network)))
    predict = hand.open_widget("Predict")
    hand.press("limn-predict-start")
    hand.wait_idle(predict)
    prediction = predict.layer
    hand.viewer.layers.selection.active = prediction
    _duplicate_layer(hand.viewer.layers)
    copy = hand.viewer.layers[f"{prediction.name} copy"]
    strokes = hand.open_widget("Strokes")
    strokes.labels.value = copy
    assert "shows a prediction" in hand.find("limn-strokes-journal").text()
    assert not journal(image).exists()

    second = image.with_name("cells.ome.tif-2.strokes.jsonl")
    for layer, path in ((copy, journal(image)), (prediction, second)):
        before = layer.data.copy()
        with layer.block_history():
            layer.paint((50, 50), 3)  # no prediction has these values
            layer.paint((50, 52), 4)
        layer.data_setitem((np.array([150, 150]), np.array([7, 8])), [4, 3])
        contents = read_journal(path)
        assert [record.kind for record in contents.records] == ["base", "classes", "stroke", "stroke"]
        np.testing.assert_array_equal(np.asarray(replay(contents, 1)), before)
        np.testing.assert_array_equal(np.asarray(replay(contents)), layer.data)
    assert "2 strokes" in hand.find("limn-strokes-journal").text()
    prediction.undo()
    prediction.undo()
    assert [r.kind for r in read_journal(second).records][4:] == ["undo", "undo"]
    hand.press("limn-predict-start")
    hand.wait_idle(predict)
    hand.pump(0.1)
    names = [layer.name for layer in hand.viewer.layers]
    assert names == ["cells", "cells labels", "cells corrected", "cells labels copy"]
    assert {prediction, copy} < set(hand.viewer.layers)


def test_of_what_is_no_prediction_to_paint_on_it_is_not_said_that_it_is_kept(hand, image):
    hand.drop(image)
    widget = hand.open_widget("Strokes")
    zeros = np.zeros((200, 240), np.uint8)
    made = LayerFacts(model="m", image="cells")
    for name, data, how, sentence in (
        ("corrections", zeros, LayerFacts(audit="digest"), "corrections of an audit, kept in no journal"),
        ("difference", zeros, LayerFacts(difference=("a", "b")), "What is painted on it is kept nowhere"),
        ("pyramid", [zeros, zeros[::2, ::2]], made, "cannot be painted on. Press New strokes layer"),
        ("prediction", zeros, made, "Paint on it, and it is yours: kept in a journal"),
    ):
        widget.labels.value = hand.viewer.add_labels(data, name=name, metadata=how.to_metadata())
        assert sentence in hand.find("limn-strokes-journal").text()


def test_closing_the_window_ends_the_journals(hand, image):
    _, layer = begin(hand, image)
    hand.paint([(50, 50), (60, 90)], 1)
    journals = hand.main.findChild(Journals)
    recording = journals.of(layer).recording
    layer.data[0, 0] = 7
    hand.viewer.close()
    hand.qtbot.waitUntil(lambda: not recording.journal._thread.is_alive(), timeout=5000)
    assert replayed(image)[0, 0] == 7
    assert recording.safe
