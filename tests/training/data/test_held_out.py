from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_limn.annotation.strokes import find_paint
from napari_limn.training.data.held_out import HoldOut, PriorHoldOut, hold_out, hold_out_together
from napari_limn.volume.volume import Volume

CELL, GAP = (1, 1, 64, 64), (0, 0, 8, 8)
grids = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 12), st.integers(1, 12))
seeds = st.integers(0, 2**31)


def paint_of(labels, zero="unlabelled"):
    return find_paint(Volume.of(labels, "TZYX"), zero)


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


def overlaps(a, b):
    return all(max(p, r) < min(q, s) for (p, q), (r, s) in zip(a, b, strict=True))


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
    before = [PriorHoldOut(out, paint.where) for out, paint in zip(outs, first, strict=True)]
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
    monkeypatch.setattr("napari_limn.training.data.held_out._CONSIDERED", 3_000)
    labels = np.zeros((1, 1, 640, 640), np.uint8)
    labels[..., :320, :] = 1
    paint = paint_of(labels, "background")
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
