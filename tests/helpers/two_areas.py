"""An image of two areas, its strokes, and specs of trainings that take a moment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from napari_limn.network.spec import UNetSpec
from napari_limn.training.spec import TrainSpec

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


def weights(model):
    return model.network.state_dict()


def same_weights(one, other):
    return all(torch.equal(a, b) for a, b in zip(weights(one).values(), weights(other).values(), strict=True))
