"""What live mode decides, without a window: one short run of it, and what is painted meanwhile."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from fake_box import untrained

from napari_limn._napari.panel.session import FewerThreads
from napari_limn._napari.training.live_controller import (
    LiveController,
    painted_box,
    refuse_other_axes,
)
from napari_limn.annotation.legend import Legend
from napari_limn.concurrency import Stopped
from napari_limn.errors import LimnError
from napari_limn.events import BlockDone, Improved, Viewing, Waiting
from napari_limn.inference.view import View
from napari_limn.training.spec import TrainSpec
from napari_limn.volume.volume import Volume


class FakeView:
    """What the preview shows, as lists."""

    def __init__(self):
        self.legend, self.shown, self.arrays, self.blocks, self.predictor = Legend(), [], [], [], None

    def remember(self, predictor):
        self.predictor = predictor

    def show_classes(self, classes):
        self.shown.append(classes)

    def show_array(self, array):
        self.arrays.append(array)

    def block_done(self, box):
        self.blocks.append(box)


@pytest.fixture
def view():
    return FakeView()


@pytest.fixture
def live(view):
    stack = np.random.default_rng(0).integers(0, 200, (3, 40, 50), np.uint8)
    controller = LiveController(
        Volume.of(stack, "ZYX", "stack"),
        np.zeros((3, 40, 50), np.uint8),
        np.zeros((3, 40, 50), np.uint8),
        TrainSpec(seconds=5, preset="fast", device="cpu"),
        None,
        view,
        empty=lambda image, dtype: np.zeros(image.grid[1:], dtype),
        threads=FewerThreads(),
        stopping=lambda: controller.stopped,
    )
    controller.stopped = False
    controller.field = ((0, 1), (1, 2), (0, 40), (0, 50))
    return controller


def test_without_paint_it_waits_and_says_so(live, view):
    run = live.events()
    event = next(event for event in run if isinstance(event, Waiting))
    assert "no painted voxel" in event.message
    assert view.predictor is live.predictor is not None
    assert not live.predictor.resting
    run.close()
    assert live.predictor.resting, "a prediction could not take the place of the preview"


def test_what_is_predicted_is_shown_with_the_names_of_now(live, view):
    model = untrained()
    live.classes_renamed()
    assert view.shown == [], "there are no classes yet"
    live.on_event(Improved(model))
    view.legend = Legend({1: "dark"})
    live.classes_renamed()
    assert [classes.name_of[1] for classes in view.shown] == ["class 1", "dark"]
    assert live.model is model

    live.on_event(Viewing(live.array))
    assert view.arrays == [], "the array is shown already"
    live.on_event(Viewing(other := np.zeros((3, 40, 50), np.uint16)))
    assert view.arrays == [other]
    assert live.array is other
    live.on_event(BlockDone(live.field, 1, 2, 0.1))
    assert view.blocks == [live.field]


def test_an_array_is_made_anew_only_for_another_type(live):
    assert live._array_of(live.array, np.dtype(np.uint8)) is live.array
    assert live._array_of(live.array, np.dtype(np.uint16)).dtype == np.uint16


def test_a_run_that_is_to_stop_computes_no_further_block(live):
    live._check()
    live.stopped = True
    with pytest.raises(Stopped):
        live._check()


def test_what_is_looked_at_is_asked_for_each_time(live):
    for field in (live.field, ((0, 1), (2, 3), (0, 20), (0, 20))):
        live.field = field
        assert live._look() == View(field)


def test_paint_is_noted_and_so_is_what_is_drawn_anew(live, monkeypatch):
    marks = []
    monkeypatch.setattr(live.paint, "mark", marks.append)
    live.painted([((1, 2), (3, 4), (5, 6)), ((0, 1), (0, 1), (0, 1))])
    assert marks == [((1, 2), (3, 4), (5, 6)), ((0, 1), (0, 1), (0, 1))]
    marks.clear()
    live.shown_anew(((0, 1), (1, 2), (-5, 90), (10, 20)))
    assert marks == [((1, 2), (0, 40), (10, 20))], "what is on the screen, within the image"
    marks.clear()
    monkeypatch.setattr("napari_limn._napari.training.live_controller._COMPARED", 10)
    live.shown_anew(live.field)
    assert marks == [], "so large a field would be compared at each drawing"


def test_another_array_is_looked_at_whole(live):
    painted = np.zeros((3, 40, 50), np.uint8)
    painted[2, 5:9, 5:9] = 1
    live.replaced(painted)
    assert live.paint.changed()
    for _ in live.paint.take():
        pass
    assert live.paint[2:3, 5:9, 5:9].all()


@pytest.mark.parametrize("depth", [4, 1])
def test_labels_of_other_axes_are_refused(depth):
    plane = Volume.of(np.zeros((64, 64), np.uint8), "YX", "plane")
    stack = Volume.of(np.zeros((depth, 64, 64), np.uint8), "ZYX", "stack")
    with pytest.raises(LimnError, match="paint on a labels layer made for this image"):
        refuse_other_axes(plane, stack)
    refuse_other_axes(Volume.of(np.zeros((depth, 64, 64), np.uint8), "ZYX", "labels"), stack)


def test_a_stroke_lies_where_napari_says_whichever_way_it_says_so():
    shape = (3, 40, 50)
    mask = SimpleNamespace(slice_key=(slice(1, 2), slice(3, 9), slice(None)))
    assert painted_box(mask, shape) == ((1, 2), (3, 9), (0, 50))
    places = (np.array([1, 1]), np.array([4, 2]), np.array([7, 8]))
    assert painted_box((places, None, None), shape) == ((1, 2), (2, 5), (7, 9))
    assert painted_box((np.array([1]), None, None), shape) == ((0, 3), (0, 40), (0, 50))


def test_a_training_that_is_shown_gives_its_result_and_its_answers(view):
    """A training with a budget: its models are shown where the user looks, and it ends by itself."""
    model = untrained()

    def learn():
        yield Improved(model)
        return "the result"

    image = Volume.of(np.random.default_rng(0).integers(0, 200, (40, 50), np.uint8), "YX", "plane")
    array = np.zeros((40, 50), np.uint8)
    controller = LiveController(
        image,
        np.zeros((40, 50), np.uint8),
        array,
        TrainSpec(device="cpu"),
        None,
        view,
        empty=lambda image, dtype: np.zeros(image.grid[1:], dtype),
        threads=FewerThreads(),
        stopping=lambda: False,
        learn=learn,
    )
    controller.field = ((0, 1), (0, 1), (0, 40), (0, 50))
    returned = []

    def whole_run():
        returned.append((yield from controller.events()))

    seen = list(whole_run())
    assert returned == ["the result"]
    assert any(isinstance(event, Improved) for event in seen)
    assert any(isinstance(event, BlockDone) for event in seen)
    assert (array > 0).all()
    assert controller.predictor.resting
