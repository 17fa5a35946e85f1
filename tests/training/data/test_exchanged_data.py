"""A run whose data are exchanged between two steps: it goes on where it was."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from napari_limn.events import Improved, Scored, Step, Working
from napari_limn.network.spec import PixelSpec, UNetSpec
from napari_limn.training import budget as clocks
from napari_limn.training.data.painted import collect_training_data
from napari_limn.training.data.training_set import TrainingSet
from napari_limn.training.first_answer import answer as module
from napari_limn.training.first_answer import fit as instant
from napari_limn.training.planning.initial_model import initial_model
from napari_limn.training.planning.resolve import resolve
from napari_limn.training.random_stream import RandomStream
from napari_limn.training.run import TrainingRun
from napari_limn.training.spec import TrainSpec

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("small_classifier")

NETWORK = UNetSpec(width=2, factors=((2, 2),), pixels=PixelSpec(scales=((1.0, 1.0),)))
SPEC = TrainSpec(steps=10, network=NETWORK, patch=(32, 32), device="cpu", held_out=0.2)
Y, X = np.indices((64, 64))
IMAGE = (100 * (X > 32) + np.random.default_rng(0).normal(0, 20, (64, 64))).astype(np.float32)


def data_of(rows, after=None, spec=SPEC):
    labels = np.zeros((64, 64), np.uint8)
    labels[rows, 4:24], labels[rows, 36:56] = 1, 2
    painted = collect_training_data(IMAGE, labels, spec, None, {}, {})
    of = painted.images[0], painted.classes
    resolved = resolve(spec, *of)
    start, _ = initial_model(resolved, *of, None)
    return start, resolved, TrainingSet(painted, resolved, after)


def run_of(rows, spec=SPEC):
    return TrainingRun(*data_of(rows, spec=spec), RandomStream(spec.seed, torch.device("cpu")))


def first(events, what):
    return next(event for event in events if isinstance(event, what))


def test_the_optimiser_goes_on_and_batches_are_drawn_on():
    run = run_of(range(3, 60, 8))
    with closing(run.learning()) as events:
        first(events, Step)
    optimizer, network, turn = run.learner.optimizer, run.learner.network, run.data._turn
    *_, data = data_of(range(3, 60, 4), run.data)
    assert data._turn == turn
    assert data.regions.scalings is run.data.regions.scalings
    run.renew(data)
    steps = [e for e in run.learning() if isinstance(e, Step)]
    assert [e.step for e in steps] == list(range(2, 12))
    assert steps[-1].done == 1
    assert (run.learner.optimizer, run.learner.network) == (optimizer, network)


def test_the_last_step_is_scored_however_long_a_listener_takes(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(clocks, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    run, events = run_of(range(3, 60, 8), replace(SPEC, steps=None, seconds=10.0)), []
    for event in run.learning():
        events.append(event)
        clock[0] += 1.5 * isinstance(event, Step)
    last = max(number for number, event in enumerate(events) if isinstance(event, Step))
    assert any(isinstance(event, Scored) for event in events[last:])


def test_a_scoring_that_was_interrupted_goes_on_and_the_selector_follows_the_data(monkeypatch):
    fitted = []
    fit_classifier = module.fit_classifier
    monkeypatch.setattr(
        module,
        "fit_classifier",
        lambda classifier, *of, **how: fitted.append(classifier) or fit_classifier(classifier, *of, **how),
    )
    run = run_of(range(3, 60, 8))
    with closing(run.learning()) as events:
        first(events, Improved)
        first(events, Improved)  # it has learnt from itself
        first(events, Improved)
        first(events, Working)  # the held-out classifier is being fitted
    assert len(fitted) == 4
    assert fitted[2] is fitted[1] is fitted[0]
    run.renew(data_of(range(3, 60, 4), run.data)[-1])
    first_scored = run.data
    events = run.learning()
    first(events, Improved)
    first(events, Scored)
    assert len(fitted) == 6, "the held-out classifier was begun anew"
    assert fitted[5] is fitted[3]
    assert run.best.data is not first_scored
    list(events)
    assert run.best.data is first_scored
    assert fitted[6] is fitted[3], "the held-out classifier did not go on from what it knew"


def test_what_is_shown_keeps_its_network_when_strokes_are_answered():
    run = run_of(range(3, 60, 8), replace(SPEC, held_out=0))  # nothing held out: the network is trusted
    list(run.learning())
    shown = run.best.model
    assert shown.spec.network.share < 1
    run.renew(data_of(range(3, 60, 4), run.data, run.resolved.spec)[-1])
    answered = first(run.learning(), Improved).model
    weights, before = answered.network.state_dict(), shown.network.state_dict()
    assert answered.spec.network == shown.spec.network
    for name, weight in weights.items():
        if not name.startswith("pixels."):
            assert torch.equal(weight, before[name])
    assert not torch.equal(weights["pixels.layers.0.weight"], before["pixels.layers.0.weight"])


def test_pauses_are_not_counted():
    run = run_of(range(3, 60, 8))
    with closing(run.learning()) as events:
        first(events, Step)
    spent = run.budget.seconds
    time.sleep(0.02)
    assert run.budget.seconds == spent > 0


def test_soft_targets_reach_the_data_that_came_while_they_were_computed(monkeypatch):
    monkeypatch.setattr(instant, "_STEPS", 5)
    monkeypatch.setattr(instant, "_STEPS_ON", 5)
    asked, pseudo_labels = [], module.pseudo_labels
    monkeypatch.setattr(module, "pseudo_labels", lambda *of: asked.append(of[1]) or pseudo_labels(*of))
    run = run_of(range(3, 60, 8))
    with closing(run.learning()) as events:
        next(_ for _ in events if asked)
    old = run.data
    run.renew(data_of(range(3, 60, 4), run.data)[-1])
    assert asked == [old.regions] != [run.data.regions]
    assert old.soft_targets is run.data.soft_targets is None
    with closing(run.learning()) as events:
        first(events, Step)
    assert asked == [old.regions]
    assert old.soft_targets is run.data.soft_targets is not None
    assert run.data.batch().soft is not None


def test_soft_targets_count_less_as_the_network_matures_but_never_nothing():
    run = run_of(range(3, 60, 8))
    with closing(run.learning()) as events:
        first(events, Step)
    batch = run.data.batch()
    logits = torch.randn((*batch.targets.shape[:1], 2, *batch.targets.shape[1:]))
    hard = run.learner.loss(logits, replace(batch, soft=None))
    soft = []
    for run.budget.steps in (0, 750, 1500, 3000, 100_000):  # with 32², five steps are one of 160²
        soft.append(float(run.learner.loss(logits, batch) - hard))
    assert soft[0] > 0
    np.testing.assert_allclose(np.divide(soft, soft[0]), [1, 1, 0.5, 0.25, 0.25], rtol=1e-4)
