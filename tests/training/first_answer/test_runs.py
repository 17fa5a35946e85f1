"""Training runs whose network has a pixel classifier: what is shown first, and what becomes of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from textures import IMAGE, NETWORK, PIXELS, SPEC, TRUTH, learnt, strokes, texture

from napari_limn.evaluation.scores import score
from napari_limn.events import Found, Improved, Scored, Step, Warned, Working, drain
from napari_limn.inference.pipeline import predict
from napari_limn.model import Model
from napari_limn.network.spec import PixelSpec, UNetSpec
from napari_limn.network.unet import UNet
from napari_limn.training.data.painted import collect_training_data
from napari_limn.training.data.training_set import TrainingSet
from napari_limn.training.first_answer import fit as instant
from napari_limn.training.first_answer.answer import FirstAnswer
from napari_limn.training.planning.resolve import resolve
from napari_limn.training.random_stream import RandomStream
from napari_limn.training.run import TrainingRun
from napari_limn.training.selection import maturity, share_beside
from napari_limn.training.spec import TrainSpec
from napari_limn.training.trainer import train, training_events

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("small_classifier")


def test_the_first_model_comes_before_the_first_step_and_is_good():
    events = []
    drain(training_events(IMAGE, strokes(), SPEC), events.append)
    first = next(i for i, e in enumerate(events) if isinstance(e, Improved))
    assert not any(isinstance(e, Step) for e in events[:first])
    model = events[first].model
    assert model.spec.network.share == 1.0
    unseen, truth = texture(seed=5)
    assert score(predict(model, unseen), truth).mean_iou > 0.85  # by chance .33


def test_the_first_answer_can_be_stopped_many_times():
    run = training_events(IMAGE, strokes(), SPEC)
    paused = 0
    for event in run:
        if isinstance(event, Improved):
            break
        paused += isinstance(event, Working)
    run.close()
    assert paused >= instant._GROUPS + instant._STEPS // instant._PAUSE


def test_what_held_out_strokes_say_of_the_first_model_comes_next():
    events = []
    drain(training_events(IMAGE, strokes(range(5, 125, 8)), SPEC), events.append)
    kinds = [type(e) for e in events if not isinstance(e, (Step, Working, Found))]
    # the second and third learn from what the one before is sure of; the fourth is the first again, with a score
    assert kinds[:5] == [Improved, Improved, Improved, Improved, Scored]
    assert 0.5 < next(e for e in events if isinstance(e, Scored)).score <= 1


def test_a_model_that_was_stopped_before_its_first_step_is_corrected_like_any_other():
    events = training_events(IMAGE, strokes(), SPEC)
    first = [e.model for e, _ in zip((e for e in events if isinstance(e, Improved)), range(3), strict=False)][
        -1
    ]
    events.close()
    assert first.spec.steps == 0
    corrections = np.where(strokes((60,)) == 2, 2, 0)
    after = train(IMAGE, corrections, replace(SPEC, held_out=0.0), model=first)
    assert score(predict(after, IMAGE), TRUTH).mean_iou > 0.9


def test_a_class_that_is_about_to_be_forgotten_is_named():
    model = learnt()
    noise = IMAGE[:, :64]
    events = []
    few = np.where(strokes()[:, :64] == 1, 1, 0)
    drain(training_events(noise, few, SPEC, model=model), events.append)
    warnings = [e.message for e in events if isinstance(e, Warned)]
    assert any("class 2: found neither strokes nor anything like it" in message for message in warnings)
    events.clear()
    drain(training_events(IMAGE, np.where(strokes() == 1, 1, 0), SPEC, model=model), events.append)
    assert not any("forget" in e.message for e in events if isinstance(e, Warned)), (
        "it is there, though not painted"
    )


def test_a_held_out_classifier_of_corrections_knows_the_class_that_was_not_corrected_from_before():
    truth, image = TRUTH.copy(), IMAGE.copy()
    truth[:, 100:], image[:, 100:] = 3, image[:, 100:] + 8
    painted = np.zeros_like(truth)
    for y in range(10, 120, 10):
        for low, high in ((8, 56), (72, 94), (104, 124)):
            painted[y, low:high] = truth[y, low:high]
    spec = replace(SPEC, network=None, steps=4, held_out=0.3)
    model = train(image, painted, spec)
    corrected = collect_training_data(image, np.where(painted > 1, painted, 0), spec, model.spec, {}, {})
    resolved = resolve(spec, corrected.images[0], corrected.classes, model)
    data = TrainingSet(corrected, resolved)
    assert data.regions.holds_out
    run = TrainingRun(model, resolved, data, RandomStream(0, resolved.device))
    drain(run.learning())
    classifier = run.answer._held_out_classifier
    bank = data.regions.features_of(0, ((0, 1), (0, 1), (0, 128), (0, 128)), classifier)
    found = classifier.logits_of(torch.from_numpy(bank)[None]).argmax(1)[0].numpy() + 1
    assert (found == truth)[:, :60].mean() > 0.9


def test_of_corrections_of_one_class_none_scores_the_model():
    """It would be right to call everything so."""
    spec = replace(SPEC, held_out=0.3)
    model = train(IMAGE, strokes(), spec)
    events = []
    after = drain(
        training_events(IMAGE, np.where(strokes(range(10, 120, 10)) == 2, 2, 0), spec, model=model),
        events.append,
    )
    assert after.spec.score is None
    assert not any(isinstance(e, Scored) for e in events)


@pytest.mark.exhaustive
def test_the_largest_seed_is_one_like_any_other():
    model = train(IMAGE, strokes(), replace(SPEC, seed=(1 << 32) - 1))
    assert score(predict(model, IMAGE), TRUTH).mean_iou > 0.85


def test_training_leaves_the_classifier_as_it_was_fitted():
    events = []
    final = drain(training_events(IMAGE, strokes(), replace(SPEC, steps=5)), events.append)
    answers = [e.model for e in events if isinstance(e, Improved)]
    first = answers[2]  # after it has learnt from itself
    for name, value in first.network.pixels.state_dict().items():
        assert torch.equal(value, final.network.pixels.state_dict()[name])


def test_a_network_that_is_not_shown_is_kept_to_go_on_from():
    few = strokes((20,))
    events = []
    final = drain(training_events(IMAGE, few, replace(SPEC, steps=5, soft_targets=0.0)), events.append)
    assert any("first answer stays" in e.message for e in events if isinstance(e, Warned))
    first = [e.model for e in events if isinstance(e, Improved)][2]
    assert final.spec.network.share == first.spec.network.share == 1.0
    assert final.spec.steps == 5
    assert not torch.equal(final.network.head.weight, first.network.head.weight)
    assert np.array_equal(predict(final, IMAGE), predict(first, IMAGE))


def test_with_nothing_held_out_a_network_distilled_from_the_classifier_joins_it_at_half_time():
    events = []
    spec = replace(SPEC, steps=20)
    final = drain(training_events(IMAGE, strokes((20,)), spec), events.append)
    assert not any("first answer stays" in e.message for e in events if isinstance(e, Warned))
    shares = [(e.model.spec.steps, e.model.spec.network.share) for e in events if isinstance(e, Improved)]
    assert {share for step, share in shares if step < 10} == {1.0}
    late = [(step, share) for step, share in shares if step >= 10]
    assert late
    size = spec.patch or (64, 64)
    assert all(share == share_beside(maturity(step, size)) < 1 for step, share in late)
    assert final.spec.network.share == share_beside(maturity(20, size))


def test_further_training_begins_with_what_was_shown_before():
    model = train(IMAGE, strokes(), SPEC)
    shown = replace(model, spec=replace(model.spec, network=replace(NETWORK, share=0.5)))
    events = []
    drain(training_events(IMAGE, strokes(), SPEC, model=shown), events.append)
    assert next(e.model for e in events if isinstance(e, Improved)).spec.network.share == 0.5


def shown_together(rows, spec):
    """A model whose network learnt these rows and is shown with a share of a quarter for its classifier."""
    first = train(IMAGE, strokes(rows), spec)
    grown = replace(first.spec.network, share=0.25)
    network = UNet(grown)
    network.load_state_dict(first.network.state_dict())
    return Model(replace(first.spec, network=grown), network.eval())


def test_further_training_does_not_fall_back_on_a_classifier_that_is_surely_worse(monkeypatch):
    spec, rows = replace(SPEC, steps=100, held_out=0.3), range(6, 124, 6)
    model = shown_together(rows, spec)
    ignorant = UNet(model.spec.network).pixels
    monkeypatch.setattr(FirstAnswer, "_held_out_start", lambda *_: (ignorant, ()))
    events = []
    drain(training_events(IMAGE, strokes(rows), replace(spec, steps=2), model=model), events.append)
    assert not next(e for e in events if isinstance(e, Scored)).best
    assert all(e.model.spec.network.share < 1 for e in events if isinstance(e, Improved))


@pytest.mark.exhaustive
def test_a_network_that_is_surely_worse_gives_way_to_the_classifier():
    spec, rows = replace(SPEC, steps=2, held_out=0.3), range(6, 124, 6)
    model = shown_together(rows, spec)
    with torch.no_grad():
        model.network.head.bias += torch.tensor([30.0, 0.0])  # it calls all of it one class
    events = []
    final = drain(training_events(IMAGE, strokes(rows), spec, model=model), events.append)
    assert next(e for e in events if isinstance(e, Scored)).best
    assert final.spec.network.share > 0.9
    assert score(predict(final, IMAGE), TRUTH).mean_iou > 0.9


@pytest.mark.parametrize(
    ("seed", "least"),
    [(0, 0.9), *(pytest.param(*c, marks=pytest.mark.exhaustive) for c in ((1, 0.9), (2, 0.85)))],
)
def test_corrections_change_the_answer_at_once(seed, least):
    spec = replace(SPEC, seed=seed)
    model = train(IMAGE, strokes(), spec) if seed != SPEC.seed else learnt()
    bright = IMAGE.copy()
    bright[:, :30] += 8  # what nobody has painted yet
    labels = strokes()
    labels[10:60:5, 3:20] = 2
    events = []
    drain(training_events(bright, labels, spec, model=model), events.append)
    first = next(e.model for e in events if isinstance(e, Improved))
    assert (predict(first, bright)[5:100, 4:24] == 2).mean() > least


def test_a_model_with_a_classifier_survives_its_file(tmp_path):
    model = learnt()
    loaded = Model.load(model.save(tmp_path / "m.limn"))
    assert loaded.spec == model.spec
    assert loaded.spec.network.pixels == PIXELS
    assert np.array_equal(predict(loaded, IMAGE), predict(model, IMAGE))


def test_three_classes_volumes_and_a_new_class():
    rng = np.random.default_rng(0)
    truth = np.zeros((8, 40, 60), np.uint8)
    truth[..., :20], truth[..., 20:40], truth[..., 40:] = 1, 2, 3
    image = (truth * 50 + rng.normal(0, 5, truth.shape)).astype(np.float32)
    labels = np.zeros_like(truth)
    labels[4, 5:35:10] = truth[4, 5:35:10]
    two = np.where(labels == 3, 0, labels)
    spec = TrainSpec(
        steps=1, patch=(8, 16, 16), device="cpu",
        network=UNetSpec(width=2, factors=((1, 2, 2),), pixels=PixelSpec(scales=((0.7, 1.0, 1.0),))),
    )  # fmt: skip
    model = train(image, two, spec)
    assert model.spec.classes.values == (1, 2)
    events = []
    drain(training_events(image, labels, spec, model=model), events.append)
    first = next(e.model for e in events if isinstance(e, Improved))
    assert first.spec.classes.values == (1, 2, 3)
    # what was sure before gives way to the new class, but for a few voxels of noise
    assert (predict(first, image) == truth).mean() > 0.9
