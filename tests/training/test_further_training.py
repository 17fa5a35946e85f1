"""Training that goes on from a model: what it keeps, adds, and refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from two_areas import (
    IMAGE,
    SHORT,
    STROKES,
    TINY,
    TINY_VOLUME,
    TRUTH,
    image_of,
    same_weights,
    strokes_of,
    weights,
)

from napari_limn.annotation.classes import Classes
from napari_limn.annotation.objects import foreground
from napari_limn.errors import LimnError
from napari_limn.events import Improved, Scored, Warned, drain
from napari_limn.model import Model, ModelSpec
from napari_limn.network.unet import UNet
from napari_limn.training import trainer
from napari_limn.training.data.training_set import TrainingSet
from napari_limn.training.planning.initial_model import with_classes
from napari_limn.training.spec import TrainSpec
from napari_limn.training.trainer import train, training_events
from napari_limn.volume.axes import Axes
from napari_limn.volume.boxes import whole
from napari_limn.volume.volume import Volume

torch.set_num_threads(1)


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
    other = replace(SHORT, network=None, intensity=replace(SHORT.intensity, low=10.0))
    further = train(IMAGE, STROKES, other, model=model)
    assert further.spec.network == model.spec.network
    assert further.spec.intensity == model.spec.intensity


def over_volumes():
    """A network over volumes that has learnt nothing yet."""
    return Model(ModelSpec(network=TINY_VOLUME, classes=Classes((2, 5))), UNet(TINY_VOLUME))


@pytest.mark.parametrize(
    "spec",
    [TrainSpec(steps=1), replace(SHORT, network=None), replace(SHORT, network=None, dims=3)],
    ids=["default", "2D", "3D"],
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


def test_a_new_class_turns_a_sigmoid_into_a_softmax_and_keeps_what_it_knew():
    model = train(IMAGE, STROKES, replace(SHORT, network=replace(TINY, head="sigmoid")))
    more = with_classes(model, Classes((2, 5, 7)))
    assert more.spec.network.head == "softmax"
    x = torch.randn(1, 1, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(more.network.eval()(x)[:, :2], model.network.eval()(x), atol=1e-5)
