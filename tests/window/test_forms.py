"""What forms hold on to while layers come, go and are renamed; and what ends with them."""

from __future__ import annotations

import threading

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QDockWidget

from napari_limn import Classes, Model, ModelSpec, UNetSpec
from napari_limn._napari.layers.class_table import names_of, set_legend
from napari_limn._napari.layers.facts import LayerFacts
from napari_limn._napari.panel.session import session_of, shared_models
from napari_limn._napari.prediction.predict import PredictWidget
from napari_limn._napari.training.train import TrainWidget
from napari_limn._napari.training.train_view import NEW
from napari_limn.annotation.findings import Finding
from napari_limn.annotation.legend import Legend
from napari_limn.errors import LimnError
from napari_limn.events import Waiting
from napari_limn.network.unet import UNet


@pytest.fixture
def viewer():
    """A viewer without a window."""
    shared_models().clear()
    yield ViewerModel()
    shared_models().clear()


def opened(qtbot, viewer, kind):
    """A form, told of layers as napari tells a dock widget."""
    form = kind(viewer)
    qtbot.addWidget(form)
    layers = viewer.layers.events
    for told in (layers.inserted, layers.removed, layers.reordered, layers.renamed):
        told.connect(form.reset_choices)
    return form


def images(viewer, *names):
    return [viewer.add_image(np.zeros((64, 64), np.uint8), name=name) for name in names]


def test_channels_come_in_the_order_of_the_layer_list_whenever_a_form_was_opened(qtbot, viewer):
    before = opened(qtbot, viewer, TrainWidget)
    first, second, third = images(viewer, "c0", "c1", "c2")
    after = opened(qtbot, viewer, PredictWidget)
    second.name = "actin"
    for form in (before, after):
        form.image.value, form.channels.value = first, [third, second]
        assert form.form.chosen_images(form.image, form.channels) == [first, second, third]


def test_strokes_take_the_place_of_a_prediction_that_was_chosen_for_want_of_them(qtbot, viewer):
    train = opened(qtbot, viewer, TrainWidget)
    (image,) = images(viewer, "a")
    made = LayerFacts(name="a labels", image="a", kind="labels", model="m").to_metadata()
    first = viewer.add_labels(np.ones((64, 64), np.uint8), name="a labels", metadata=made)
    assert train.labels.value is first
    with pytest.raises(LimnError, match="found a prediction that nobody corrected"):
        train.controller.begin()
    strokes = viewer.add_labels(np.zeros((64, 64), np.uint8), name="strokes")
    assert train.labels.value is strokes
    train.labels.value = first  # on purpose
    viewer.add_labels(np.zeros((64, 64), np.uint8), name="more")
    assert train.labels.value is first
    first.name = "kept"
    assert train.form.chosen_images(train.image, train.channels) == [image]


def test_what_0_means_is_what_was_said_of_the_layer_chosen(qtbot, viewer):
    train = opened(qtbot, viewer, TrainWidget)
    images(viewer, "a")
    train.zero.value = "background"
    strokes, masks = (viewer.add_labels(np.zeros((64, 64), np.uint8), name=name) for name in "sm")
    assert train.labels.value is strokes
    assert train.zero.value == "background", "what was said before there was a layer"
    train.zero.value = "unlabelled"
    train.labels.value = masks
    train.zero.value = "background"
    train.labels.value = strokes
    assert train.controller.begin()[0].zero == "unlabelled"
    train.labels.value = masks
    assert train.controller.begin()[0].zero == "background"


def after_a_run(qtbot, viewer):
    """The Train panel with a model, and the layer that it was trained on."""
    train = opened(qtbot, viewer, TrainWidget)
    images(viewer, "a")
    strokes = viewer.add_labels(np.ones((64, 64), np.uint8), name="strokes")
    train.controller.begin()
    train.controller.keep(untrained(1))
    return train, strokes


def test_classes_that_are_renamed_after_a_run_are_so_in_the_model(qtbot, viewer):
    train, strokes = after_a_run(qtbot, viewer)
    set_legend(strokes, Legend.of([1, 2], {1: "axon"}, {2: (0.0, 0.0, 1.0, 1.0)}))
    for model in (train.model, shared_models()[train.name]):
        assert model.spec.classes.name_of[1] == "axon"
        assert model.spec.classes.color_of[2] == pytest.approx((0.0, 0.0, 1.0, 1.0))


def test_a_model_does_not_take_the_names_of_another_that_is_looked_at(qtbot, viewer):
    train, strokes = after_a_run(qtbot, viewer)
    spec = ModelSpec(network=UNetSpec(width=4), classes=Classes((1, 2), names=("axon", "myelin")))
    shared_models().put("other", Model(spec, UNet(spec.network).eval()))
    train.origin.value = "other"
    assert names_of(strokes)[1] == "axon"
    assert shared_models()[train.name].spec.classes.name_of[1] == "class 1"


def test_a_model_of_another_window_is_offered_and_not_chosen(qtbot, viewer):
    viewers = [viewer, ViewerModel()]
    panels = [opened(qtbot, each, TrainWidget) for each in viewers]
    spec = ModelSpec(network=UNetSpec(width=4), classes=Classes((1, 2)))
    here = session_of(viewer)
    here.models.put("here", Model(spec, UNet(spec.network).eval()), origin=here)
    assert [panel.origin.value for panel in panels] == ["here", NEW]
    assert "here" in panels[1].origin.choices
    here.models.put("dropped", Model(spec, UNet(spec.network).eval()))
    assert [panel.origin.value for panel in panels] == ["dropped"] * 2


def test_what_was_said_of_paint_goes_with_the_layer(qtbot, viewer):
    train = opened(qtbot, viewer, TrainWidget)
    images(viewer, "a")
    viewer.add_labels(np.zeros((64, 64), np.uint8), name="s")
    for kind in ("few", "axes"):
        train.findings.add(Finding(kind, False, f"said of {kind}."))
    viewer.add_labels(np.zeros((64, 64), np.uint8), name="t")
    assert len(train.findings.shown) == 2
    train.labels.value = viewer.layers["t"]
    assert [f.kind for f in train.findings.shown] == ["axes"]


def test_an_error_is_not_covered_by_the_stop_that_came_with_it(qtbot, viewer):
    panel, go, under_way = opened(qtbot, viewer, TrainWidget), threading.Event(), threading.Event()

    def events():
        yield Waiting("…")
        under_way.set()  # asked for the next event, so that it does not end before it
        go.wait(10)
        raise LimnError("found this, expected that.")

    panel.run_box.run(events())
    qtbot.waitUntil(lambda: panel.run_box.status.text() == "…" and under_way.is_set(), timeout=10_000)
    panel.run_box.stop()
    go.set()
    qtbot.waitUntil(lambda: panel.job is None, timeout=10_000)
    assert panel.run_box.status.text() == "Found this, expected that."


def untrained(channels):
    spec = ModelSpec(network=UNetSpec(width=4, in_channels=channels), classes=Classes((1, 2)))
    return Model(spec, UNet(spec.network).eval())


def test_what_is_chosen_stays_chosen_when_layers_are_renamed(qtbot, viewer):
    train = opened(qtbot, viewer, TrainWidget)
    first, second, third = images(viewer, "a", "b", "c")
    strokes, _ = (viewer.add_labels(np.zeros((64, 64), np.uint8), name=name) for name in ("s", "t"))
    train.image.value, train.labels.value, train.channels.value = second, strokes, [first, third]
    told = []
    for field in (train.image, train.labels, train.channels):
        field.changed.connect(told.append)
    strokes.name, second.name, first.name = "my strokes", "nuclei", "dapi"
    third.name, first.name = "dapi", "c"  # each in the row of another
    assert (train.image.value, train.labels.value) == (second, strokes)
    assert set(train.channels.value) == {first, third}
    assert told == []
    viewer.layers.remove(third)
    viewer.layers.remove(second)
    assert told == [[first], first]
    assert train.image.value is first
    viewer.layers.clear()
    assert train.image.value is train.labels.value is None


@pytest.mark.window
@pytest.mark.parametrize("live", [False, True], ids=["training", "live"])
def test_a_run_ends_with_the_panel_that_shows_it(hand, live):
    hand.open_sample()
    train = hand.open_widget("Train")
    train.seconds.value = 600
    train.live.value = live
    if not live:
        train.controller.start()
    hand.wait(lambda: train.job.is_running)
    job, ended = train.job, []
    job.finished.connect(lambda: ended.append(True))
    dock = train
    while not isinstance(dock, QDockWidget):
        dock = dock.parentWidget()
    QTest.mouseClick(dock.title.close_button, Qt.MouseButton.LeftButton)
    del dock
    hand.wait(lambda: ended, 20)
    assert job.abort_requested
    assert (train.job, train.live_run) == (None, None)


@pytest.mark.window
def test_a_dock_that_floats_or_hides_stops_nothing(hand):
    stopped = []
    predict = hand.open_widget("Predict")
    predict.run_box.stop = lambda: stopped.append(True)
    dock = predict
    while not isinstance(dock, QDockWidget):
        dock = dock.parentWidget()
    dock.setFloating(True)
    hand.pump(0.1)
    dock.setFloating(False)
    dock.hide()
    dock.show()
    hand.pump(0.1)
    assert stopped == []
