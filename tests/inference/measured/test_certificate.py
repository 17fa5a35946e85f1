from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_limn.annotation.classes import Classes
from napari_limn.inference.measured.certificate import certify
from napari_limn.model import Model, ModelSpec
from napari_limn.network.spec import UNetSpec
from napari_limn.network.unet import UNet
from napari_limn.volume.intensity import fit_scaling
from napari_limn.volume.volume import Volume

torch.set_num_threads(1)

CPU = torch.device("cpu")


def certificate(spec, shape):
    torch.manual_seed(0)
    model = Model(
        ModelSpec(network=spec, classes=Classes(tuple(range(1, spec.out_channels + 1)))), UNet(spec).eval()
    )
    rng = np.random.default_rng(0)
    # bright at one side, so that halves differ in their statistics
    image = Volume.of((rng.random(shape) + np.linspace(0, 3, shape[-1]) ** 2).astype(np.float32))
    return certify(model, image, fit_scaling(image), CPU, torch.float32)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("norm", ["none", "batch", "channel"])
def test_local_networks_are_certified_exact(ndim, norm):
    spec = UNetSpec(width=4, factors=((2,) * ndim,) * 2, norm=norm)
    found = certificate(spec, (20, 45, 52)[-ndim:])
    assert found.blocks >= 2**ndim
    assert found.swept
    assert found.exact
    assert found.size == (1, *((1,) if ndim == 2 else ()), *(20, 45, 52)[-ndim:])
    assert found.max_difference < 1e-4
    assert found.labels_changed == 0
    assert str(found).startswith("exact: ")
    assert "0 labels differ" in str(found)
    assert 2 <= max(found.reach) <= max(found.halo)


@pytest.mark.parametrize("norm", ["group", "instance"])
def test_norms_over_the_tile_show_their_seams(norm):
    found = certificate(UNetSpec(width=8, out_channels=6, factors=((2, 2),) * 2, norm=norm), (90, 104))
    assert found.max_difference > 0.05
    assert found.labels_changed > 0
    assert not found.swept
    assert not found.exact
    assert max(found.reach) > max(found.halo)
    assert str(found).startswith("not exact: ")
    assert "blocks blended from tiles that overlap by half against one pass" in str(found)
    assert "of a probability" in str(found)
    assert "% of the labels differ" in str(found)


def test_only_the_middle_of_a_large_image_is_taken():
    found = certificate(UNetSpec(width=2, factors=((2, 2),)), (3, 600, 530))
    assert found.size == (1, 1, 512, 512)
