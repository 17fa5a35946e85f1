from __future__ import annotations

from copy import deepcopy
from itertools import product
from math import gcd, sqrt

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pairwise import pairwise
from torch import nn
from torch.nn import functional as F

from napari_limn.annotation.classes import Classes
from napari_limn.errors import LimnError
from napari_limn.model import Model, ModelSpec
from napari_limn.network.folding import folded
from napari_limn.network.spec import CHOICES, UNetSpec
from napari_limn.network.unet import ChannelNorm, Interpolation, UNet

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


def stages(network, size):
    """Channels and extent that every convolution and pooling of a network gives."""
    found = []
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.MaxPool2d)):
            module.register_forward_hook(lambda m, i, out: found.append((out.shape[1], out.shape[2])))
    network(torch.zeros(1, 1, size, size, device="meta"))
    return found


# figure 1 of arXiv:1505.04597, row by row
FIGURE = [
    *[(64, 570), (64, 568)], (64, 284),
    *[(128, 282), (128, 280)], (128, 140),
    *[(256, 138), (256, 136)], (256, 68),
    *[(512, 66), (512, 64)], (512, 32),
    *[(1024, 30), (1024, 28)],
    (512, 56), *[(512, 54), (512, 52)],
    (256, 104), *[(256, 102), (256, 100)],
    (128, 200), *[(128, 198), (128, 196)],
    (64, 392), *[(64, 390), (64, 388)],
    (2, 388),
]  # fmt: skip


def test_every_stage_of_the_network_of_2015_has_the_size_of_its_figure():
    with torch.device("meta"):
        network = UNet(RONNEBERGER)
    assert stages(network, 572) == FIGURE


def test_the_crops_of_the_network_of_2015_are_those_of_its_figure():
    with torch.device("meta"):
        network = UNet(RONNEBERGER)
    skips, ups = {}, {}
    for level in range(4):
        network.encoder[level].register_forward_hook(
            lambda m, i, out, n=level: skips.update({n: out.shape[2]})
        )
        network.nodes[f"{level}_{4 - level}"].up.register_forward_hook(
            lambda m, i, out, n=level: ups.update({n: out.shape[2]})
        )
    network(torch.zeros(1, 1, 572, 572, device="meta"))
    assert [(skips[n] - ups[n]) / 2 for n in (3, 2, 1, 0)] == [4, 16, 40, 88]


def test_an_unpadded_network_refuses_a_size_that_does_not_divide():
    network = UNet(UNetSpec(width=1, padding="valid", norm="none"))
    with pytest.raises(LimnError, match=r"found \(281, 281\) samples at level 1 .* multiples of \(2, 2\)"):
        network(torch.zeros(1, 1, 570 + 4, 570 + 4))


def test_skips_are_cut_out_of_their_middle():
    spec = UNetSpec(width=1, factors=((2, 2),), padding="valid", norm="none")
    network = UNet(spec)
    taken = []
    network.nodes["0_1"].block.register_forward_pre_hook(lambda m, x: taken.append(x[0]))
    encoded = []
    network.encoder[0].register_forward_hook(lambda m, x, out: encoded.append(out))
    network(torch.rand(1, 1, 32, 32))
    assert torch.equal(taken[0][:, :1], encoded[0][:, :, 4:-4, 4:-4])


# ---- the arithmetic of going up ----------------------------------------------------------------------------------

PLANE = torch.tensor([[1.0, 2.0], [3.0, 4.0]])


def set_up(factor, kernel):
    """The transposed convolution of a network, its kernel set by hand."""
    up = UNet(UNetSpec(width=1, factors=((factor, factor),))).nodes["0_1"].up
    up.weight.data = torch.zeros_like(up.weight)
    up.weight.data[0, 0] = torch.tensor(kernel)
    return up


def test_a_transposed_convolution_of_stride_2_lays_copies_of_its_kernel_side_by_side():
    up = set_up(2, [[1.0, 0.0], [0.0, 1.0]])
    found = up(torch.stack([PLANE, torch.zeros(2, 2)])[None])
    assert found[0, 0].tolist() == [[1, 0, 2, 0], [0, 1, 0, 2], [3, 0, 4, 0], [0, 3, 0, 4]]


def test_a_transposed_convolution_of_stride_1_adds_up_where_its_copies_overlap():
    up = nn.ConvTranspose2d(1, 1, 2, stride=1, bias=False)
    nn.init.ones_(up.weight)
    assert up(PLANE[None, None])[0, 0].tolist() == [[1, 3, 2], [4, 10, 6], [3, 7, 4]]


@pytest.mark.parametrize("ndim", [2, 3])
def test_interpolation_after_the_convolution_is_the_same_as_before_it(ndim):
    torch.manual_seed(0)
    up = Interpolation(UNetSpec(width=4, factors=((2,) * ndim,), up="interpolate"), 0)
    x = torch.randn(1, 8, *(5, 4, 3)[:ndim])
    mode = {2: "bilinear", 3: "trilinear"}[ndim]
    expected = up.conv(F.interpolate(x, scale_factor=2.0, mode=mode, align_corners=False))
    assert torch.allclose(up(x), expected, atol=1e-6)
    assert up(x).shape == (1, 4, *(10, 8, 6)[:ndim])


def test_interpolation_by_2_mixes_neighbours_as_three_to_one():
    up = Interpolation(UNetSpec(width=1, factors=((1, 2),), up="interpolate"), 0)
    nn.init.zeros_(up.conv.bias)
    up.conv.weight.data = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1)
    row = torch.tensor([0.0, 4.0, 8.0]).reshape(1, 1, 1, 3)
    assert up(torch.cat([row, row], 1)).ravel().tolist() == [0, 1, 3, 5, 7, 8]


@pytest.mark.parametrize("down", ["max", "strided", "max_1x1"])
@pytest.mark.parametrize("up", ["transposed", "interpolate"])
def test_channels_double_on_the_way_down_and_halve_on_the_way_up(down, up):
    network = UNet(UNetSpec(width=4, factors=((2, 2),) * 3, down=down, up=up, norm="none"))
    shapes = {}
    for name, module in network.named_modules():
        module.register_forward_hook(lambda m, i, out, name=name: shapes.update({name: tuple(out.shape[1:])}))
    network(torch.zeros(1, 1, 16, 16))
    assert [shapes[f"encoder.{i}"] for i in range(4)] == [(4, 16, 16), (8, 8, 8), (16, 4, 4), (32, 2, 2)]
    assert [shapes[f"down.{i}"] for i in range(3)] == [(4, 8, 8), (8, 4, 4), (16, 2, 2)]
    assert [shapes[f"nodes.{i}_{3 - i}.up"] for i in (2, 1, 0)] == [(16, 4, 4), (8, 8, 8), (4, 16, 16)]


def test_max_pooling_keeps_the_largest_of_each_window():
    pool = UNet(UNetSpec(width=1, factors=((2, 3),))).down[0]
    x = torch.arange(24.0).reshape(1, 1, 4, 6)
    assert pool(x)[0, 0].tolist() == [[8, 11], [20, 23]]


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


@pairwise(ndim=[2, 3], **{key: CHOICES[key] for key in ("down", "skip", "block")})
def test_folding_batch_norms_changes_nothing_but_the_layers(ndim, down, skip, block):
    torch.manual_seed(1)
    spec = UNetSpec(width=4, factors=((2,) * ndim,) * 2, down=down, skip=skip, block=block)
    network = randomised(UNet(spec)).eval()
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
    convolutions = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    wide = [m for m in convolutions if m.weight.numel() > 5_000]
    assert len(wide) >= 10
    for module in wide:
        # of a transposed convolution whose kernel is its stride, each output sees one place of the kernel
        fan_in = module.in_channels if module.transposed else module.weight[0].numel()
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
    ("norm", "kind", "bias"),
    [
        ("batch", nn.BatchNorm3d, False),
        ("group", nn.GroupNorm, False),
        ("instance", nn.InstanceNorm3d, False),
        ("channel", ChannelNorm, False),
        ("rms", ChannelNorm, True),
        ("none", nn.Identity, True),
    ],
)
def test_a_norm_stands_behind_every_convolution_of_a_block(norm, kind, bias):
    network = UNet(UNetSpec(width=2, factors=((2, 2, 2),), norm=norm))
    for block in [*network.encoder, network.nodes["0_1"].block]:
        assert [type(m) for m in block.convs] == [nn.Conv3d, kind, nn.ReLU, nn.Conv3d, kind]
        assert (block.convs[0].bias is not None) is bias


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_channel_norms_are_those_of_numpy(centred, dtype):
    rng = np.random.default_rng(0)
    norm = ChannelNorm(6, centred=centred)
    norm.weight.data = torch.from_numpy(rng.normal(size=6)).float()
    if centred:
        norm.bias.data = torch.from_numpy(rng.normal(size=6)).float()
    x = rng.normal(2, 3, (2, 6, 4, 5)).astype(np.float32)
    mean = x.mean(1, keepdims=True) if centred else 0
    scale = np.sqrt(((x - mean) ** 2).mean(1, keepdims=True) + 1e-5)
    weight = norm.weight.detach().numpy().reshape(1, 6, 1, 1)
    expected = (x - mean) / scale * weight + (
        norm.bias.detach().numpy().reshape(1, 6, 1, 1) if centred else 0
    )
    found = norm(torch.from_numpy(x).to(dtype)).float().detach().numpy()
    np.testing.assert_allclose(found, expected, atol=2e-6 if dtype is torch.float32 else 0.06)


def test_a_shortcut_goes_past_both_convolutions():
    network = UNet(UNetSpec(width=2, in_channels=2, factors=((2, 2),), block="residual", norm="none"))
    for conv in (network.encoder[0].convs[0], network.encoder[0].convs[3]):
        nn.init.zeros_(conv.weight)
    x = torch.randn(1, 2, 8, 8)
    assert isinstance(network.encoder[0].shortcut, nn.Identity)
    assert torch.equal(network.encoder[0](x), torch.relu(x))
    assert network.encoder[1].shortcut[0].weight.shape == (4, 2, 1, 1)


def test_an_unpadded_shortcut_is_cut_to_the_middle():
    spec = UNetSpec(width=1, factors=((2, 2),), block="residual", norm="none", padding="valid")
    block = UNet(spec).encoder[0]
    nn.init.zeros_(block.convs[3].weight)
    x = torch.rand(1, 1, 12, 12)
    assert torch.equal(block(x), torch.relu(x[:, :, 2:-2, 2:-2]))


def test_a_sigmoid_of_one_score_is_the_softmax_of_zero_and_that_score():
    torch.manual_seed(0)
    one = UNet(UNetSpec(width=2, factors=((2, 2),), head="sigmoid")).eval()
    two = UNet(UNetSpec(width=2, factors=((2, 2),))).eval()
    state = one.state_dict()
    for kind in ("weight", "bias"):
        state[f"head.{kind}"] = torch.cat([torch.zeros_like(state[f"head.{kind}"]), state[f"head.{kind}"]])
    two.load_state_dict(state)
    x = torch.randn(1, 1, 12, 12)
    assert torch.allclose(one(x), two(x), atol=1e-6)
    score = one(x)[:, 1:] - one(x)[:, :1]
    assert torch.allclose(torch.softmax(two(x), 1)[:, 1:], torch.sigmoid(score), atol=1e-6)


def test_dropout_stands_at_the_end_of_the_contracting_path_and_only_in_training():
    torch.manual_seed(0)
    network = UNet(UNetSpec(width=8, factors=((2, 2),) * 2, dropout=0.5, norm="none"))
    bottom, dropped = [], []
    network.encoder[2].register_forward_hook(lambda m, i, out: bottom.append(out.detach().clone()))
    network.nodes["1_1"].up.register_forward_pre_hook(lambda m, i: dropped.append(i[0].detach().clone()))
    x = torch.randn(4, 1, 64, 64)
    network(x)
    network.eval()(x)
    alive = bottom[0] > 0
    kept = dropped[0][alive] > 0
    assert kept.float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert torch.allclose(dropped[0][alive][kept], 2 * bottom[0][alive][kept])
    assert torch.equal(bottom[1], dropped[1])


# ---- nested networks ---------------------------------------------------------------------------------------------

NESTED = UNetSpec(width=2, factors=((1, 2, 2), (2, 2, 2), (2, 2, 2)), skip="nested", supervised=True)


def test_a_supervised_network_has_a_head_for_every_depth():
    network = randomised(UNet(NESTED)).eval()
    x = torch.randn(1, 1, 8, 16, 16)
    heads = network.supervised(x)
    assert len(heads) == 3
    assert torch.equal(heads[-1], network(x))
    assert len({tuple(h.ravel()[:4].tolist()) for h in heads}) == 3
    assert len(UNet(UNetSpec(width=2)).eval().supervised(torch.randn(1, 1, 16, 16))) == 1


def pruned(network, depth):
    count = network.spec.out_channels
    return (
        Model(ModelSpec(network=network.spec, classes=Classes(tuple(range(1, count + 1)))), network)
        .pruned(depth)
        .network
    )


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_pruned_network_gives_what_its_head_gave_in_the_whole_one(depth):
    torch.manual_seed(0)
    network = randomised(UNet(NESTED)).eval()
    x = torch.randn(1, 1, 8, 16, 16)
    smaller = pruned(network, depth)
    assert torch.allclose(smaller(x), network.supervised(x)[depth - 1], atol=1e-6)
    assert smaller.spec.depth == depth
    assert len(smaller.supervised(x)) == depth
    assert (sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in network.parameters())) == (
        depth < 3
    )


def test_what_was_not_supervised_cannot_be_pruned():
    with pytest.raises(LimnError, match="expected 1 to 2 in a supervised network"):
        pruned(UNet(UNetSpec(width=2, factors=((2, 2),) * 2, skip="nested")), 1)
    with pytest.raises(LimnError, match="of depth 3, which cannot be pruned to 4"):
        pruned(UNet(NESTED), 4)


def test_a_gate_lets_through_what_its_sigmoid_says():
    network = UNet(UNetSpec(width=4, factors=((2, 2),), skip="attention", norm="none"))
    gate = network.nodes["0_1"].gate
    skip, below = torch.randn(1, 4, 6, 6), torch.randn(1, 4, 6, 6)
    nn.init.zeros_(gate.score.weight)
    nn.init.constant_(gate.score.bias, 1.5)
    assert torch.allclose(gate(skip, below), skip * torch.sigmoid(torch.tensor(1.5)))


def test_every_weight_of_every_family_takes_part():
    for skip, down, up, block in product(*(CHOICES[name] for name in ("skip", "down", "up", "block"))):
        torch.manual_seed(0)
        spec = UNetSpec(
            width=4,
            factors=((2, 2),) * 2,
            skip=skip,
            down=down,
            up=up,
            block=block,
            supervised=skip == "nested",
        )
        network = UNet(spec)
        sum(logits.square().sum() for logits in network.supervised(torch.randn(2, 1, 16, 16))).backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
