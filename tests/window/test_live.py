"""Live mode by hand, in a real window: paint and see; and everything that a person may do meanwhile."""

from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest

from napari_limn._napari.layers.class_table import names_of
from napari_limn._napari.panel.session import shared_models
from napari_limn.events import Repainted

pytestmark = pytest.mark.window

BLUE = (0.0, 0.0, 1.0, 1.0)
TRUTH = np.where(np.indices((200, 240))[1] > 120, 2, 1)


def strokes(rows):
    """Strokes (points as (row, column), value) of both classes."""
    for row in rows:
        yield [(row, column) for column in range(20, 60, 8)], 1
        yield [(row, column) for column in range(160, 200, 8)], 2


@pytest.fixture
def live(hand):
    """An image of two halves, an empty labels layer that is chosen, the Train widget with Live turned on."""
    noise = np.random.default_rng(0).normal(0, 15, TRUTH.shape)
    hand.viewer.add_image((100 * TRUTH + noise).astype(np.float32), name="halves")
    labels = hand.viewer.add_labels(np.zeros(TRUTH.shape, np.uint8), name="strokes")
    labels.brush_size = 4
    train = hand.open_widget("Train")
    hand.viewer.layers.selection.active = labels
    turn_on(hand, train)
    yield train
    if train.job is not None:
        train.job.quit()


def turn_on(hand, train):
    train.preset.value, train.seconds.value = "fast", 600
    train.seen, before = [], train.controller.on_event
    train.controller.on_event = lambda event: (train.seen.append(event), before(event))
    hand.find("limn-train-live").setChecked(True)
    assert train.job is not None, train.run_box.status.text()


def turn_off(hand, train):
    hand.find("limn-train-live").setChecked(False)
    hand.wait_idle(train, 10)
    assert not hand.find("limn-train-live").isChecked()
    assert hand.find("limn-train-start").isEnabled()


def paint(hand, rows=(30, 90, 150)):
    for points, value in strokes(rows):
        hand.paint(points, value)


def until_shown(hand, train, seconds=60):
    def shown():
        run = train.live_run
        return run is not None and (np.asarray(run.layer.data) > 0).all()

    hand.qtbot.waitUntil(shown, timeout=1000 * seconds)
    return train.live_run.layer


def until_noticed(hand, train):
    """The status says so, too, but perhaps for a moment only."""
    known = sum(isinstance(event, Repainted) and event.counts for event in train.seen)

    def counted():
        return sum(isinstance(event, Repainted) and event.counts for event in train.seen) > known

    hand.qtbot.waitUntil(counted, timeout=60_000)
    assert "strokes" in train.run_box.status.text()


def limn_threads():
    return [t for t in threading.enumerate() if t.name == "limn"]


def test_paint_that_is_told_of_before_it_is_there_is_looked_for_once_more(live_run, qtbot):
    """As napari does with a fill, and with the click that corrects a region."""
    _, labels, run = live_run
    seen = []
    run.controller.paint.mark = lambda box: seen.append((box, int(labels.data[5, 7])))
    labels.data_setitem((np.array([5]), np.array([7])), 3)
    qtbot.waitUntil(lambda: (((5, 6), (7, 8)), 3) in seen, timeout=5000)
    run.close()


def test_strokes_are_followed_by_a_preview_that_gets_right(hand, live):
    hand.qtbot.waitUntil(lambda: "no painted voxel" in live.run_box.status.text(), timeout=20_000)
    paint(hand)
    labels = hand.viewer.layers["strokes"]
    layer = until_shown(hand, live)
    assert hand.viewer.layers.selection.active is labels, "painting was interrupted"
    assert [each.name for each in hand.viewer.layers] == ["halves", "halves live", "strokes"]
    np.testing.assert_allclose(layer.get_color(2), labels.get_color(2), atol=0.01)
    hand.qtbot.waitUntil(lambda: (np.asarray(layer.data) == TRUTH).mean() > 0.95, timeout=60_000)
    times = [seconds for seconds, _ in live.curve.losses]
    hand.paint([(60, 20), (60, 50)], 3)
    until_noticed(hand, live)
    hand.qtbot.waitUntil(lambda: 3 in live.model.spec.classes.values, timeout=60_000)
    times += [seconds for seconds, _ in live.curve.losses[len(times) :]]
    assert all(a <= b for a, b in pairwise(times))
    np.testing.assert_allclose(layer.get_color(3), labels.get_color(3), atol=0.01)
    turn_off(hand, live)
    assert shared_models()[live.name] is live.model
    assert layer in hand.viewer.layers


@pytest.mark.exhaustive
def test_preview_and_model_call_the_classes_as_the_legend_does(hand, live):
    legend = hand.open_widget("Classes").legend
    labels = hand.viewer.layers["strokes"]
    hand.viewer.layers.selection.active = labels
    legend.rename(1, "dark")
    paint(hand)
    preview = until_shown(hand, live)
    hand.qtbot.waitUntil(lambda: live.model is not None, timeout=30_000)
    assert live.model.spec.classes.name_of[1] == names_of(preview)[1] == "dark"
    legend.rename(2, "bright")
    legend.recolor(2, BLUE)
    assert names_of(preview) == {1: "dark", 2: "bright"}
    np.testing.assert_allclose(preview.get_color(2), BLUE)
    assert shared_models()[live.name].spec.classes.name_of == {1: "dark", 2: "bright"}
    hand.paint([(60, 20), (60, 50)], 3)  # a class more: what was chosen for the others stays
    hand.qtbot.waitUntil(lambda: 3 in live.model.spec.classes.values, timeout=60_000)
    assert live.model.spec.classes.name_of == {1: "dark", 2: "bright", 3: "class 3"}
    np.testing.assert_allclose(preview.get_color(2), BLUE)
    np.testing.assert_allclose(preview.get_color(3), labels.get_color(3), atol=0.01)
    turn_off(hand, live)
    np.testing.assert_allclose(shared_models()[live.name].spec.classes.color_of[2], BLUE)


@pytest.mark.exhaustive
def test_undo_while_it_trains_is_noticed(hand, live):
    paint(hand)
    until_shown(hand, live)
    hand.qtbot.waitUntil(lambda: not live.live_run.controller.paint.changed(), timeout=30_000)
    hand.viewer.layers["strokes"].undo()
    until_noticed(hand, live)
    turn_off(hand, live)


def test_a_final_prediction_takes_over_what_was_predicted_for_the_view(hand, live):
    paint(hand)
    until_shown(hand, live)
    turn_off(hand, live)
    predict = hand.open_widget("Predict")
    preview = hand.viewer.layers["halves live"]
    made = np.asarray(preview.data).copy()
    heard = []
    decides = predict.controller
    before, decides.on_event = (
        decides.on_event,
        lambda event: (heard.append(type(event).__name__), before(event)),
    )
    predict.controller.start()
    hand.wait_idle(predict)
    result = np.asarray(hand.viewer.layers["halves labels"].data)
    if "BlockDone" not in heard:  # all of it was of the latest model
        np.testing.assert_array_equal(result, made)
    shared_models().put(predict.model.value, shared_models()[predict.model.value].copy())
    predict.controller.start()
    hand.wait_idle(predict)
    np.testing.assert_array_equal(np.asarray(hand.viewer.layers["halves labels"].data), result)


def test_removing_a_layer_turns_it_off(hand, live):
    paint(hand, (30,))
    until_shown(hand, live)
    for name in ("halves live", "strokes"):
        hand.viewer.layers.remove(name)
        hand.wait_idle(live, 10)
        assert not hand.find("limn-train-live").isChecked()
        assert f"“{name}” was removed" in live.run_box.status.text()
        if name != "strokes":
            turn_on(hand, live)
            until_shown(hand, live)
    assert [layer.name for layer in hand.viewer.layers] == ["halves", "halves live"]


@pytest.mark.exhaustive
def test_renamed_layers_a_second_viewer_and_another_slice_do_not_matter(hand, live, make_napari_viewer):
    paint(hand, (30,))
    layer = until_shown(hand, live)
    hand.viewer.layers["strokes"].name = "mine"
    hand.viewer.layers["halves"].name = "picture"
    second = make_napari_viewer()
    second.add_image(np.zeros((20, 20)))
    hand.viewer.scene.camera.zoom *= 3
    hand.pump(0.3)
    steps = len(live.curve.losses)
    hand.qtbot.waitUntil(lambda: len(live.curve.losses) > steps, timeout=30_000)
    assert layer in hand.viewer.layers
    assert live.live_run.controller.field[3][1] - live.live_run.controller.field[3][0] < 240, (
        "the camera was not followed"
    )
    hand.viewer.layers.remove("picture")
    hand.wait_idle(live, 10)
    assert "“picture” was removed" in live.run_box.status.text()


def test_closing_the_window_ends_it(hand, live):
    paint(hand, (30,))
    until_shown(hand, live)
    job = live.job
    hand.viewer.close()
    hand.qtbot.waitUntil(lambda: not job.is_running, timeout=10_000)
    assert limn_threads() == []


@pytest.mark.exhaustive
def test_a_stack_is_followed_from_slice_to_slice(hand):
    noise = np.random.default_rng(0).normal(0, 15, (5, *TRUTH.shape))
    hand.viewer.add_image((100 * TRUTH + noise).astype(np.float32), name="stack")
    labels = hand.viewer.add_labels(np.zeros((5, *TRUTH.shape), np.uint8), name="strokes")
    labels.data[2, 30:34, 20:60], labels.data[2, 30:34, 160:200] = 1, 2
    train = hand.open_widget("Train")
    turn_on(hand, train)

    def seen(z):
        return (np.asarray(train.live_run.layer.data)[z] > 0).all()

    hand.viewer.dims.set_point(0, 2)
    hand.qtbot.waitUntil(lambda: seen(2), timeout=60_000)
    hand.viewer.dims.set_point(0, 4)
    hand.qtbot.waitUntil(lambda: seen(4), timeout=60_000)
    assert not (np.asarray(train.live_run.layer.data)[0] > 0).all(), "far from where anybody looked"
    labels.data[4, 100:104, 20:60] = 2  # written by a program
    labels.refresh()
    until_noticed(hand, train)
    turn_off(hand, train)


def test_without_labels_it_says_so_and_stays_off(hand):
    hand.viewer.add_image(np.zeros((64, 64), np.float32), name="image")
    train = hand.open_widget("Train")
    hand.find("limn-train-live").setChecked(True)
    assert "no labels layer" in train.run_box.status.text()
    assert not hand.find("limn-train-live").isChecked()
    assert train.job is None
    hand.viewer.add_labels(np.zeros((64, 64), np.uint8), name="strokes")
    turn_on(hand, train)
    hand.qtbot.waitUntil(lambda: "no painted voxel" in train.run_box.status.text(), timeout=20_000)
    assert len(hand.viewer.layers) == 3
    turn_off(hand, train)
    assert len(hand.viewer.layers) == 2, "an empty preview was left behind"
