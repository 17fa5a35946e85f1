"""Where two predictions disagree: lazily and counted, against the whole arrays."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from napari_limn import LimnError
from napari_limn.evaluation.difference import AT_ONCE, Pair, plane_in_sight
from napari_limn.volume.boxes import whole

NAMES = {2: "YX", 3: "ZYX", 4: "TZYX"}


@st.composite
def pairs(draw):
    shape = draw(array_shapes(min_dims=2, max_dims=4, max_side=6))
    return tuple(draw(arrays(np.uint8, shape, elements=st.integers(0, 3))) for _ in range(2))


@given(pairs())
def test_voxels_that_one_has_not_computed_do_not_count(labels):
    first, second = labels
    pair = Pair([first], [second], NAMES[first.ndim])
    there = (first > 0) & (second > 0)
    wrong = there & (first != second)
    np.testing.assert_array_equal(np.asarray(pair.difference()[0]), np.where(wrong, second, 0))
    found = pair.count(whole(pair.grid()))
    assert (found.differing, found.compared) == (wrong.sum(), there.sum())
    assert 0 <= found.share <= 1


@given(pairs())
def test_where_zero_is_a_class_it_can_be_seen(labels):
    first, second = labels
    pair = Pair([first], [second], NAMES[first.ndim], zero=200)
    wrong = first != second
    expected = np.where(wrong, np.where(second == 0, 200, second), 0)
    np.testing.assert_array_equal(np.asarray(pair.difference()[0]), expected)
    assert pair.count(whole(pair.grid())).differing == wrong.sum()
    assert pair.count(whole(pair.grid())).compared == first.size


def test_the_value_for_zero_fits_its_type():
    labels = np.array([[255, 0]], np.uint8)
    pair = Pair([labels], [labels[:, ::-1]], "YX", zero=256)
    np.testing.assert_array_equal(np.asarray(pair.difference()[0]), [[256, 255]])


class Counting:
    """An array that tells how many voxels were asked for."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.asked = array, array.shape, array.dtype, 0

    def __getitem__(self, index):
        found = self.array[index]
        self.asked += found.size
        return found


def test_a_slice_reads_nothing_but_the_slice():
    first, second = (Counting(np.full((50, 20, 30), v, np.uint8)) for v in (1, 2))
    [level] = Pair([first], [second], "ZYX").difference()
    plane = level[:, 2:12][7]
    assert (first.asked, second.asked) == (0, 0)
    assert (np.asarray(plane) == 2).all()
    assert (first.asked, second.asked) == (300, 300)


def test_levels_that_both_have_are_compared(tmp_path):
    fine, coarse = np.ones((8, 8), np.uint8), np.ones((4, 4), np.uint8)
    stored = zarr.array(2 * fine, store=tmp_path / "a.zarr", chunks=(4, 4))
    assert Pair([fine, coarse], [stored], "YX").levels == 1
    assert Pair([fine, coarse], [stored, coarse], "YX").levels == 2
    assert Pair([fine, coarse], [stored, fine], "YX").levels == 1
    level = Pair([fine, coarse], [stored], "YX").difference()[0]
    assert level.chunks == (4, 4)
    assert (np.asarray(level) == 2).all()
    with pytest.raises(LimnError, match=r"size \(8, 8\) and \(4, 4\), expected two predictions of one image"):
        Pair([fine], [coarse], "YX")


def big(shape):
    return np.broadcast_to(np.uint8(1), shape)


def test_what_is_compared_at_once_is_bounded():
    small = Pair([big((5, 100, 100))], [big((5, 100, 100))], "ZYX")
    plane, view = ((0, 1), (2, 3), (0, 100), (0, 100)), ((0, 1), (2, 3), (10, 20), (10, 20))
    assert plane_in_sight(small, plane, view) == (plane, 0, True)

    levels = [big((5, 40_000 // n, 30_000 // n)) for n in (1, 4, 32)]
    plane, view = (
        ((0, 1), (2, 3), (0, 40_000), (0, 30_000)),
        ((0, 1), (2, 3), (0, 40_000), (29_000, 29_500)),
    )
    box, level, complete = plane_in_sight(Pair(levels, levels, "ZYX"), plane, view)
    assert (box, level, complete) == (((0, 1), (2, 3), (0, 1250), (0, 937)), 2, True)

    box, level, complete = plane_in_sight(Pair(levels[:1], levels[:1], "ZYX"), plane, view)
    assert (level, complete) == (0, False)
    assert np.prod([b - a for a, b in box]) <= AT_ONCE
    assert box[3] == (29_000, 29_500)
    assert box[2] == (20_000 - 1024, 20_000 + 1024)
