from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_limn.annotation import strokes
from napari_limn.annotation.strokes import Paint, find_paint, hull, stroke_boxes, tally
from napari_limn.errors import LimnError
from napari_limn.training.data.held_out import HoldOut
from napari_limn.volume.boxes import slices
from napari_limn.volume.volume import Volume

CELL, GAP = (1, 1, 64, 64), (0, 0, 8, 8)
grids = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 12), st.integers(1, 12))
seeds = st.integers(0, 2**31)


def as_volume(grid_labels):
    return Volume.of(grid_labels, "TZYX")


def sparse_labels(grid, seed, share=0.3, values=(1, 2, 7)):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(grid) < share, rng.choice(values, grid), 0).astype(np.uint8)


def paint_of(labels):
    return find_paint(as_volume(labels), "unlabelled")


@given(grid=grids, seed=seeds, share=st.sampled_from([0.0, 0.05, 0.5, 1.0]))
@settings(max_examples=60, deadline=None)
def test_find_paint_equals_numpy(grid, seed, share):
    labels = sparse_labels(grid, seed, share)
    paint = paint_of(labels)
    assert np.array_equal(paint.where, np.argwhere(labels))
    assert np.array_equal(paint.value, labels[labels > 0])
    assert paint.counts == {int(v): int((labels == v).sum()) for v in np.unique(labels[labels > 0])}


@given(grid=grids, seed=seeds, scan=st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_find_paint_does_not_depend_on_how_much_is_read_at_once(grid, seed, scan):
    labels = sparse_labels(grid, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strokes, "_SCAN", scan)
        paint = paint_of(labels)
    assert np.array_equal(paint.where, np.argwhere(labels))
    assert np.array_equal(paint.value, labels[labels > 0])


def test_axes_of_the_labels_decide_where_on_the_grid_the_paint_is():
    labels = np.zeros((5, 6, 7), np.uint8)
    labels[4, 3, 2] = 9
    stack, movie = (find_paint(Volume.of(labels, axes), "unlabelled") for axes in ("ZYX", "TYX"))
    assert stack.where.tolist() == [[0, 4, 3, 2]]
    assert movie.where.tolist() == [[4, 0, 3, 2]]


def test_every_voxel_of_a_full_mask_counts():
    labels = sparse_labels((1, 2, 9, 8), seed=1)
    paint = find_paint(as_volume(labels), "background")
    assert len(paint.where) == labels.size
    assert np.array_equal(labels[tuple(paint.where.T)], paint.value)
    assert paint.counts[0] == int((labels == 0).sum())


def test_of_a_large_full_mask_an_even_sample_is_kept_and_every_voxel_counted(monkeypatch):
    monkeypatch.setattr(strokes, "_KEEP", 5_000)
    monkeypatch.setattr(strokes, "_RARE", 100)
    labels = sparse_labels((1, 4, 200, 200), seed=2, share=0.5)
    paint = find_paint(as_volume(labels), "background")
    assert sum(paint.counts.values()) == labels.size
    assert abs(len(paint.where) - 5_000) < 500
    assert np.array_equal(labels[tuple(paint.where.T)], paint.value)
    assert len(np.unique(paint.where, axis=0)) == len(paint.where)
    per_quarter = np.bincount(paint.where[:, 2] // 50, minlength=4)
    assert per_quarter.min() > 0.8 * per_quarter.max()


@pytest.mark.parametrize("scan", [1 << 22, 20_000])
def test_of_a_large_full_mask_rare_values_are_kept_too(monkeypatch, scan):
    monkeypatch.setattr(strokes, "_KEEP", 5_000)
    monkeypatch.setattr(strokes, "_RARE", 300)
    monkeypatch.setattr(strokes, "_SCAN", scan)
    labels = sparse_labels((1, 4, 200, 200), seed=2, share=0.5)
    labels[0, 3, 7, :50] = 9  # few, and late
    labels[0, :, :, 150] = 5  # 800
    paint = find_paint(as_volume(labels), "background")
    kept = dict(zip(*np.unique(paint.value, return_counts=True), strict=True))
    assert kept[9] == paint.counts[9] == 50
    assert 200 < kept[5] < 400 < paint.counts[5]
    assert abs(len(paint.where) - 5_000 - 350) < 500
    assert np.array_equal(labels[tuple(paint.where.T)], paint.value)
    assert len(np.unique(paint.where, axis=0)) == len(paint.where)


@pytest.mark.parametrize("scan", [1 << 22, 2_000])
@pytest.mark.parametrize("zero", ["unlabelled", "background"])
def test_of_paint_everywhere_a_sample_is_kept_whatever_0_means(monkeypatch, scan, zero):
    monkeypatch.setattr(strokes, "_KEEP", 5_000)
    monkeypatch.setattr(strokes, "_RARE", 300)
    monkeypatch.setattr(strokes, "_SCAN", scan)
    labels = np.random.default_rng(0).integers(1, 3, (1, 4, 200, 200)).astype(np.uint8)
    labels[0, 0, 3, :60] = 7
    paint = find_paint(as_volume(labels), zero)
    assert paint.counts == {v: int((labels == v).sum()) for v in (1, 2, 7)}
    assert abs(len(paint.where) - 5_060) < 500
    assert (paint.value == 7).sum() == 60
    assert np.array_equal(labels[tuple(paint.where.T)], paint.value)
    assert (np.diff(np.ravel_multi_index(tuple(paint.where.T), labels.shape)) > 0).all()


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int64])
def test_negative_labels_are_refused(dtype):
    labels = np.zeros((1, 1, 4, 4), dtype)
    labels[..., 2, 1] = -7
    with pytest.raises(LimnError, match=r"negative label -7.*0 and above.*renumber"):
        paint_of(labels)


@given(st.lists(st.integers(0, 300), max_size=50), st.sampled_from(["uint16", "int32", "uint64"]))
@settings(max_examples=30, deadline=None)
def test_tally_counts(values, dtype):
    assert tally(np.array(values, dtype)) == {v: values.count(v) for v in sorted(set(values))}


def test_among_keeps_only_the_values_asked_for():
    paint = paint_of(sparse_labels((1, 1, 20, 20), seed=3))
    some = paint.among((2, 7))
    assert set(some.value.tolist()) == {2, 7} == set(some.counts)
    assert len(some.where) == len(some.value) == some.counts[2] + some.counts[7]


def boxes_by_scipy(labels):
    """Bounding boxes of components of one value and time, 26 neighbours in space."""
    found = set()
    for value in np.unique(labels[labels > 0]):
        for t, frame in enumerate(labels):
            marked, _ = ndimage.label(frame == value, np.ones((3, 3, 3)))
            for at in ndimage.find_objects(marked):
                found.add((value, ((t, t + 1), *((s.start, s.stop) for s in at))))
    return found


@given(grid=grids, seed=seeds, share=st.sampled_from([0.05, 0.2, 0.5]))
@settings(max_examples=60, deadline=None)
def test_stroke_boxes_are_those_of_connected_components(grid, seed, share):
    labels = sparse_labels(grid, seed, share, values=(1, 2))
    labels.flat[0] = 1
    paint = paint_of(labels)
    boxes = stroke_boxes(paint.where, paint.value, (100,) * 4)
    assert set(boxes) == boxes_by_scipy(labels)


@given(grid=grids, seed=seeds, cell=st.tuples(*[st.integers(1, 4)] * 4))
@settings(max_examples=60, deadline=None)
def test_stroke_boxes_hold_all_paint_and_none_is_wider_than_two_cells(grid, seed, cell):
    labels = sparse_labels(grid, seed, 0.5, values=(1, 2))
    labels.flat[-1] = 2
    paint = paint_of(labels)
    boxes = [box for _, box in stroke_boxes(paint.where, paint.value, cell)]
    assert HoldOut(tuple(boxes)).held(paint.where).all()
    assert all(b - a <= 2 * c for box in boxes for (a, b), c in zip(box, cell, strict=True))


def test_a_filled_area_is_cut_along_the_cells():
    labels = np.ones((1, 1, 200, 130), np.uint8)
    paint = paint_of(labels)
    boxes = [box for _, box in stroke_boxes(paint.where, paint.value, CELL)]
    rows, columns = [(0, 64), (64, 128), (128, 192), (192, 200)], [(0, 64), (64, 128), (128, 130)]
    assert sorted(boxes) == [((0, 1), (0, 1), y, x) for y in rows for x in columns]


@given(grid=grids, seed=seeds, margin=st.tuples(*[st.integers(0, 5)] * 4))
@settings(max_examples=30, deadline=None)
def test_hull_holds_every_place_and_margin_inside_the_grid(grid, seed, margin):
    labels = sparse_labels(grid, seed)
    labels.flat[0] = 1
    where = np.argwhere(labels)
    box = hull(where, margin, grid)
    whole = np.zeros(grid, bool)
    whole[slices(box)] = True
    assert whole[tuple(where.T)].all()
    for axis, (a, b) in enumerate(box):
        assert a == max(0, where[:, axis].min() - margin[axis])
        assert b == min(grid[axis], where[:, axis].max() + 1 + margin[axis])


def test_paint_of_nothing_has_the_shapes_of_paint():
    paint = paint_of(np.zeros((1, 2, 5, 5), np.uint8))
    assert isinstance(paint, Paint)
    assert paint.where.shape == (0, 4)
    assert paint.counts == {}
