from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_limn.annotation.journal.sparse_labels import LazyPart, PaintStore
from napari_limn.annotation.strokes import count_values, find_paint
from napari_limn.errors import LimnError
from napari_limn.volume.volume import Volume

shapes = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)


@st.composite
def indices(draw, shape):
    """Whole numbers, slices and dots, or an array of places for each axis: what labels are painted with."""
    if draw(st.booleans()):
        count = draw(st.integers(0, 6))
        return tuple(
            np.array(draw(st.lists(st.integers(-n, n - 1), min_size=count, max_size=count)), int)
            for n in shape
        )
    index = [
        draw(st.one_of(st.integers(-n, n - 1), st.slices(n).filter(lambda s: s.step in (None, 1))))
        for n in shape
    ]
    return (*index[: draw(st.integers(0, len(index)))], ...)


@given(data=st.data(), shape=shapes)
@settings(max_examples=40, deadline=None)
def test_a_store_takes_and_gives_what_numpy_does(data, shape):
    chunk = tuple(data.draw(st.integers(1, 5)) for _ in shape)
    store, array = PaintStore(shape, np.uint16, chunk), np.zeros(shape, np.uint16)
    for _ in range(4):
        index = data.draw(indices(shape))
        value = data.draw(st.integers(0, 3))
        labels = np.arange(np.size(array[index])).reshape(np.shape(array[index])) % 4 if value == 3 else value
        store[index] = labels
        array[index] = labels
        np.testing.assert_array_equal(np.asarray(store), array)
        seen = data.draw(indices(shape))
        found, expected = store[seen], array[seen]
        assert (np.shape(found), found.dtype) == (np.shape(expected), expected.dtype)
        np.testing.assert_array_equal(found, expected)
    outside = np.ones(shape, bool)
    for box in store.boxes():
        outside[tuple(slice(a, b) for a, b in box)] = False
    assert not array[outside].any()


def test_only_what_is_painted_takes_memory():
    store = PaintStore((2000, 4096, 3840))
    store[5, 100:120, 200:210] = 0
    assert store.nbytes == 0
    store[5, 100:120, 200:210] = 2
    assert store.nbytes == 128 * 128
    assert store.size == 2000 * 4096 * 3840


def test_another_type_is_another_store():
    store = PaintStore((4, 5), np.uint8)
    store[1, 2] = 7
    wide, same = store.astype(np.uint16), store.copy()
    wide[0, 0] = same[0, 0] = 9
    assert (wide.dtype, int(wide[1, 2]), int(store[0, 0])) == (np.uint16, 7, 0)
    assert repr(wide) == "<PaintStore (4, 5) uint16, 0.0 MB painted>"


def test_a_large_part_is_read_only_when_asked_for():
    store = PaintStore((3, 2000, 1000))
    store[1, 5, 6] = 4
    plane = store[1]
    assert isinstance(plane, LazyPart)
    assert (plane.shape, plane.ndim, plane.size, len(plane)) == ((2000, 1000), 2, 2_000_000, 2000)
    store[1, 7, 8] = 5
    assert np.flatnonzero(plane == 5).tolist() == [7 * 1000 + 8]
    assert plane[5, 6] == 4
    huge = PaintStore((9, 10**6, 10**6))[0]
    assert huge.dtype == np.uint8, "nothing was read"
    with pytest.raises(LimnError, match="in 2D"):
        np.asarray(huge)
    with pytest.raises(LimnError, match="in 2D"):
        np.asarray(PaintStore((1000, 4096, 4096)))


@pytest.mark.parametrize("index", [(slice(None, None, 2), 0), ([1], slice(None)), (0, 99), ([0], [99])])
def test_an_index_that_it_does_not_take_is_refused(index):
    with pytest.raises(IndexError):
        PaintStore((4, 5))[index]


@given(seed=st.integers(0, 2**31), names=st.sampled_from(["YX", "ZYX", "TYX", "TZYX"]))
@settings(max_examples=30, deadline=None)
def test_paint_in_a_store_is_found_as_in_an_array(seed, names):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 9, len(names)))
    array = np.where(rng.random(shape) < 0.2, rng.integers(1, 4, shape), 0).astype(np.uint8)
    store = PaintStore(shape, np.uint8, tuple(rng.integers(1, 5, len(names))))
    store[...] = array
    found, expected = (find_paint(Volume.of(a, names), "unlabelled") for a in (store, array))
    np.testing.assert_array_equal(found.where, expected.where)
    np.testing.assert_array_equal(found.value, expected.value)
    assert found.counts == expected.counts == count_values(Volume.of(store, names))
    full = find_paint(Volume.of(store, names), "background")
    assert len(full.where) == array.size


def test_only_the_chunks_that_exist_are_scanned(monkeypatch):
    store = PaintStore((1000, 5000, 5000))
    store[500, 4990, 17] = 1
    store[3, 4, 4999] = 2
    seen = []
    real = Volume.read
    monkeypatch.setattr(Volume, "read", lambda self, box: seen.append(box) or real(self, box))
    paint = find_paint(Volume.of(store, "ZYX"), "unlabelled")
    assert paint.where.tolist() == [[0, 3, 4, 4999], [0, 500, 4990, 17]]
    assert len(seen) == 2
    assert find_paint(Volume.of(PaintStore((9, 9)), "YX"), "unlabelled").where.shape == (0, 4)
