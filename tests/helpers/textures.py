"""Two areas that differ by their texture alone, strokes on them, and what is learnt of these."""

from __future__ import annotations

from functools import cache

import numpy as np

from napari_limn.network.spec import PixelSpec, UNetSpec
from napari_limn.network.unet import UNet
from napari_limn.training.data.painted import collect_training_data
from napari_limn.training.data.regions import RegionReader
from napari_limn.training.planning.resolve import resolve
from napari_limn.training.spec import TrainSpec
from napari_limn.training.trainer import train

PIXELS = PixelSpec(scales=((1.0, 1.0), (2.5, 2.5)))
NETWORK = UNetSpec(width=4, factors=((2, 2),), pixels=PIXELS)
SPEC = TrainSpec(steps=2, network=NETWORK, patch=(32, 32), device="cpu")


def texture(size=128, seed=0):
    """Two areas of the same mean: fine stripes right of the middle, noise left of it; the truth in paint values 1 and 2."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((size, size))
    right = x >= size / 2
    image = np.where(right, np.sin(y * 1.5) * 2, rng.normal(0, 1, (size, size)))
    return image.astype(np.float32), np.where(right, 2, 1).astype(np.uint8)


IMAGE, TRUTH = texture()


def strokes(rows=(20, 50, 80, 110)):
    painted = np.zeros_like(TRUTH)
    for y in rows:
        painted[y, 8:56] = 1
        painted[y, 72:120] = 2
    return painted


@cache
def learnt():
    """A model that these strokes were learnt by; no test changes it."""
    return train(IMAGE, strokes(), SPEC)


def prepared(spec=SPEC, image=IMAGE, labels=None):
    painted = collect_training_data(image, strokes() if labels is None else labels, spec, None, {}, {})
    resolved = resolve(spec, painted.images[0], painted.classes)
    return UNet(resolved.network), RegionReader(painted, resolved)
