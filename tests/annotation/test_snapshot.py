"""What is copied of the paint while the person paints: all of it, only what changed, and never half a story."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_limn.annotation import snapshot as module
from napari_limn.annotation.snapshot import Snapshot
from napari_limn.annotation.strokes import find_paint
from napari_limn.volume.boxes import overlap
from napari_limn.volume.volume import Volume

shapes = st.one_of(
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.tuples(st.integers(1, 3), st.integers(1, 20), st.integers(1, 20)),
    st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 12), st.integers(1, 12)),
)


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    monkeypatch.setattr(module, "_SIDE", 4)
    monkeypatch.setattr(module, "_SCAN", 40)


def take(snapshot):
    return sum(1 for _ in snapshot.take())


def content(snapshot):
    return snapshot[tuple(slice(0, n) for n in snapshot.shape)]


def random_box(rng, shape):
    return tuple(tuple(sorted(map(int, rng.integers(-2, n + 3, 2)))) for n in shape)


@settings(max_examples=80, deadline=None)
@given(shapes, st.integers(0, 2**31), st.integers(1, 5))
def test_it_equals_the_paint_at_the_latest_take_whatever_is_painted_later(shape, seed, rounds):
    rng = np.random.default_rng(seed)
    painted = np.where(rng.random(shape) < 0.1, 3, 0).astype(np.uint8)
    snapshot = Snapshot(painted)
    assert snapshot.changed()
    take(snapshot)
    for value in range(rounds):
        known = painted.copy()
        assert not snapshot.changed()
        box = random_box(rng, shape)
        painted[tuple(slice(max(0, a), max(0, b)) for a, b in box)] = value
        snapshot.mark(box)
        np.testing.assert_array_equal(content(snapshot), known)
        assert snapshot.changed() == (known != painted).any()
        take(snapshot)
        np.testing.assert_array_equal(content(snapshot), painted)
    part = random_box(rng, shape)
    inside = tuple(slice(max(0, a), max(0, b)) for a, b in part)
    np.testing.assert_array_equal(snapshot[inside], painted[inside])
    for each in snapshot.boxes():
        painted[tuple(slice(a, b) for a, b in each)] = 0
    assert not painted.any()


@given(st.integers(0, 2**31))
def test_undo_is_noticed_without_a_mark(seed):
    rng = np.random.default_rng(seed)
    painted = np.zeros((16, 16), np.uint8)
    snapshot = Snapshot(painted)
    take(snapshot)
    y, x = map(int, rng.integers(0, 14, 2))
    painted[y : y + 2, x : x + 2] = 1
    snapshot.mark(((y, y + 2), (x, x + 2)))
    take(snapshot)
    painted[y : y + 2, x : x + 2] = 0
    assert snapshot.changed()
    take(snapshot)
    assert not content(snapshot).any()
    painted[y, x] = 1  # and redo, where there is no paint any more
    assert snapshot.changed()


def test_only_what_was_marked_and_what_holds_paint_is_read():
    class Counted:
        shape, dtype, read = (40, 40), np.dtype(np.uint8), 0

        def __getitem__(self, index):
            part = painted[index]
            self.read += part.size
            return part

    painted, data = np.zeros((40, 40), np.uint8), Counted()
    painted[2, 2] = 1
    snapshot = Snapshot(data)
    take(snapshot)
    data.read = 0
    painted[30, 30] = 2
    snapshot.mark(((30, 31), (30, 31)))
    assert snapshot.changed()
    take(snapshot)
    assert data.read <= 5 * 16
    assert content(snapshot)[30, 30] == 2


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.002, 0.05, 1.0]))
def test_boxes_of_any_size_are_read_from_many_tiles_as_from_the_array(seed, share):
    rng = np.random.default_rng(seed)
    painted = np.where(rng.random((3, 41, 38)) < share, rng.integers(1, 9, (3, 41, 38)), 0).astype(np.uint8)
    snapshot = Snapshot(painted)
    take(snapshot)
    for most in (1, 3, 5, 9, 20, 45) * 4:
        start = [int(rng.integers(0, n)) for n in painted.shape]
        box = tuple(slice(a, a + int(rng.integers(0, most + 1))) for a in start)
        np.testing.assert_array_equal(snapshot[box], painted[box])


def test_of_many_tiles_only_those_in_a_small_box_are_looked_at(monkeypatch):
    painted = np.ones((400, 400), np.uint8)
    snapshot, looked = Snapshot(painted), []
    take(snapshot)
    monkeypatch.setattr(module, "overlap", lambda *of: looked.append(of) or overlap(*of))
    assert snapshot[200:206, 17:19].all()
    assert len(looked) == 2


def test_another_array_is_taken_whole_even_of_another_shape():
    snapshot = Snapshot(np.ones((5, 5), np.uint8))
    take(snapshot)
    snapshot.replace(np.full((2, 9, 7), 4, np.uint16))
    assert snapshot.changed()
    take(snapshot)
    assert content(snapshot).shape == (2, 9, 7)
    assert (content(snapshot) == 4).all()
    assert snapshot.dtype == np.uint16


def test_a_take_that_is_broken_off_is_made_good_by_the_next():
    painted = np.ones((30, 30), np.uint8)
    snapshot = Snapshot(painted)
    pieces = snapshot.take()
    next(pieces)
    pieces.close()
    assert snapshot.changed()
    take(snapshot)
    assert content(snapshot).all()
    painted[:] = 2
    for row in range(0, 30, 4):
        snapshot.mark(((row, row + 4), (0, 30)))
    pieces = snapshot.take()
    next(pieces)
    pieces.close()
    assert snapshot.changed()
    take(snapshot)
    assert (content(snapshot) == 2).all()


def test_a_tile_is_copied_once_however_often_it_was_painted_on():
    painted = np.zeros((30, 30), np.uint8)
    snapshot = Snapshot(painted)
    take(snapshot)
    painted[:] = 2
    for row in range(30):
        snapshot.mark(((row, row + 1), (0, 30)))
    assert take(snapshot) == 64
    assert (content(snapshot) == 2).all()


def test_nothing_is_missed_while_another_thread_paints():
    painted = np.zeros((64, 64), np.uint8)
    snapshot = Snapshot(painted)
    rng = np.random.default_rng(0)

    def paint():
        for value in range(400):
            y, x = map(int, rng.integers(0, 60, 2))
            painted[y : y + 4, x : x + 4] = value % 7
            snapshot.mark(((y, y + 4), (x, x + 4)))

    thread = threading.Thread(target=paint)
    thread.start()
    while thread.is_alive():
        take(snapshot)
    take(snapshot)
    np.testing.assert_array_equal(content(snapshot), painted)
    assert not snapshot.changed()


def test_strokes_are_found_in_it_as_in_the_array():
    painted = np.zeros((2, 20, 20), np.uint8)
    painted[1, 3, 4:9] = 5
    snapshot = Snapshot(painted)
    take(snapshot)
    paint = find_paint(Volume.of(snapshot, "ZYX"), "unlabelled")
    assert paint.counts == {5: 5}
    assert paint.where[0].tolist() == [0, 1, 3, 4]
