"""What forms hold on to while layers come, go and are renamed; and what ends with them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QDockWidget

from napari_limn import Classes, Model, ModelSpec, UNetSpec
from napari_limn._napari.forms import Panel
from napari_limn._napari.predict import PredictWidget
from napari_limn._napari.samples import painted_sem
from napari_limn._napari.shelf import SHELF
from napari_limn._napari.train import TrainWidget
from napari_limn.network.unet import UNet


@pytest.fixture
def viewer():
    """A viewer without a window."""
    SHELF.clear()
    yield ViewerModel()
    SHELF.clear()


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
        assert form.chosen_images(form.image, form.channels) == [first, second, third]


def test_channels_in_another_order_than_in_training_are_told_of(qtbot, viewer):
    first, second, third = images(viewer, "c0", "c1", "c2")
    train, predict = opened(qtbot, viewer, TrainWidget), opened(qtbot, viewer, PredictWidget)
    viewer.add_labels(np.zeros((64, 64), np.uint8))
    train.image.value, train.channels.value = first, [second, third]
    train._chosen()
    train._keep(model := untrained(3))
    SHELF.put("of other images", model, ["a", "b", "c"])
    predict.run = lambda *_: predict.say("Planning …")
    for name, image, further, told in (
        (train.name, first, [second, third], ""),
        (
            train.name,
            second,
            [first, third],
            "found the channels c1, c0, c2, expected c0, c1, c2 as in training",
        ),
        ("of other images", second, [first, third], ""),
    ):
        predict._notes.clear()
        predict.model.value, predict.image.value, predict.channels.value = name, image, further
        predict.start()
        assert predict.status.text().removeprefix("Planning …").strip().startswith(told)
        assert bool(predict._notes) == bool(told)


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
    for data, look, kind in painted_sem():
        getattr(hand.viewer, f"add_{kind}")(data, **look)
    train = hand.open_widget("Train")
    train.seconds.value = 600
    train.live.value = live
    if not live:
        train.start()
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
    predict.stop = lambda: stopped.append(True)
    dock = predict
    while not isinstance(dock, QDockWidget):
        dock = dock.parentWidget()
    dock.setFloating(True)
    hand.pump(0.1)
    dock.setFloating(False)
    dock.hide()
    dock.show()
    hand.pump(0.1)
    assert isinstance(predict, Panel)
    assert stopped == []
