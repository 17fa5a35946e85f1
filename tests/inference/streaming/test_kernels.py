"""Convolutions by oneDNN's kernels: what PyTorch's own calls give, under the same names, and those where it has none."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from napari_limn.device import channels_last
from napari_limn.inference.streaming import kernels
from napari_limn.inference.streaming.kernels import Convolution, kernels_of, packed, works
from napari_limn.network.folding import folded
from napari_limn.network.graph import trace
from napari_limn.network.spec import UNetSpec
from napari_limn.network.unet import UNet

CASES = [
    {},
    {"norm": "none", "down": "strided"},
    {"norm": "channel", "skip": "attention", "down": "max_1x1", "up": "interpolate"},
    {"block": "residual", "skip": "nested"},
    {"norm": "group", "padding": "valid"},
]
EXTENT = {2: (44, 60), 3: (40, 44, 44)}
FACTORS = {2: ((2, 2),) * 2, 3: ((1, 2, 2), (2, 2, 2))}

pytestmark = pytest.mark.skipif(not works(2, torch.float32), reason="this PyTorch has no such kernels")


def ready(ndim: int, case: dict[str, str]) -> UNet:
    torch.manual_seed(1)
    network = UNet(UNetSpec(width=4, factors=FACTORS[ndim], out_channels=3, **case))
    for name, value in network.named_buffers():
        if value.is_floating_point():
            value.uniform_(0.5, 2) if "var" in name else value.normal_()
    return folded(network).to(memory_format=channels_last(ndim))


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case.values()) or "plain")
def test_a_packed_network_gives_what_the_plain_one_gives(ndim, case):
    plain = ready(ndim, case)
    network = packed(deepcopy(plain))
    x = torch.randn(1, 1, *EXTENT[ndim]).to(memory_format=channels_last(ndim))
    with torch.inference_mode():
        expected, found = plain(x), network(x)
    # both round: against float64 either is off by up to 4e-5 of the largest logit in these networks
    assert (found - expected).abs().max() <= 1e-4 * max(1, expected.abs().max())
    assert not any(isinstance(m, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d) for m in network.modules())


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case.values()) or "plain")
def test_a_packed_network_has_the_weights_and_the_graph_of_the_plain_one(ndim, case):
    plain = ready(ndim, case)
    network = packed(deepcopy(plain))
    assert {n: w.shape for n, w in network.named_parameters()} == {
        n: w.shape for n, w in plain.named_parameters()
    }
    size = EXTENT[ndim]
    before, after = trace(plain, 1, size), trace(network, 1, size)
    assert [(op.name, op.inputs, op.intervals, op.channels) for op in after.ops] == [
        (op.name, op.inputs, op.intervals, op.channels) for op in before.ops
    ]
    weights = {
        name for name, module in plain.named_modules() if isinstance(getattr(module, "padding", None), tuple)
    }
    assert set(kernels_of(network)) == {f"{name}.weight" for name in weights} & set(
        dict(plain.named_parameters())
    )


def test_relu_is_joined_to_every_convolution_that_it_follows():
    network = packed(ready(2, {}))
    joined = [m.relu for m in network.modules() if isinstance(m, Convolution)]
    assert sum(joined) == 2 * 5  # blocks
    assert not any(isinstance(m, nn.ReLU) for m in network.modules())


def test_what_oddly_pads_or_has_groups_stays_with_pytorch():
    convs = [
        nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 4, 3, padding="same"), nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        nn.ConvTranspose2d(4, 4, 3, 2, output_padding=1),
    ]  # fmt: skip
    assert not any(map(kernels._known, convs))


def test_without_the_kernels_nothing_changes(monkeypatch):
    monkeypatch.setattr(kernels, "works", lambda *_: False)
    network = ready(2, {})
    assert not kernels_of(packed(network))
    assert any(isinstance(m, nn.ReLU) for m in network.modules())


def test_a_pytorch_that_has_them_otherwise_is_not_called(monkeypatch):
    def other(*_: object) -> None:
        raise RuntimeError("expected another number of arguments")

    monkeypatch.setattr(kernels.Kernel, "__call__", other)
    works.cache_clear()
    assert not works(2, torch.float32)
    works.cache_clear()


def test_kernels_that_give_something_else_are_not_called(monkeypatch):
    right = kernels.Kernel.__call__
    monkeypatch.setattr(
        kernels.Kernel, "__call__", lambda self, x, padding, relu=False: right(self, x, padding)
    )
    works.cache_clear()
    assert not works(3, torch.float32)
    works.cache_clear()
