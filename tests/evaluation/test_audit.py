"""An audit: what is drawn, what is remembered, and whether the interval holds the truth as often as it says."""

from __future__ import annotations

import json
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_limn.errors import LimnError
from napari_limn.evaluation.audit import (
    Audit,
    Estimate,
    Frame,
    choose_patch,
    estimate,
    frame_of,
    joint_counts,
)
from napari_limn.volume.boxes import blocks, slices
from napari_limn.volume.volume import Volume

VALUES = (1, 2, 5)


def scene(seed=0, shape=(512, 512), miss=0.1, shift=4.0):
    """Truth with a common, a middling and a rare class, and labels with displaced borders and missed objects."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=shape), 9)
    rare = ndimage.gaussian_filter(rng.normal(size=shape), 7)
    truth = np.where(field > 0.6 * field.std(), 2, 1).astype(np.uint8)
    truth[rare > 2.1 * rare.std()] = 5
    moved = [ndimage.gaussian_filter(rng.normal(size=shape), 8) * 8 * shift for _ in range(2)]
    labels = ndimage.map_coordinates(truth, np.indices(shape) + np.array(moved), order=0, mode="nearest")
    for value in (2, 5):
        regions, count = ndimage.label(labels == value)
        labels[np.isin(regions, 1 + np.flatnonzero(rng.random(count) < miss))] = 1
    return truth, labels


def true_dice(truth, labels):
    return {
        v: 2 * ((truth == v) & (labels == v)).sum() / ((truth == v).sum() + (labels == v).sum())
        for v in VALUES
        if (labels == v).any()
    }


def answered(frame, truth, labels, seed, asked):
    """An audit in which the truth answers."""
    grid_truth, grid_labels = truth.reshape(frame.grid), labels.reshape(frame.grid)
    audit = Audit(frame.digest, seed)
    while audit.judged < asked:
        _, patch = audit.drawn(frame)
        if patch is None:
            break
        index = slices(frame.box(patch))
        audit = audit.with_verdict(patch, joint_counts(grid_labels[index], grid_truth[index], frame.values))
    return audit


def test_the_frame_counts_every_voxel_once():
    _, labels = scene(shape=(150, 331))
    frame = frame_of(Volume.of(labels), VALUES)
    assert frame.counts.sum() == labels.size
    boxes = list(blocks(frame.grid, frame.size))
    assert [frame.box(n) for n in range(len(frame.counts))] == boxes
    for box, row in zip(boxes, frame.counts, strict=True):
        part = labels.reshape(frame.grid)[slices(box)]
        assert row.tolist() == [(part == v).sum() for v in VALUES]
    assert frame_of(Volume.of(labels)).digest == frame.digest


@pytest.mark.parametrize(
    ("grid", "side"), [((1, 1, 1000, 900), 64), ((1, 1, 256, 256), 32), ((1, 50, 70, 70), 64)]
)
def test_patches_are_smaller_in_small_images(grid, side):
    assert choose_patch(grid) == (1, 1, side, side)


def test_a_patch_is_drawn_as_often_as_its_probability_says():
    _, labels = scene(shape=(192, 192))
    frame = frame_of(Volume.of(labels), VALUES)
    drawn = np.bincount([patch for _, patch in islice(frame.draws(3), 60_000)], minlength=len(frame.counts))
    expected = (frame.counts / frame.counts.sum(0)).mean(1)
    np.testing.assert_allclose(drawn / 60_000, expected, atol=0.004)
    assert drawn[frame.counts[:, 2] > 0].sum() > 0.3 * 60_000, "the rare class is hardly seen"


def test_weighted_counts_are_right_on_average():
    truth, labels = scene(shape=(256, 256))
    frame = frame_of(Volume.of(labels), VALUES)
    found = [estimate(frame, answered(frame, truth, labels, seed, 40)) for seed in range(120)]
    for value, dice in true_dice(truth, labels).items():
        assert np.mean([one[value].value for one in found]) == pytest.approx(dice, abs=0.01)


@pytest.mark.parametrize(
    ("miss", "shift", "least"),
    [
        pytest.param(0.02, 1.0, 0.9, marks=pytest.mark.exhaustive),
        (0.05, 2.0, 0.9),
        pytest.param(0.1, 4.0, 0.9, marks=pytest.mark.exhaustive),
    ],
)
def test_the_interval_covers_the_truth_as_often_as_it_says(miss, shift, least):
    """Simulated audits of 30 patches on known truth; each class counts by itself."""
    truth, labels = scene(seed=4, shape=(448, 448), miss=miss, shift=shift)
    frame = frame_of(Volume.of(labels), VALUES)
    dice, covered, count = true_dice(truth, labels), dict.fromkeys(VALUES, 0), 200
    for seed in range(count):
        for value, found in estimate(frame, answered(frame, truth, labels, seed, 30)).items():
            covered[value] += found.low <= dice[value] <= found.high
    assert min(covered.values()) / count >= least, covered


def test_an_audit_of_everything_is_exact():
    truth, labels = scene(shape=(100, 90))
    frame = frame_of(Volume.of(labels), VALUES)
    audit = answered(frame, truth, labels, 0, 10_000)
    assert audit.judged == len(frame.counts)
    for value, found in estimate(frame, audit).items():
        assert found.low == found.value == found.high == pytest.approx(true_dice(truth, labels)[value])


def test_flawless_patches_do_not_prove_a_flawless_volume():
    _, labels = scene()
    frame = frame_of(Volume.of(labels), VALUES)
    for found in estimate(frame, answered(frame, labels, labels, 0, 20)).values():
        assert found.value == found.high == 1
        assert 0.8 < found.low < 0.99


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(5, 60), st.lists(st.booleans(), min_size=60, max_size=60))
def test_limits_hold_the_value_and_stay_within_0_and_1(seed, count, skipped):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, (200, 200))
    labels = np.where(rng.random(truth.shape) < rng.random(), truth, rng.integers(0, 3, truth.shape))
    truth, labels = np.asarray(VALUES)[truth], np.asarray(VALUES)[labels]
    frame = frame_of(Volume.of(labels), VALUES)
    audit = Audit(frame.digest, seed)
    for skip in skipped[:count]:
        _, patch = audit.drawn(frame)
        if patch is None:
            break
        at = slices(frame.box(patch))
        both = labels.reshape(frame.grid)[at], truth.reshape(frame.grid)[at]
        audit = audit.with_verdict(patch, None if skip else joint_counts(*both, VALUES))
    for found in estimate(frame, audit).values():
        assert 0 <= found.low <= found.value <= found.high <= 1
        assert 0 <= found.iou.low <= found.iou.value <= found.iou.high <= found.high


def test_nothing_is_said_after_too_few_patches():
    truth, labels = scene()
    frame = frame_of(Volume.of(labels), VALUES)
    assert estimate(frame, Audit(frame.digest)) == {}
    assert estimate(frame, answered(frame, truth, labels, 0, 2)) == {}


def test_a_skipped_patch_is_not_asked_for_again():
    truth, labels = scene()
    frame = frame_of(Volume.of(labels), VALUES)
    audit = answered(frame, truth, labels, 0, 6)
    _, patch = audit.drawn(frame)
    after = audit.with_verdict(patch, None)
    assert after.judged == audit.judged
    assert after.drawn(frame)[1] not in {v.patch for v in after.verdicts}
    assert all(drawn != patch for _, drawn in after.drawn(frame)[0])


def test_an_audit_of_everything_but_a_skipped_patch_still_says_what_it_found():
    truth, labels = scene(shape=(120, 130))
    frame = frame_of(Volume.of(labels), VALUES)
    count = len(frame.counts)
    audit = answered(frame, truth, labels, 0, count - 1)
    _, last = audit.drawn(frame)
    before, after = estimate(frame, audit), estimate(frame, audit.with_verdict(last, None))
    assert audit.with_verdict(last, None).drawn(frame)[1] is None
    assert before.keys() == after.keys() != set()
    assert all(abs(before[value].value - after[value].value) < 0.05 for value in before)


def test_an_audit_goes_on_where_it_was_left(tmp_path):
    truth, labels = scene()
    frame, path = frame_of(Volume.of(labels), VALUES), tmp_path / "image.tif.audit.json"
    assert Audit.load(path, frame) == Audit(frame.digest)
    audit = answered(frame, truth, labels, 0, 9)
    audit.save(path)
    again = Audit.load(path, frame)
    assert again == audit
    assert again.drawn(frame) == audit.drawn(frame)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_verdicts_of_another_window_and_files_of_others_are_not_written_over(tmp_path):
    path, begun = tmp_path / "image.tif.audit.json", Audit("a1")
    one = begun.with_verdict(3, None)
    one.save(path)
    one.with_verdict(4, None).save(path)
    before = path.read_bytes()
    for other in (begun.with_verdict(3, ((1,),)), one, Audit("b2")):
        with pytest.raises(LimnError, match=r"audit\.json: found verdicts that are not of this audit"):
            other.save(path)
        assert path.read_bytes() == before
    path.write_text('{"my": "notes"}')
    with pytest.raises(LimnError, match="found no valid audit|unknown|expected"):
        one.save(path)
    assert path.read_text() == '{"my": "notes"}'


def test_the_audit_of_other_labels_is_refused(tmp_path):
    truth, labels = scene()
    frame, path = frame_of(Volume.of(labels), VALUES), tmp_path / "image.tif.audit.json"
    answered(frame, truth, labels, 0, 5).save(path)
    labels[0, 0] = 3 - labels[0, 0] if labels[0, 0] < 3 else 1
    with pytest.raises(LimnError, match="audit of other labels"):
        Audit.load(path, frame_of(Volume.of(labels), VALUES))
    path.write_text(json.dumps({"seed": "x"})[:-1])
    with pytest.raises(LimnError, match="no valid audit"):
        Audit.load(path, frame)


def test_labels_that_are_not_whole_are_refused():
    _, labels = scene()
    labels[:7, :3] = 0
    with pytest.raises(LimnError, match="21 voxels with none of the values 1, 2, 5"):
        frame_of(Volume.of(labels), VALUES)


def test_numbered_objects_are_no_classes():
    objects = np.repeat(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64), 4, axis=0)
    with pytest.raises(LimnError, match=r"found 4096 values or more, expected classes, 32 at most"):
        frame_of(Volume.of(objects))
    assert frame_of(Volume.of(objects % 32)).values == tuple(range(32))
    assert len(frame_of(Volume.of(objects % 40), range(40)).values) == 40  # who names them knows them


def test_paint_of_an_unknown_class_is_refused():
    found = np.ones((4, 4), np.uint8)
    true = found.copy()
    true[1, 1] = 4
    with pytest.raises(LimnError, match="found 4 in the corrected patch"):
        joint_counts(found, true, VALUES)
    assert joint_counts(found, np.full((4, 4), 2), VALUES) == ((0, 0, 0), (16, 0, 0), (0, 0, 0))


def test_the_sentence_of_an_estimate():
    assert str(Estimate(0.81, 0.76, 0.86)) == "0.81 (95 %: 0.76–0.86)"
    frame = Frame((1, 1, 64, 64), (1, 1, 64, 64), (1,), np.array([[4096]]))
    assert frame.box(0) == ((0, 1), (0, 1), (0, 64), (0, 64))
