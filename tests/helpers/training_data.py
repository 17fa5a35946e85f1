"""Small images with paint, and the training sets of them."""

from __future__ import annotations

import numpy as np

from napari_limn.network.spec import UNetSpec
from napari_limn.training.data.painted import collect_training_data
from napari_limn.training.data.training_set import TrainingSet
from napari_limn.training.planning.resolve import resolve
from napari_limn.training.spec import TrainSpec

PLANES = UNetSpec(width=2, factors=((2, 2), (2, 2)))
VALID = UNetSpec(width=2, factors=((2, 2), (2, 2)), padding="valid", norm="none")
VOLUMES = UNetSpec(width=2, factors=((1, 2, 2), (2, 2, 2)))


def striped(shape=(128, 128), length=20, values=(1, 2), step=12, margin=4):
    """Short horizontal strokes in the last two axes, values in turn."""
    labels = np.zeros(shape, np.uint8)
    plane = labels.reshape(-1, *shape[-2:])[0]
    for i, y in enumerate(range(margin, shape[-2] - margin, step)):
        plane[y, margin + 30 * (i % 3) : margin + 30 * (i % 3) + length] = values[i % len(values)]
    return labels


def noise(shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def data_for(images, labels, network=PLANES, **spec):
    spec = TrainSpec(**{"network": network, "patch": (32,) * network.ndim, "batch": 6} | spec)
    painted = collect_training_data(images, labels, spec, None, {}, {})
    return training_set(painted, spec)


def training_set(painted, spec, after=None):
    return TrainingSet(painted, resolve(spec, painted.images[0], painted.classes), after)


def image_of_labels(labels):
    """An image that is its labels: what the network sees shows what it should learn."""
    return labels.astype(np.float32)


def unscaled(data, images):
    scaling = data.regions.scalings[0]
    return images.double() * scaling.width[0] + scaling.low[0]
