from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score

from napari_limn.errors import LimnError
from napari_limn.evaluation import scores
from napari_limn.evaluation.scores import mean_iou, score
from napari_limn.evaluation.significance import not_worse
from napari_limn.volume.boxes import blocks
from napari_limn.volume.volume import Volume

pairs_of_labels = st.tuples(st.integers(0, 2**31), st.integers(2, 6), st.sampled_from([(9, 11), (3, 6, 7)]))


def random_pair(seed, values, shape, low=0):
    rng = np.random.default_rng(seed)
    return rng.integers(low, values, shape).astype(np.uint8), rng.integers(low, values, shape).astype(
        np.uint8
    )


@given(pairs_of_labels)
@settings(max_examples=40, deadline=None)
def test_scores_are_those_of_scikit_learn(case):
    found, true = random_pair(*case)
    result = score(found, true, "background")
    values = np.unique(true)
    iou = jaccard_score(true.ravel(), found.ravel(), labels=values, average=None)
    dice = f1_score(true.ravel(), found.ravel(), labels=values, average=None)
    assert list(result.iou) == list(result.dice) == values.tolist()
    assert list(result.iou.values()) == pytest.approx(iou)
    assert list(result.dice.values()) == pytest.approx(dice)
    assert result.mean_iou == pytest.approx(iou.mean())
    assert result.mean_dice == pytest.approx(dice.mean())
    assert result.voxels == true.size


@given(pairs_of_labels)
@settings(max_examples=25, deadline=None)
def test_unlabelled_truth_is_left_out(case):
    found, true = random_pair(*case)
    true.flat[0] = 1
    seen = true > 0
    values = np.unique(true[seen])
    result = score(found, true, "unlabelled")
    assert list(result.iou.values()) == pytest.approx(
        jaccard_score(true[seen], found[seen], labels=values, average=None)
    )
    assert result.voxels == seen.sum()


def test_zero_is_a_class_if_the_prediction_has_it_and_not_labelled_otherwise():
    true = np.array([[0, 1, 2, 2]])
    assert list(score(np.array([[0, 1, 2, 1]]), true).iou) == [0, 1, 2]
    auto = score(np.array([[1, 1, 2, 1]]), true)
    assert auto.iou == {1: 0.5, 2: 0.5}
    assert auto.voxels == 3


def test_a_value_only_in_the_prediction_costs_the_others_but_has_no_score():
    result = score(np.array([[1, 1, 9, 2]]), np.array([[1, 1, 1, 2]]))
    assert result.iou == {1: pytest.approx(2 / 3), 2: 1.0}


def test_a_class_that_was_missed_completely_scores_zero():
    result = score(np.array([[1, 1, 1, 1]]), np.array([[1, 1, 2, 2]]))
    assert result.iou == {1: 0.5, 2: 0.0}
    assert result.mean_iou == 0.25


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.uint32, np.int64])
def test_labels_of_every_integer_type_are_compared(dtype):
    found, true = np.array([[0, 1, 1, 0]], dtype), np.array([[0, 1, 0, 0]], dtype)
    assert score(found, true).iou == {0: pytest.approx(2 / 3), 1: 0.5}


def test_labels_beyond_the_range_of_32_bits_are_told_apart():
    labels = np.array([[4_000_000_000, 1, 2]], np.uint32)
    assert score(labels, labels).iou == {1: 1, 2: 1, 4_000_000_000: 1}
    mixed = score(np.array([[7, 1, 2]], np.uint8), labels)
    assert mixed.iou == {1: 1, 2: 1, 4_000_000_000: 0}
    assert score(labels, np.array([[7, 1, 1]], np.uint8)).iou == {1: 0.5, 7: 0}


@given(pairs_of_labels, st.sampled_from([0, 2**31 - 1, 2**31, 2**32, 2**62]))
@settings(max_examples=25, deadline=None)
def test_it_does_not_matter_how_large_labels_are(case, shift):
    found, true = random_pair(*case, low=1)
    small = score(found, true)
    large = score(found + np.int64(shift), true + np.int64(shift))
    assert large.iou == {value + shift: iou for value, iou in small.iou.items()}
    assert large.dice == {value + shift: dice for value, dice in small.dice.items()}
    assert large.mean_iou == pytest.approx(small.mean_iou)


def test_small_and_large_labels_are_counted_together_over_blocks(monkeypatch):
    found, true = (each.astype(np.uint32) for each in random_pair(3, 4, (6, 8, 9), low=1))
    found[3:], true[4:] = found[3:] + 4_000_000_000, true[4:] + 4_000_000_000
    whole = score(found, true)
    assert set(whole.iou) == set(np.unique(true).tolist())
    monkeypatch.setattr(scores, "blocks", lambda grid, block: blocks(grid, (1, 1, 8, 9)))
    assert score(found, true) == whole


def test_a_volume_is_counted_over_all_its_blocks(monkeypatch):
    found, true = random_pair(1, 4, (2, 7, 8, 9))
    whole = score(found, true, "background")
    monkeypatch.setattr(scores, "blocks", lambda grid, block: blocks(grid, (1, 2, 3, 4)))
    assert score(found, true, "background") == whole


def test_of_a_plane_that_is_too_large_rows_are_compared(monkeypatch):
    found, true = random_pair(2, 3, (2, 7, 9))
    whole = score(found, true, "background")
    for most in (1, 20, 70):
        monkeypatch.setattr(scores, "_AT_ONCE", most)
        assert score(found, true, "background") == whole


def test_different_extents_are_refused_with_both():
    with pytest.raises(LimnError, match=r"size \(1, 1, 4, 5\).*\(1, 1, 5, 4\); expected the same"):
        score(np.ones((4, 5), int), np.ones((5, 4), int))


def test_channels_are_refused():
    with pytest.raises(LimnError, match="found 2 channels, expected labels, which have none"):
        score(Volume.of(np.ones((2, 6, 6), int), "CYX"), np.ones((6, 6), int))


def test_a_truth_without_labels_is_refused():
    with pytest.raises(LimnError, match="no labelled voxel in the truth"):
        score(np.ones((4, 4), int), np.zeros((4, 4), int))


@pytest.mark.parametrize("which", [0, 1])
def test_labels_that_are_no_whole_numbers_are_refused(which):
    pair = [np.ones((4, 4), np.uint8)] * 2
    pair[which] = np.ones((4, 4), np.float32)
    with pytest.raises(
        LimnError, match="found labels of type float32, expected whole numbers; save them as integers"
    ):
        score(*pair)


def test_negative_labels_are_refused():
    with pytest.raises(LimnError, match=r"negative label -1.*0 and above.*renumber"):
        score(np.full((4, 4), -1), np.ones((4, 4), int))


@given(st.integers(0, 2**31), st.integers(2, 5))
@settings(max_examples=25, deadline=None)
def test_mean_iou_of_a_confusion_matrix(seed, classes):
    rng = np.random.default_rng(seed)
    found, true = rng.integers(0, classes, (2, 60))
    expected = jaccard_score(true, found, labels=np.unique(true), average=None).mean()
    confusion = confusion_matrix(true, found, labels=range(classes))
    assert mean_iou(confusion) == pytest.approx(expected)


def test_mean_iou_leaves_out_classes_that_do_not_occur():
    assert mean_iou(np.array([[4, 0, 0], [0, 4, 2], [0, 0, 0]])) == pytest.approx((1 + 4 / 6) / 2)
    assert mean_iou(np.zeros((2, 2), int)) == 0


def counts(*diagonals):
    """Counts of windows in which `hit` of 20 voxels a class are found."""
    return np.array([[[hit, 20 - hit], [20 - hit, hit]] for hit in diagonals])


def test_a_model_that_is_clearly_worse_is_told_apart():
    assert not not_worse(counts(8, 9, 8, 9), counts(18, 19, 18, 19))
    assert not_worse(counts(18, 19, 18, 19), counts(8, 9, 8, 9))


def test_a_difference_that_rests_on_one_window_counts_as_none():
    assert not_worse(counts(16, 16, 17, 2), counts(15, 15, 15, 15))
    assert not_worse(counts(15, 15, 15, 15), counts(15, 15, 15, 15))


def test_a_single_window_decides_by_its_score():
    assert not not_worse(counts(14), counts(15))
    assert not_worse(counts(15), counts(15))


def test_a_label_too_large_to_count_is_named():
    large = np.full((2, 3), 2**63 + 5, np.uint64)
    with pytest.raises(LimnError, match="found the label 9223372036854775813, expected at most"):
        score(large, large)
