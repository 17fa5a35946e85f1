"""Windows spread over a volume: inside it, all over it, few."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_limn.volume.boxes import contains, shape_of, whole
from napari_limn.volume.reading.sampling import read_around, sample_boxes, sample_values
from napari_limn.volume.volume import Volume

EXTENTS = st.tuples(st.integers(1, 50), st.integers(1, 4000), st.integers(1, 10**6), st.integers(1, 10**6))


@settings(max_examples=200, deadline=None)
@given(EXTENTS, st.integers(1, 40), st.integers(1, 300))
def test_windows_lie_inside_and_are_different(grid, count, side):
    found = sample_boxes(grid, count, side)
    assert 1 <= len(found) <= count
    assert len(set(found)) == len(found)
    assert all(contains(whole(grid), box) for box in found)
    assert {shape_of(box) for box in found} == {(1, 1, min(side, grid[2]), min(side, grid[3]))}


@given(st.integers(0, 3))
def test_every_quarter_of_every_long_axis_is_visited(axis):
    grid = (1000, 1000, 10**5, 10**5)
    quarters = {4 * box[axis][0] // grid[axis] for box in sample_boxes(grid)}
    assert quarters == {0, 1, 2, 3}


def test_samples_are_what_is_in_the_windows():
    data = np.random.default_rng(0).integers(0, 255, (2, 5, 300, 200), np.uint8)
    volume = Volume.of(data, "CZYX")
    boxes = sample_boxes(volume.grid)
    expected = [data[:, b[1][0], slice(*b[2]), slice(*b[3])].reshape(2, -1) for b in boxes]
    np.testing.assert_array_equal(sample_values(volume), np.concatenate(expected, axis=1))
    assert [part.shape for part in read_around(volume, boxes[:2])] == [(2, 1, 1, 128, 128)] * 2
