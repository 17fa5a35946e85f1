from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_limn.volume.boxes import contains, whole
from napari_limn.volume.reading.reflect import read_reflected, reflected
from napari_limn.volume.volume import Volume


class Recorded(Volume):
    """A volume that remembers which boxes were read."""

    boxes: list = []  # noqa: RUF012

    def read(self, box):
        self.boxes.append(box)
        return super().read(box)


@st.composite
def padded(draw):
    """Shape, and pads before and behind that numpy's reflection can do in one go."""
    shape = draw(st.lists(st.integers(1, 7), min_size=4, max_size=4))
    pads = [
        (draw(st.integers(0, n - 1)), draw(st.integers(0, n - 1)))
        if n > 1
        else (draw(st.integers(0, 9)),) * 2
        for n in shape
    ]
    return shape, pads


@given(padded())
@settings(deadline=None, max_examples=150)
def test_equals_numpys_reflection(case):
    shape, pads = case
    array = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    box = tuple((-before, n + behind) for n, (before, behind) in zip(shape, pads, strict=True))
    modes = array
    for axis, pad in enumerate(pads):
        widths = [pad if i == axis else (0, 0) for i in range(4)]
        modes = np.pad(modes, widths, mode="reflect" if shape[axis] > 1 else "edge")
    np.testing.assert_array_equal(read_reflected(Volume.of(array, "TZYX"), box)[0], modes)


@given(st.integers(1, 6), st.integers(-40, 40), st.integers(1, 60))
@settings(deadline=None, max_examples=200)
def test_swings_back_and_forth_over_any_distance(size, start, extent):
    swing = [*range(size), *range(size - 2, 0, -1)]
    expected = [swing[i % len(swing)] for i in range(start, start + extent)]
    assert reflected(start, start + extent, size).tolist() == expected


@given(st.data())
@settings(deadline=None, max_examples=100)
def test_inside_it_is_a_plain_read_and_a_part_of_any_wider_read(data):
    array = np.arange(2 * 3 * 5 * 6).reshape(2, 3, 5, 6)
    volume = Volume.of(array, "TZYX")
    box = []
    for n in array.shape:
        start = data.draw(st.integers(-8, n + 8))
        box.append((start, start + data.draw(st.integers(1, 9))))
    whole_read = read_reflected(volume, tuple((-10, n + 20) for n in array.shape))
    expected = whole_read[(slice(None), *(slice(a + 10, b + 10) for a, b in box))]
    np.testing.assert_array_equal(read_reflected(volume, tuple(box)), expected)
    if contains(whole(volume.grid), tuple(box)):
        np.testing.assert_array_equal(expected, volume.read(tuple(box)))


@pytest.mark.parametrize("box", [(-3, 2), (0, 5), (4, 9), (95, 104)])
def test_reads_no_more_than_the_box_needs(box):
    volume = Recorded(np.arange(100).reshape(1, 100), Volume.of(np.zeros((1, 100))).axes)
    volume.boxes.clear()
    read_reflected(volume, ((0, 1), (0, 1), (0, 1), box))
    ((*_, (start, stop)),) = volume.boxes
    needed = reflected(*box, 100)
    assert (start, stop) == (needed.min(), needed.max() + 1)


def test_channels_stay_apart():
    array = np.stack([np.arange(4), np.arange(4) + 10]).reshape(2, 1, 4)
    found = read_reflected(Volume.of(array, "CYX"), ((0, 1), (0, 1), (0, 1), (-1, 5)))
    assert found[:, 0, 0, 0].tolist() == [[1, 0, 1, 2, 3, 2], [11, 10, 11, 12, 13, 12]]
