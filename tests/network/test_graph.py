from __future__ import annotations

import re
from math import ceil
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pairwise import pairwise
from torch import nn
from torch.nn import functional as F

from napari_limn.errors import LimnError
from napari_limn.network.footprint import Footprint, footprint, footprint_along
from napari_limn.network.graph import graph_of, trace
from napari_limn.network.spec import Norm, UNetSpec
from napari_limn.network.unet import UNet

torch.set_num_threads(1)

RONNEBERGER = UNetSpec(
    width=64, max_width=1024, factors=((2, 2),) * 4, padding="valid", norm="none", skip="concat"
)
FACTORS = {
    "2d": ((2, 2), (2, 2)),
    "deep": ((2, 2),) * 3,
    "anisotropic": ((1, 2), (2, 2)),
    "three": ((3, 2), (2, 3)),
    "never": ((1, 2), (1, 2)),
    "late": ((2, 2), (1, 2)),
    "volume": ((1, 2, 2), (2, 2, 2)),
}


def test_the_network_of_2015_is_read_off_its_definition():
    assert footprint(RONNEBERGER) == (Footprint(step=16, halo=92, shrink=92, smallest=188),) * 2
    assert 572 - 2 * footprint(RONNEBERGER)[0].shrink == 388
    assert (572 - footprint(RONNEBERGER)[0].smallest) % 16 == 0


def runs(network, size):
    try:
        return network(torch.zeros(1, network.spec.in_channels, *size, device="meta")).shape[2:]
    except (RuntimeError, LimnError):
        return None


def even(spec, size):
    """Whether every pooling of the unpadded 2D network divides `size` without remainder, counted by hand."""
    for factor, _ in spec.factors:
        size -= 4
        if size <= 0 or size % factor:
            return False
        size //= factor
    return size > 4


@pytest.mark.parametrize("factors", [((2, 2),) * 2, ((2, 2),) * 4, ((2, 2), (3, 3)), ((3, 3), (3, 3))])
def test_legal_sizes_are_those_that_divide_and_leave_an_output(factors):
    spec = UNetSpec(width=1, factors=factors, padding="valid", norm="none")
    foot = footprint(spec)[0]
    legal = [n for n in range(1, 260) if even(spec, n) and n > 2 * foot.shrink]
    assert legal == list(range(foot.smallest, 260, foot.step))


@pytest.mark.parametrize("skip", ["concat", "attention", "nested"])
@pytest.mark.parametrize("factors", [FACTORS["2d"], FACTORS["volume"], FACTORS["deep"]])
def test_unpadded_output_is_smaller_by_twice_the_shrink(skip, factors):
    spec = UNetSpec(width=1, factors=factors, padding="valid", norm="none", skip=skip)
    footprints = footprint(spec)
    for extra in range(3):
        size = tuple(f.smallest + extra * f.step for f in footprints)
        with torch.device("meta"):
            network = UNet(spec)
        assert runs(network, size) == tuple(n - 2 * f.shrink for n, f in zip(size, footprints, strict=True))


@given(
    factors=st.lists(st.integers(1, 4), min_size=1, max_size=4), skip=st.sampled_from(["concat", "nested"])
)
@settings(max_examples=40, deadline=None)
def test_skips_line_up_without_padding_whatever_the_factors(factors, skip):
    pairs = tuple((f, f) for f in factors)
    spec = UNetSpec(width=1, factors=pairs, padding="valid", norm="none", skip=skip)
    foot = footprint(spec)[0]
    with torch.device("meta"):
        network = UNet(spec)
    left = foot.smallest - 2 * foot.shrink
    assert 1 <= left <= foot.step
    assert runs(network, (foot.smallest,) * 2) == (left,) * 2


def transparent(spec):
    """The network with every ReLU open (positive weights) and every maximum a mean: nothing that is seen hides."""
    torch.manual_seed(0)
    network = UNet(spec).double().eval()
    for parameter in network.parameters():
        parameter.data = parameter.data.abs() + 0.01
    for level, pool in enumerate(network.down):
        if spec.down == "max":
            mean = {2: torch.nn.AvgPool2d, 3: torch.nn.AvgPool3d}[spec.ndim]
            network.down[level] = mean(pool.kernel_size)
    return network


def field_of_view(spec, axis, low, high, size):
    """First and last place of the input along `axis` whose gradient for any output in [low, high) is not zero."""
    shape = [spec.stride(spec.depth, other) for other in range(spec.ndim)]
    shape[axis] = size
    x = torch.rand(1, 1, *shape, dtype=torch.double, requires_grad=True)
    transparent(spec)(x).narrow(axis + 2, low, high - low).sum().backward()
    places = x.grad.abs().sum([d for d in range(x.ndim) if d != axis + 2]).nonzero().ravel()
    return int(places.min()), int(places.max()) + 1


@pairwise(
    factors=FACTORS.values(),
    ways=[("max", "transposed"), ("strided", "interpolate")],
    skip=["concat", "attention", "nested"],
)
def test_the_halo_is_the_measured_field_of_view_rounded_up_to_the_step(skip, ways, factors):
    down, up = ways
    spec = UNetSpec(width=2, factors=factors, skip=skip, down=down, up=up, norm="none")
    for axis, foot in enumerate(footprint(spec)):
        low = foot.halo + 2 * foot.step
        size = 2 * low + foot.step
        first, last = field_of_view(spec, axis, low, low + foot.step, size)
        assert first > 0
        assert last < size
        reach = max(low - first, last - low - foot.step)
        assert foot.step == spec.stride(spec.depth, axis)
        assert foot.halo == ceil(reach / foot.step) * foot.step


def test_an_axis_that_is_never_pooled_is_not_looked_along():
    assert footprint(UNetSpec(factors=((1, 2, 2), (1, 2, 2))))[0] == Footprint(1, 0, 0, 1)
    assert footprint(UNetSpec(factors=((1, 2, 2), (1, 2, 2)), padding="valid"))[0] == Footprint(1, 0, 0, 1)


@pairwise(
    factors=[((2, 2),) * 2, ((3, 2), (2, 3)), ((1, 2, 2), (2, 2, 2))],
    block=["plain", "residual"],
    up=["transposed", "interpolate"],
)
def test_an_unpadded_network_sees_its_shrink_on_each_side(up, block, factors):
    spec = UNetSpec(width=2, factors=factors, up=up, block=block, padding="valid", norm="none")
    for axis, foot in enumerate(footprint(spec)):
        shape = [f.smallest for f in footprint(spec)]
        shape[axis] += 2 * foot.step
        x = torch.rand(1, 1, *shape, dtype=torch.double, requires_grad=True)
        out = transparent(spec)(x)
        assert out.shape[axis + 2] == shape[axis] - 2 * foot.shrink
        out.sum().backward()
        seen = x.grad.abs().sum([d for d in range(x.ndim) if d != axis + 2])
        assert bool(seen.all())
        first = torch.autograd.grad(transparent(spec)(x).narrow(axis + 2, 0, 1).sum(), x)[0]
        places = first.abs().sum([d for d in range(x.ndim) if d != axis + 2]).nonzero().ravel()
        assert int(places.min()) == 0
        assert int(places.max()) <= 2 * foot.shrink + foot.step


# ---- networks from outside ---------------------------------------------------------------------------------------


class Foreign(nn.Module):
    """Written as others write networks: functional calls, shapes asked for in between, odd kernels."""

    def __init__(self, pool="max", mode="nearest", norm=True):
        super().__init__()
        self.first = nn.Conv2d(2, 4, 5, padding=2, padding_mode="reflect")
        self.norm = nn.BatchNorm2d(4) if norm else nn.Identity()
        self.wide = nn.Conv2d(4, 4, 3, padding="same", dilation=2)
        self.down = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1, output_padding=1)
        self.out = nn.Conv2d(8, 3, 1)
        self.pool, self.mode = pool, mode

    def forward(self, x):
        skip = F.leaky_relu(self.norm(self.first(x)), 0.1)
        y = self.wide(skip) + skip
        y = F.max_pool2d(y, 2) if self.pool == "max" else F.avg_pool2d(y, 2)
        y = F.silu(self.down(y))
        y = self.up(y)
        y = F.interpolate(y, size=skip.shape[2:], mode=self.mode)
        y = F.pad(y, (1, 1, 1, 1))[:, :, 1:-1, 1:-1]
        return torch.softmax(self.out(torch.cat((skip, 2 * y), dim=1)), dim=1)


def measured(network, channels, axis, low, high, size):
    """First and last place along `axis` that moves the output in [low, high), by gradients."""
    shape = [32, 32]
    shape[axis] = size
    x = torch.rand(1, channels, *shape, dtype=torch.double, requires_grad=True)
    network.double()(x).narrow(axis + 2, low, high - low).square().sum().backward()
    places = x.grad.abs().sum([d for d in range(4) if d != axis + 2]).nonzero().ravel()
    return int(places.min()), int(places.max()) + 1


@pytest.mark.parametrize("pool", ["max", "avg"])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_a_network_from_outside_is_traced_to_the_field_that_gradients_measure(pool, mode):
    torch.manual_seed(0)
    network = Foreign(pool, mode).eval()
    graph = trace(network, 2, (64, 64))
    foot = footprint_along(graph, 0)
    assert (foot.step, foot.shrink, foot.smallest) == (4, 0, 4)
    assert not graph.not_local
    low, high = 120, 124
    first, last = measured(network, 2, 0, low, high, 244)
    reach = max(low - first, last - high)
    assert foot.halo - foot.step < reach <= foot.halo


def test_tracing_leaves_the_network_as_it_was():
    network = Foreign().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    trace(network, 2, (64, 64))
    assert network.training
    assert not any(m._forward_pre_hooks for m in network.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


class Squeezed(nn.Module):
    """Squeeze and excitation: every voxel is weighed by the mean of the tile."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.fc = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        x = self.conv(x)
        return x * torch.sigmoid(self.fc(x.mean((2, 3), keepdim=True)))


class Placed(nn.Module):
    """Adds a learnt value to every place of the tile."""

    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1, 1, 64, 64))

    def forward(self, x):
        return x + self.place


class Attending(nn.Module):
    """Attention over space."""

    def forward(self, x):
        flat = x.flatten(2).transpose(1, 2)
        return F.scaled_dot_product_attention(flat, flat, flat).transpose(1, 2).reshape(x.shape)


@pytest.mark.parametrize(
    ("network", "named"),
    [
        (nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4)), "group_norm in 1"),
        (nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.InstanceNorm2d(4)), "instance_norm in 1"),
        (Squeezed(), "mean in conv"),
        (Placed(), "add"),
        (Attending(), "flatten"),
        (nn.Sequential(nn.AvgPool2d(2), nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)), "interpolate in 1"),
        (nn.LayerNorm((64, 64)), "layer_norm"),
    ],
    ids=["group", "instance", "squeeze", "place", "attention", "corners", "layer"],
)  # fmt: skip
def test_what_looks_at_the_whole_tile_is_named_with_its_place(network, named):
    assert trace(network, 1, (64, 64)).not_local[0] == named


@pytest.mark.parametrize("norm", get_args(Norm))
def test_a_spec_is_tile_exact_where_its_graph_is_local(norm):
    spec = UNetSpec(width=2, factors=((2, 2),), norm=norm)
    assert spec.tile_exact is (not graph_of(spec).not_local)


class Pair(nn.Module):
    def forward(self, x):
        return x, x


@pytest.mark.parametrize(
    ("network", "size", "said"),
    [
        (nn.Conv2d(3, 4, 3), (64, 64), "does not take 1 × (64, 64)"),
        (nn.Flatten(), (64, 64), "found an output (1, 4096), expected one tensor of 4 axes"),
        (Pair(), (64, 64), "found an output tuple, expected one tensor"),
    ],
    ids=["channels", "flat", "two"],
)
def test_a_network_that_does_not_fit_is_refused_in_one_sentence(network, size, said):
    with pytest.raises(LimnError, match=re.escape(said)):
        trace(network, 1, size)


def test_an_output_that_is_no_voxel_for_a_voxel_has_no_footprint():
    with pytest.raises(LimnError, match="one output sample every 2 voxels"):
        footprint_along(trace(nn.MaxPool2d(2), 1, (64, 64)), 0)
    with pytest.raises(LimnError, match="found 1 voxels cut off in all"):
        footprint_along(trace(nn.Conv2d(1, 1, 2), 1, (64, 64)), 0)
