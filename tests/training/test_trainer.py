"""A training run: its events, its result, its budget, and what it refuses."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from two_areas import (
    IMAGE,
    SHORT,
    SPEC,
    STROKES,
    TINY,
    same_weights,
    weights,
)

from napari_limn.errors import LimnError
from napari_limn.events import Improved, Scored, Step, Warned, drain
from napari_limn.inference.pipeline import predict
from napari_limn.model import Model, ModelSpec
from napari_limn.network.spec import PixelSpec
from napari_limn.network.unet import UNet
from napari_limn.training.planning.presets import preset_network
from napari_limn.training.spec import AugmentSpec, TrainSpec
from napari_limn.training.trainer import train, training_events
from napari_limn.volume.axes import Axes
from napari_limn.volume.volume import Volume

torch.set_num_threads(1)


def test_a_model_remembers_how_it_came_about(trained):
    model, events = trained
    spec = model.spec
    assert spec.classes.values == (2, 5)
    assert spec.network == replace(TINY, in_channels=1, out_channels=2)
    assert spec.steps in {e.step for e in events if isinstance(e, Scored) and e.best}
    assert 0 < spec.seconds
    assert spec.intensity == SPEC.intensity
    assert not model.network.training


def test_colours_names_spacing_and_unit_are_saved():
    volume = Volume.of(IMAGE, Axes.of("YX", (0.2, 0.1), ("micrometer",) * 2))
    red = (1.0, 0.0, 0.0, 1.0)
    model = train(volume, STROKES, replace(SPEC, steps=1), colors={5: red}, names={2: "cytoplasm"})
    assert model.spec.classes.names == ("cytoplasm", "class 5")
    assert model.spec.classes.color_of[5] == red
    assert model.spec.spacing == (1.0, 0.2, 0.1)
    assert model.spec.unit == "micrometer"


def test_events_come_in_order_and_say_what_they_should(trained):
    _, events = trained
    steps = [e for e in events if isinstance(e, Step)]
    assert [e.step for e in steps] == list(range(1, 31))
    assert [e.done for e in steps] == pytest.approx([n / 30 for n in range(1, 31)])
    assert all(
        a.seconds <= b.seconds for a, b in zip(events, events[1:], strict=False) if type(a) is type(b) is Step
    )
    assert np.mean([e.loss for e in steps[-5:]]) < np.mean([e.loss for e in steps[:5]])
    assert {type(e) for e in events} == {Step, Scored, Improved}
    assert isinstance(events[-1], Scored)


def test_every_improvement_is_followed_by_its_score_and_the_last_one_is_returned(trained):
    model, events = trained
    best = [e.score for e in events if isinstance(e, Scored) and e.best]
    assert model.spec.score == best[-1] > best[0]
    for before, after in zip(events, events[1:], strict=False):
        assert isinstance(before, Improved) == (isinstance(after, Scored) and after.best)
        if isinstance(before, Improved):
            assert before.model.spec.score == after.score
            assert before.model.spec.steps == after.step
    assert model is [e.model for e in events if isinstance(e, Improved)][-1]


def test_no_step_is_scored_twice(trained):
    scored = [e.step for e in trained[1] if isinstance(e, Scored)]
    assert len(scored) == len(set(scored))


def test_the_same_seed_gives_the_same_model_and_another_seed_another():
    first, second, other = (train(IMAGE, STROKES, replace(SHORT, seed=s)) for s in (1, 1, 2))
    assert same_weights(first, second)
    assert replace(first.spec, seconds=0) == replace(second.spec, seconds=0)
    assert not same_weights(first, other)


def test_training_does_not_depend_on_the_random_state_of_the_process():
    torch.manual_seed(123)
    np.random.seed(5)  # noqa: NPY002
    first = train(IMAGE, STROKES, SHORT)
    torch.manual_seed(321)
    assert same_weights(first, train(IMAGE, STROKES, SHORT))


def test_a_user_who_stops_early_keeps_the_best_model_until_then():
    run = training_events(IMAGE, STROKES, SPEC)
    kept = None
    for event in run:
        if isinstance(event, Improved):
            kept = event.model
        if isinstance(event, Step) and event.step == 12:
            break
    run.close()
    assert 0 < kept.spec.steps <= 12
    before = {name: tensor.clone() for name, tensor in weights(kept).items()}
    assert set(np.unique(predict(kept, IMAGE))) <= {2, 5}
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(kept).items())


def test_an_improvement_is_not_changed_by_the_steps_after_it():
    run = training_events(IMAGE, STROKES, replace(SPEC, steps=10))
    first = next(e for e in run if isinstance(e, Improved)).model
    before = {name: tensor.clone() for name, tensor in weights(first).items()}
    last = drain(run)
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(first).items())
    assert not same_weights(first, last)


def test_listen_hears_every_event():
    heard = []
    train(IMAGE, STROKES, SHORT, listen=heard.append)
    assert sum(isinstance(e, Step) for e in heard) == 4


def test_too_little_paint_to_hold_out_is_warned_about_and_the_last_model_kept():
    few = np.zeros_like(STROKES)
    few[10, 5:40], few[80, 60:90] = 2, 5
    events = []
    model = drain(training_events(IMAGE, few, SHORT), events.append)
    warned = [event.message for event in events if isinstance(event, Warned)]
    assert "class 2: found 35 painted voxels" in warned[0]
    assert "too little paint to hold any out" in warned[-1]
    assert "paint more strokes of each class" in warned[-1]
    assert not any(isinstance(e, Scored) for e in events)
    assert (model.spec.steps, model.spec.score) == (4, None)


def test_without_held_out_paint_nobody_is_warned():
    events = []
    model = drain(training_events(IMAGE, STROKES, replace(SHORT, held_out=0.0)), events.append)
    assert not any(isinstance(e, (Warned, Scored)) for e in events)
    assert model.spec.steps == 4


def test_one_painted_class_names_both_ways_out():
    with pytest.raises(
        LimnError, match=r"only one painted value \(5\).*background as a class.*0 is background"
    ):
        train(IMAGE, np.where(STROKES == 5, 5, 0), SHORT)


def test_labels_of_another_shape_are_refused_with_both():
    with pytest.raises(LimnError, match=r"\(1, 1, 96, 90\), expected \(1, 1, 96, 96\) like the image"):
        train(IMAGE, STROKES[:, :90], SHORT)


def test_a_time_budget_is_kept():
    steps = []
    began = time.perf_counter()
    spec = replace(SPEC, steps=None, seconds=1.0)
    model = train(IMAGE, STROKES, spec, listen=lambda e: steps.append(e) if isinstance(e, Step) else None)
    took = time.perf_counter() - began
    assert 1.0 <= took < 15
    assert len(steps) >= 1
    assert steps[-1].done == 1.0
    assert all(e.done < 1 for e in steps[:-1])
    assert model.spec.score is not None


def test_even_the_smallest_budget_takes_a_step():
    model = train(IMAGE, STROKES, replace(SPEC, steps=None, seconds=1e-9, held_out=0.0))
    assert model.spec.steps == 1


def test_a_trained_model_survives_its_file(trained, tmp_path):
    model, _ = trained
    loaded = Model.load(model.save(tmp_path / "m.limn"))
    assert loaded.spec == model.spec
    assert isinstance(loaded.spec, ModelSpec)
    assert np.array_equal(predict(loaded, IMAGE), predict(model, IMAGE))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "loss",
            "mse",
            "found 'mse', expected one of cross_entropy, dice, focal, cross_entropy+dice, focal+dice",
        ),
        ("preset", "huge", "found 'huge', expected one of fast, balanced, thorough"),
        ("class_weights", (0.0, 0.0), "expected weights of 0 or more, not all 0"),
        ("class_weights", (-1.0, 2.0), "expected weights of 0 or more, not all 0"),
        ("class_weights", (1.0, float("inf")), "expected weights of 0 or more, not all 0"),
        ("objects", True, "found 0 as unlabelled, expected masks of every object; set zero to 'background'"),
    ],
)
def test_a_wrong_field_is_refused_by_name(field, value, message):
    with pytest.raises(LimnError) as error:
        TrainSpec(**{field: value})
    assert f"TrainSpec.{field}" in str(error.value)
    assert message in str(error.value)


def test_what_is_infinite_is_refused():
    with pytest.raises(LimnError, match="rate inf"):
        TrainSpec(rate=float("inf"))
    with pytest.raises(LimnError, match="noise: found inf, expected 0 or more"):
        AugmentSpec(noise=float("inf"))
    with pytest.raises(LimnError, match="scales: found"):
        PixelSpec(scales=((1.0, float("inf")),))


@pytest.mark.parametrize("dims", [2, 3])
def test_presets_differ_in_size_and_fit_the_data(dims):
    counts = [
        sum(p.numel() for p in UNet(preset_network(preset, dims, (4.0, 1.0, 1.0), 32)).parameters())
        for preset in ("fast", "balanced", "thorough")
    ]
    assert counts == sorted(set(counts))
    assert preset_network("balanced", 3, (4.0, 1.0, 1.0)).factors[0] == (1, 2, 2)
    assert preset_network("balanced", 3, planes=4).factors == ((1, 2, 2),) * 3
