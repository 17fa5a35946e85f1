"""Budgets that the first answer takes as a whole."""

from __future__ import annotations

import numpy as np
import torch

from napari_limn.events import Improved, Noted, Scored, Step, drain
from napari_limn.network.spec import UNetSpec
from napari_limn.training import run as run_module
from napari_limn.training.first_answer import answer
from napari_limn.training.spec import TrainSpec
from napari_limn.training.trainer import training_events

torch.set_num_threads(1)
IMAGE = np.random.default_rng(0).normal(50, 5, (64, 64)).astype(np.float32)
IMAGE[32:] += 100
STROKES = np.zeros(IMAGE.shape, np.uint8)
STROKES[4:30:8, 4:60], STROKES[36:62:8, 4:60] = 1, 2


def test_a_first_answer_that_takes_all_of_the_time_is_the_result_and_nothing_else_is_computed(monkeypatch):
    def fail(*_):
        raise AssertionError("computed")

    monkeypatch.setattr(answer, "pseudo_labels", fail)
    monkeypatch.setattr(run_module.Learner, "step", fail)
    events = []
    model = drain(training_events(IMAGE, STROKES, TrainSpec(seconds=1e-6, device="cpu")), events.append)
    assert [type(event) for event in events if isinstance(event, Improved | Step | Scored)] == [Improved]
    [said] = [event.message for event in events if isinstance(event, Noted)]
    assert said.startswith(
        "The first answer took the 1e-06 seconds, so no network was trained, and nothing was scored; give"
    )
    assert (model.spec.steps, model.spec.score, model.spec.network.share) == (0, None, 1.0)


def test_a_step_that_is_taken_though_the_time_is_over_teaches_something(monkeypatch):
    network = UNetSpec(width=2, factors=((2, 2),))
    spec = TrainSpec(seconds=1e-9, network=network, patch=(16, 16), held_out=0.0, device="cpu")
    rates, real = [], torch.optim.AdamW.step

    def step(self, *args, **kwargs):
        rates.extend(group["lr"] for group in self.param_groups)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    model = drain(training_events(IMAGE, STROKES, spec))
    assert model.spec.steps == 1
    assert rates == [spec.rate]
