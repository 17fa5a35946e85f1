"""Labels that are read at the very end, and a file that can be looked at while it is written."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from outputs import output_at

from napari_limn.volume.boxes import shape_of, slices, whole
from napari_limn.volume.reading.lazy import LazyLabels, lazy_levels
from napari_limn.volume.reading.open import open_volume
from napari_limn.volume.volume import Volume

DATA = np.arange(2 * 5 * 6 * 7, dtype=np.uint16).reshape(2, 5, 6, 7)


class Counted:
    """Reads boxes of DATA and remembers them."""

    def __init__(self):
        self.boxes = []

    def __call__(self, box):
        self.boxes.append(box)
        return DATA[slices(box)]


def entry(length):
    whole_numbers = st.integers(-length, length - 1) if length else st.nothing()
    ends = st.none() | st.integers(-length - 2, length + 2)
    spans = st.builds(slice, ends, ends)
    return whole_numbers | spans


@given(st.data())
def test_indexing_equals_numpy_and_reads_no_more_than_asked(data):
    read = Counted()
    lazy, plain = LazyLabels(read, whole(DATA.shape), "TZYX", DATA.dtype), DATA
    for _ in range(2):
        index = tuple(data.draw(entry(n)) for n in plain.shape[: data.draw(st.integers(0, plain.ndim))])
        lazy, plain = lazy[index], plain[index]
        assert lazy.shape == plain.shape
    assert not read.boxes, "something was read before it was asked for"
    np.testing.assert_array_equal(np.asarray(lazy), plain)
    assert sum(int(np.prod(shape_of(box))) for box in read.boxes) == plain.size


@pytest.mark.parametrize("index", [[0, 1], slice(None, None, 2), np.array([True, False]), None])
def test_other_ways_of_indexing_read_at_once(index):
    lazy = LazyLabels(Counted(), whole(DATA.shape), "TZYX", DATA.dtype)
    np.testing.assert_array_equal(lazy[index], DATA[index])


def test_axes_come_in_the_order_asked_for():
    lazy = LazyLabels(Counted(), ((1, 2), (0, 5), (0, 6), (0, 7)), "XZY", DATA.dtype)
    assert lazy.shape == (7, 5, 6)
    np.testing.assert_array_equal(np.asarray(lazy), DATA[1].transpose(2, 0, 1))


def test_levels_of_a_file_are_those_of_its_volume(tmp_path):
    image = Volume.of(np.zeros((4, 600, 500), np.uint8), "ZYX")
    labels = np.random.default_rng(0).integers(1, 3, image.grid).astype(np.uint8)
    output = output_at(tmp_path / "a.ome.zarr", image, np.uint8, (1, 4, 600, 500), {}, {})
    output.write(whole(image.grid), labels)
    path = output.finish()
    levels = lazy_levels(open_volume(path), "ZYX")
    assert len(levels) > 1
    np.testing.assert_array_equal(np.asarray(levels[0]), labels[0])
    assert levels[1].shape == tuple(open_volume(path).levels[0].shape)


def test_a_file_in_the_making_shows_each_block_on_all_levels_as_soon_as_it_is_written(tmp_path):
    image = Volume.of(np.zeros((8, 1200, 1100), np.uint8), "ZYX")
    output = output_at(tmp_path / "a.ome.zarr", image, np.uint8, (1, 8, 300, 1100), {}, {})
    truth = np.zeros(image.grid, np.uint8)
    assert not any(np.asarray(level).any() for level in output.levels)
    for start in range(0, 1200, 300):
        box = ((0, 1), (0, 8), (start, start + 300), (0, 1100))
        truth[slices(box)] = 1 + start // 300
        output.write(box, truth[slices(box)])
        np.testing.assert_array_equal(np.asarray(output.levels[0]), truth[0])
        for level, at in zip(output.levels, output.layout.levels, strict=True):
            np.testing.assert_array_equal(
                np.asarray(level), truth[0][tuple(slice(None, None, s) for s in at.stride[1:])]
            )
