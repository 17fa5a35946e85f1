from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_limn.volume.boxes import (
    blocks,
    clipped,
    contains,
    count_blocks,
    grown,
    shape_of,
    shifted,
    size_of,
    slices,
    whole,
)

QUICK = settings(deadline=None, max_examples=150)


@st.composite
def shapes_with_blocks(draw):
    shape = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    return shape, [draw(st.integers(1, 12)) for _ in shape]


@st.composite
def boxes_with_numbers(draw, low=-30, high=30):
    """A box and one number an axis."""
    ndim = draw(st.integers(1, 4))
    starts = [draw(st.integers(low, high)) for _ in range(ndim)]
    box = tuple((start, start + draw(st.integers(0, 20))) for start in starts)
    return box, [draw(st.integers(0, 25)) for _ in range(ndim)]


@given(shapes_with_blocks())
@QUICK
def test_blocks_cover_every_voxel_exactly_once(case):
    shape, block = case
    hits = np.zeros(shape, int)
    for box in blocks(shape, block):
        hits[slices(box)] += 1
    assert (hits == 1).all()


@given(shapes_with_blocks())
@QUICK
def test_blocks_are_aligned_within_bounds_and_as_many_as_counted(case):
    shape, block = case
    found = list(blocks(shape, block))
    assert len(found) == len(set(found)) == count_blocks(shape, block)
    assert found == sorted(found)
    for box in found:
        assert contains(whole(shape), box)
        assert all(0 < extent <= b for extent, b in zip(shape_of(box), block, strict=True))
        assert all(start % b == 0 for (start, _), b in zip(box, block, strict=True))
    assert sum(map(size_of, found)) == np.prod(shape)


def test_blocks_come_one_by_one():
    first = next(blocks((10**6, 10**6), (7, 7)))
    assert first == ((0, 7), (0, 7))
    assert count_blocks((10**6, 10**6), (7, 7)) == 142858**2


@given(boxes_with_numbers())
@QUICK
def test_growing_then_shrinking_gives_the_box_back(case):
    box, margin = case
    bigger = grown(box, margin)
    assert grown(bigger, [-m for m in margin]) == box
    assert contains(bigger, box)
    assert shape_of(bigger) == tuple(n + 2 * m for n, m in zip(shape_of(box), margin, strict=True))


@given(boxes_with_numbers())
@QUICK
def test_shifting_there_and_back_gives_the_box_back(case):
    box, origin = case
    moved = shifted(box, origin)
    assert shifted(moved, [-o for o in origin]) == box
    assert shape_of(moved) == shape_of(box)
    assert shifted(box, [start for start, _ in box]) == whole(shape_of(box))


@given(boxes_with_numbers())
@QUICK
def test_clipping_keeps_the_voxels_that_are_inside_and_no_others(case):
    box, extent = case
    inside = clipped(box, extent)
    for (start, stop), (a, b), n in zip(box, inside, extent, strict=True):
        assert set(range(a, b)) == set(range(start, stop)) & set(range(n))
        assert 0 <= a <= b <= n
    assert clipped(inside, extent) == inside


@given(boxes_with_numbers(low=0))
@QUICK
def test_clipping_a_grown_box_undoes_the_growth_where_the_volume_ends(case):
    box, margin = case
    shape = [stop for _, stop in box]
    assert clipped(grown(box, margin), shape) == tuple(
        (max(0, start - m), stop) for (start, stop), m in zip(box, margin, strict=True)
    )


@given(boxes_with_numbers(low=0))
@QUICK
def test_slices_index_the_shape_of_the_box(case):
    box, _ = case
    array = np.empty([stop for _, stop in box], np.uint8)
    assert array[slices(box)].shape == shape_of(box)
    assert size_of(box) == array[slices(box)].size


def test_contains_needs_every_axis():
    outer = ((0, 4), (0, 4))
    assert contains(outer, ((0, 4), (1, 3)))
    assert not contains(outer, ((0, 4), (1, 5)))
    assert not contains(outer, ((-1, 4), (1, 3)))
