"""What tests of engines share: networks of the family without ties, images, and one pass over a whole image."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from napari_limn.annotation.classes import Classes
from napari_limn.inference.engines.blocks import BlockEngine
from napari_limn.inference.engines.evaluator import Evaluator
from napari_limn.inference.planning.plan import footprints_on_grid
from napari_limn.model import Model, ModelSpec
from napari_limn.network.spec import CHOICES
from napari_limn.network.unet import UNet
from napari_limn.volume.intensity import fit_scaling
from napari_limn.volume.reading.reflect import read_reflected
from napari_limn.volume.volume import Volume

CPU = torch.device("cpu")
SMALL = {2: ((2, 2), (2, 2)), 3: ((1, 2, 2), (2, 2, 2))}
EXTENT = {2: (1, 1, 39, 53), 3: (1, 7, 15, 22)}  # a second plane would be the same again
FAMILY = {key: CHOICES[key] for key in ("padding", "down", "up", "skip")}
FAMILY["norm"] = ["none", "batch", "channel", "rms"]


def model_of(spec, seed=0):
    """A model whose logits vary: random weights, random statistics of batch norm, biases that keep ReLUs alive."""
    torch.manual_seed(seed)
    network = UNet(spec)
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.7, 1.5)
            module.bias.data.uniform_(0, 0.6)
        elif isinstance(module, (nn.Conv2d, nn.Conv3d)) and module.bias is not None:
            module.bias.data.uniform_(0, 0.3)
    values = tuple(range(1, spec.out_channels + 1))
    return Model(ModelSpec(network=spec, classes=Classes(values)), network.eval())


def model_without_ties(spec, volume, seed):
    """The first model, from `seed` on, whose two best logits are nowhere as near as rounding takes logits: its labels are certain."""
    for each in range(seed, seed + 20):
        model = model_of(spec, each)
        expected = whole_logits(model, volume)
        second, best = np.sort(expected, 0)[-2:]
        if (best - second).min() > 2 * near(expected):
            return model
    raise AssertionError(f"20 networks, all with ties: {spec}")


def near(expected):
    """How far rounding may take logits of this size."""
    return 1e-5 * max(1, np.abs(expected).max())


def image_of(grid, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    return Volume.of(rng.integers(0, 4000, (channels, *grid), dtype=np.uint16), "CTZYX")


def engine_of(model, volume):
    return BlockEngine(Evaluator(model, volume, fit_scaling(volume), CPU, torch.float32))


def whole_logits(model, volume):
    """Logits (K, T, Z, Y, X) of one pass of the network as it is over each whole scaled plane or volume."""
    spec, scaling = model.spec.network, fit_scaling(volume)
    footprints = footprints_on_grid(spec)
    box = tuple(
        (-f.shrink, -f.shrink + _legal(n, f, spec)) for n, f in zip(volume.grid, footprints, strict=True)
    )
    part = scaling.apply(read_reflected(volume, box))
    batch = (
        np.moveaxis(part, 1, 0)
        if spec.ndim == 3
        else part.transpose(1, 2, 0, 3, 4).reshape(-1, len(part), *part.shape[3:])
    )
    with torch.inference_mode():
        out = model.network(torch.from_numpy(np.ascontiguousarray(batch))).numpy()
    t, z, y, x = volume.grid
    if spec.ndim == 3:
        return np.moveaxis(out, 0, 1)[:, :, :z, :y, :x]
    return np.moveaxis(out, 1, 0).reshape(out.shape[1], t, z, *out.shape[2:])[..., :y, :x]


def _legal(n, foot, spec):
    """The size that one pass takes: the image itself, or for unpadded networks the next legal size."""
    if spec.padding == "same":
        return n
    size = foot.smallest
    while size < n + 2 * foot.shrink:
        size += foot.step
    return size
