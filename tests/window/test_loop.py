"""The main job by hand, in a real window: drop, paint, train, predict, correct, train again."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from qtpy.QtWidgets import QLineEdit, QScrollArea

from napari_limn import Classes, Model, ModelSpec, UNetSpec, demo, samples
from napari_limn._napari import demo_window
from napari_limn._napari.panel.session import shared_models
from napari_limn.network.unet import UNet
from napari_limn.volume.boxes import whole
from napari_limn.volume.reading.open import open_volume

pytestmark = pytest.mark.window


def strokes_of(value: int, count: int) -> list[list[tuple[float, float]]]:
    """Short straight strokes, as (row, column), that lie inside the truth of one class."""
    truth = open_volume(samples.PAINTED.truth)
    inside = truth.read(whole(truth.grid))[0, 0, 0] == value
    found = []
    for row in range(20, inside.shape[0] - 20, 9):
        for column in range(20, inside.shape[1] - 40, 13):
            if inside[row - 1 : row + 2, column : column + 9].all():
                found.append([(row, column + step) for step in range(0, 9, 2)])
    return [found[i] for i in np.linspace(0, len(found) - 1, count).astype(int)]


@pytest.mark.alone
@pytest.mark.parametrize("seconds", [(14, 24), pytest.param((40, 30), marks=pytest.mark.exhaustive)], ids=str)
def test_the_whole_loop_by_hand(hand, heartbeat, tmp_path, seconds):
    hand.drop(samples.PAINTED.image)
    image = hand.viewer.layers[0]
    assert image.units[0] == "micrometer"
    assert tuple(image.scale) == pytest.approx((0.1, 0.1))
    assert not isinstance(image.data, np.ndarray), "the image was read into memory"

    labels = hand.viewer.add_labels(
        np.zeros(image.data.shape, np.uint8), name="strokes", scale=image.scale, units=image.units
    )
    labels.brush_size = 3
    hand.viewer.layers.selection.active = labels
    for value in (1, 2, 3):
        for stroke in strokes_of(value, 15):
            hand.paint(stroke, value)
    assert set(np.unique(labels.data)) == {0, 1, 2, 3}
    assert (labels.data > 0).mean() < 0.01

    train, predict = hand.open_widget("Train"), hand.open_widget("Predict")
    train.preset.value = "fast"
    hand.find("limn-train-seconds").setValue(seconds[0])
    heartbeat.gaps.clear()
    hand.press("limn-train-start")
    hand.wait_idle(train)
    assert "Done" in hand.find("limn-train-status").text()
    first, first_loss = train.model, train.curve.losses[0][1]
    assert first.spec.classes.values == (1, 2, 3)
    assert first.spec.classes.color_of[2][:3] == pytest.approx(tuple(labels.get_color(2))[:3])
    assert len(train.curve.losses) > 5
    assert train.curve.scores

    hand.press("limn-predict-start")
    hand.wait_idle(predict)
    result = hand.viewer.layers["sem_rat3 labels"]
    assert set(np.unique(result.data)) <= {1, 2, 3}
    assert tuple(result.scale) == tuple(image.scale)
    assert result.units == image.units
    np.testing.assert_allclose(result.get_color(2), labels.get_color(2), atol=0.01)
    truth = open_volume(samples.PAINTED.truth).read(((0, 1), (0, 1), *((0, n) for n in image.data.shape)))[
        0, 0, 0
    ]
    assert (np.asarray(result.data) == truth).mean() > 0.5, "worse than guessing"

    hand.viewer.layers.selection.active = labels
    hand.viewer.layers.move(hand.viewer.layers.index(labels), len(hand.viewer.layers))
    hand.paint(strokes_of(2, 40)[17], 2)
    assert hand.find("limn-train-from").currentText() == train.name
    hand.find("limn-train-seconds").setValue(seconds[1])
    hand.press("limn-train-start")
    hand.wait_idle(train)
    assert train.model.spec.steps >= first.spec.steps
    assert train.curve.losses[0][1] < 0.85 * first_loss, "training did not go on from the model"

    worst = max(heartbeat.gaps)
    print(f"heartbeat: {len(heartbeat.gaps)} beats, longest gap {1000 * worst:.0f} ms")
    assert len(heartbeat.gaps) > 100


@pytest.mark.alone
def test_stop_answers_at_once_and_keeps_the_best_model(hand):
    hand.open_sample()
    train = hand.open_widget("Train")
    hand.find("limn-train-seconds").setValue(600)
    hand.press("limn-train-start")
    hand.qtbot.waitUntil(lambda: train.model is not None and train.model.spec.steps > 0, timeout=60_000)
    assert not hand.find("limn-train-start").isEnabled()
    hand.press("limn-train-stop")
    hand.wait_idle(train, 5)
    assert "Stopped" in hand.find("limn-train-status").text()
    assert hand.find("limn-train-start").isEnabled()
    assert train.model.spec.steps > 0


def test_a_panel_does_not_scroll_when_a_run_begins_and_ends(hand):
    """Qt hands the keys of a button that goes out to the next control, and scrolls there."""
    hand.open_sample()
    hand.viewer.window.resize(1280, 700)
    train = hand.open_widget("Train")
    hand.open_widget("Classes")
    hand.find("limn-train-seconds").setValue(1)
    area = train.findChild(QScrollArea)
    assert area.verticalScrollBar().maximum() > 0, "all of the panel is in sight"
    hand.find("limn-train-start").setFocus()
    hand.press("limn-train-start")
    hand.pump(0.1)
    assert hand.main.focusWidget() is hand.find("limn-train-stop")
    hand.wait_idle(train)
    assert hand.main.focusWidget() is hand.find("limn-train-start")
    assert area.verticalScrollBar().value() == 0


@pytest.mark.alone
def test_cancel_keeps_finished_blocks(hand, big_prediction):
    predict = hand.open_widget("Predict")
    big_prediction(hand, predict)
    hand.press("limn-predict-start")
    hand.qtbot.waitUntil(lambda: predict.run_box.progress.value() > 0, timeout=60_000)
    assert not predict.layer.editable, "the next block would cover paint"
    hand.press("limn-predict-cancel")
    hand.wait_idle(predict, 5)
    assert "Cancelled" in hand.find("limn-predict-status").text()
    assert predict.layer.editable
    labels = np.asarray(predict.layer.data)
    assert (labels[0] > 0).all(), "the first block is gone"
    assert (labels[-1] == 0).all(), "the run was not cancelled"


@pytest.fixture
def big_prediction():
    """A stack that takes a while, and an untrained model for it."""

    def prepare(hand, predict):
        hand.viewer.add_image(
            np.random.default_rng(0).integers(0, 255, (60, 700, 700), np.uint8), name="stack"
        )
        shelved(width=16)
        predict.reset_choices()

    return prepare


def test_a_model_file_can_be_predicted_with_and_trained_further(hand, tmp_path):
    network = UNetSpec(width=4, factors=((2, 2),) * 2, out_channels=3)
    spec = ModelSpec(network=network, classes=Classes((1, 2, 3)), steps=7)
    path = Model(spec, UNet(spec.network)).save(tmp_path / "given.limn")
    hand.open_sample()
    train, predict = hand.open_widget("Train"), hand.open_widget("Predict")
    predict.load(path)
    assert hand.find("limn-predict-model").currentText() == "given"
    hand.find("limn-train-seconds").setValue(2)
    hand.press("limn-train-start")
    hand.wait_idle(train)
    assert train.model.spec.steps >= 7
    assert train.model.spec.network.width == 4
    train.save(tmp_path / "mine.v2")
    assert Model.load(tmp_path / "mine.v2.limn").spec.classes.values == (1, 2, 3)
    assert not (tmp_path / "mine.limn").exists()


def shelved(name="untrained", width=4):
    """An untrained model, on the shelf."""
    spec = ModelSpec(network=UNetSpec(width=width), classes=Classes((1, 2)))
    model = Model(spec, UNet(spec.network).eval())
    shared_models().put(name, model)
    return model


def test_the_dialog_asks_before_a_model_is_replaced_however_its_name_was_typed(hand, tmp_path):
    train = hand.open_widget("Train")
    train.controller.model, train.controller.name = shelved(), "untrained"
    precious = tmp_path / "axons.limn"
    precious.write_bytes(b"precious")

    def typed(name, ask):
        def in_dialog(dialog):
            dialog.findChild(QLineEdit, "fileNameEdit").setText(str(tmp_path / name))
            hand.in_dialog(ask, dialog.accept)
            dialog.close()

        hand.in_dialog(in_dialog, lambda: hand.press("limn-train-save"))
        return hand.find("limn-train-status").text()

    asked = []
    typed("axons", lambda box: (asked.append(box.text()), box.button(box.StandardButton.No).click()))
    assert "axons.limn already exists" in asked[0]
    assert precious.read_bytes() == b"precious"
    (tmp_path / "axons.v2.limn").write_bytes(b"precious")
    assert "found a file of that name" in typed("axons.v2", lambda _: None)
    assert "there is no such folder" in typed("nowhere/axons", lambda _: None)
    typed("other", lambda _: None)
    assert {path.name for path in tmp_path.iterdir()} == {"axons.limn", "axons.v2.limn", "other.limn"}


def test_closing_the_window_while_training_ends_the_thread(hand):
    hand.open_sample()
    train = hand.open_widget("Train")
    hand.find("limn-train-seconds").setValue(600)
    hand.press("limn-train-start")
    hand.qtbot.waitUntil(lambda: bool(train.curve.losses), timeout=60_000)
    job = train.job
    hand.viewer.close()
    hand.qtbot.waitUntil(lambda: not job.is_running, timeout=10_000)
    assert job.abort_requested


def shows_the_sample(picture):
    imageio = pytest.importorskip("imageio.v3")
    shot = imageio.imread(picture)
    assert shot.shape[:2] == (950, 1500)
    assert shot[300:700, 400:1100, :3].std() > 20, "the canvas is empty"


@pytest.mark.exhaustive
def test_the_demo_opens_a_window_and_takes_its_picture(tmp_path):
    from napari_limn.events import drain

    said = []
    result = demo.run_demo(tmp_path, 1, window=True, watch=drain, say=said.append)
    assert result["screenshot"], said
    shows_the_sample(result["screenshot"])


def test_the_window_of_the_demo_shows_what_was_predicted(hand, tmp_path, monkeypatch):
    network = UNetSpec(width=2, factors=((2, 2),), out_channels=3)
    Model(ModelSpec(network=network, classes=Classes((1, 2, 3))), UNet(network)).save(tmp_path / "demo.limn")
    shutil.copy(samples.PAINTED.truth, tmp_path / f"{samples.PAINTED.image.stem}_labels.tif")
    monkeypatch.setattr("napari.Viewer", lambda title: hand.viewer)
    demo_window.main(tmp_path, tmp_path / "window.png")
    shows_the_sample(tmp_path / "window.png")


def test_a_window_that_cannot_be_opened_costs_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(demo.sys, "executable", "false")
    (tmp_path / "window.png").write_bytes(b"of an earlier demo")
    said = []
    assert demo._screenshot(tmp_path, said.append) is None
    [sentence] = said
    assert sentence.startswith("napari could not open a window here (exit code 1); everything else is done.")
    assert not (tmp_path / "window.png").exists()
