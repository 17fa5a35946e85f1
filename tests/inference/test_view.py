"""What is on the screen comes first, each block once for a model, and equals what the whole prediction gives there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import PLANES, VOLUMES, image_of, model_of

from napari_limn.concurrency import Stopped
from napari_limn.events import BlockDone, Viewing
from napari_limn.inference import view as module
from napari_limn.inference.pipeline import PredictSpec, prediction_events
from napari_limn.inference.planning import plan
from napari_limn.inference.view import View, ViewPredictor, same_labels, view_block
from napari_limn.model import Model
from napari_limn.network.spec import UNetSpec
from napari_limn.volume.boxes import blocks, overlap, shape_of, size_of, slices, whole
from napari_limn.volume.writing.array_output import ArrayOutput, labels_shape

torch.set_num_threads(1)

GRIDS = {2: ("TZYX", (2, 2, 40, 51)), 3: ("ZYX", (9, 30, 26))}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(module, "_NEAR", 12)
    monkeypatch.setattr(module, "_ACROSS", 16)
    monkeypatch.setattr(module, "_BLOCK", {2: (1, 1, 16, 12), 3: (1, 4, 8, 12)})


def predictor_of(volume, **further):
    return ViewPredictor(volume, lambda dtype: np.zeros(labels_shape(volume), dtype), "cpu", **further)


def drive(predictor, view, most=10_000):
    """Compute until all that is near is up to date; the turns in their order, and the events."""
    turns, events = [], []
    while (turn := predictor.next_turn(view)) is not None and len(turns) < most:
        turns.append(turn)
        events += predictor.compute(turn, lambda: view)
    return turns, events


def whole_labels(model, volume):
    run = prediction_events(model, volume, None, PredictSpec(precision="float32", device="cpu"))
    while True:
        try:
            next(run)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_blocks_equal_the_whole_prediction(ndim, norm):
    axes, shape = GRIDS[ndim]
    volume, model = image_of(axes, shape), model_of(PLANES if ndim == 2 else VOLUMES, norm=norm)
    predictor = predictor_of(volume)
    (viewing,) = predictor.improve(model)
    assert isinstance(viewing, Viewing)
    turns, events = drive(predictor, View(whole(volume.grid)))
    assert len({turn.box for turn in turns}) == len(turns) == len(events)
    assert sum(size_of(turn.box) for turn in turns) == size_of(whole(volume.grid))
    assert isinstance(events[-1], BlockDone)
    array, done = predictor.computed(model)
    assert array is viewing.array
    if norm == "batch":
        np.testing.assert_array_equal(array, whole_labels(model, volume))
        assert len(done) == len(turns)
    else:
        assert (array == whole_labels(model, volume)).mean() > 0.5
        assert done == [], "blocks of a network that is not exact were called final"


@st.composite
def views(draw, grid):
    spans = []
    for n in grid:
        start = draw(st.integers(-5, n + 4))
        spans.append((start, start + draw(st.integers(1, n + 5))))
    return View(tuple(spans))


@settings(max_examples=60, deadline=None)
@given(st.data(), st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 70), st.integers(1, 70)))
def test_what_is_seen_comes_first_and_only_its_neighbours_after_it(data, grid):
    view = data.draw(views(grid))
    block = view_block(UNetSpec(factors=PLANES), grid)
    near = list(module._around(view, block, grid))
    boxes = [box for _, _, box in near]
    assert len(set(boxes)) == len(boxes)
    everything = list(blocks(grid, block))
    assert set(boxes) <= set(everything)
    seen = {box for box in everything if size_of(overlap(view.box, box))}
    assert {box for tier, _, box in near if tier < 2} == seen or len(boxes) >= module._ACROSS
    assert sum(tier == 0 for tier, _, _ in near) == min(len(seen), module._NEAR)
    nearest = sorted(distance for tier, distance, _ in near if tier < 2)
    assert sorted(d for tier, d, _ in near if tier == 0) == nearest[: module._NEAR]


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_a_moving_view_and_a_better_model_are_followed(data):
    volume = image_of("ZYX", (3, 40, 50))
    models = [model_of(PLANES, seed=seed) for seed in (2, 3)]
    predictor, made = predictor_of(volume), []
    for model in models:
        list(predictor.improve(model))
        own = []
        for _ in range(3):
            view = data.draw(views(volume.grid))
            turns, _ = drive(predictor, view, data.draw(st.integers(1, 12)))
            tiers = [turn.tier for turn in turns]
            assert tiers == sorted(tiers), "something out of sight came first"
            own += [turn.box for turn in turns]
        assert len(set(own)) == len(own), "a block was computed twice with the same model"
        made.append(own)
    array, done = predictor.computed(models[1])
    assert done == sorted(made[1])
    assert predictor.computed(models[0])[1] == []
    for number, model in enumerate(models):
        expected = whole_labels(model, volume).reshape(volume.grid)
        for box in made[number]:
            if number == 1 or box not in made[1]:
                np.testing.assert_array_equal(array.reshape(volume.grid)[slices(box)], expected[slices(box)])


def test_what_was_never_predicted_comes_before_what_is_stale():
    volume = image_of("YX", (40, 50))
    predictor = predictor_of(volume)
    list(predictor.improve(model_of(PLANES, seed=2)))
    corner = View(((0, 1), (0, 1), (0, 10), (0, 10)))
    (first,), _ = drive(predictor, corner, 1)
    list(predictor.improve(model_of(PLANES, seed=3)))
    turns, _ = drive(predictor, View(whole(volume.grid)))
    assert turns[len([t for t in turns if t.tier == 0]) - 1].box == first.box


def test_the_same_weights_are_not_computed_again():
    volume, model = image_of("YX", (40, 50)), model_of(PLANES)
    predictor, view = predictor_of(volume), View(whole(volume.grid))
    list(predictor.improve(model))
    turns, _ = drive(predictor, view)
    again = Model(model.spec, model.copy().network)
    assert same_labels(model, again)
    assert list(predictor.improve(again)) == []
    assert drive(predictor, view)[0] == []
    assert len(predictor.computed(again)[1]) == len(turns)


def test_larger_values_get_another_array():
    from dataclasses import replace

    from napari_limn.annotation.classes import Classes

    volume, model = image_of("YX", (30, 30)), model_of(PLANES)
    predictor, view = predictor_of(volume), View(whole(volume.grid))
    list(predictor.improve(model))
    drive(predictor, view)
    wide = Model(replace(model.spec, classes=Classes((3, 7, 900))), model.network)
    (viewing,) = predictor.improve(wide)
    assert viewing.array.dtype == np.uint16
    drive(predictor, view)
    assert set(np.unique(viewing.array)) <= {3, 7, 900}


def test_a_block_that_nobody_waits_for_is_given_up():
    def check():
        if stop:
            raise Stopped

    stop = []
    volume = image_of("YX", (30, 30))
    predictor, view = predictor_of(volume, check=check), View(whole(volume.grid))
    list(predictor.improve(model_of(PLANES)))
    stop.append(1)
    turn = predictor.next_turn(view)
    assert list(predictor.compute(turn, lambda: view)) == []
    assert predictor.next_turn(view) == turn
    stop.clear()
    assert len(list(predictor.compute(turn, lambda: view))) == 1


def test_a_block_that_left_the_screen_is_given_up():
    volume = image_of("YX", (40, 50))
    predictor = predictor_of(volume)
    list(predictor.improve(model_of(PLANES)))
    here, there = (View(((0, 1), (0, 1), (0, 9), (a, a + 9))) for a in (0, 40))
    turn, views = predictor.next_turn(here), iter([here] * 3)
    assert list(predictor.compute(turn, lambda: next(views, there))) == []
    assert predictor.next_turn(there).box[3] == (36, 48)
    beside = [turn for turn in drive(predictor, here)[0] if turn.tier == 2]
    assert beside, "neighbours are not on the screen, and yet computed"


def test_a_prediction_takes_over_what_is_there(monkeypatch):
    monkeypatch.setattr(plan, "_PLANES", 1)
    volume, model = image_of("ZYX", (3, 40, 50)), model_of(PLANES)
    expected = whole_labels(model, volume)
    predictor = predictor_of(volume)
    list(predictor.improve(model))
    drive(predictor, View(((0, 1), (1, 2), (0, 40), (0, 50))), 15)
    array, there = predictor.computed(model)
    assert len(there) == 15
    data = np.zeros_like(array)
    data[1] = np.where(array[1] > 0, 99, 0)  # told apart from what would be computed again
    found = []
    output = ArrayOutput(volume, data, there)
    for event in prediction_events(model, volume, output, PredictSpec(precision="float32", device="cpu")):
        if isinstance(event, BlockDone):
            found.append(event.box)
    assert (data[1] == 99).all(), "blocks were computed again"
    assert {box[1] for box in found} == {(0, 1), (2, 3)}
    np.testing.assert_array_equal(data[[0, 2]], expected[[0, 2]])


@given(st.data())
def test_an_output_misses_what_is_not_there_completely(data):
    grid = (1, 1, 20, 30)
    volume = image_of("YX", grid[2:])
    all_blocks = list(blocks(grid, (1, 1, 8, 8)))
    there = data.draw(st.lists(st.sampled_from(all_blocks), unique=True))
    box = data.draw(st.sampled_from(list(blocks(grid, (1, 1, 5, 7)))))
    covered = np.zeros(grid, bool)
    for block in there:
        covered[slices(block)] = True
    output = ArrayOutput(volume, np.zeros(grid[2:], np.uint8), there)
    assert output.missing(box) == (not covered[slices(box)].all())
    assert shape_of(box)
