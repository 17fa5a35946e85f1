from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_limn.annotation.classes import Classes
from napari_limn.annotation.objects import foreground
from napari_limn.errors import LimnError
from napari_limn.evaluation.scores import score
from napari_limn.events import Improved, Scored, Step, Warned, drain
from napari_limn.inference.pipeline import PredictSpec, predict
from napari_limn.model import Model, ModelSpec
from napari_limn.network.spec import PixelSpec, UNetSpec
from napari_limn.network.unet import UNet
from napari_limn.training import trainer
from napari_limn.training.data.training_set import TrainingSet
from napari_limn.training.planning.initial_model import with_classes
from napari_limn.training.planning.presets import preset_network
from napari_limn.training.spec import AugmentSpec, TrainSpec
from napari_limn.training.trainer import train, training_events
from napari_limn.volume.axes import Axes
from napari_limn.volume.boxes import whole
from napari_limn.volume.volume import Volume

torch.set_num_threads(1)

TINY = UNetSpec(width=4, factors=((2, 2), (2, 2)))
TINY_VOLUME = UNetSpec(width=4, factors=((1, 2, 2), (2, 2, 2)))
SPEC = TrainSpec(steps=30, network=TINY, patch=(32, 32), rate=1e-2, device="cpu")
SHORT = replace(SPEC, steps=4)


def truth_of(size=96):
    """Value 5 right of a slanted line, value 2 left of it."""
    y, x = np.indices((size, size))
    return np.where(x > size / 2 + (y - size / 2) / 4, 5, 2).astype(np.uint8)


def image_of(truth, seed=0, contrast=100):
    return (truth * contrast + np.random.default_rng(seed).normal(0, 40, truth.shape)).astype(np.float32)


def strokes_of(truth, step=10, values=(2, 5)):
    """Short strokes along every `step`-th row, in the truth's own values."""
    painted = np.zeros_like(truth)
    for y in range(4, truth.shape[-2], step):
        for x in range(4, truth.shape[-1] - 14, 16):
            painted[..., y, x : x + 10] = truth[..., y, x : x + 10]
    return np.where(np.isin(painted, values), painted, 0).astype(truth.dtype)


TRUTH = truth_of()
IMAGE, STROKES = image_of(TRUTH), strokes_of(TRUTH)


@pytest.fixture(scope="module")
def trained():
    """A model after thirty steps, and everything that its run reported."""
    events = []
    return drain(training_events(IMAGE, STROKES, SPEC), events.append), events


def weights(model):
    return model.network.state_dict()


def same_weights(one, other):
    return all(torch.equal(a, b) for a, b in zip(weights(one).values(), weights(other).values(), strict=True))


def test_thirty_steps_learn_two_areas(trained):
    model, _ = trained
    unseen = truth_of()[::-1].copy()
    assert score(predict(model, image_of(unseen, seed=9)), unseen).mean_iou > 0.9
    assert model.spec.score > 0.9


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
    run = training_events(IMAGE, STROKES, SPEC)
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


def test_further_training_adds_up_and_begins_with_a_score(trained):
    model, _ = trained
    events = []
    further = drain(training_events(IMAGE, STROKES, SHORT, model=model), events.append)
    assert isinstance(events[0], Improved)
    assert isinstance(events[1], Scored)
    assert events[1].step == 0
    assert same_weights(events[0].model, model)
    assert events[1].score == pytest.approx(model.spec.score, abs=0.02)
    assert further.spec.score >= events[1].score - 0.1  # or so little worse that strokes cannot tell
    assert further.spec.classes == model.spec.classes
    no_score = train(IMAGE, STROKES, replace(SHORT, held_out=0.0), model=model)
    assert no_score.spec.steps == model.spec.steps + 4
    assert no_score.spec.seconds > model.spec.seconds
    assert not same_weights(no_score, model)


def test_the_more_steps_a_model_had_the_less_the_first_ones_of_further_training_move_it(trained):
    model, spec = trained[0], replace(SHORT, held_out=0.0)

    def moved(steps):
        before = Model(replace(model.spec, steps=steps), model.network)
        after = train(IMAGE, STROKES, spec, model=before)
        return float((weights(after)["head.weight"] - weights(model)["head.weight"]).norm())

    assert 0 < moved(1000) < moved(1) / 4


def test_further_training_on_voxels_of_another_size_is_warned_about():
    axes = Axes.of("YX", (0.5, 0.5), ("micrometer",) * 2)
    model = train(Volume.of(IMAGE, axes), STROKES, SHORT)
    for size, count in ((0.5, 0), (1.0, 1)):
        image, events = Volume.of(IMAGE, Axes.of("YX", (size, size), ("micrometer",) * 2)), []
        drain(training_events(image, STROKES, SHORT, model=model), events.append)
        assert (
            sum(isinstance(e, Warned) and "the model was trained at 0.5" in e.message for e in events)
            == count
        )


def test_further_training_leaves_the_model_it_began_with_as_it_was(trained):
    model, _ = trained
    before = {name: tensor.clone() for name, tensor in weights(model).items()}
    train(IMAGE, STROKES, SHORT, model=model)
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(model).items())


def test_further_training_keeps_the_network_and_intensity_of_the_model(trained):
    model, _ = trained
    other = replace(SHORT, network=UNetSpec(width=8), intensity=replace(SHORT.intensity, low=10.0))
    further = train(IMAGE, STROKES, other, model=model)
    assert further.spec.network == model.spec.network
    assert further.spec.intensity == model.spec.intensity


def over_volumes():
    """A network over volumes that has learnt nothing yet."""
    return Model(ModelSpec(network=TINY_VOLUME, classes=Classes((2, 5))), UNet(TINY_VOLUME))


@pytest.mark.parametrize(
    "spec", [TrainSpec(steps=1), SHORT, replace(SHORT, dims=3)], ids=["default", "2D", "3D"]
)
def test_a_network_over_volumes_is_not_trained_further_on_a_plane(spec):
    with pytest.raises(LimnError, match="single plane, expected a stack for a 3D network"):
        train(IMAGE, STROKES, spec, model=over_volumes())
    stack, strokes = np.stack([IMAGE] * 8), np.stack([STROKES] * 8)
    with pytest.raises(LimnError, match="single plane, expected a stack for a 3D network"):
        train([Volume.of(stack, "ZYX"), IMAGE], [strokes, STROKES], spec, model=over_volumes())


def test_a_network_over_planes_is_trained_further_whatever_axes_the_spec_asks_for(trained):
    further = train(IMAGE, STROKES, replace(SHORT, network=None, dims=3, steps=1), model=trained[0])
    assert further.spec.network == trained[0].spec.network


def test_a_network_over_volumes_that_is_trained_further_separates_objects_along_z(monkeypatch):
    objects = np.zeros((8, 40, 40), np.uint16)
    objects[:4, 8:24, 8:24], objects[4:, 8:24, 8:24] = 1, 2
    image = image_of((objects > 0).astype(float), contrast=300)
    spec = TrainSpec(steps=1, patch=(4, 16, 16), zero="background", objects=True, device="cpu", held_out=0)
    model = replace(
        over_volumes(), spec=replace(over_volumes().spec, classes=Classes((0, 1), zero="background"))
    )
    seen = []
    monkeypatch.setattr(
        trainer, "TrainingSet", lambda painted, *of: seen.append(painted) or TrainingSet(painted, *of)
    )
    train(image, objects, spec, model=model)
    everywhere = whole(seen[0].images[0].grid)
    learned = seen[0].labels[0].read(everywhere)
    np.testing.assert_array_equal(learned, foreground(Volume.of(objects), 3).read(everywhere))
    assert learned.sum() < (objects > 0).sum()


def test_one_class_of_corrections_is_enough_for_further_training(trained):
    corrections = np.where(STROKES == 5, 5, 0).astype(np.uint8)
    assert train(IMAGE, corrections, SHORT, model=trained[0]).spec.classes.values == (2, 5)


def test_further_training_learns_classes_that_the_model_did_not_know(trained):
    model, _ = trained
    truth = TRUTH.copy()
    truth[60:, :40] = 9
    further = train(
        image_of(truth), strokes_of(truth, values=(2, 5, 9)), SHORT, model=model, names={9: "new"}
    )
    assert further.spec.classes.values == (2, 5, 9)
    assert further.spec.classes.names == ("class 2", "class 5", "new")
    assert further.spec.network.out_channels == 3


def test_with_classes_keeps_the_outputs_of_old_classes_exactly(trained):
    model, _ = trained
    wider = with_classes(model, Classes((1, 2, 3, 5)))
    x = torch.rand(1, 1, 24, 24)
    with torch.inference_mode():
        old, new = model.network(x), wider.network.eval()(x)
    assert new.shape[1] == 4
    assert torch.allclose(new[:, [1, 3]], old, atol=1e-6)
    assert torch.equal(weights(wider)["head.weight"][[1, 3]], weights(model)["head.weight"])
    assert torch.allclose(new[:, 0], old.mean(1), atol=1e-5)
    assert torch.equal(new[:, 0], new[:, 2])


def test_another_number_of_channels_is_refused_with_both(trained):
    with pytest.raises(LimnError, match="found 3 channels, the model expects 1; choose the channels"):
        train(np.stack([IMAGE] * 3, -1), STROKES, SHORT, model=trained[0])


def test_another_meaning_of_zero_is_refused(trained):
    with pytest.raises(LimnError, match="0 as unlabelled, the labels say 0 is background"):
        train(IMAGE, STROKES, replace(SHORT, zero="background"), model=trained[0])


def test_one_painted_class_names_both_ways_out():
    with pytest.raises(
        LimnError, match=r"only one painted value \(5\).*background as a class.*0 is background"
    ):
        train(IMAGE, np.where(STROKES == 5, 5, 0), SHORT)


def test_one_painted_class_trains_when_zero_is_background():
    mask = np.where(TRUTH == 5, 5, 0).astype(np.uint8)
    model = train(IMAGE, mask, replace(SPEC, zero="background"))
    assert model.spec.classes.names == ("background", "class 5")
    assert score(predict(model, IMAGE), mask, "background").mean_iou > 0.9


def test_labels_of_another_shape_are_refused_with_both():
    with pytest.raises(LimnError, match=r"\(1, 1, 96, 90\), expected \(1, 1, 96, 96\) like the image"):
        train(IMAGE, STROKES[:, :90], SHORT)


def test_color_images_train():
    rgb = np.stack([IMAGE, 500 - IMAGE, np.zeros_like(IMAGE)], -1)
    model = train(rgb, STROKES, SPEC)
    assert model.spec.network.in_channels == 3
    assert score(predict(model, rgb), TRUTH).mean_iou > 0.9


def test_a_small_stack_trains_a_network_over_volumes():
    truth = np.stack([TRUTH] * 8)
    stack, strokes = image_of(truth), np.zeros_like(truth)
    strokes[2], strokes[5] = STROKES, STROKES
    spec = replace(SPEC, dims=3, network=TINY_VOLUME, patch=(4, 32, 32), steps=60)
    model = train(Volume.of(stack, "ZYX"), strokes, spec)
    assert model.spec.network.ndim == 3
    assert score(predict(model, Volume.of(stack, "ZYX")), truth).mean_iou > 0.9


def test_a_movie_trains_frame_by_frame():
    movie = np.stack([image_of(TRUTH, seed=s) for s in range(3)])
    strokes = np.zeros(movie.shape, np.uint8)
    strokes[1] = STROKES
    volume = Volume.of(movie, "TYX")
    model = train(volume, strokes, replace(SPEC, steps=60))
    assert model.spec.network.ndim == 2
    assert score(predict(model, volume)[2], TRUTH).mean_iou > 0.9


def test_several_images_train_one_model():
    other = TRUTH.T.copy()
    model = train([IMAGE, 3 * image_of(other)], [STROKES, strokes_of(other)], SPEC)
    assert score(predict(model, IMAGE), TRUTH).mean_iou > 0.9
    assert score(predict(model, 3 * image_of(other)), other).mean_iou > 0.9


def test_unpadded_networks_train():
    network = replace(TINY, padding="valid")
    model = train(IMAGE, STROKES, replace(SPEC, network=network, steps=60))
    assert score(predict(model, IMAGE), TRUTH).mean_iou > 0.9


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


def blobs(size=96):
    """Squares with numbers of their own, two of them touching, as image and as objects."""
    objects = np.zeros((size, size), np.uint16)
    for number, (y, x) in enumerate([(8, 8), (8, 24), (50, 10), (30, 60), (70, 70)], start=1):
        objects[y : y + 16, x : x + 16] = number
    return image_of((objects > 0).astype(float), contrast=300), objects


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"loss": "dice"}, marks=pytest.mark.exhaustive),
        pytest.param({"loss": "cross_entropy+dice"}, marks=pytest.mark.exhaustive),
        pytest.param({"loss": "focal"}, marks=pytest.mark.exhaustive),
        {"loss": "focal+dice"},
        {"class_weights": (1.0, 3.0)},
        {"augment": AugmentSpec(elastic=4.0)},
        {"network": replace(TINY, head="sigmoid")},
        {"network": replace(TINY, skip="nested", supervised=True)},
        {"network": replace(TINY, skip="attention", block="residual")},
        pytest.param(
            {"network": replace(TINY, up="interpolate", down="strided", dropout=0.2), "steps": 120},
            marks=pytest.mark.exhaustive,
        ),
        {"network": replace(TINY, norm="none", down="max_1x1"), "steps": 120},
    ],
    ids=str,
)
def test_every_loss_and_network_learns_two_areas(change):
    model = train(IMAGE, STROKES, replace(SPEC, **{"steps": 60} | change))
    unseen = truth_of()[::-1].copy()
    assert score(predict(model, image_of(unseen, seed=9)), unseen).mean_iou > 0.7  # by chance .25 to .5


@pytest.mark.parametrize(
    "norm",
    ["channel", *(pytest.param(n, marks=pytest.mark.exhaustive) for n in ("instance", "rms", "group"))],
)
def test_norms_that_take_brightness_away_learn_from_texture(norm):
    def grainy(truth, seed):
        grain = np.random.default_rng(seed).normal(0, 1, truth.shape)
        return np.where(truth == 5, 60 * grain, 8 * grain).astype(np.float32)

    # of width 8, at three times the rate, a norm over channels stays at a loss of ln 2 for 60 to 300 steps and more: how
    # long is up to the rounding of the processor
    network = replace(TINY, norm=norm, width=16)
    spec = replace(SPEC, network=network, rate=3e-3, steps=140, augment=AugmentSpec(noise=0.0))
    unseen = truth_of()[::-1].copy()
    found = predict(train(grainy(TRUTH, 0), STROKES, spec), grainy(unseen, 9))
    assert score(found, unseen).mean_iou > 0.8


def test_heavier_classes_take_more_room():
    hazy = image_of(TRUTH, contrast=8)
    share = [
        (predict(train(hazy, STROKES, replace(SPEC, class_weights=w)), hazy) == 5).mean()
        for w in ((10.0, 1.0), (1.0, 10.0))
    ]
    assert share[1] > share[0] + 0.2


def test_numbered_objects_train_a_network_that_separates_them():
    image, objects = blobs()
    spec = replace(SPEC, zero="background", objects=True, steps=60)
    model = train(image, objects, spec)
    assert model.spec.classes.values == (0, 1)
    assert score(predict(model, image), (objects > 0).astype(np.uint8), "background").mean_iou > 0.8


def test_a_supervised_network_can_be_pruned_saved_and_asked(tmp_path):
    network = replace(TINY, skip="nested", supervised=True)
    model = train(IMAGE, STROKES, replace(SPEC, steps=60, network=network))
    path = model.pruned(1).save(tmp_path / "small.limn")
    small = Model.load(path)
    assert small.spec.network.depth == 1
    np.testing.assert_array_equal(predict(small, IMAGE), predict(model, IMAGE, spec=PredictSpec(prune=1)))
    assert score(predict(small, IMAGE), TRUTH).mean_iou > 0.7
    again = train(IMAGE, STROKES, SHORT, model=small)
    assert again.spec.network == small.spec.network


def test_a_new_class_turns_a_sigmoid_into_a_softmax_and_keeps_what_it_knew():
    model = train(IMAGE, STROKES, replace(SPEC, network=replace(TINY, head="sigmoid")))
    more = with_classes(model, Classes((2, 5, 7)))
    assert more.spec.network.head == "softmax"
    x = torch.randn(1, 1, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(more.network.eval()(x)[:, :2], model.network.eval()(x), atol=1e-5)


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
