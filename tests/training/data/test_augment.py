from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from napari_limn.annotation.classes import IGNORE
from napari_limn.errors import LimnError
from napari_limn.training.data.augment import Batch, augmented
from napari_limn.training.spec import AugmentSpec

torch.set_num_threads(1)

SHAPES = [(12, 12), (10, 14), (4, 8, 8), (3, 6, 9)]


QUIET = AugmentSpec(noise=0.0)
FLIPS = AugmentSpec(noise=0.0, warped=0.0)
WARPED = AugmentSpec(noise=0.0, warped=1.0)
BENT = AugmentSpec(noise=0.0, warped=0.0, elastic=4.0)


def varied(images, labels, seed, spec=AugmentSpec()):
    batch = augmented(Batch(images, labels), np.random.default_rng(seed), spec)
    assert batch.weights is None
    assert batch.soft is None
    return batch.images, batch.targets


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


@pytest.mark.parametrize("shape", SHAPES)
def test_image_and_labels_are_flipped_together(shape):
    labels = labels_of(shape, 20)
    images = torch.stack([labels, 10 - 2 * labels], 1).float()
    out_images, out_labels = varied(images, labels, 0, FLIPS)
    for image, label in zip(out_images, out_labels, strict=True):
        for channel, base in zip(image, (label, 10 - 2 * label), strict=True):
            gain, offset, error = gain_and_offset(channel, base)
            assert error < 1e-3
            assert 0.8 <= gain <= 1.25
            assert abs(offset) <= 0.1001


@pytest.mark.parametrize("shape", SHAPES)
def test_flips_rearrange_labels_and_lose_none(shape):
    labels = labels_of(shape)
    _, out = varied(labels[:, None].float(), labels, 1, FLIPS)
    assert out.dtype == torch.int64
    assert out.shape == labels.shape
    for before, after in zip(labels, out, strict=True):
        assert torch.equal(before.ravel().sort()[0], after.ravel().sort()[0])
        assert (after == IGNORE).any()


@pytest.mark.parametrize(("shape", "variants"), [((4, 6), 4), ((2, 4, 6), 8)])
def test_every_flip_is_drawn(shape, variants):
    labels = torch.arange(int(np.prod(shape))).reshape(1, *shape).expand(200, *shape)
    _, out = varied(labels[:, None].float(), labels, 0, FLIPS)
    assert len({label.numpy().tobytes() for label in out}) == variants


@pytest.mark.parametrize(("shape", "cell"), [((64, 64), 16), ((48, 80), 16), ((16, 40, 40), 12)])
def test_turned_and_stretched_images_stay_under_their_labels(shape, cell):
    compared = 0
    for seed in range(12):
        labels = areas(shape, cell, seed)
        images, out = varied(labels[:, None].float(), labels, seed, WARPED)
        keep = inner(out) & (out != IGNORE)
        if len(out[keep].unique()) < 2:
            continue
        compared += 1
        gain, offset, error = gain_and_offset(images[:, 0][keep], out[keep])
        assert error < 1e-3
        assert 0.8 <= gain <= 1.25
        assert abs(offset) <= 0.101
    assert compared >= 8


def assert_labels_in_the_middle_move_with_the_image(shape, margin, cell, spec):
    cut = (slice(None), *[slice(margin, n + margin) for n in shape])
    compared = 0
    for seed in range(12):
        whole = areas(tuple(n + 2 * margin for n in shape), cell, seed)
        images, out = varied(whole[:, None].float(), whole[cut], seed, spec)
        keep = inner(out) & (out != IGNORE)
        if len(out[keep].unique()) < 2:
            continue
        compared += 1
        assert gain_and_offset(images[:, 0][cut][keep], out[keep])[2] < 1e-3
    assert compared >= 6


@pytest.mark.parametrize(("shape", "margin"), [((48, 48), 12), ((40, 56), 8), ((12, 32, 32), 4)])
def test_labels_smaller_than_the_image_stay_in_its_middle(shape, margin):
    assert_labels_in_the_middle_move_with_the_image(shape, margin, 14, WARPED)


@pytest.mark.parametrize("shape", [(40, 40), (24, 56), (8, 24, 40)])
def test_a_turn_turns_and_does_not_deform(shape):
    turned = AugmentSpec(noise=0.0, warped=1.0, stretch=0.0, shear=0.0)
    y, x = np.indices(shape[-2:]) + 0.5
    disc = np.hypot(y - shape[-2] / 2, x - shape[-1] / 2) < 9
    labels = torch.from_numpy(np.broadcast_to(disc, shape).astype(np.int64).copy())[None].expand(12, *shape)
    _, out = varied(labels[:, None].float(), labels, 2, turned)
    inside = out == 1
    assert (inside != (labels == 1)).float().mean() < 0.02
    assert not torch.equal(out[0], labels[0])


def test_areas_grow_and_shrink_by_no_more_than_the_stretch():
    labels = torch.zeros(60, 96, 96, dtype=torch.int64)
    labels[:, 36:60, 36:60] = 1
    _, out = varied(labels[:, None].float(), labels, 3, WARPED)
    ratio = (out == 1).sum((1, 2)) / 24**2
    largest = np.exp(2 * 0.3 + 0.1) * 1.05
    assert 1 / largest < ratio.min() < 0.8
    assert 1.3 < ratio.max() < largest


def test_what_comes_in_from_outside_is_ignored_and_no_class_appears():
    labels = torch.full((40, 32, 32), 2)
    _, out = varied(labels[:, None].float(), labels, 4, WARPED)
    assert set(out.unique().tolist()) == {IGNORE, 2}
    assert (out[:, 16, 16] == 2).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_unlabelled_stays_unlabelled_and_classes_are_never_mixed(shape):
    nothing = torch.full((8, *shape), IGNORE)
    assert (varied(nothing[:, None].float(), nothing, 5)[1] == IGNORE).all()
    extremes = torch.where(labels_of(shape) > 1, 4, 0)
    assert set(varied(extremes[:, None].float(), extremes, 5)[1].unique().tolist()) <= {
        IGNORE,
        0,
        4,
    }


def test_noise_is_white_and_not_more_than_it_should_be():
    images = torch.zeros(60, 2, 40, 40)
    out, _ = varied(images, torch.zeros(60, 40, 40, dtype=torch.int64), 6)
    spread = out.std((2, 3))
    assert spread.max() < 0.11
    assert spread.max() > 0.08
    assert spread.min() < 0.02
    left = out - out.mean((2, 3), keepdim=True)
    assert abs((left[..., 1:] * left[..., :-1]).mean()) < 0.05 * left.square().mean()


def test_about_three_in_four_patches_are_warped():
    labels = torch.arange(20 * 24).reshape(1, 20, 24).expand(400, 20, 24)
    _, out = varied(labels[:, None].float(), labels, 7, QUIET)
    flips = {labels[0].flip(axes).numpy().tobytes() for axes in ((), (0,), (1,), (0, 1))}
    sharp = sum(label.numpy().tobytes() in flips for label in out)
    assert 70 <= sharp <= 130


def test_each_channel_has_its_own_gain_and_offset():
    images = torch.arange(64.0).reshape(1, 1, 8, 8).expand(1, 3, 8, 8)
    out, _ = varied(images, torch.zeros(1, 8, 8, dtype=torch.int64), 1, QUIET)
    fits = [gain_and_offset(channel, out[0, 0]) for channel in out[0]]
    assert all(error < 1e-3 for *_, error in fits)
    assert len({round(gain, 4) for gain, *_ in fits}) == 3


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_random_numbers_give_the_same_variant_and_the_input_stays(shape):
    labels = labels_of(shape)
    images = torch.rand(8, 1, *shape)
    before = images.clone(), labels.clone()
    first, second = (varied(images, labels, 5) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(images, before[0])
    assert torch.equal(labels, before[1])
    assert first[0].dtype is torch.float32


@pytest.mark.parametrize(
    ("shape", "margin"), [((64, 64), 0), ((48, 80), 0), ((8, 40, 40), 0), ((48, 48), 12), ((8, 40, 48), 4)]
)
def test_an_elastic_deformation_moves_an_image_as_its_labels(shape, margin):
    assert_labels_in_the_middle_move_with_the_image(shape, margin, 16, BENT)


def test_an_elastic_deformation_is_as_large_as_it_says_and_smooth():
    still = AugmentSpec(noise=0.0, warped=0.0, gain=0.0, offset=0.0, elastic=10.0)
    places = torch.stack(torch.meshgrid(torch.arange(200.0), torch.arange(200.0), indexing="ij"))
    images = places[None].repeat(60, 1, 1, 1)
    out, _ = varied(images, torch.zeros(60, 200, 200, dtype=torch.int64), 0, still)
    nodes = torch.stack([out[i, :, 100, 100] for i in range(60)])
    shift = torch.minimum((nodes - 100).abs(), (nodes - 99).abs())
    assert 7 < shift.square().mean().sqrt() < 13
    assert (out[..., 1:] - out[..., :-1]).abs().max() < 3


def test_weights_move_with_their_labels():
    labels = labels_of((24, 32), 12)
    weights = (labels + 2).float()
    for spec in (FLIPS, WARPED, BENT):
        batch = augmented(Batch(labels[:, None].float(), labels, weights), np.random.default_rng(3), spec)
        out, moved = batch.targets, batch.weights
        known = out != IGNORE
        assert torch.equal(moved[known], (out[known] + 2).float())


@pytest.mark.parametrize(
    ("shape", "spec"), [((24, 32), FLIPS), ((24, 32), WARPED), ((24, 32), BENT), ((6, 16, 16), WARPED)]
)
def test_soft_targets_move_with_their_labels(shape, spec):
    labels = areas(shape, 8).clamp_min(0)
    soft = F.one_hot(labels, 3).movedim(-1, 1).float()
    batch = augmented(Batch(labels[:, None].float(), labels, soft=soft), np.random.default_rng(1), spec)
    known = batch.soft.sum(1)
    assert known.max() <= 1 + 1e-5
    sure = (batch.soft.max(1).values > 0.99) & (batch.targets != IGNORE)
    assert sure.float().mean() > 0.3
    assert torch.equal(batch.soft.argmax(1)[sure], batch.targets[sure])
    assert (known[batch.targets == IGNORE] < 1).all()


@pytest.mark.parametrize(
    ("name", "value"), [("warped", 1.2), ("noise", -0.1), ("elastic", -1.0), ("gain", float("nan"))]
)
def test_a_wrong_amount_is_refused_by_name(name, value):
    with pytest.raises(LimnError, match=f"AugmentSpec.{name}: found {value}"):
        AugmentSpec(**{name: value})
