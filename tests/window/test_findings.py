"""The check-up in the window: rows and what their buttons do; state, details, keyboard, widths."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QLabel, QPushButton, QScrollArea, QWidget

from napari_limn._napari.panel.keyboard import controls
from napari_limn._napari.panel.preferences import preferred
from napari_limn._napari.panel.session import shared_models
from napari_limn._napari.panel.status import _clock
from napari_limn._napari.prediction.predict import PredictWidget
from napari_limn._napari.training.remedies import caption, fix_layers
from napari_limn._napari.training.train import TrainWidget
from napari_limn._napari.training.train_view import NEW
from napari_limn.annotation.classes import Classes
from napari_limn.annotation.findings import Remedy
from napari_limn.annotation.journal.sparse_labels import PaintStore
from napari_limn.inference.spec import PredictSpec
from napari_limn.model import Model, ModelSpec
from napari_limn.network.spec import UNetSpec
from napari_limn.network.unet import UNet
from napari_limn.specs import described
from napari_limn.training.spec import TrainSpec

NOISE = np.random.default_rng(0).integers(0, 200, (8, 64, 64), np.uint8)


def two_classes(shape=(8, 64, 64)):
    labels = np.zeros(shape, np.uint8)
    labels[..., 2:8, :], labels[..., 20:26, :] = 1, 2
    return labels


# ---- remedies, without a window ---------------------------------------------------------------------------------------
@pytest.fixture
def model():
    viewer = ViewerModel()
    image = viewer.add_image(NOISE, name="stack", scale=(2, 0.5, 0.5), translate=(10, 0, 0))
    labels = viewer.add_labels(two_classes(), name="strokes")
    return viewer, image, labels


def test_the_scale_of_the_image_goes_to_the_labels(model):
    _, image, labels = model
    fix_layers(Remedy(action="place"), *model)
    assert tuple(labels.scale) == tuple(image.scale)
    assert tuple(labels.translate) == tuple(image.translate)


def test_go_shows_the_slice_and_select_paints_with_the_class(model):
    viewer, image, labels = model
    fix_layers(Remedy(action="go", place=(0, 6, 0, 0)), *model)
    assert round(image.world_to_data(viewer.dims.point)[0]) == 6
    fix_layers(Remedy(action="select", value=7), *model)
    assert (labels.selected_label, labels.mode) == (7, "paint")
    assert viewer.layers.selection.active is labels


def test_a_new_layer_fits_the_image(model):
    viewer, image, _ = model
    [new] = fix_layers(Remedy(action="layer"), *model)
    assert new in viewer.layers
    assert new.data.shape == image.data.shape
    assert tuple(new.scale) == tuple(image.scale)


def test_a_new_layer_for_a_large_image_can_be_journalled():
    viewer = ViewerModel()
    plane = np.broadcast_to(np.zeros((1, 1, 1), np.uint8), (3000, 1000, 1000))
    image = viewer.add_image(plane, contrast_limits=(0, 1))
    [new] = fix_layers(Remedy(action="layer"), viewer, image, None)
    assert isinstance(new.data, PaintStore)


def test_axes_are_named_and_channels_become_layers(model):
    viewer, image, labels = model
    fix_layers(Remedy(action="axes", axes="TYX"), *model)
    assert image.axis_labels == labels.axis_labels == ("t", "y", "x")
    image.units = ("pixel", "um", "um")
    new = fix_layers(Remedy(action="axes", axes="CYX"), *model)
    assert new == viewer.layers[2:]
    assert [layer.data.shape for layer in new] == [(64, 64)] * 8
    assert (tuple(new[0].scale), new[0].axis_labels) == ((0.5, 0.5), ("y", "x"))
    assert new[0].units == image.units[1:]
    assert not image.visible


def test_channels_of_a_pyramid_are_pyramids():
    viewer = ViewerModel()
    image = viewer.add_image([NOISE[:3], NOISE[:3, ::2, ::2]], multiscale=True, name="stack")
    new = fix_layers(Remedy(action="axes", axes="CYX"), viewer, image, None)
    assert [len(layer.data) for layer in new] == [2, 2, 2]
    np.testing.assert_array_equal(new[1].data[1], NOISE[1, ::2, ::2])


def test_every_remedy_has_a_caption():
    for action in ("select", "go", "zero", "dims", "place", "layer", "axes"):
        assert caption(Remedy(action=action, value=2))


def test_times_are_said_as_people_say_them():
    assert [_clock(s) for s in (7.4, 59.6, 75, 3725)] == ["7 s", "1:00 min", "1:15 min", "1:02 h"]


# ---- in a window ------------------------------------------------------------------------------------------------------
def remedies(widget) -> list[str]:
    return [b.text() for b in widget.findChildren(QPushButton, "limn-train-remedy")]


@pytest.mark.window
def test_findings_come_with_buttons_and_the_controls_stay_where_they_are(hand):
    image = hand.viewer.add_image(NOISE, name="stack", scale=(2, 0.5, 0.5))
    labels = hand.viewer.add_labels(np.zeros_like(NOISE), name="strokes")
    train = hand.open_widget("Train")
    hand.qtbot.waitUntil(lambda: remedies(train) == ["Copy the image's position"], timeout=10_000)
    hand.pump(0.5)  # until the layout has settled
    places = {
        c: c.geometry()
        for c in controls(train)
        if c.objectName() not in ("limn-train-details", "limn-train-remedy")
    }
    hand.qtbot.mouseClick(train.findChild(QPushButton, "limn-train-remedy"), Qt.MouseButton.LeftButton)
    assert tuple(labels.scale) == tuple(image.scale)

    hand.press("limn-train-start")
    hand.wait_idle(train)
    hand.pump(0.6)
    assert [f.kind for f in train.findings.shown] == ["paint"]
    assert "Not started" in hand.find("limn-train-status").text()
    assert remedies(train) == ["Paint class 1"]

    labels.data[3] = two_classes()[3]
    hand.find("limn-train-seconds").setValue(600)
    hand.press("limn-train-start")
    hand.qtbot.waitUntil(lambda: bool(train.curve.losses), timeout=60_000)
    hand.pump(0.6)
    assert "Running for" in hand.find("limn-train-state").text()
    assert {c: c.geometry() for c in places} == places, "the controls moved while training"
    hand.press("limn-train-stop")
    hand.wait_idle(train)
    assert [f.kind for f in train.findings.shown] == ["slice"]
    assert "Stopped, after" in hand.find("limn-train-state").text()
    assert "GB" in hand.find("limn-train-memory").text()
    assert "CPU" in hand.find("limn-train-device").text() or "CUDA" in hand.find("limn-train-device").text()
    assert {c: c.geometry() for c in places} == places, "the controls moved after training"


@pytest.mark.window
def test_an_image_is_looked_at_with_the_axes_of_the_model_that_is_trained_further(hand):
    network = UNetSpec(width=2, factors=((2, 2),))
    spec = ModelSpec(network=network, classes=Classes((1, 2)), intensity=TrainSpec().intensity)
    shared_models().put("planes", Model(spec, UNet(network)))
    hand.viewer.add_image(NOISE[0], name="plane")
    train = hand.open_widget("Train")
    train.origin.value, train.dims.value = NEW, 3
    hand.qtbot.waitUntil(lambda: [f.kind for f in train.findings.shown] == ["depth"], timeout=20_000)
    train.origin.value = "planes"
    hand.qtbot.waitUntil(lambda: not train.findings.shown, timeout=20_000)


@pytest.mark.window
def test_channels_that_became_layers_are_trained_on_and_made_once(hand):
    planes = np.random.default_rng(0).normal(
        [[[0]], [[90]], [[200]]], 5, (3, 64, 64)
    )  # with nothing in common
    hand.viewer.add_image(planes, name="stack")
    train = hand.open_widget("Train")
    hand.qtbot.waitUntil(lambda: "They are channels" in remedies(train), timeout=20_000)
    next(b for b in train.findChildren(QPushButton) if b.text() == "They are channels").click()
    new = hand.viewer.layers[1:]
    assert [layer.name for layer in new] == ["stack [0]", "stack [1]", "stack [2]"]
    assert train.form.chosen_images(train.image, train.channels) == new
    hand.qtbot.waitUntil(lambda: "They are channels" not in remedies(train), timeout=20_000)
    hand.pump(1)
    assert "They are channels" not in remedies(train)


@pytest.mark.window
def test_an_error_offers_its_traceback_and_diagnose_its_text(hand):
    hand.viewer.add_image(NOISE, name="stack")
    train = hand.open_widget("Train")
    train.run_box.guarded(train.controller.start)
    assert "no labels layer" in hand.find("limn-train-status").text()
    train.controller.on_error(ValueError("no such thing"))
    details = hand.find("limn-train-details")
    assert details.isVisibleTo(train)
    details.click()
    assert "ValueError: no such thing" in QApplication.clipboard().text()
    hand.find("limn-train-diagnose").click()
    hand.wait_idle(train, 120)
    hand.pump(0.2)
    assert "self-test: passed" in hand.find("limn-train-status").text()
    details.click()
    assert "plugin manifest found" in QApplication.clipboard().text()


@pytest.mark.window
def test_both_panels_fit_the_dock_and_are_worked_by_keyboard(hand):
    hand.viewer.add_image(NOISE, name="a stack with a name that is much longer than any dock is wide")
    hand.viewer.add_labels(two_classes(), name="strokes")
    for name in ("Train", "Predict"):
        panel = hand.open_widget(name)
        inner = panel.findChild(QScrollArea).widget()
        for size in (panel.minimumSizeHint(), inner.minimumSizeHint(), panel.minimumSize()):
            assert size.width() <= 320
        panel.run_box.message.add(QLabel("word " * 60))
        assert inner.minimumSizeHint().width() <= 320

        usual = [c for c in controls(panel) if c.focusPolicy() != Qt.FocusPolicy.NoFocus]
        visited, at = [], usual[0]
        while at in usual or panel.isAncestorOf(at):  # further on, the chain leaves the panel
            visited += [at] * (at in usual)
            at = at.nextInFocusChain()
            if at is usual[0]:
                break
        assert visited == usual, "Tab does not go as the eye does"
        places = [c.mapTo(panel, c.rect().topLeft()) for c in usual if c.isVisible()]
        for one, other in pairwise(places):
            assert (other.y() > one.y()) or other.x() > one.x()

        pressed = []
        panel.run_box.start_button.setEnabled(True)  # as if there were a model
        panel.run_box.start_button.clicked.disconnect()
        panel.run_box.start_button.clicked.connect(lambda _=False, p=pressed: p.append(1))
        for key in (Qt.Key.Key_Return, Qt.Key.Key_Space):
            QTest.keyClick(panel.run_box.start_button, key)
        assert pressed == [1, 1]


@pytest.mark.window
def test_tab_skips_what_is_folded_away(hand):
    train = hand.open_widget("Train")
    zero = hand.find("limn-train-zero")
    assert zero.focusPolicy() == Qt.FocusPolicy.NoFocus
    fold = next(w for w in train.findChildren(QWidget) if type(w).__name__ == "QCollapsible")
    fold.expand(animate=False)
    assert zero.focusPolicy() != Qt.FocusPolicy.NoFocus
    fold.collapse(animate=False)
    assert zero.focusPolicy() == Qt.FocusPolicy.NoFocus


def test_tooltips_are_the_descriptions_of_the_specs(qtbot):
    train, predict = TrainWidget(ViewerModel()), PredictWidget(ViewerModel())
    qtbot.addWidget(train), qtbot.addWidget(predict)
    for widget, kind, names in ((train, TrainSpec, ("seconds", "zero", "dims", "objects", "preset")), (predict, PredictSpec, ("memory", "precision"))):  # fmt: skip
        for name in names:
            assert getattr(widget, name).native.toolTip() == described(kind)[name] != ""


def test_preferences_are_the_start_values(plugin_settings, npe2pm, qtbot):
    from napari.settings import get_plugin_settings
    from npe2 import PluginManifest

    assert preferred("seconds", 17) == 17, "there is no such plugin yet"
    npe2pm.register(PluginManifest.from_distribution("napari-limn"))
    spec = TrainSpec()
    assert (preferred("seconds", None), preferred("device", None)) == (spec.seconds, spec.device)
    assert preferred("precision", None) == PredictSpec().precision
    runs = get_plugin_settings("napari-limn").runs
    runs.seconds, runs.memory, runs.precision, runs.device = 25, "3GB", "float32", "cpu"
    train, predict = TrainWidget(ViewerModel()), PredictWidget(ViewerModel())
    qtbot.addWidget(train), qtbot.addWidget(predict)
    assert (train.seconds.value, train.run_box.device, predict.run_box.device) == (25, "cpu", "cpu")
    assert (predict.memory.value, predict.precision.value) == ("3GB", "float32")
    assert preferred("nothing", 3) == 3


@pytest.mark.window
def test_how_far_a_run_is_is_drawn_with_the_clock_and_not_at_once(qtbot):
    class Paints(QObject):
        count = 0

        def eventFilter(self, _, event):
            self.count += event.type() == QEvent.Type.Paint
            return False

    train, paints = TrainWidget(ViewerModel()), Paints()
    qtbot.addWidget(train)
    with qtbot.waitExposed(train):
        train.show()
    qtbot.wait(100)
    train.run_box.progress.installEventFilter(paints)
    train.run_box.advance(0.25)
    train.run_box.advance(0.5)
    assert train.run_box.progress.value() <= 0
    train.run_box.state.ticked.emit()
    assert (train.run_box.progress.value(), paints.count) == (500, 0)
    qtbot.waitUntil(lambda: paints.count == 1)
