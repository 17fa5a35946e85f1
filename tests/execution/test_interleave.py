"""Training and viewing by turns: both get on, and what is seen is of the best model."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
import torch

from napari_limn.annotation.classes import Classes
from napari_limn.events import BlockDone, Improved, Step, Viewing, Waiting, Working
from napari_limn.execution import interleave as module
from napari_limn.execution.interleave import interleaved
from napari_limn.inference import view as view_module
from napari_limn.inference.view import View, ViewPredictor
from napari_limn.model import Model, ModelSpec
from napari_limn.network.spec import UNetSpec
from napari_limn.network.unet import UNet
from napari_limn.volume.boxes import whole
from napari_limn.volume.volume import Volume

VOLUME = Volume.of(np.random.default_rng(0).integers(0, 99, (50, 60), np.uint8))


class Clock:
    """Time that only passes where the test lets it."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(module.time, "perf_counter", lambda: self.now)


def model_of(seed, width=2):
    torch.manual_seed(seed)
    spec = ModelSpec(network=UNetSpec(width=width, factors=((2, 2),)), classes=Classes((1, 2)))
    return Model(spec, UNet(spec.network).eval())


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(view_module, "_BLOCK", {2: (1, 1, 16, 16)})
    return Clock(monkeypatch)


def training(clock, models, steps, took=1.0):
    """Events of a run whose steps take so long, with a better model every so many of them; then it rests."""
    for model in models:
        yield Improved(model)
        for step in range(steps):
            clock.now += took
            yield Step(step + 1, clock.now, 1.0, 0.0)
    yield Waiting("")
    while True:
        yield Working()


def predictor(clock, took):
    def check():
        clock.now += took

    return ViewPredictor(VOLUME, lambda dtype: np.zeros((50, 60), dtype), "cpu", check)


def heard(events, count):
    with closing(events):
        return [next(events) for _ in range(count)]


def test_the_first_model_is_seen_at_once_and_both_get_half_of_the_time(clock):
    view = View(whole(VOLUME.grid))
    events = heard(
        interleaved(training(clock, [model_of(0)], 10**6), predictor(clock, 0.01), lambda: view), 200
    )
    kinds = [type(event) for event in events]
    assert kinds[:3] == [Improved, Viewing, BlockDone]
    while_seen = kinds[3 : len(kinds) - kinds[::-1].index(BlockDone)]
    assert while_seen.count(BlockDone) == 15
    assert while_seen.count(Step) <= 6, "blocks take a fifth of a step each, and yet they had to wait"


def test_training_gets_its_half_where_blocks_take_long(clock):
    view = View(whole(VOLUME.grid))
    events = heard(
        interleaved(training(clock, [model_of(0)], 10**6, took=0.1), predictor(clock, 0.5), lambda: view), 300
    )
    steps = [e.seconds for e in events if isinstance(e, Step)]
    assert 0.3 < 0.1 * len(steps) / steps[-1] < 0.9


def test_while_training_rests_all_time_is_the_views(clock):
    view = View(((0, 1), (0, 1), (0, 5), (0, 5)))
    events = heard(interleaved(training(clock, [model_of(0)], 1), predictor(clock, 1.0), lambda: view), 12)
    done = [e for e in events if isinstance(e, BlockDone)]
    assert len(done) == 3, "the block on screen and its two neighbours"
    assert isinstance(events[-1], Working)


def test_a_better_model_is_seen_in_place_of_the_old_one(clock):
    models, view = [model_of(0), model_of(1)], View(whole(VOLUME.grid))
    predicting = predictor(clock, 0.01)
    events = heard(interleaved(training(clock, models, 100), predicting, lambda: view), 260)
    assert sum(isinstance(e, BlockDone) for e in events) == 32
    assert sum(isinstance(e, Viewing) for e in events) == 1
    assert len(predicting.computed(models[1])[1]) == 16
    assert predicting.computed(models[0])[1] == []


def test_another_network_is_taken_up_though_the_view_has_left_the_block_of_before(clock):
    corner = ((0, 1), (0, 1), (0, 5), (0, 5))
    predicting, view = predictor(clock, 0.0), View(corner)
    list(predicting.improve(model_of(0)))
    list(predicting.compute(predicting.next_turn(view), lambda: view))
    view = View(((0, 1), (0, 1), (40, 50), (50, 60)))
    list(predicting.improve(model_of(1, width=3)))
    assert predicting.model.spec.network.width == 3
    assert any(isinstance(e, BlockDone) for e in predicting.compute(predicting.next_turn(view), lambda: view))


def test_a_field_of_a_few_blocks_comes_at_once_and_training_gets_its_time_afterwards(clock):
    models, view = [model_of(0), model_of(1)], View(whole(VOLUME.grid))
    started = predictor(clock, 0.0002)
    events = heard(interleaved(training(clock, models, 60, took=0.1), started, lambda: view), 100)
    kinds = [type(e) for e in events]
    second = [i for i, kind in enumerate(kinds) if kind is Improved][1]
    assert kinds[second + 1 : second + 13] == [BlockDone] * 12, "steps came in between blocks that are near"


def test_while_a_classifier_is_fitted_blocks_beside_the_view_do_not_take_all_the_time(clock):
    def fitting():
        yield Improved(model_of(0))
        while True:
            clock.now += 0.1
            yield Working()

    view = View(((0, 1), (0, 1), (0, 5), (0, 5)))
    events = heard(interleaved(fitting(), predictor(clock, 0.1), lambda: view), 40)
    assert sum(isinstance(e, BlockDone) for e in events) <= 3


def test_training_that_ends_ends_it():
    def short():
        yield Working()

    made = ViewPredictor(VOLUME, lambda dtype: np.zeros((50, 60), dtype), "cpu")
    assert list(interleaved(short(), made, lambda: View(whole(VOLUME.grid)))) == [Working()]
