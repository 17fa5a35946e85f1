from __future__ import annotations

from copy import deepcopy
from math import gcd, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from napari_limn.network.spec import UNetSpec
from napari_limn.network.unet import UNet, folded

torch.set_num_threads(1)

RONNEBERGER = UNetSpec(width=64, max_width=1024, factors=((2, 2),) * 4, padding="valid", norm="none")
SHAPES = [
    (norm, down, skip)
    for norm in ("none", "batch")
    for down in ("max", "strided")
    for skip in ("concat", "nested")
]


def randomised(network, seed=0):
    """Statistics and weights of batch norms drawn at random, so that a mistake in any shows."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            module.running_mean.normal_(0, 0.5, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.3, generator=generator)
    return network


def test_the_network_of_2015_has_its_number_of_weights():
    with torch.device("meta"):
        network = UNet(RONNEBERGER)
    assert sum(p.numel() for p in network.parameters()) == 31_030_658


def test_every_stage_of_the_network_of_2015_has_the_size_of_its_figure():
    with torch.device("meta"):
        network = UNet(RONNEBERGER)
    found = []
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.register_forward_hook(lambda m, i, out: found.append((out.shape[1], out.shape[2])))
    network(torch.zeros(1, 1, 572, 572, device="meta"))
    down = [(64, 570), (64, 568), (128, 282), (128, 280), (256, 138), (256, 136), (512, 66), (512, 64)]
    bottom = [(1024, 30), (1024, 28)]
    up = [
        *[(512, 56), (512, 54), (512, 52)],
        *[(256, 104), (256, 102), (256, 100)],
        *[(128, 200), (128, 198), (128, 196)],
        *[(64, 392), (64, 390), (64, 388)],
    ]
    assert found == [*down, *bottom, *up, (2, 388)]


def test_skips_are_cut_out_of_their_middle():
    spec = UNetSpec(width=1, factors=((2, 2),), padding="valid", norm="none")
    network = UNet(spec)
    taken = []
    network.nodes["0_1"].block.register_forward_pre_hook(lambda m, x: taken.append(x[0]))
    encoded = []
    network.encoder[0].register_forward_hook(lambda m, x, out: encoded.append(out))
    network(torch.rand(1, 1, 32, 32))
    assert torch.equal(taken[0][:, :1], encoded[0][:, :, 4:-4, 4:-4])


@given(size=st.tuples(st.integers(1, 40), st.integers(1, 40)), spec=st.sampled_from(SHAPES))
@settings(max_examples=40, deadline=None)
def test_a_padded_network_takes_planes_of_any_size(size, spec):
    norm, down, skip = spec
    network = UNet(
        UNetSpec(width=2, out_channels=3, factors=((2, 2), (3, 2)), norm=norm, down=down, skip=skip)
    )
    with torch.inference_mode():
        out = network.eval()(torch.rand(2, 1, *size))
    assert out.shape == (2, 3, *size)
    assert out.isfinite().all()


@given(size=st.tuples(*[st.integers(1, 14)] * 3), skip=st.sampled_from(["concat", "attention", "nested"]))
@settings(max_examples=20, deadline=None)
def test_a_padded_network_takes_volumes_of_any_size(size, skip):
    network = UNet(UNetSpec(width=2, factors=((1, 2, 2), (2, 2, 2)), skip=skip))
    with torch.inference_mode():
        assert network.eval()(torch.rand(1, 1, *size)).shape == (1, 2, *size)


def test_an_odd_image_is_filled_up_with_its_last_row_and_column():
    network = UNet(UNetSpec(width=2, factors=((2, 2), (2, 2)))).eval()
    x = torch.rand(1, 1, 9, 10)
    by_hand = torch.cat([x, x[:, :, -1:].expand(-1, -1, 3, -1)], 2)
    by_hand = torch.cat([by_hand, by_hand[..., -1:].expand(-1, -1, -1, 2)], 3)
    with torch.inference_mode():
        assert torch.allclose(network(x), network(by_hand)[:, :, :9, :10], atol=1e-6)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("down", ["max", "strided", "max_1x1"])
@pytest.mark.parametrize("skip", ["concat", "attention", "nested"])
def test_folding_batch_norms_changes_nothing_but_the_layers(ndim, down, skip):
    torch.manual_seed(1)
    network = randomised(UNet(UNetSpec(width=4, factors=((2,) * ndim,) * 2, down=down, skip=skip))).eval()
    plain = folded(deepcopy(network))
    x = torch.randn(1, 1, *[12] * ndim)
    with torch.inference_mode():
        expected, found = network(x), plain(x)
    assert not any(isinstance(m, (nn.BatchNorm2d, nn.BatchNorm3d)) for m in plain.modules())
    assert expected.std() > 0.01
    assert (expected - found).abs().max() <= 1e-5 * max(1, expected.abs().max())


def test_weights_are_drawn_after_he_and_biases_are_zero():
    torch.manual_seed(0)
    network = UNet(UNetSpec(width=32, factors=((2, 2),) * 2, norm="none"))
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    wide = [m for m in convolutions if m.weight.numel() > 5_000]
    assert len(wide) >= 8
    for module in wide:
        fan_in = module.weight[0].numel()
        assert module.weight.std().item() == pytest.approx(sqrt(2 / fan_in), rel=0.05)
        assert abs(module.weight.mean().item()) < 0.05 * sqrt(2 / fan_in)
    assert all((m.bias == 0).all() for m in convolutions)


@pytest.mark.parametrize("width", [1, 3, 6, 10, 12])
def test_group_norm_takes_widths_that_8_does_not_divide(width):
    spec = UNetSpec(width=width, factors=((2, 2),) * 2, norm="group")
    network = UNet(spec)
    groups = {m.num_channels: m.num_groups for m in network.modules() if isinstance(m, nn.GroupNorm)}
    assert groups == {spec.channels(i): gcd(8, spec.channels(i)) for i in range(3)}
    assert network(torch.rand(1, 1, 16, 16)).isfinite().all()


@pytest.mark.parametrize(
    ("norm", "kind"), [("batch", nn.BatchNorm3d), ("group", nn.GroupNorm), ("instance", nn.InstanceNorm3d)]
)
def test_a_norm_stands_behind_every_convolution_of_a_block_which_then_has_no_bias(norm, kind):
    network = UNet(UNetSpec(width=2, factors=((2, 2, 2),), norm=norm))
    for block in [*network.encoder, network.nodes["0_1"].block]:
        assert [type(m) for m in block] == [nn.Conv3d, kind, nn.ReLU] * 2
        assert block[0].bias is None


def test_a_gate_lets_through_what_its_sigmoid_says():
    network = UNet(UNetSpec(width=4, factors=((2, 2),), skip="attention", norm="none"))
    gate = network.nodes["0_1"].gate
    skip, below = torch.randn(1, 4, 6, 6), torch.randn(1, 4, 6, 6)
    nn.init.zeros_(gate.score.weight)
    nn.init.constant_(gate.score.bias, 1.5)
    assert torch.allclose(gate(skip, below), skip * torch.sigmoid(torch.tensor(1.5)))


def test_every_weight_of_every_family_takes_part():
    for skip in ("concat", "attention", "nested"):
        for down in ("max", "strided", "max_1x1"):
            torch.manual_seed(0)
            network = UNet(UNetSpec(width=4, factors=((2, 2),) * 2, skip=skip, down=down))
            network(torch.randn(2, 1, 16, 16)).square().sum().backward()
            assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
