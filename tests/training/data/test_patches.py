from __future__ import annotations

import numpy as np
import pytest

from napari_limn.annotation.classes import Classes
from napari_limn.annotation.strokes import find_paint
from napari_limn.training.data.held_out import HoldOut
from napari_limn.training.data.patches import PatchSampler
from napari_limn.volume.volume import Volume

CLASSES = Classes((1, 2, 5))


def paint_of(labels):
    return find_paint(Volume.of(labels, "TZYX"), "unlabelled")


def labels_with(rare=3, size=80):
    labels = np.zeros((2, 3, size, size), np.uint8)
    labels[0, 0, 10:30, 10:60] = 1
    labels[1, 2, 50, 20:50] = 2
    labels[0, 1, 70, :rare] = 5
    return labels


def values_in(patch, labels):
    inside = tuple(slice(max(0, a), b) for a, b in patch.box)
    return set(np.unique(labels[inside]).tolist()) - {0}


def test_every_patch_holds_paint_of_the_class_whose_turn_it_is():
    labels = labels_with()
    sampler = PatchSampler([paint_of(labels)], [HoldOut()], CLASSES, (1, 1, 16, 16))
    rng = np.random.default_rng(0)
    for turn in range(300):
        assert CLASSES.values[turn % 3] in values_in(sampler.draw(turn, rng), labels)


def test_the_seed_lies_in_the_middle_half_of_the_patch():
    labels = np.zeros((1, 1, 64, 64), np.uint8)
    labels[0, 0, 20, 30], labels[0, 0, 50, 50] = 1, 2
    sampler = PatchSampler([paint_of(labels)], [HoldOut()], Classes((1, 2)), (1, 1, 16, 24))
    rng = np.random.default_rng(0)
    offsets = np.array(
        [[20 - p.box[2][0], 30 - p.box[3][0]] for p in (sampler.draw(0, rng) for _ in range(600))]
    )
    assert offsets.min(axis=0).tolist() == [4, 6]
    assert offsets.max(axis=0).tolist() == [11, 17]


def test_classes_take_turns_however_rare_they_are():
    labels = labels_with(rare=1)
    single = [np.where(labels == v, labels, 0) for v in CLASSES.values]
    sampler = PatchSampler([paint_of(m) for m in single], [HoldOut()] * 3, CLASSES, (1, 1, 8, 8))
    rng = np.random.default_rng(1)
    sources = [sampler.draw(turn, rng).source for turn in range(99)]
    assert sources == [0, 1, 2] * 33


def test_a_class_without_paint_takes_no_turn():
    labels = np.where(labels_with() == 2, 0, labels_with())
    sampler = PatchSampler([paint_of(labels)], [HoldOut()], CLASSES, (1, 1, 8, 8))
    rng = np.random.default_rng(2)
    found = [values_in(sampler.draw(turn, rng), labels) for turn in range(20)]
    assert found == [{1}, {5}] * 10


def test_every_seed_is_drawn_equally_often_within_its_class():
    labels = np.zeros((1, 1, 400, 400), np.uint8)
    labels[0, 0, 50:400:100, 50:400:100] = 1
    labels[0, 0, 0, 0] = 2
    sampler = PatchSampler([paint_of(labels)], [HoldOut()], Classes((1, 2)), (1, 1, 40, 40))
    rng = np.random.default_rng(3)
    boxes = [sampler.draw(0, rng).box for _ in range(1600)]
    tally = np.zeros((4, 4), int)
    for box in boxes:
        tally[(box[2][0] + 20) // 100, (box[3][0] + 20) // 100] += 1
    assert tally.sum() == 1600
    assert tally.min() > 60
    assert tally.max() < 150


def test_held_out_paint_and_its_gap_are_never_a_seed():
    labels = np.zeros((1, 1, 100, 100), np.uint8)
    labels[0, 0, 50, :] = 1
    labels[0, 0, 90, :] = 2
    out = HoldOut((((0, 1), (0, 1), (45, 95), (20, 80)),), (0, 0, 4, 4))
    sampler = PatchSampler([paint_of(labels)], [out], Classes((1, 2)), (1, 1, 1, 1))
    rng = np.random.default_rng(4)
    columns = {sampler.draw(turn, rng).box[3][0] for turn in range(1500)}
    assert columns == set(range(16)) | set(range(84, 100))


def test_patches_have_the_size_asked_for_and_may_leave_the_volume():
    labels = np.zeros((1, 4, 10, 10), np.uint8)
    labels[0, 0, 0, 0], labels[0, 3, 9, 9] = 1, 2
    size = (1, 8, 16, 16)
    sampler = PatchSampler([paint_of(labels)], [HoldOut()], Classes((1, 2)), size)
    rng = np.random.default_rng(5)
    boxes = [sampler.draw(turn, rng).box for turn in range(40)]
    assert {tuple(b - a for a, b in box) for box in boxes} == {size}
    assert min(box[2][0] for box in boxes) < 0
    assert max(box[2][1] for box in boxes) > 10


def test_a_patch_names_its_volume():
    one, two = np.zeros((2, 1, 1, 40, 40), np.uint8)
    one[0, 0, 5, 5] = 1
    two[0, 0, 30, 30] = 2
    sampler = PatchSampler([paint_of(one), paint_of(two)], [HoldOut()] * 2, Classes((1, 2)), (1, 1, 4, 4))
    rng = np.random.default_rng(6)
    assert [sampler.draw(turn, rng).source for turn in range(6)] == [0, 1] * 3


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_random_numbers_draw_the_same_patches(seed):
    labels = labels_with()
    sampler = PatchSampler([paint_of(labels)], [HoldOut()], CLASSES, (1, 1, 16, 16))
    first, second = (
        [sampler.draw(turn, rng).box for turn in range(20)]
        for rng in (np.random.default_rng(seed), np.random.default_rng(seed))
    )
    assert first == second
