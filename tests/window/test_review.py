"""Where next and audits by hand, in a real window."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch
from qtpy.QtCore import Qt

from napari_limn import Classes, LimnError, Model, ModelSpec, UNetSpec
from napari_limn._napari.layers.class_table import names_of
from napari_limn._napari.layers.facts import LayerFacts, facts_of, note
from napari_limn._napari.painting.recorder import journals_of
from napari_limn._napari.panel.session import shared_models
from napari_limn.network.unet import UNet

pytestmark = pytest.mark.window


def shelve(width=4, names=("soma", "axon"), zero="unlabelled"):
    """A model that was not trained, on the shelf."""
    torch.manual_seed(0)
    values = (1, 2) if zero == "unlabelled" else (0, 1)
    spec = ModelSpec(
        network=UNetSpec(width=width, factors=((2, 2),) * 2), classes=Classes(values, zero, names=names)
    )
    shared_models().put("untrained", Model(spec, UNet(spec.network).eval()))


def test_the_view_goes_from_one_unsure_place_to_the_next(hand):
    place = {
        "scale": (2.0, 0.5, 0.5),
        "translate": (10, 20, 30),
        "units": ("um",) * 3,
        "axis_labels": tuple("zyx"),
    }
    image = hand.viewer.add_image(
        np.random.default_rng(0).random((7, 200, 220), np.float32), name="stack", **place
    )
    strokes = hand.viewer.add_labels(np.zeros(image.data.shape, np.uint8), name="strokes", **place)
    strokes.data[3, 50:60, 50:60] = 1
    shelve()
    review = hand.open_widget("Review")
    assert not hand.find("limn-review-take").isEnabled()
    hand.press("limn-review-start")
    hand.wait_idle(review)
    shown = hand.viewer.layers["stack uncertainty"]
    assert shown.data.dtype == np.uint8
    assert shown.data.std() > 1
    assert tuple(shown.scale) == tuple(image.scale)
    assert tuple(shown.translate) == tuple(image.translate)
    assert shown.units == image.units
    assert hand.find("limn-review-image").currentText() == "stack", "the map passes for an image to work on"

    seen = []
    for number in (1, 2, 3):
        hand.press("limn-review-take")
        assert f"Place {number}: z " in hand.find("limn-review-status").text()
        here = (*hand.viewer.dims.point[:1], *hand.viewer.scene.camera.center[-2:])
        z, y, x = shown.world_to_data(here)
        assert 0 <= z < 7
        assert 0 <= y < 200
        assert 0 <= x < 220
        assert (round(z), round(y), round(x)) not in seen
        seen.append((round(z), round(y), round(x)))
        side = hand.viewer.canvas.size[0] / hand.viewer.scene.camera.zoom / 0.5
        assert 40 < side < 400, "a patch is not what the canvas shows"
    assert hand.viewer.layers.selection.active is strokes

    hand.press("limn-review-start")
    hand.wait_idle(review)
    assert [layer.name for layer in hand.viewer.layers] == ["stack", "stack uncertainty", "strokes"]


def test_an_audit_by_hand_is_taken_up_again(hand, tmp_path):
    truth = np.ones((300, 320), np.uint8)
    truth[100:200, 60:260] = 2
    labels = np.roll(truth, 6, axis=1)
    tifffile.imwrite(tmp_path / "image.tif", truth * 60)
    hand.drop(tmp_path / "image.tif")
    shelve()
    metadata = LayerFacts(model="untrained", image="image").to_metadata()
    prediction = hand.viewer.add_labels(labels, name="image labels", metadata=metadata)
    review = hand.open_widget("Review")
    hand.press("limn-review-audit")
    hand.wait_idle(review)
    assert "Patch 1 of 30" in hand.find("limn-review-status").text()
    box = hand.viewer.layers["audit patch"]
    corrected = 0
    for _ in range(12):
        at = review.view.progress.frame.box(review.view.progress.patch)[2:]
        index = tuple(slice(a, b) for a, b in at)
        np.testing.assert_allclose(np.mean(box.data[0], 0), np.mean(at, 1) - 0.5)
        if (labels[index] == truth[index]).all():
            hand.press("limn-review-accept")
            continue
        hand.press("limn-review-correct")
        assert hand.find("limn-review-accept").text() == "Accept corrected"
        layer = hand.viewer.layers.selection.active
        assert layer.name == "image labels corrected"
        assert layer.mode == "paint"
        np.testing.assert_array_equal(layer.data[index], labels[index])
        wrong = np.argwhere(labels[index] != truth[index]) + [a for a, _ in at]
        layer.brush_size = 1
        for value in (1, 2):
            layer.data_setitem(tuple(wrong[truth[tuple(wrong.T)] == value].T), value)
        hand.press("limn-review-accept")
        assert (layer.editable, layer.mode) == (False, "pan_zoom"), (
            "paint on the next patch would count for nothing"
        )
        assert f"Corrected {len(wrong)} pixels" in hand.find("limn-review-status").text()
        corrected += 1
    assert corrected > 2
    assert [layer for layer in hand.viewer.layers if layer.name.startswith("audit patch")] == [box]
    assert len(box.data) == 1
    assert box.shape_type == ["rectangle"]
    said = hand.find("limn-review-estimate").text()
    assert "Dice of soma 0." in said
    assert "Dice of axon 0.9" in said
    assert "for the whole image" in said
    hand.press("limn-review-skip")
    assert "Patch 13 of 30" in hand.find("limn-review-status").text()

    hand.press("limn-review-audit")
    hand.wait_idle(review)
    assert "Going on after 12 patches. Patch 13 of 30" in hand.find("limn-review-status").text()
    assert hand.find("limn-review-estimate").text() == said
    judged = review.view.progress.audit.judged
    hand.press("limn-review-correct")
    hand.viewer.layers.selection.active.mode = "pan_zoom"
    hand.viewer.layers.remove(review.view.corrections)
    hand.press("limn-review-accept")
    assert "was removed" in hand.find("limn-review-status").text()
    assert review.view.progress.audit.judged == judged, "a patch that was being corrected was taken for right"
    assert hand.find("limn-review-accept").text() == "Accept"
    hand.press("limn-review-correct")
    assert review.view.corrections in hand.viewer.layers
    hand.press("limn-review-accept")
    assert review.view.progress.audit.judged == judged + 1

    hand.viewer.layers.selection.active.mode = "pan_zoom"
    hand.viewer.layers.remove(prediction)
    assert "“image labels” was removed, so its audit has ended" in hand.find("limn-review-status").text()
    assert not hand.find("limn-review-accept").isEnabled()
    assert box not in hand.viewer.layers


def audited(hand, folder):
    """An audit of a prediction in a file's image, at its first patch; the panel and the prediction."""
    tifffile.imwrite(folder / "image.tif", np.ones((300, 320), np.uint8))
    hand.drop(folder / "image.tif")
    labels = np.ones((300, 320), np.uint8)
    labels[100:200] = 2
    metadata = LayerFacts(model="untrained", image="image").to_metadata()
    shelve()
    prediction = hand.viewer.add_labels(labels, name="image labels", metadata=metadata)
    review = hand.open_widget("Review")
    hand.press("limn-review-audit")
    hand.wait_idle(review)
    return review, prediction


def test_finish_takes_the_audit_away_and_gives_the_strokes_back(hand, tmp_path):
    review, prediction = audited(hand, tmp_path)
    hand.press("limn-review-finish")
    assert [layer.name for layer in hand.viewer.layers] == ["image", "image labels"]
    strokes = hand.viewer.add_labels(np.zeros((300, 320), np.uint8), name="strokes")
    review.prediction.value = prediction
    hand.press("limn-review-audit")
    hand.wait_idle(review)
    hand.press("limn-review-correct")
    assert hand.viewer.layers.selection.active == review.view.corrections
    hand.press("limn-review-finish")
    assert [layer.name for layer in hand.viewer.layers] == ["image", "image labels", "strokes"]
    assert hand.viewer.layers.selection.active == strokes
    assert not hand.find("limn-review-finish").isEnabled()
    assert "Finished after 0 patches" in hand.find("limn-review-status").text()


def test_the_box_of_an_audit_goes_with_the_panel(hand, tmp_path):
    review, _ = audited(hand, tmp_path)
    hand.press("limn-review-accept")
    assert "audit patch" in hand.viewer.layers
    hand.viewer.window.remove_dock_widget(review)
    hand.pump(0.1)
    assert "audit patch" not in hand.viewer.layers
    again = hand.open_widget("Review")
    again.prediction.value = hand.viewer.layers["image labels"]
    again.controller.start_audit()
    hand.wait_idle(again)
    assert again.view.progress.audit.judged == 1


def test_an_audit_in_a_read_only_folder_is_kept_with_the_user(hand, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_limn.annotation.journal.files.os.access", lambda *_: False)
    monkeypatch.setattr("napari_limn.annotation.journal.files.user_folder", lambda: tmp_path / "own")
    review, _ = audited(hand, tmp_path)
    hand.press("limn-review-accept")
    assert review.view.progress.audit.judged == 1
    assert [path.parent for path in tmp_path.rglob("*.audit.json")] == [tmp_path / "own"]


def test_keys_and_table_choose_the_class_that_an_audit_is_corrected_with(hand, tmp_path):
    review, _ = audited(hand, tmp_path)
    strokes = hand.viewer.add_labels(np.zeros((300, 320), np.uint8), name="strokes")
    classes = hand.open_widget("Classes")
    hand.press("limn-review-correct")
    layer, table = review.view.corrections, classes.legend.table
    assert classes.legend.layer is layer
    assert [table.item(row, 2).text() for row in (1, 2)] == ["soma", "axon"]
    assert table.rowCount() == 3
    assert not hand.find("limn-classes-add").isEnabled()
    table.setCurrentCell(2, 2)
    assert (layer.selected_label, strokes.selected_label) == (2, 1)
    for key, value in ((Qt.Key.Key_1, 1), (Qt.Key.Key_2, 2), (Qt.Key.Key_0, 2)):
        hand.key(key)
        assert (layer.selected_label, layer.mode) == (value, "paint")
    assert "Every pixel of an audit" in hand.find("limn-classes-status").text()
    assert table.currentRow() == 2
    layer.paint([a for a, _ in review.view.progress.frame.box(review.view.progress.patch)[2:]], 2)
    assert journals_of(review, hand.viewer).of(layer) is None
    hand.press("limn-review-accept")
    assert review.view.progress.audit.judged == 1
    hand.press("limn-review-correct")
    assert layer.selected_label == 2, "the choice was forgotten"
    hand.viewer.layers.selection.active = strokes
    assert classes.legend.layer is strokes
    assert not layer.keymap


def test_the_brush_of_an_audit_begins_with_a_class_of_the_patch(hand):
    values = (0, 5)
    labels = np.full((90, 100), values[0], np.uint8)
    labels[40:] = values[1]
    hand.viewer.add_image(labels, name="image")
    hand.viewer.add_labels(labels, name="labels")
    review, classes = hand.open_widget("Review"), hand.open_widget("Classes")
    hand.press("limn-review-audit")
    hand.wait_idle(review)
    hand.press("limn-review-correct")
    layer, painted = review.view.corrections, set(values) - {0}
    assert layer.selected_label in painted
    assert classes.legend.table.item(0, 2).text() == "background"
    hand.key(Qt.Key.Key_0)
    assert layer.selected_label == 0


def test_an_audit_is_kept_beside_the_image_that_was_predicted(hand, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    tifffile.imwrite(other / "elsewhere.tif", np.zeros((300, 320), np.uint8))
    hand.drop(other / "elsewhere.tif")
    review, prediction = audited(hand, tmp_path)
    for chosen, folder in (("elsewhere", tmp_path), ("image", tmp_path)):
        review.image.value = hand.viewer.layers[chosen]
        hand.press("limn-review-audit")
        hand.wait_idle(review)
        assert review.view.progress.path.parent == folder
    note(prediction, image="one that is gone", image_id=None)
    review.image.value = hand.viewer.layers["elsewhere"]
    hand.press("limn-review-audit")
    hand.wait_idle(review)
    assert review.view.progress.path.parent == other


def test_classes_are_called_as_the_labels_call_them_now(hand, tmp_path):
    review, prediction = audited(hand, tmp_path)
    for _ in range(6):
        hand.press("limn-review-accept")
    assert "Dice of soma" in hand.find("limn-review-estimate").text()
    corrected = LayerFacts(class_names={1: "cell", 2: "nerve"})  # as of labels that were corrected
    prediction.metadata = corrected.to_metadata()
    hand.press("limn-review-accept")
    said = hand.find("limn-review-estimate").text()
    assert "Dice of cell" in said
    assert "Dice of nerve" in said
    hand.press("limn-review-correct")
    assert names_of(review.view.corrections) == {1: "cell", 2: "nerve"}
    hand.press("limn-review-audit")
    hand.wait_idle(review)
    assert hand.find("limn-review-estimate").text() == said


@pytest.mark.exhaustive
def test_a_prediction_that_did_not_come_to_its_end_is_not_audited(hand, tmp_path):
    shelve(width=16, names=("rest", "axon"), zero="background")
    rng = np.random.default_rng(0)
    hand.viewer.add_image(rng.integers(0, 255, (60, 700, 700), np.uint8), name="stack")
    predict, review = hand.open_widget("Predict"), hand.open_widget("Review")
    predict.controller.start()
    hand.wait(lambda: predict.run_box.progress.value() > 0)
    broken_off = predict.layer
    for _ in ("while it runs", "cancelled"):
        review.prediction.value = broken_off
        with pytest.raises(LimnError, match="did not come to its end"):
            review.controller.start_audit()
        predict.run_box.stop()
        hand.wait_idle(predict, 20)
    broken_off.data_setitem((np.array([3]), np.array([4]), np.array([5])), 1)
    assert not facts_of(broken_off).is_made_here, "this was to be a layer of the user's own"
    with pytest.raises(LimnError, match="did not come to its end"):
        review.controller.start_audit()

    hand.viewer.add_image(rng.integers(0, 255, (90, 100), np.uint8), name="small")
    predict.image.value = hand.viewer.layers["small"]
    for out in (None, tmp_path / "small.ome.zarr", tmp_path / "small.ome.zarr"):
        predict.out.value = out
        predict.controller.start()
        hand.wait_idle(predict)
        review.prediction.value = predict.layer
        review.controller.start_audit()
        hand.wait_idle(review)
        assert "Patch 1 of" in hand.find("limn-review-status").text()


def test_who_is_taken_to_a_place_paints_no_prediction(hand):
    image = hand.viewer.add_image(np.random.default_rng(0).random((90, 100), np.float32), name="image")
    metadata = LayerFacts(model="untrained", image="image", kind="labels").to_metadata()
    prediction = hand.viewer.add_labels(np.ones((90, 100), np.uint8), name="p", metadata=metadata)
    shelve()
    review = hand.open_widget("Review")
    assert review.labels.value is prediction
    hand.press("limn-review-start")
    hand.wait_idle(review)
    hand.viewer.layers.selection.active = image
    hand.press("limn-review-take")
    assert hand.viewer.layers.selection.active == image
    strokes = hand.viewer.add_labels(np.zeros((90, 100), np.uint8), name="strokes")
    review.labels.value = prediction
    hand.viewer.layers.selection.active = image
    hand.press("limn-review-take")
    assert hand.viewer.layers.selection.active == strokes


def test_predictions_alone_are_audited_and_are_no_strokes(hand):
    hand.viewer.add_image(np.random.default_rng(0).random((90, 100), np.float32), name="image")
    labels = np.ones((90, 100), np.uint8)
    for kind in ("live", "prediction"):
        metadata = LayerFacts(model="untrained", image="image", kind=kind).to_metadata()
        hand.viewer.add_labels(labels, name=kind, metadata=metadata)
    for made in (LayerFacts(difference=("a", "b")), LayerFacts(audit="0")):
        hand.viewer.add_labels(labels, metadata=made.to_metadata())
    own = hand.viewer.add_labels(labels, name="of another program")
    shelve()
    review = hand.open_widget("Review")
    assert review.prediction.choices == (hand.viewer.layers["prediction"], own)
    review.labels.value = hand.viewer.layers["prediction"]
    hand.press("limn-review-start")
    hand.wait_idle(review)
    assert review.controller.paint is None
    hand.press("limn-review-take")
    assert "Place 1" in hand.find("limn-review-status").text()
