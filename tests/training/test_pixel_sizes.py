"""Images whose pixels are of another size than those of the model are named, in a new training too."""

from __future__ import annotations

import numpy as np
import pytest

from napari_limn.events import Warned
from napari_limn.network.spec import UNetSpec
from napari_limn.training.spec import TrainSpec
from napari_limn.training.trainer import train, training_events
from napari_limn.volume.axes import Axes
from napari_limn.volume.volume import Volume

PLANES, VOLUMES = UNetSpec(width=2, factors=((2, 2),)), UNetSpec(width=2, factors=((1, 2, 2),))
STROKES = np.zeros((32, 32), np.uint8)
STROKES[4:8, 4:28], STROKES[20:24, 4:28] = 1, 2


def image(name, size, unit="micrometer", deep=None):
    noise = np.random.default_rng(0).normal(size=(32, 32)).astype(np.float32)
    if deep is None:
        return Volume.of(noise, Axes.of("YX", (size, size), (unit,) * 2), name)
    return Volume.of(np.stack([noise] * 4), Axes.of("ZYX", (deep, size, size), (unit,) * 3), name)


def labels_of(images):
    return [STROKES if "Z" not in image.axes.names else np.stack([STROKES] * 4) for image in images]


def warned(images, network=PLANES, model=None):
    spec = TrainSpec(steps=1, network=network, patch=(16,) * network.ndim, device="cpu", held_out=0)
    events = training_events(images, labels_of(images), spec, model=model)
    return [e.message for e in events if isinstance(e, Warned) and "trained at" in e.message]


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ([image("a", 0.1), image("b", 0.1)], []),
        ([image("a", 0.1), image("b", 0.12)], []),
        ([image("a", 0.1), image("b", 100, "nanometer")], []),
        (
            [image("a", 0.1), image("b", 0.3)],
            [
                "b: pixels are 0.3 micrometer wide, the model was trained at 0.1; structures look smaller to it."
            ],
        ),
        (
            [image("a", 0.1), image("b", 0.1), image("c", 30, "nanometer")],
            ["c: pixels are 30 nanometer wide, the model was trained at 100; structures look larger to it."],
        ),
        ([image("a", 0.1), image("b", 1, "pixel")], []),
        ([image("a", 1, "pixel"), image("b", 5, "pixel")], []),
    ],
    ids=["same", "about the same", "another unit", "coarser", "finer third", "unknown", "unknown both"],
)
def test_images_of_unlike_pixel_sizes_are_named(images, said):
    assert warned(images) == said


def test_planes_farther_apart_count_for_a_network_over_volumes_alone():
    stacks = [image("a", 0.1, deep=0.3), image("b", 0.1, deep=0.9)]
    assert warned(stacks) == []
    assert warned(stacks, VOLUMES) == [
        "b: planes are 0.9 micrometer apart, the model was trained at 0.3; structures look smaller to it."
    ]


def test_of_a_model_that_is_trained_further_its_own_size_counts():
    first = image("a", 0.1)
    spec = TrainSpec(steps=1, network=PLANES, patch=(16, 16), device="cpu", held_out=0)
    model = train(first, STROKES, spec)
    said = warned([image("b", 0.3), image("c", 0.3)], model=model)
    assert [line.split(":")[0] for line in said] == ["b", "c"]
