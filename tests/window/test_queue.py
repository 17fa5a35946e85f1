"""Runs that wait for each other: their place, cancelling them, and what says that they ended."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from napari.utils import progress
from napari.utils.notifications import notification_manager

from napari_limn.runs import Working

pytestmark = pytest.mark.window


def until(event):
    """A run that ends when it is told to."""
    while not event.wait(0.01):
        yield Working()
    return "done"


@pytest.fixture
def boxes(hand):
    hand.viewer.add_image(np.zeros((30, 40), np.float32), name="cells")
    return [hand.open_widget(name).run_box for name in ("Train", "Predict", "Review")]


def test_a_run_that_waits_says_so_and_begins_when_the_other_has_ended(hand, boxes):
    first, second, third = boxes
    ends = [threading.Event() for _ in boxes]
    results = []
    for box, end in zip(boxes, ends, strict=True):
        box.run(until(end), results.append)
    assert second.state.state.text() == "Waits for 1 other run"
    assert third.state.state.text() == "Waits for 2 other runs"
    hand.wait(lambda: first.job.is_running)
    assert first.state.state.text().startswith("Running")
    ends[0].set()
    hand.wait(lambda: second.state.state.text().startswith("Running"))
    assert third.state.state.text() == "Waits for 1 other run"
    for end in ends:
        end.set()
    hand.wait(lambda: not any(box.running for box in boxes))
    assert results == ["done"] * 3


def test_a_run_that_waits_is_cancelled_at_once(hand, boxes):
    end, results = threading.Event(), []
    boxes[0].run(until(end), results.append)
    boxes[1].run(until(threading.Event()), results.append)
    boxes[1].stop()
    assert not boxes[1].running
    assert results == [None]
    assert boxes[1].state.state.text() == "Stopped before it began"
    assert boxes[0].running
    end.set()
    hand.wait(lambda: not boxes[0].running)


def test_a_run_that_waits_stops_when_its_layer_is_removed(hand, boxes):
    end = threading.Event()
    image = hand.viewer.layers["cells"]
    boxes[0].run(until(end), lambda _: None)
    boxes[1].run(until(threading.Event()), lambda _: None, needs=[image])
    hand.viewer.layers.remove(image)
    assert not boxes[1].running
    assert "“cells” was removed" in boxes[1].status.text()
    end.set()
    hand.wait(lambda: not boxes[0].running)


def test_the_end_of_a_long_run_is_announced_and_it_stands_among_activities(hand, boxes, monkeypatch):
    monkeypatch.setattr("napari_limn._napari.panel.run_box._LONG", 0.0)
    end = threading.Event()
    boxes[1].handler.on_result = lambda _: boxes[1].say("Done: all labelled.")
    boxes[1].run(until(end))
    hand.wait(lambda: any(bar.desc.startswith("Limn: Predict") for bar in progress._all_instances))
    end.set()
    hand.wait(lambda: not boxes[1].running)
    assert "Predict: Done: all labelled." in [n.message for n in notification_manager.records]
    assert not any(bar.desc.startswith("Limn") for bar in progress._all_instances)
