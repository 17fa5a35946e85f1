from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_limn.annotation import strokes
from napari_limn.annotation.held_out import Before, HoldOut, hold_out, hold_out_together
from napari_limn.annotation.strokes import Paint, find_paint, hull, stroke_boxes, tally
from napari_limn.errors import LimnError
from napari_limn.volume.boxes import grown, slices
from napari_limn.volume.volume import Volume

CELL, GAP = (1, 1, 64, 64), (0, 0, 8, 8)
grids = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 12), st.integers(1, 12))
seeds = st.integers(0, 2**31)


def as_volume(grid_labels):
    return Volume.of(grid_labels, "TZYX")


def sparse_labels(grid, seed, share=0.3, values=(1, 2, 7)):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(grid) < share, rng.choice(values, grid), 0).astype(np.uint8)


def random_strokes(seed, count=24, size=400, classes=3):
    """Straight strokes of 1 to 3 pixels width in a plane, classes drawn at random."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((1, 1, size, size), np.uint8)
    for _ in range(count):
        y, x = rng.integers(0, size - 40, 2)
        length, width = rng.integers(5, 40), rng.integers(1, 4)
        tall, wide = (length, width) if rng.random() < 0.5 else (width, length)
        labels[0, 0, y : y + tall, x : x + wide] = rng.integers(1, classes + 1)
    return labels


def paint_of(labels):
    return find_paint(as_volume(labels), "unlabelled")


def overlaps(a, b):
    return all(max(p, r) < min(q, s) for (p, q), (r, s) in zip(a, b, strict=True))


def apart(a, b, gap):
    """Whether b stays out of a grown by gap."""
    return not overlaps(grown(a, gap), b)


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


@pytest.mark.parametrize("seed", range(12))
def test_hold_out_keeps_its_promises(seed):
    paint = paint_of(random_strokes(seed))
    out = hold_out(paint, CELL, GAP, seed=seed)
    held, excluded = out.held(paint.where), out.excluded(paint.where)
    assert out.boxes
    assert not (held & ~excluded).any()
    for value, count in paint.counts.items():
        of_class = paint.value == value
        assert held[of_class].any()
        assert (of_class & ~excluded).sum() >= count / 2


@pytest.mark.parametrize("seed", range(12))
def test_no_training_voxel_lies_within_the_gap_of_a_held_out_box(seed):
    paint = paint_of(random_strokes(seed))
    gap = (0, 0, 5, 9)
    out = hold_out(paint, CELL, gap, seed=seed)
    training = paint.where[~out.excluded(paint.where)]
    assert out.boxes
    for box in out.boxes:
        low, high = np.array(box).T
        beyond = np.maximum(low - training, training - (high - 1)).clip(min=0)
        assert (beyond > gap).any(axis=1).all()


def test_held_out_boxes_are_disjoint():
    for seed in range(12):
        out = hold_out(paint_of(random_strokes(seed, count=60, size=200)), CELL, GAP, share=0.3, seed=seed)
        assert not any(overlaps(a, b) for i, a in enumerate(out.boxes) for b in out.boxes[:i])


@given(seed=seeds, count=st.integers(1, 6), share=st.sampled_from([0.05, 0.1, 0.5]))
@settings(max_examples=40, deadline=None)
def test_hold_out_holds_something_of_two_classes_or_nothing_at_all(seed, count, share):
    paint = paint_of(random_strokes(seed, count=count, size=150))
    out = hold_out(paint, CELL, GAP, share, seed=seed % 1000)
    held = out.held(paint.where)
    assert not out.boxes or len(set(paint.value[held])) > 1


def test_a_class_with_a_single_stroke_is_not_held_out_and_the_others_are():
    labels = np.zeros((1, 1, 200, 200), np.uint8)
    labels[0, 0, 10::40, 5:60], labels[0, 0, 10::40, 105:160], labels[0, 0, 100, 180:] = 1, 2, 3
    paint = paint_of(labels)
    assert set(paint.value[hold_out(paint, CELL, GAP).held(paint.where)]) == {1, 2}


def test_one_stroke_a_class_cannot_be_held_out():
    labels = np.zeros((1, 1, 60, 60), np.uint8)
    labels[0, 0, 5, 5:50], labels[0, 0, 50, 5:50] = 1, 2
    assert hold_out(paint_of(labels), CELL, GAP) == HoldOut()


def test_hold_out_takes_about_the_share_asked_for():
    labels = np.zeros((1, 1, 640, 640), np.uint8)
    labels[0, 0, ::32, :320:32] = 1
    labels[0, 0, ::32, 320::32] = 2
    paint = paint_of(labels)
    outs = [hold_out(paint, CELL, GAP, share=0.05, most=1000, seed=seed) for seed in range(30)]
    held = np.mean([np.bincount(paint.value[out.held(paint.where)], minlength=3) for out in outs], axis=0)
    np.testing.assert_allclose(held, [0, 10, 10], atol=2)


def test_hold_out_is_deterministic_and_its_seed_matters():
    paint = paint_of(random_strokes(5, count=40))
    assert hold_out(paint, CELL, GAP, seed=1) == hold_out(paint, CELL, GAP, seed=1)
    assert hold_out(paint, CELL, GAP, seed=1) != hold_out(paint, CELL, GAP, seed=2)


@pytest.mark.parametrize("seed", range(6))
def test_a_new_class_elsewhere_leaves_what_was_held_out(seed):
    labels = np.zeros((1, 1, 400, 900), np.uint8)
    labels[..., :400] = random_strokes(seed, count=18, classes=2)
    before = hold_out(paint_of(labels), CELL, GAP)
    for i in range(6):
        labels[0, 0, 10 + 60 * i, 500:530] = 3
    after = hold_out(paint_of(labels), CELL, GAP)
    assert before.boxes
    assert set(before.boxes) < set(after.boxes)


def test_no_stroke_that_was_trained_on_scores_after_more_paint_of_its_class():
    for seed in range(8):
        labels = np.zeros((1, 1, 400, 900), np.uint8)
        labels[0, 0, 10:400:30, 10:30], labels[0, 0, 10:400:30, 100:120] = 1, 2
        paint = paint_of(labels)
        before = hold_out(paint, CELL, GAP, seed=seed)
        labels[0, 0, 10:400:150, 500:600], labels[0, 0, 10:400:150, 700:800] = 1, 2
        after = hold_out(paint_of(labels), CELL, GAP, seed=seed)
        trained = ~before.excluded(paint.where)
        assert not (trained & after.held(paint.where)).any()


@pytest.mark.parametrize("seed", range(8))
def test_a_stroke_that_is_painted_on_stays_held_out_and_none_that_was_trained_on_takes_its_place(seed):
    labels = np.zeros((1, 1, 400, 400), np.uint8)
    labels[0, 0, 10:400:30, 10:40], labels[0, 0, 10:400:30, 200:230] = 1, 2
    other = labels[:, :, ::-1].copy()
    grids = [labels.shape] * 2
    first = [paint_of(labels), paint_of(other)]
    outs = hold_out_together(first, grids, CELL, GAP, seed=seed)
    before = [Before(out, paint.where) for out, paint in zip(outs, first, strict=True)]
    labels[0, 0, 10:400:60, 40:60], other[0, 0, 29:400:90, 230:250] = 1, 2  # every second one is prolonged
    labels[0, 0, 385, 300:390] = 2
    again = [paint_of(labels), paint_of(other)]
    for out, known, paint in zip(
        hold_out_together(again, grids, CELL, GAP, seed=seed, before=before), before, again, strict=True
    ):
        held = out.held(paint.where)
        assert not (known.trained(paint.where) & held).any()
        assert (held | ~known.held.held(paint.where)).all(), "what was held out is trained on now"
    drawn = [out.boxes for out in hold_out_together(again, grids, CELL, GAP, seed=seed)]
    assert sum(map(len, drawn)) > 0


def test_many_small_strokes_of_one_class_leave_room_for_the_other():
    labels = np.zeros((1, 1, 600, 600), np.uint8)
    labels[0, 0, ::12, :400:12] = 1
    for i in range(6):
        labels[0, 0, 20 + 90 * i, 440:560] = 2
    paint = paint_of(labels)
    out = hold_out(paint, CELL, GAP)
    assert set(paint.value[out.held(paint.where)]) == {1, 2}


def test_more_classes_than_strokes_allowed_are_all_held_out():
    labels = np.zeros((1, 1, 900, 900), np.uint8)
    for value in range(1, 31):
        for k in range(4):
            labels[0, 0, 30 * value - 20, 220 * k + 5 : 220 * k + 40] = value
    paint = paint_of(labels)
    out = hold_out(paint, CELL, GAP)
    assert set(paint.value[out.held(paint.where)]) == set(range(1, 31))


def test_hold_out_of_no_paint_is_empty():
    assert hold_out(paint_of(np.zeros((1, 1, 9, 9), np.uint8)), CELL, GAP) == HoldOut()


def test_full_masks_are_held_out_by_cells(monkeypatch):
    monkeypatch.setattr("napari_limn.annotation.held_out._JUDGED", 3_000)
    labels = np.zeros((1, 1, 640, 640), np.uint8)
    labels[..., :320, :] = 1
    paint = find_paint(as_volume(labels), "background")
    out = hold_out(paint, CELL, GAP)
    excluded = out.excluded(paint.where)
    assert {tuple(b[i][0] // 64 for i in (2, 3)) for b in out.boxes} == {
        tuple((b[i][1] - 1) // 64 for i in (2, 3)) for b in out.boxes
    }
    for value in (0, 1):
        of_class = paint.value == value
        assert out.held(paint.where)[of_class].any()
        assert (of_class & ~excluded).sum() > 0.45 * of_class.sum()


@given(grid=grids, seed=seeds, gap=st.tuples(*[st.integers(0, 2)] * 4))
@settings(max_examples=60, deadline=None)
def test_blank_and_excluded_agree(grid, seed, gap):
    rng = np.random.default_rng(seed)
    starts = [tuple(int(rng.integers(0, n)) for n in grid) for _ in range(3)]
    regions = tuple(
        tuple((a, int(rng.integers(a, n)) + 1) for a, n in zip(s, grid, strict=True)) for s in starts
    )
    out = HoldOut(regions, gap)
    box = tuple((int(a), int(a + rng.integers(1, 8))) for a in rng.integers(-3, 6, 4))
    labels = np.ones([b - a for a, b in box], np.int16)
    out.blank(box, labels, -1)
    where = np.argwhere(np.ones_like(labels)) + [a for a, _ in box]
    assert np.array_equal(labels.ravel() == -1, out.excluded(where))


def test_held_is_inside_the_boxes_without_their_gap():
    out = HoldOut((((0, 1), (0, 1), (4, 6), (4, 6)),), (0, 0, 1, 1))
    where = np.array([[0, 0, 4, 4], [0, 0, 3, 4], [0, 0, 6, 6], [0, 0, 7, 6]])
    assert out.held(where).tolist() == [True, False, False, False]
    assert out.excluded(where).tolist() == [True, True, True, False]


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
