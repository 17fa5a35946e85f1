"""Losses and scores that are not finite: steps left out, said once; nothing shown for them; no weight is spoilt."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_limn.errors import LimnError
from napari_limn.events import Improved, Scored, Step, Warned, drain
from napari_limn.network.spec import UNetSpec
from napari_limn.training.learner import Learner
from napari_limn.training.selection import ModelSelector
from napari_limn.training.spec import TrainSpec
from napari_limn.training.trainer import training_events

IMAGE = np.random.default_rng(0).normal(50, 5, (96, 96)).astype(np.float32)
IMAGE[48:] += 100
STROKES = np.zeros(IMAGE.shape, np.uint8)
STROKES[4:44:10, 4:90], STROKES[54:94:10, 4:90] = 1, 2
NETWORK = UNetSpec(width=2, factors=((2, 2),), norm="batch")


def heard(spec, **options):
    events = []
    model = drain(training_events(IMAGE, STROKES, spec, **options), events.append)
    return model, events


def spec(steps, **more):
    return TrainSpec(steps=steps, network=NETWORK, patch=(16, 16), device="cpu", **more)


def warnings(events):
    return [event.message for event in events if type(event) is Warned]


def test_a_step_that_is_not_finite_is_left_out_and_said_once(monkeypatch):
    calls, real = [], Learner.loss

    def loss(self, logits, batch):
        calls.append(1)
        if len(calls) in (2, 5):
            for module in self.network.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.running_mean.data.fill_(float("nan"))
            return real(self, logits, batch) * float("inf")
        return real(self, logits, batch)

    monkeypatch.setattr(Learner, "loss", loss)
    model, events = heard(spec(8))
    losses = [event.loss for event in events if isinstance(event, Step)]
    assert [n for n, value in enumerate(losses, 1) if not np.isfinite(value)] == [2, 5]
    [said] = [w for w in warnings(events) if "loss" in w]
    assert said.startswith(
        "Step 2: found a loss that is not finite (NaN or infinite), expected a number; such steps are left out."
    )
    assert all(torch.isfinite(t).all() for t in model.network.state_dict().values())


def test_a_training_of_nothing_but_such_steps_ends_in_a_sentence_and_keeps_what_it_had(monkeypatch):
    real, calls = Learner.loss, []

    def loss(self, logits, batch):
        calls.append(1)
        return real(self, logits, batch) * (float("nan") if len(calls) > 3 else 1)

    monkeypatch.setattr(Learner, "loss", loss)
    events = []
    with pytest.raises(
        LimnError,
        match=r"^found a loss that is not finite \(NaN or infinite\) in 20 steps one after the other, expected",
    ):
        drain(training_events(IMAGE, STROKES, spec(60)), events.append)
    assert len(calls) == 23
    [*_, best] = [event.model for event in events if isinstance(event, Improved)]
    assert all(torch.isfinite(t).all() for t in best.network.state_dict().values())


def test_a_network_without_finite_scores_is_never_shown_for_them(monkeypatch):
    real = ModelSelector._computed
    monkeypatch.setattr(
        ModelSelector, "_computed", lambda self, *a, **k: [x * float("nan") for x in real(self, *a, **k)]
    )
    _, events = heard(spec(40))
    assert not [event for event in events if isinstance(event, Scored | Improved)]
    [said] = [w for w in warnings(events) if "score" in w]
    assert said.startswith(
        "The network gives no finite score (NaN or infinite) for held-out strokes, so it is not shown;"
    )


def test_a_rate_that_is_far_too_high_is_no_silent_failure():
    with pytest.raises(LimnError, match=r"train with a rate below 1e\+30"):
        heard(spec(40, rate=1e30))
