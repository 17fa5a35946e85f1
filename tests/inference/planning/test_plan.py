from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_limn.errors import LimnError
from napari_limn.inference.planning.columns import cheapest_sweep, least_alive
from napari_limn.inference.planning.memory import MemoryBudget
from napari_limn.inference.planning.plan import (
    activation_values,
    choose_plan,
    footprints_on_grid,
    make_plan,
    with_time,
)
from napari_limn.network.bank import bank_values, features_of
from napari_limn.network.footprint import Footprint, footprint
from napari_limn.network.spec import PixelSpec, UNetSpec
from napari_limn.volume.boxes import blocks, count_blocks, slices

PLANES = UNetSpec(width=8, factors=((2, 2),) * 3)
VOLUMES = UNetSpec(width=8, factors=((1, 2, 2), (2, 2, 2)))
SPECS = {
    "planes": PLANES,
    "volumes": VOLUMES,
    "valid planes": replace(PLANES, padding="valid", norm="none"),
    "valid volumes": replace(VOLUMES, padding="valid", norm="none"),
    "nested": replace(PLANES, skip="nested"),
    "group": replace(PLANES, norm="group"),
}
GRID = (2, 9, 700, 1100)
each_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())


def least(spec, grid):
    """Bytes that the smallest block needs, as the refusal of an impossible limit says."""
    with pytest.raises(LimnError) as error:
        make_plan(spec, grid, 1)
    return float(re.search(r"needs ([\d.]+) GB", str(error.value))[1]) * 1e9 + 1e7


@each_spec
def test_the_peak_stays_within_the_limit_and_blocks_shrink_with_it(spec):
    sizes = []
    for limit in np.geomspace(least(spec, GRID), 40e9, 12):
        plan = make_plan(spec, GRID, int(limit))
        assert plan.peak_bytes <= limit == pytest.approx(plan.limit, abs=1)
        sizes.append(np.prod(plan.block))
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_what_is_alive_at_least_is_the_last_concatenation_and_what_it_is_made_of():
    spec = UNetSpec(width=4, factors=((2, 2),), skip="concat")
    assert least_alive(spec, (1, 1, 32, 48)) == 32 * 48 * (4 + 4 + 8)
    assert (
        least_alive(replace(spec, norm="batch"), (1, 5, 30, 47)) == 30 * 48 * 16
    )  # filled up, frame by frame
    assert least_alive(replace(spec, factors=((2, 2),) * 3), (1, 1, 32, 48)) == 32 * 48 * 16
    assert least_alive(replace(spec, skip="nested", factors=((2, 2),) * 2), (1, 1, 32, 48)) == 32 * 48 * 24


def test_a_frame_alone_needs_less_than_one_of_several_since_nothing_is_read_ahead():
    alone, one = make_plan(PLANES, (1, 1, 300, 400), 1 << 50), make_plan(PLANES, (9, 1, 300, 400), 1 << 50)
    assert alone.block == one.block
    assert alone.peak_bytes < one.peak_bytes


def test_a_larger_block_needs_more_memory():
    peaks = [make_plan(PLANES, (1, 1, n, n), 1 << 50).peak_bytes for n in range(8, 600, 8)]
    assert all(a < b for a, b in zip(peaks, peaks[1:], strict=False))


def test_wider_networks_and_larger_numbers_need_more_memory():
    peak = make_plan(PLANES, GRID, 1 << 50).peak_bytes
    assert make_plan(replace(PLANES, width=16), GRID, 1 << 50).peak_bytes > peak
    assert make_plan(replace(PLANES, skip="nested"), GRID, 1 << 50).peak_bytes > peak
    assert make_plan(PLANES, GRID, 1 << 50, itemsize=2).peak_bytes < peak


@each_spec
def test_a_limit_that_is_too_small_is_refused_with_both_numbers(spec):
    with pytest.raises(LimnError) as error:
        make_plan(spec, GRID, 50_000_000)
    sentence = str(error.value)
    assert "limit of 0.05 GB" in sentence
    needed = float(re.search(r"needs ([\d.]+) GB", sentence)[1])
    assert needed > 0.05
    assert "give more with --memory" in sentence
    assert make_plan(spec, GRID, int(needed * 1e9 + 1e7)).peak_bytes <= needed * 1e9 + 1e7


@each_spec
def test_a_limit_that_does_not_leave_room_for_the_output_is_refused_with_what_both_need(spec):
    grid = (1, 3, 64, 80)
    most = make_plan(spec, grid, 1 << 50).peak_bytes
    with pytest.raises(LimnError, match=r"limit of ([\d.]+) GB.* needs ([\d.]+) GB") as error:
        MemoryBudget(2 * most, lambda _: 10 * most).plan(spec, grid)
    limit, needed = (float(n) for n in re.findall(r"([\d.]+) GB", str(error.value)))
    assert limit == round(2 * most / 1e9, 2)
    assert needed > limit
    enough = MemoryBudget(int((needed + 0.01) * 1e9), lambda _: 10 * most)
    assert enough.plan(spec, grid).peak_bytes > 10 * most


@given(
    spec=st.sampled_from(list(SPECS.values())),
    grid=st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 90), st.integers(1, 90)),
    share=st.floats(0, 1),
)
@settings(max_examples=60, deadline=None)
def test_every_voxel_is_in_one_block_and_blocks_begin_on_the_grid_of_the_network(spec, grid, share):
    small, large = least(spec, grid), make_plan(spec, grid, 1 << 50).peak_bytes
    plan = make_plan(spec, grid, int(small + share * max(0, large - small)))
    seen = np.zeros(grid, np.uint8)
    found = list(blocks(grid, plan.block))
    for box in found:
        seen[slices(box)] += 1
        assert all(start % f.step == 0 for (start, _), f in zip(box, footprints_on_grid(spec), strict=True))
    assert (seen == 1).all()
    assert len(found) == plan.blocks


@given(
    spec=st.sampled_from(list(SPECS.values())),
    grid=st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 3000), st.integers(1, 3000)),
)
@settings(max_examples=60, deadline=None)
def test_no_voxel_is_computed_less_than_once_and_smaller_blocks_are_more_work(spec, grid):
    small, large = make_plan(spec, grid, int(least(spec, grid))), make_plan(spec, grid, 1 << 50)
    assert 1 - 1e-9 <= large.work <= small.work + 1e-9


def test_the_work_is_that_of_counted_voxels():
    grid = (1, 1, 700, 900)
    plan = make_plan(PLANES, grid, int(least(PLANES, grid) + 3e7))
    assert plan.blocks > 4
    seen = 0
    for box in blocks(grid, plan.block):
        spans = [min(b + h, n) - max(a - h, 0) for (a, b), h, n in zip(box, plan.halo, grid, strict=True)]
        seen += int(np.prod(spans))
    assert plan.work == pytest.approx(seen / np.prod(grid))


def test_one_block_of_a_padded_network_is_no_extra_work():
    plan = make_plan(PLANES, (1, 1, 300, 300), 1 << 50)
    assert (plan.blocks, plan.work) == (1, 1.0)


def test_the_halo_is_that_of_the_network_and_none_along_axes_it_does_not_see():
    assert make_plan(PLANES, GRID, 1 << 50).halo == (0, 0, *(f.halo for f in footprint(PLANES)))
    assert make_plan(VOLUMES, GRID, 1 << 50).halo == (0, *(f.halo for f in footprint(VOLUMES)))
    assert footprints_on_grid(PLANES)[:2] == (Footprint(1, 0, 0, 1),) * 2


def test_small_planes_go_in_together_but_frames_do_not():
    assert make_plan(PLANES, (4, 30, 64, 64), 1 << 50).block == (1, 30, 64, 64)
    assert make_plan(PLANES, (4, 30, 512, 512), 1 << 50).block == (1, 1, 512, 512)


def test_blocks_of_one_run_are_of_about_the_same_size():
    plan = make_plan(PLANES, (1, 1, 1100, 1100), 1 << 50)
    assert plan.block == (1, 1, 552, 552)


def test_only_a_network_whose_norm_sees_the_tile_is_not_exact_and_only_if_it_is_tiled():
    group, grid = SPECS["group"], (1, 1, 600, 600)
    assert make_plan(PLANES, grid, int(least(PLANES, grid))).exact
    assert make_plan(group, grid, 1 << 50).exact
    assert not make_plan(group, grid, int(least(group, grid) + 1e7)).exact
    assert make_plan(group, (1, 1, 5000, 5000), 1 << 60).blocks == 1


def test_activation_values_count_every_node_of_a_small_network():
    spec = UNetSpec(width=4, factors=((2, 2),))
    kept = 4 + 8 / 4 + 4
    assert activation_values(spec, (1, 1, 6, 10)) == 60 * (2 * 1 + kept + 4 * (1 + 3) + 2 * 2)


def test_activation_values_count_the_classifier_before_the_network_and_what_it_leaves_in_the_heap():
    scales, seen = ((1.0, 1.0), (4.0, 4.0)), (1, 3, 64, 80)
    spec = UNetSpec(width=16, factors=((2, 2),), pixels=PixelSpec(scales=scales, windows=1), share=1.0)
    bank, every = 3 * bank_values((64, 80), (4.0, 4.0), 1), 1 + 3 * features_of(1, 2) + 3
    alone, network = activation_values(spec, seen), activation_values(replace(spec, share=0.0), seen)
    assert network == activation_values(replace(spec, pixels=None), seen)
    assert alone == 3 * 64 * 80 * (6 + every) + bank
    assert activation_values(spec, seen, 2) == alone + bank  # which is float32 whatever the network is in
    assert activation_values(replace(spec, share=0.5), seen) == pytest.approx(
        max(alone, network + 0.6 * bank)
    )
    large = (1, 1, 2048, 2048)  # whose tensors do not lie in the heap
    both, network = (activation_values(replace(spec, share=share, width=64), large) for share in (0.5, 0.0))
    assert both == network


@pytest.mark.parametrize(("seconds", "said"), [(None, ""), (12.3, "about 12 s"), (300.0, "about 5 min")])
def test_a_plan_says_what_it_is_in_one_line(seconds, said):
    plan = make_plan(PLANES, (1, 1, 1100, 1100), 2_000_000_000)
    plan = plan if seconds is None else with_time(plan, seconds)
    text = str(plan)
    assert text.startswith("4 tiles of 1 × 1 × 552 × 552, ")
    assert f"{plan.peak_bytes / 1e9:.1f} GB" in text
    assert said in text
    assert ("about" in text) == (seconds is not None)
    assert text.endswith(", exact")


def test_a_plan_says_that_it_is_not_exact():
    text = str(
        make_plan(SPECS["group"], (1, 1, 600, 600), int(least(SPECS["group"], (1, 1, 600, 600)) + 1e7))
    )
    assert text.endswith("not exact: the normalisation depends on the tile")


# ---- sweeps ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [PLANES, VOLUMES, SPECS["valid planes"], SPECS["nested"]])
def test_a_frame_that_fits_is_one_pass_and_a_larger_one_is_swept(spec):
    small = (1, 8, 64, 64) if spec.ndim == 3 else (1, 1, 200, 200)
    assert not choose_plan(spec, small, 1 << 50).swept
    large = (1, 90, 700, 600) if spec.ndim == 3 else (2, 1, 3000, 2500)
    found = choose_plan(spec, large, 4_000_000_000)
    assert found.swept
    assert found.exact
    assert found.work < 1.2
    assert found.blocks == count_blocks(large, found.block)
    assert found.peak_bytes <= 4_000_000_000
    assert "blocks of" in str(found)


def test_under_a_tighter_limit_a_sweep_goes_through_columns_or_takes_smaller_blocks():
    grid = (1, 64, 1024, 1024)
    found = [choose_plan(VOLUMES, grid, int(gigabytes * 1e9)) for gigabytes in (0.3, 0.6, 2, 8)]
    assert all(plan.peak_bytes <= plan.limit and plan.swept and plan.exact for plan in found)
    assert found[-1].column is None
    assert found[0].column is not None
    work = [plan.work for plan in found]
    assert work[-1] == pytest.approx(1, abs=0.01)
    assert max(work) <= 1.6
    with pytest.raises(
        LimnError, match=r"limit of 0\.10 GB, the smallest block of this network needs 0\.\d+ GB"
    ):
        choose_plan(VOLUMES, grid, 100_000_000)


def test_the_blocks_of_columns_are_counted():
    found = choose_plan(VOLUMES, (2, 64, 1024, 1024), 300_000_000)
    count = 0
    for column in blocks(found.grid, found.column):
        count += count_blocks([b - a for a, b in column], found.block)
    assert found.blocks == count


def test_what_a_sweep_needs_does_not_grow_with_the_longest_axis():
    short, long = (cheapest_sweep(PLANES, (1, 1, n, 2048), 1 << 40) for n in (4096, 65536))
    assert short.peak_bytes == long.peak_bytes
    turned = cheapest_sweep(PLANES, (1, 1, 2048, 65536), 1 << 40)
    assert turned.peak_bytes == pytest.approx(long.peak_bytes, rel=0.3)


def test_norms_over_the_tile_are_never_swept():
    assert not choose_plan(SPECS["group"], (1, 1, 5000, 5000), 1 << 60).swept
