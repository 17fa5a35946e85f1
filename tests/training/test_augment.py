from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from napari_limn.annotation.classes import IGNORE
from napari_limn.training import augment
from napari_limn.training.augment import augmented

torch.set_num_threads(1)

SHAPES = [(12, 12), (10, 14), (4, 8, 8), (3, 6, 9)]


@pytest.fixture
def quiet(monkeypatch):
    monkeypatch.setattr(augment, "_NOISE", 0.0)


@pytest.fixture
def only_flips(monkeypatch, quiet):
    monkeypatch.setattr(augment, "_WARPED", 0.0)


@pytest.fixture
def always_warped(monkeypatch, quiet):
    monkeypatch.setattr(augment, "_WARPED", 1.0)


def labels_of(shape, count=8, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(-1, 5, (count, *shape)))


def areas(shape, cell, seed=0):
    """Classes in areas of `cell` voxels a side, so that most voxels have only their own class around them."""
    small = np.random.default_rng(seed).integers(-1, 3, [-(-n // cell) for n in shape])
    for axis in range(len(shape)):
        small = small.repeat(cell, axis)
    return torch.from_numpy(small[tuple(slice(n) for n in shape)].copy())[None]


def inner(labels):
    """Voxels around which, up to two voxels away, there is no other class, and no border."""
    largest = {3: F.max_pool2d, 4: F.max_pool3d}[labels.ndim]
    high, low = (sign * largest(sign * labels.float(), 5, stride=1, padding=2) for sign in (1, -1))
    frame = torch.zeros_like(labels, dtype=torch.bool)
    frame[..., 3:-3, 3:-3] = True
    return (high == low) & frame


def gain_and_offset(found, base):
    """Gain and offset that turn `base` into `found`, and the largest error left."""
    found, base = found.numpy().ravel(), base.double().numpy().ravel()
    gain, offset = np.polyfit(base, found, 1)
    return gain, offset, np.abs(gain * base + offset - found).max()


@pytest.mark.usefixtures("only_flips")
@pytest.mark.parametrize("shape", SHAPES)
def test_image_and_labels_are_flipped_together(shape):
    labels = labels_of(shape, 20)
    images = torch.stack([labels, 10 - 2 * labels], 1).float()
    out_images, out_labels = augmented(images, labels, np.random.default_rng(0))
    for image, label in zip(out_images, out_labels, strict=True):
        for channel, base in zip(image, (label, 10 - 2 * label), strict=True):
            gain, offset, error = gain_and_offset(channel, base)
            assert error < 1e-3
            assert 0.8 <= gain <= 1.25
            assert abs(offset) <= 0.1001


@pytest.mark.usefixtures("only_flips")
@pytest.mark.parametrize("shape", SHAPES)
def test_flips_rearrange_labels_and_lose_none(shape):
    labels = labels_of(shape)
    _, out = augmented(labels[:, None].float(), labels, np.random.default_rng(1))
    assert out.dtype == torch.int64
    assert out.shape == labels.shape
    for before, after in zip(labels, out, strict=True):
        assert torch.equal(before.ravel().sort()[0], after.ravel().sort()[0])
        assert (after == IGNORE).any()


@pytest.mark.usefixtures("only_flips")
@pytest.mark.parametrize(("shape", "variants"), [((4, 6), 4), ((2, 4, 6), 8)])
def test_every_flip_is_drawn(shape, variants):
    labels = torch.arange(int(np.prod(shape))).reshape(1, *shape).expand(200, *shape)
    _, out = augmented(labels[:, None].float(), labels, np.random.default_rng(0))
    assert len({label.numpy().tobytes() for label in out}) == variants


@pytest.mark.usefixtures("always_warped")
@pytest.mark.parametrize(("shape", "cell"), [((64, 64), 16), ((48, 80), 16), ((16, 40, 40), 12)])
def test_turned_and_stretched_images_stay_under_their_labels(shape, cell):
    compared = 0
    for seed in range(12):
        labels = areas(shape, cell, seed)
        images, out = augmented(labels[:, None].float(), labels, np.random.default_rng(seed))
        keep = inner(out) & (out != IGNORE)
        if len(out[keep].unique()) < 2:
            continue
        compared += 1
        gain, offset, error = gain_and_offset(images[:, 0][keep], out[keep])
        assert error < 1e-3
        assert 0.8 <= gain <= 1.25
        assert abs(offset) <= 0.101
    assert compared >= 8


@pytest.mark.usefixtures("always_warped")
@pytest.mark.parametrize(("shape", "margin"), [((48, 48), 12), ((40, 56), 8), ((12, 32, 32), 4)])
def test_labels_smaller_than_the_image_stay_in_its_middle(shape, margin):
    cut = (slice(None), *[slice(margin, -margin)] * len(shape))
    compared = 0
    for seed in range(12):
        whole = areas(tuple(n + 2 * margin for n in shape), 14, seed)
        images, out = augmented(whole[:, None].float(), whole[cut], np.random.default_rng(seed))
        keep = inner(out) & (out != IGNORE)
        if len(out[keep].unique()) < 2:
            continue
        compared += 1
        assert gain_and_offset(images[:, 0][cut][keep], out[keep])[2] < 1e-3
    assert compared >= 6


@pytest.mark.usefixtures("always_warped")
@pytest.mark.parametrize("shape", [(40, 40), (24, 56), (8, 24, 40)])
def test_a_turn_turns_and_does_not_deform(monkeypatch, shape):
    monkeypatch.setattr(augment, "_STRETCH", 0.0)
    monkeypatch.setattr(augment, "_SHEAR", 0.0)
    y, x = np.indices(shape[-2:]) + 0.5
    disc = np.hypot(y - shape[-2] / 2, x - shape[-1] / 2) < 9
    labels = torch.from_numpy(np.broadcast_to(disc, shape).astype(np.int64).copy())[None].expand(12, *shape)
    _, out = augmented(labels[:, None].float(), labels, np.random.default_rng(2))
    inside = out == 1
    assert (inside != (labels == 1)).float().mean() < 0.02
    assert not torch.equal(out[0], labels[0])


@pytest.mark.usefixtures("always_warped")
def test_areas_grow_and_shrink_by_no_more_than_the_stretch():
    labels = torch.zeros(60, 96, 96, dtype=torch.int64)
    labels[:, 36:60, 36:60] = 1
    _, out = augmented(labels[:, None].float(), labels, np.random.default_rng(3))
    ratio = (out == 1).sum((1, 2)) / 24**2
    largest = np.exp(2 * 0.3 + 0.1) * 1.05
    assert 1 / largest < ratio.min() < 0.8
    assert 1.3 < ratio.max() < largest


@pytest.mark.usefixtures("always_warped")
def test_what_comes_in_from_outside_is_ignored_and_no_class_appears():
    labels = torch.full((40, 32, 32), 2)
    _, out = augmented(labels[:, None].float(), labels, np.random.default_rng(4))
    assert set(out.unique().tolist()) == {IGNORE, 2}
    assert (out[:, 16, 16] == 2).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_unlabelled_stays_unlabelled_and_classes_are_never_mixed(shape):
    nothing = torch.full((8, *shape), IGNORE)
    assert (augmented(nothing[:, None].float(), nothing, np.random.default_rng(5))[1] == IGNORE).all()
    extremes = torch.where(labels_of(shape) > 1, 4, 0)
    assert set(
        augmented(extremes[:, None].float(), extremes, np.random.default_rng(5))[1].unique().tolist()
    ) <= {
        IGNORE,
        0,
        4,
    }


def test_noise_is_white_and_not_more_than_it_should_be():
    images = torch.zeros(60, 2, 40, 40)
    out, _ = augmented(images, torch.zeros(60, 40, 40, dtype=torch.int64), np.random.default_rng(6))
    spread = out.std((2, 3))
    assert spread.max() < 0.11
    assert spread.max() > 0.08
    assert spread.min() < 0.02
    left = out - out.mean((2, 3), keepdim=True)
    assert abs((left[..., 1:] * left[..., :-1]).mean()) < 0.05 * left.square().mean()


def test_about_three_in_four_patches_are_warped(monkeypatch):
    monkeypatch.setattr(augment, "_NOISE", 0.0)
    labels = torch.arange(20 * 24).reshape(1, 20, 24).expand(400, 20, 24)
    _, out = augmented(labels[:, None].float(), labels, np.random.default_rng(7))
    flips = {labels[0].flip(axes).numpy().tobytes() for axes in ((), (0,), (1,), (0, 1))}
    sharp = sum(label.numpy().tobytes() in flips for label in out)
    assert 70 <= sharp <= 130


def test_each_channel_has_its_own_gain_and_offset(quiet):
    images = torch.arange(64.0).reshape(1, 1, 8, 8).expand(1, 3, 8, 8)
    out, _ = augmented(images, torch.zeros(1, 8, 8, dtype=torch.int64), np.random.default_rng(1))
    fits = [gain_and_offset(channel, out[0, 0]) for channel in out[0]]
    assert all(error < 1e-3 for *_, error in fits)
    assert len({round(gain, 4) for gain, *_ in fits}) == 3


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_random_numbers_give_the_same_variant_and_the_input_stays(shape):
    labels = labels_of(shape)
    images = torch.rand(8, 1, *shape)
    before = images.clone(), labels.clone()
    first, second = (augmented(images, labels, np.random.default_rng(5)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(images, before[0])
    assert torch.equal(labels, before[1])
    assert first[0].dtype is torch.float32
