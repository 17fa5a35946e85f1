from __future__ import annotations

from fractions import Fraction
from math import ceil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_limn.network.graph import Footprint, crops, first_samples, footprint
from napari_limn.network.spec import UNetSpec
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
    assert [crops(RONNEBERGER, level, 4 - level) for level in (3, 2, 1, 0)] == [
        ((4, 4),),
        ((16, 16),),
        ((40, 40),),
        ((88, 88),),
    ]
    assert 572 - 2 * footprint(RONNEBERGER)[0].shrink == 388
    assert (572 - footprint(RONNEBERGER)[0].smallest) % 16 == 0


def runs(network, size):
    try:
        return network(torch.zeros(1, network.spec.in_channels, *size, device="meta")).shape[2:]
    except RuntimeError:
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
    feet = footprint(spec)
    for extra in range(3):
        size = tuple(f.smallest + extra * f.step for f in feet)
        with torch.device("meta"):
            network = UNet(spec)
        assert runs(network, size) == tuple(n - 2 * f.shrink for n, f in zip(size, feet, strict=True))


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


def test_padded_networks_need_no_crops_and_keep_the_first_sample_at_the_first_voxel():
    spec = UNetSpec(factors=((2, 3), (3, 2)), skip="nested")
    assert all(set(crop) == {0} for node in spec.nodes() for crop in crops(spec, *node))
    for axis in range(2):
        at = first_samples(spec, axis)
        assert all(at[node] == at[node[0], 0] for node in spec.nodes())
    assert first_samples(spec, 0)[1, 0] == Fraction(1, 2)
    assert first_samples(spec, 1)[1, 0] == 1


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


@pytest.mark.parametrize("skip", ["concat", "attention", "nested"])
@pytest.mark.parametrize("down", ["max", "strided"])
@pytest.mark.parametrize("factors", FACTORS.values(), ids=FACTORS.keys())
def test_the_halo_is_the_measured_field_of_view_rounded_up_to_the_step(skip, down, factors):
    spec = UNetSpec(width=2, factors=factors, skip=skip, down=down, norm="none")
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
