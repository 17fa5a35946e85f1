"""Batches and windows: their extents, and targets that belong to their images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_data import (
    PLANES,
    VALID,
    VOLUMES,
    data_for,
    image_of_labels,
    noise,
    striped,
    unscaled,
)

from napari_limn.annotation.classes import IGNORE
from napari_limn.errors import LimnError
from napari_limn.network.footprint import footprint
from napari_limn.network.spec import UNetSpec
from napari_limn.network.unet import UNet
from napari_limn.training.planning.extents import patch_size
from napari_limn.training.spec import CONTEXT
from napari_limn.volume.axes import Axes
from napari_limn.volume.volume import Volume

torch.set_num_threads(1)


@pytest.mark.parametrize("network", [PLANES, VALID, VOLUMES, UNetSpec(factors=((3, 2), (2, 2)))])
@pytest.mark.parametrize("asked", [1, 7, 30, 32, 33])
def test_the_patch_is_the_least_legal_one_that_is_not_below_what_was_asked(network, asked):
    image = Volume.of(noise((8, 64, 64)))
    chosen = patch_size(network, footprint(network), (asked,) * network.ndim, image)[-network.ndim :]
    for size, along in zip(chosen, footprint(network), strict=True):
        legal = [along.smallest + k * along.step - 2 * along.shrink for k in range(60)]
        if not along.shrink:
            legal = [along.step * (k + 1) for k in range(60)]
        assert size == min(n for n in legal if n >= asked)


def test_default_patches_of_planes_and_of_volumes_with_a_coarse_z():
    deep = UNetSpec(factors=((2, 2),) * 4)
    plane = Volume.of(noise((300, 300)))
    assert patch_size(deep, footprint(deep), None, plane) == (1, 1, 64, 64)
    assert patch_size(deep, footprint(deep), None, plane, CONTEXT) == (1, 1, 160, 160)
    coarse = Volume.of(noise((40, 64, 64)), Axes.of("ZYX", (4.0, 1.0, 1.0)))
    assert patch_size(VOLUMES, footprint(VOLUMES), None, coarse) == (1, 8, 32, 32)
    thin = Volume.of(noise((6, 64, 64)), "ZYX")
    assert patch_size(VOLUMES, footprint(VOLUMES), None, thin) == (1, 6, 32, 32)


@pytest.mark.parametrize(
    ("norm", "width", "more"), [("group", 2, 4), ("group", 16, 0), ("instance", 16, 4), ("batch", 2, 0)]
)
def test_a_norm_gets_no_single_voxel_per_channel(norm, width, more):
    network = UNetSpec(width=width, factors=((2, 2), (2, 2)), norm=norm)
    asked = patch_size(
        network, footprint(network), (1, 1), Volume.of(noise((64, 64))), batch=1 if more else 2
    )
    assert asked[2:] == (4 + more, 4 + more)


def test_a_patch_of_another_number_of_axes_is_refused():
    with pytest.raises(
        LimnError, match=r"TrainSpec.patch: found \(32, 32\), expected 3 extents for a 3D network"
    ):
        patch_size(VOLUMES, footprint(VOLUMES), (32, 32), Volume.of(noise((8, 64, 64))))


def test_held_out_strokes_are_scored_with_more_around_them_and_a_card_gets_large_patches(monkeypatch):
    labels = striped((300, 300))
    small = data_for(noise((300, 300)), labels, patch=None, held_out=0.3, device="cpu")
    assert small.regions.patch == (1, 1, 64, 64)
    assert {image.shape[-2:] for image, _ in small.regions.held_out_windows()} == {(160, 160)}
    monkeypatch.setattr("napari_limn.training.planning.resolve.choose_device", lambda _: torch.device("cuda"))
    assert data_for(noise((300, 300)), labels, patch=None).regions.patch == (1, 1, 160, 160)


def test_batch_norm_has_more_than_one_sample_to_look_at_in_a_batch_of_one():
    data = data_for(noise((128, 128)), striped((128, 128)), patch=(1, 1), batch=1)
    assert UNet(PLANES).train()(data.batch().images).isfinite().all()
    assert data_for(noise((128, 128)), striped((128, 128)), patch=(1, 1), batch=2).regions.patch == (
        1,
        1,
        4,
        4,
    )


@pytest.mark.parametrize("network", [PLANES, VALID, VOLUMES])
def test_instance_norm_has_more_than_one_sample_to_look_at_in_the_smallest_patch(network):
    network = replace(network, norm="instance")
    data = data_for(noise((8, 128, 128)), striped((8, 128, 128)), network, patch=(1,) * network.ndim)
    assert UNet(network).train()(data.batch().images).isfinite().all()


CASES = {
    "plane": (PLANES, (128, 128), "YX", (32, 32)),
    "rgb": (UNetSpec(width=2, factors=PLANES.factors, in_channels=3), (128, 128, 3), "YXC", (32, 32)),
    "stack of planes": (PLANES, (4, 128, 128), "ZYX", (32, 32)),
    "movie": (PLANES, (4, 128, 128), "TYX", (32, 32)),
    "volume": (VOLUMES, (9, 128, 128), "ZYX", (8, 32, 32)),
    "channels of a volume": (
        UNetSpec(width=2, factors=VOLUMES.factors, in_channels=2),
        (9, 2, 128, 128),
        "ZCYX",
        (8, 32, 32),
    ),
    "movie of volumes": (VOLUMES, (2, 9, 128, 128), "TZYX", (8, 32, 32)),
}


@pytest.mark.parametrize(("network", "shape", "axes", "patch"), CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_batches_and_windows_have_the_shapes_that_the_network_takes(network, shape, axes, patch, padding):
    network = UNetSpec(
        width=2, factors=network.factors, in_channels=network.in_channels, padding=padding, norm="none"
    )
    image = Volume.of(noise(shape), axes)
    labels = striped(tuple(n for n, a in zip(shape, axes, strict=True) if a != "C"))
    data = data_for(image, labels, network, patch=patch, batch=3)
    out = patch_size(network, footprint(network), patch, image)[-network.ndim :]
    seen = tuple(n + 2 * f.shrink for n, f in zip(out, footprint(network), strict=True))
    batch = data.batch()
    images, targets = batch.images, batch.targets
    assert images.shape == (3, network.in_channels, *seen)
    assert targets.shape == (3, *out)
    assert (images.dtype, targets.dtype) == (torch.float32, torch.int64)
    windows = data.regions.held_out_windows()
    assert windows
    for x, y in windows:
        assert x.shape == (1, network.in_channels, *seen)
        assert y.shape == (1, *out)
    assert UNet(network)(images).shape[2:] == targets.shape[1:]


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("network", [PLANES, VALID])
def test_targets_belong_to_the_image_they_come_with(network):
    labels = striped((160, 160), length=25, values=(1, 2, 3))
    data = data_for(image_of_labels(labels), labels, network, batch=8, held_out=0.0)
    margin = footprint(network)[0].shrink
    for _ in range(6):
        batch = data.batch()
        images, targets = batch.images, batch.targets
        painted = unscaled(data, images)[
            :, 0, margin : images.shape[2] - margin, margin : images.shape[3] - margin
        ]
        inside = (targets != IGNORE).any(1, keepdim=True) & (targets != IGNORE).any(2, keepdim=True)
        assert inside.any()
        assert torch.equal(painted[inside].round().long() - 1, targets[inside])


@pytest.mark.usefixtures("plain")
def test_every_patch_holds_paint_and_classes_take_turns():
    labels = striped((160, 160), values=(1, 2, 3))
    data = data_for(noise((160, 160)), labels, batch=9)
    targets = data.batch().targets
    for turn, target in enumerate(targets):
        assert turn % 3 in target.unique().tolist()


@pytest.mark.usefixtures("plain")
def test_beyond_the_border_nothing_is_labelled_and_the_image_is_mirrored():
    labels = np.ones((24, 24), np.uint8)
    labels[:, 12:] = 2
    image = np.arange(24 * 24, dtype=np.float32).reshape(24, 24)
    data = data_for(image, labels, held_out=0.0, patch=(44, 44), batch=24)
    batch = data.batch()
    images, targets = batch.images, batch.targets
    complete = 0
    for x, y in zip(images, targets, strict=True):
        rows, columns = (y != IGNORE).nonzero().T
        top, left = int(rows.min()), int(columns.min())
        grid = unscaled(data, x).numpy()[0]
        below, right = 20 - top, 20 - left
        if len(rows) < 24 * 24:
            continue
        complete += 1
        expected = np.pad(image, [(top, below), (left, right)], mode="reflect")
        assert np.abs(grid - expected).max() < 0.05
    assert complete >= 3


@pytest.mark.usefixtures("plain")
def test_patches_come_from_every_pair_and_go_with_its_own_labels_and_scaling():
    first, second = striped((128, 128)), striped((128, 128), values=(3, 4))
    dim, bright = noise((128, 128)) + 1, 1000 * noise((128, 128)) + 5000
    data = data_for([dim, bright], [first, second], batch=16, held_out=0.0)
    batch = data.batch()
    images, targets = batch.images, batch.targets
    pairs = [set(t.unique().tolist()) - {IGNORE} for t in targets]
    assert all(p <= {0, 1} or p <= {2, 3} for p in pairs)
    assert any(p <= {0, 1} for p in pairs)
    assert any(p <= {2, 3} for p in pairs)
    assert images.min() > -0.6
    assert images.max() < 1.7


def test_the_same_seed_gives_the_same_batches():
    labels = striped()
    first, second = (data_for(noise((128, 128)), labels, seed=3).batch() for _ in range(2))
    other = data_for(noise((128, 128)), labels, seed=4).batch()
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.targets, second.targets)
    assert not torch.equal(first.images, other.images)


def test_painting_on_while_training_does_not_change_what_is_learned():
    labels = striped()
    data, untouched = data_for(noise((128, 128)), labels), data_for(noise((128, 128)), labels.copy())
    labels[:] = 2
    assert torch.equal(data.batch().targets, untouched.batch().targets)
