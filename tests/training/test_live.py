"""Training that goes on while strokes come in: nothing that was learned is lost, and every stroke counts."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_limn.annotation.legend import Legend
from napari_limn.annotation.snapshot import Snapshot
from napari_limn.events import Improved, Repainted, Scored, Step, Waiting, Warned, Working
from napari_limn.model import Model
from napari_limn.network.spec import PixelSpec, UNetSpec
from napari_limn.training import learner
from napari_limn.training import live as module
from napari_limn.training.first_answer import answer
from napari_limn.training.live import live_events
from napari_limn.training.run import TrainingRun
from napari_limn.training.spec import TrainSpec

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("small_classifier")

TINY = UNetSpec(width=2, factors=((2, 2),))
SPEC = TrainSpec(steps=20, network=TINY, patch=(32, 32), rate=1e-2, device="cpu", held_out=0)
Y, X = np.indices((64, 64))
IMAGE = (100 * (X > 32) + np.random.default_rng(0).normal(0, 20, (64, 64))).astype(np.float32)


@pytest.fixture(autouse=True)
def looks_all_the_time(monkeypatch):
    monkeypatch.setattr(module, "_LOOK", 0.0)
    monkeypatch.setattr(module, "_LOOKING", 1e9)
    monkeypatch.setattr(module, "_REST", 0.0)
    monkeypatch.setattr(module, "_APART", 0.0)
    monkeypatch.setattr(module, "_LEARNING", 0.0)


class Hand:
    """Paints into an array, and marks it as napari's events would."""

    def __init__(self, *strokes):
        self.data = np.zeros((64, 64), np.uint8)
        self.paint = Snapshot(self.data)
        for stroke in strokes:
            self.stroke(*stroke)

    def stroke(self, row, value):
        left = 4 if value == 1 else 36
        self.data[row, left : left + 20] = value
        self.paint.mark(((row, row + 1), (left, left + 20)))


def take(events, what, most=3000):
    """Events up to and including the first of a kind."""
    heard = []
    for event in events:
        heard.append(event)
        if isinstance(event, what):
            return heard
        assert len(heard) < most, f"no {what} among {most} events"
    raise AssertionError(f"it ended before {what}")


def test_it_waits_for_two_classes_then_trains_then_rests_until_there_is_more():
    hand = Hand()
    with closing(live_events(IMAGE, hand.paint, SPEC)) as events:
        assert "no painted voxel" in take(events, Waiting)[-1].message
        hand.stroke(5, 1)
        assert "only one painted value" in take(events, Waiting)[-1].message
        hand.stroke(9, 2)
        heard = take(events, Waiting)
        assert [e.step for e in heard if isinstance(e, Step)] == list(range(1, 21))
        best = [e for e in heard if isinstance(e, Improved)][-1].model
        assert best.spec.classes.values == (1, 2)
        assert "paint more" in heard[-1].message
        for _ in range(5):
            assert isinstance(next(events), Working)
        hand.stroke(20, 1)
        heard = take(events, Waiting)
        assert [e.step for e in heard if isinstance(e, Step)] == list(range(21, 41))
        last = [e for e in heard if isinstance(e, Improved)][-1].model
        assert last.spec.steps == 40, "it did not go on from what it had learned"


def test_new_paint_is_taken_between_two_steps_and_nothing_is_begun_anew(monkeypatch):
    begun = []
    monkeypatch.setattr(module, "TrainingRun", lambda *of: begun.append(of) or TrainingRun(*of))
    hand = Hand((5, 1), (9, 2))
    spec = replace(SPEC, steps=4000)  # scored every 200 steps
    with closing(live_events(IMAGE, hand.paint, spec)) as events:
        take(events, Step)
        hand.stroke(30, 1)
        heard = take(events, Repainted, 10)
        assert not heard[-1].counts
        assert take(events, Repainted, 10)[-1].counts
        heard = take(events, Improved)
        steps = [e.step for e in heard if isinstance(e, Step)]
        assert steps == list(range(steps[0], 201)), "steps are not counted on"
        assert heard[-1].model.spec.steps == 200
        assert len(begun) == 1


def test_the_budget_begins_anew_and_the_rate_does_not_warm_up_again():
    hand = Hand((5, 1), (9, 2))
    with closing(live_events(IMAGE, hand.paint, SPEC)) as events:
        done = [e.done for e in take(events, Waiting) if isinstance(e, Step)]
        hand.stroke(20, 1)
        assert [e.done for e in take(events, Waiting) if isinstance(e, Step)] == done
    assert learner._schedule(0.0, 1.0) == 1.0
    assert learner._schedule(0.0, 0.0) < 0.1


def test_answers_to_strokes_that_come_one_upon_the_other_are_some_time_apart(monkeypatch):
    monkeypatch.setattr(module, "_APART", 1e9)
    hand = Hand((5, 1), (9, 2))
    with closing(live_events(IMAGE, hand.paint, replace(SPEC, steps=50))) as events:
        take(events, Step)
        hand.stroke(30, 1)
        heard = take(events, Improved)
        assert [e.counts for e in heard if isinstance(e, Repainted)] == [False]


def test_the_classifier_answers_each_stroke_and_the_selector_comes_after(monkeypatch):
    fitted = []
    fit_classifier = answer.fit_classifier
    monkeypatch.setattr(
        answer,
        "fit_classifier",
        lambda *of, how, **more: (
            fitted.append((of[1].target.copy(), how)) or fit_classifier(*of, how=how, **more)
        ),
    )
    hand = Hand(*((row, value) for row in range(3, 60, 8) for value in (1, 2)))
    network = replace(TINY, pixels=PixelSpec(scales=((1.0, 1.0),)))
    spec = replace(SPEC, network=network, held_out=0.2, steps=10)
    with closing(live_events(IMAGE, hand.paint, spec)) as events:
        first = take(events, Improved)[-1].model
        take(events, Waiting)
        hand.stroke(31, 1)
        heard = take(events, Waiting)
    kinds = [type(e) for e in heard if isinstance(e, (Improved, Step, Scored))]
    assert kinds[0] is Improved, "the answer to a stroke comes before anything else"
    assert Scored in kinds
    painted, _, _, unheld, _, again, unheld_again = ((target >= 0).sum() for target, _ in fitted)
    assert unheld < painted < again > unheld_again
    assert [how for _, how in fitted] == ["anew", "on", "on", "anew", "on", "on", "on"]
    answered = next(e for e in heard if isinstance(e, Improved)).model
    weights, before = answered.network.state_dict(), first.network.state_dict()
    assert not all(torch.equal(weights[n], before[n]) for n in weights if n.startswith("pixels."))


def test_strokes_without_a_pause_do_not_keep_it_from_learning():
    hand = Hand((5, 1), (9, 2))
    spec = replace(SPEC, steps=100)  # scored every 5 steps
    models, row = [], 0
    with closing(live_events(IMAGE, hand.paint, spec)) as events:
        for event in events:
            if isinstance(event, Step):
                row += 1
                hand.data[(7 * row) % 60, 5 + row % 9] = 1 + row % 2
                hand.paint.mark(((0, 64), (0, 64)))
            if isinstance(event, Improved):
                models.append(event.model.spec.steps)
            if row == 60:
                break
    assert models == sorted(models)
    assert models[-1] >= 50


def test_a_stroke_of_a_new_class_widens_the_model_and_seconds_go_on():
    hand, legend = Hand((5, 1), (9, 2)), Legend({3: "blue"}, {3: (0, 0, 1, 1)})
    with closing(live_events(IMAGE, hand.paint, SPEC, legend_now=lambda: legend)) as events:
        first = [e for e in take(events, Waiting) if isinstance(e, (Step, Scored))]
        legend = legend.with_value(1).renamed(1, "dark")  # the same table all the time
        hand.data[40, 40:60] = 3
        hand.paint.mark(((40, 41), (40, 60)))
        second = [e for e in take(events, Waiting) if isinstance(e, Improved | Step)]
        seconds = [e.seconds for e in first] + [e.seconds for e in second if isinstance(e, Step)]
        assert seconds == sorted(seconds)
        model = [e.model for e in second if isinstance(e, Improved)][-1]
        assert model.spec.classes.values == (1, 2, 3)
        assert model.spec.classes.names == ("dark", "class 2", "blue")
        assert model.spec.classes.color_of[3] == (0, 0, 1, 1)


def test_undo_and_a_replaced_layer_are_noticed():
    hand = Hand((5, 1), (9, 2), (11, 2))
    with closing(live_events(IMAGE, hand.paint, SPEC)) as events:
        take(events, Waiting)
        hand.data[11] = 0
        take(events, Improved)
        take(events, Waiting)
        hand.paint.replace(np.zeros((8, 64), np.uint8))
        assert "expected (1, 1, 64, 64)" in take(events, Waiting)[-1].message
        hand.paint.replace(hand.data.copy())
        take(events, Improved)


def test_a_model_that_does_not_fit_is_a_sentence_not_an_error():
    from napari_limn.annotation.classes import Classes
    from napari_limn.model import ModelSpec
    from napari_limn.network.unet import UNet

    network = replace(TINY, in_channels=2)
    model = Model(ModelSpec(network=network, classes=Classes((1, 2))), UNet(network))
    with closing(live_events(IMAGE, Hand((5, 1), (9, 2)).paint, SPEC, model=model)) as events:
        assert "the model expects 2" in take(events, Waiting)[-1].message


def test_a_model_over_volumes_on_a_plane_is_a_sentence_not_an_error():
    from napari_limn.annotation.classes import Classes
    from napari_limn.model import ModelSpec
    from napari_limn.network.unet import UNet

    network = UNetSpec(width=2, factors=((1, 2, 2),))
    model = Model(ModelSpec(network=network, classes=Classes((1, 2))), UNet(network))
    spec = replace(SPEC, network=None, patch=None)
    with closing(live_events(IMAGE, Hand((5, 1), (9, 2)).paint, spec, model=model)) as events:
        assert "single plane, expected a stack for a 3D network" in take(events, Waiting)[-1].message


def test_it_says_when_strokes_are_noticed_and_when_they_count_and_warns_once_a_run():
    hand = Hand((5, 1), (9, 2))
    with closing(live_events(IMAGE, hand.paint, replace(SPEC, held_out=0.1))) as events:
        heard = take(events, Waiting)
        hand.stroke(20, 1)
        heard += take(events, Waiting)
    kinds = [
        e for e in heard if type(e) in (Warned, Repainted, Waiting)
    ]  # what the check-up found comes besides
    assert [type(e) for e in kinds] == [Warned, Waiting, Repainted, Repainted, Warned, Waiting]
    assert [e.counts for e in kinds[2:4]] == [False, True]


def test_paint_that_nothing_can_be_learned_from_any_more_is_waited_out():
    hand = Hand((5, 1), (9, 2))
    with closing(live_events(IMAGE, hand.paint, replace(SPEC, steps=100))) as events:
        take(events, Improved)
        hand.paint.replace(np.zeros((64, 64), np.uint8))
        assert "paint corrections" in take(events, Waiting)[-1].message
        assert [type(next(events)) for _ in range(4)] == [Working] * 4


def test_closing_it_ends_it_at_once():
    events = live_events(IMAGE, Hand((5, 1), (9, 2)).paint, replace(SPEC, steps=10**6))
    take(events, Step)
    began = time.monotonic()
    events.close()
    with pytest.raises(StopIteration):
        next(events)
    assert time.monotonic() - began < 60
