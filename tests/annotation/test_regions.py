"""The connected region around a point, against the labelling of the whole plane."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import label

from napari_limn.annotation.regions import region_at

planes = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=14), elements=st.integers(0, 2))


def truth(plane, point):
    parts, _ = label(plane == plane[point])
    return parts == parts[point]


def mask_of(found, shape):
    mask = np.zeros(shape, bool)
    mask[found.rows, found.columns] = True
    return mask


@given(planes, st.data())
def test_a_region_within_reach_is_the_whole_one(plane, data):
    point = tuple(data.draw(st.integers(0, n - 1)) for n in plane.shape)
    found = region_at(lambda y, x: plane[y, x], plane.shape, point, reach=20)
    assert found.value == plane[point]
    assert not found.cut
    np.testing.assert_array_equal(mask_of(found, plane.shape), truth(plane, point))


@given(planes, st.data(), st.integers(0, 5))
def test_a_short_reach_gives_a_part_and_says_so(plane, data, reach):
    point = tuple(data.draw(st.integers(0, n - 1)) for n in plane.shape)
    found = region_at(lambda y, x: plane[y, x], plane.shape, point, reach)
    mask, full = mask_of(found, plane.shape), truth(plane, point)
    assert mask[point]
    assert not (mask & ~full).any(), "voxels of another region"
    assert abs(found.rows - point[0]).max() <= reach
    assert abs(found.columns - point[1]).max() <= reach
    if not found.cut:
        np.testing.assert_array_equal(mask, full)


@given(planes, st.sampled_from([(-1, 0), (0, -1), (14, 0), (0, 14)]))
def test_a_point_outside_has_no_region(plane, point):
    assert region_at(lambda y, x: plane[y, x], plane.shape, point) is None


@given(planes, st.data())
def test_nothing_out_of_view_is_taken(plane, data):
    point = tuple(data.draw(st.integers(0, n - 1)) for n in plane.shape)
    view = tuple(
        (data.draw(st.integers(-2, at)), data.draw(st.integers(at + 1, n + 2)))
        for at, n in zip(point, plane.shape, strict=True)
    )
    found = region_at(lambda y, x: plane[y, x], plane.shape, point, view=view)
    for places, (low, high) in zip((found.rows, found.columns), view, strict=True):
        assert low <= places.min() <= places.max() < high
    if not found.cut:
        np.testing.assert_array_equal(mask_of(found, plane.shape), truth(plane, point))


def test_only_a_window_is_read():
    asked = []

    def read(rows, columns):
        asked.append((rows, columns))
        return np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)

    found = region_at(read, (10**6, 10**6), (500_000, 3), reach=10)
    assert asked == [(slice(499_990, 500_011), slice(0, 14))]
    assert found.cut
    assert len(found.rows) == 21 * 14
