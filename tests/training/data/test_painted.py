"""What is collected to learn from, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from training_data import (
    PLANES,
    VOLUMES,
    data_for,
    noise,
    striped,
    training_set,
)

from napari_limn.annotation.classes import Classes
from napari_limn.errors import LimnError
from napari_limn.model import ModelSpec
from napari_limn.training.data.painted import collect_training_data
from napari_limn.training.planning.presets import choose_network
from napari_limn.training.spec import AugmentSpec, TrainSpec
from napari_limn.volume.axes import Axes
from napari_limn.volume.volume import Volume

torch.set_num_threads(1)


def test_as_many_images_as_labels_are_expected():
    with pytest.raises(LimnError, match="found 2 images and 1 labels, expected as many of each"):
        data_for([noise((64, 64))] * 2, [striped((64, 64))])
    with pytest.raises(LimnError, match="found 0 images and 0 labels"):
        data_for([], [])


def test_images_of_different_channels_are_refused():
    images = [Volume.of(noise((2, 64, 64)), "CYX"), Volume.of(noise((64, 64)))]
    with pytest.raises(LimnError, match="different numbers of channels"):
        data_for(images, [striped((64, 64))] * 2)


def test_labels_of_another_extent_are_refused_with_both():
    with pytest.raises(LimnError, match=r"\(1, 1, 32, 64\), expected \(1, 1, 64, 64\)"):
        data_for(noise((64, 64)), np.zeros((32, 64), np.uint8))


def test_labels_that_are_no_whole_numbers_are_refused():
    with pytest.raises(LimnError, match="type float32, expected whole numbers"):
        data_for(noise((64, 64)), noise((64, 64)))


def known_model(classes):
    return ModelSpec(network=PLANES, classes=classes)


def test_classes_of_all_pairs_and_of_a_known_model_come_together():
    labels = [striped((64, 64), values=(1, 2)), striped((64, 64), values=(2, 7))]
    painted = collect_training_data([noise((64, 64))] * 2, labels, TrainSpec(), None, {}, {7: "axon"})
    assert painted.classes.values == (1, 2, 7)
    assert painted.classes.names == ("class 1", "class 2", "axon")
    known = known_model(Classes((2, 9), names=("myelin", "fibre")))
    again = collect_training_data([noise((64, 64))], [labels[1]], TrainSpec(), known, {}, {})
    assert again.classes.name_of == {2: "myelin", 7: "class 7", 9: "fibre"}


def test_a_known_model_needs_paint_but_not_of_two_classes():
    one = striped((64, 64), values=(2,))
    assert collect_training_data(
        noise((64, 64)), one, TrainSpec(), known_model(Classes((2, 9))), {}, {}
    ).classes.values == (2, 9)
    with pytest.raises(LimnError, match=r"no painted voxel.*paint corrections first"):
        collect_training_data(
            noise((64, 64)), np.zeros_like(one), TrainSpec(), known_model(Classes((2, 9))), {}, {}
        )


def test_the_default_network_fits_the_data():
    plane = Volume.of(noise((64, 64, 3)))
    network = choose_network(TrainSpec(), plane, 5)
    assert (network.ndim, network.depth, network.in_channels, network.out_channels) == (2, 3, 3, 5)
    coarse = Volume.of(noise((10, 64, 64)), Axes.of("ZYX", (4.0, 1.0, 1.0)))
    assert choose_network(TrainSpec(dims=3), coarse, 2).factors == ((1, 2, 2), (1, 2, 2), (2, 2, 2))
    thin = Volume.of(noise((7, 64, 64)), "ZYX")
    assert choose_network(TrainSpec(dims=3), thin, 2).factors == ((1, 2, 2),) * 3


@pytest.mark.parametrize("spec", [TrainSpec(dims=3), TrainSpec(network=VOLUMES)])
@pytest.mark.parametrize("shapes", [[(64, 64)], [(8, 64, 64), (64, 64)], [(64, 64), (8, 64, 64)]], ids=str)
def test_no_image_is_a_single_plane_for_a_network_over_volumes(spec, shapes):
    assert spec.ndim == 3
    with pytest.raises(
        LimnError, match="single plane, expected a stack for a 3D network; choose a 2D network"
    ):
        collect_training_data([noise(s) for s in shapes], [striped(s) for s in shapes], spec, None, {}, {})


def test_the_axes_of_a_network_that_is_given_count_before_those_asked_for():
    assert TrainSpec().ndim == 2
    assert TrainSpec(dims=3, network=PLANES).ndim == 2
    stack = collect_training_data(
        noise((8, 64, 64)), striped((8, 64, 64)), TrainSpec(network=VOLUMES), None, {}, {}
    )
    assert stack.images[0].grid == (1, 8, 64, 64)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"seconds": 0}, "budget of 0 s"),
        ({"steps": 0}, "0 steps, expected more than 0"),
        ({"zero": "air"}, "'air', expected one of unlabelled, background"),
        ({"dims": 4}, "found 4, expected one of 2, 3"),
        ({"batch": 0}, "batch 0"),
        ({"seed": -1}, "seed: found -1"),
        ({"seed": 1 << 32}, "seed: found 4294967296"),
        ({"rate": 0}, "rate 0"),
        ({"held_out": 0.6}, "held_out 0.6"),
        ({"patch": (0, 4)}, r"\(0, 4\), expected extents of 1 or more"),
    ],
)
def test_a_specification_that_cannot_be_is_refused_with_the_value(field, message):
    with pytest.raises(LimnError, match=message):
        TrainSpec(**field)


def test_numbered_objects_become_one_class_separated_where_they_touch_with_weights_between():
    objects = np.zeros((128, 128), np.uint16)
    objects[40:60, 40:60], objects[40:60, 60:80], objects[40:60, 82:100] = 7, 3, 9
    augment = AugmentSpec(warped=0, noise=0)
    spec = TrainSpec(zero="background", objects=True, augment=augment, seed=0, network=PLANES)
    painted = collect_training_data(noise((128, 128)), objects, spec, None, {}, {})
    assert painted.classes.values == (0, 1)
    data = training_set(painted, spec)
    batch = data.batch()
    targets, weights = batch.targets, batch.weights
    assert weights.shape == targets.shape
    assert (weights[targets == 1] == 1).all()
    line = weights.max().item()
    assert line == pytest.approx(1 + 10 * np.exp(-4 / 50), rel=1e-4)  # one pixel to either side
    assert (weights[targets == 0] > 1).any()


def test_negative_numbers_of_objects_are_refused():
    objects = np.zeros((64, 64), np.int32)
    objects[8:20, 8:20], objects[30:40, 30:40] = 1, -1
    with pytest.raises(LimnError, match=r"negative label -1.*0 and above.*renumber"):
        collect_training_data(
            noise((64, 64)), objects, TrainSpec(zero="background", objects=True), None, {}, {}
        )


def test_weights_of_classes_must_be_as_many_as_classes():
    spec = TrainSpec(class_weights=(1.0, 2.0, 3.0))
    with pytest.raises(LimnError, match="found 3 weights for 2 classes"):
        collect_training_data(noise((128, 128)), striped(), spec, None, {}, {})
