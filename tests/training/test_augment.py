from __future__ import annotations

import numpy as np
import pytest

from napari_limn.annotation.classes import IGNORE
from napari_limn.training.augment import augmented

SHAPES = [(12, 12), (10, 14), (4, 8, 8), (3, 6, 9)]


def labels_of(shape, seed=0):
    return np.random.default_rng(seed).integers(-1, 5, shape).astype(np.int16)


def is_gain_and_offset(found, base):
    """Gain and offset that turn `base` into `found`, and the largest error left."""
    gain, offset = np.polyfit(base.ravel().astype(float), found.ravel().astype(float), 1)
    return gain, offset, np.abs(gain * base + offset - found).max()


@pytest.mark.parametrize("shape", SHAPES)
def test_image_and_labels_move_together(shape):
    labels = labels_of(shape)
    image = np.stack([labels, 10 - 2 * labels]).astype(np.float32)
    for seed in range(40):
        out_image, out_labels = augmented(image, labels, np.random.default_rng(seed))
        for channel, base in zip(out_image, (out_labels, 10 - 2 * out_labels), strict=True):
            gain, offset, error = is_gain_and_offset(channel, base)
            assert error < 1e-3
            assert 0.8 <= gain <= 1.25
            assert abs(offset) <= 0.1001


@pytest.mark.parametrize("shape", SHAPES)
def test_labels_are_rearranged_and_never_changed(shape):
    labels = labels_of(shape)
    image = np.zeros((1, *shape), np.float32)
    for seed in range(20):
        _, out = augmented(image, labels, np.random.default_rng(seed))
        assert out.dtype == labels.dtype
        assert out.shape == shape
        assert np.array_equal(np.sort(out.ravel()), np.sort(labels.ravel()))
        assert (out == IGNORE).sum() == (labels == IGNORE).sum() > 0


@pytest.mark.parametrize(("shape", "variants"), [((4, 4), 8), ((4, 6), 4), ((2, 4, 4), 16), ((2, 4, 6), 8)])
def test_every_symmetry_of_the_patch_is_drawn(shape, variants):
    labels = np.arange(np.prod(shape)).reshape(shape).astype(np.int16)
    image = np.zeros((1, *shape), np.float32)
    rng = np.random.default_rng(0)
    assert len({augmented(image, labels, rng)[1].tobytes() for _ in range(600)}) == variants


@pytest.mark.parametrize("ndim", [2, 3])
def test_labels_smaller_than_the_image_stay_in_its_middle(ndim):
    margin = (slice(2, -2),) * ndim
    image = np.random.default_rng(0).random((1, *[12] * ndim), np.float32)
    labels = (1000 * image[0][margin]).astype(np.int16)
    for seed in range(20):
        out_image, out_labels = augmented(image, labels, np.random.default_rng(seed))
        assert is_gain_and_offset(out_image[0][margin], out_labels / 1000)[2] < 0.01


def test_each_channel_has_its_own_gain_and_offset():
    image = np.tile(np.arange(64, dtype=np.float32).reshape(8, 8), (3, 1, 1))
    out, _ = augmented(image, labels_of((8, 8)), np.random.default_rng(1))
    spans = np.ptp(out, axis=(1, 2))
    assert len(set(spans.tolist())) == 3
    assert len(set(out.mean(axis=(1, 2)).tolist())) == 3


def test_the_same_random_numbers_give_the_same_variant_and_the_input_stays():
    labels = labels_of((8, 8))
    image = np.random.default_rng(2).random((1, 8, 8), np.float32)
    before = image.copy(), labels.copy()
    first, second = (augmented(image, labels, np.random.default_rng(5)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert np.array_equal(image, before[0])
    assert np.array_equal(labels, before[1])
    assert first[0].dtype == np.float32
