"""A fitted classifier: what its trees see, what it keeps, and that it is the same again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from textures import IMAGE, prepared, strokes

from napari_limn.annotation.classes import IGNORE
from napari_limn.events import drain
from napari_limn.training.first_answer import fit as instant
from napari_limn.training.first_answer.fit import fit_classifier
from napari_limn.training.first_answer.sample import sample_voxels
from napari_limn.training.planning.presets import pixel_features

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("small_classifier")


def test_a_classifier_that_goes_on_keeps_most_of_what_it_knows():
    network, data = prepared()
    sample = drain(sample_voxels(network.pixels, data))
    drain(fit_classifier(network.pixels, sample))
    before = network.pixels.layers[0].weight.clone()
    drain(fit_classifier(network.pixels, sample, how="on"))
    change = (network.pixels.layers[0].weight - before).norm() / before.norm()
    assert 0 < change < 0.5
    logits = network.pixels.layers(
        network.pixels.standard(torch.from_numpy(sample.features)[..., None, None])
    )
    painted = sample.target != IGNORE
    assert (logits.flatten(1).argmax(1).numpy() == sample.target)[painted].mean() > 0.95


def test_what_was_learnt_before_counts_half():
    network, data = prepared()
    sample = drain(sample_voxels(network.pixels, data))
    drain(fit_classifier(network.pixels, sample))
    first = drain(fit_classifier(network.pixels, sample, how="on"))
    second = drain(fit_classifier(network.pixels, sample, how="on", before=first))
    rest = first.max(1) < 1  # painted voxels are what they are
    nothing = drain(fit_classifier(network.pixels, sample, how="on", before=np.zeros_like(first)))
    assert second[rest].sum(1) == pytest.approx(1, abs=1e-4)
    assert nothing[rest].sum(1) == pytest.approx(0.5, abs=1e-4)
    assert 0 < np.abs(second - first).mean() < 0.1


def test_a_stroke_of_one_class_in_an_unlike_place_does_not_claim_the_place(monkeypatch):
    """Where only one class is painted that looks unlike the rest, what was sure before stands beside the stroke."""
    monkeypatch.setattr(instant, "_TREES", 100)  # few trees are less sure of the stroke
    image = IMAGE.copy()
    image[64:] = image[64:] / 3 + 3
    labels = strokes((20, 50))
    first, data = prepared(image=image, labels=labels)
    drain(fit_classifier(first.pixels, drain(sample_voxels(first.pixels, data))))
    labels[100, 72:120] = 2
    right = {}
    for how in ("anew", "again"):
        network, data = prepared(image=image, labels=labels)
        network.load_state_dict(first.state_dict())
        drain(fit_classifier(network.pixels, drain(sample_voxels(network.pixels, data)), how=how))
        bank = data.features_of(0, ((0, 1), (0, 1), (64, 128), (0, 60)), network.pixels)
        logits = network.pixels.logits_of(torch.from_numpy(bank)[None])
        right[how] = float((logits.argmax(1) == 0).float().mean())
    assert right["again"] > right["anew"] + 0.2, right


def test_weights_of_what_trees_see():
    target = np.array([0] * 30 + [1] * 10 + [IGNORE] * 60, np.int16)
    learnt = np.where(np.arange(100) < 90, np.where(target == IGNORE, 0, target), IGNORE).astype(np.int16)
    weight = np.where(target == IGNORE, 0.1, 1.0)
    rows, weights = instant._drawn_voxels(
        target, instant._FitTargets(learnt, weight), np.random.default_rng(0)
    )
    assert len(set(rows)) == len(rows)
    assert weights[target[rows] == 0].sum() == pytest.approx(20)
    assert weights[target[rows] == 1].sum() == pytest.approx(20)
    others = target[rows] == IGNORE
    assert set(rows[others]) == set(range(40, 90))
    assert set(weights[others]) == {0.1}
    weight[:3] = 4.0  # corrections
    rows, weights = instant._drawn_voxels(
        target, instant._FitTargets(target, weight), np.random.default_rng(0)
    )
    assert sorted(rows) == list(range(40))
    assert weights[target[rows] == 0].sum() == pytest.approx((27 + 3 * 4) * 20 / 30)
    assert weights[target[rows] == 1].sum() == pytest.approx(20)


def test_targets_after_an_answer():
    network, data = prepared()
    sample = drain(sample_voxels(network.pixels, data))
    drain(fit_classifier(network.pixels, sample))
    wrong = np.flatnonzero(sample.target == 0)[:7]
    turned = sample.target.copy()
    turned[wrong] = 1
    targets = instant._FitTargets.after(network.pixels, replace(sample, target=turned))
    painted = turned != IGNORE
    assert np.array_equal(targets.classes[painted], turned[painted])
    assert set(np.flatnonzero(targets.weight == instant._WRONG_WEIGHT)) == set(wrong)
    assert (targets.weight[~painted] == instant._PSEUDO_WEIGHT).all()
    assert 0.5 < (targets.classes[~painted] != IGNORE).mean() < 1


def test_after_a_whole_training_corrections_weigh_more_and_what_was_less_sure_is_held():
    network, data = prepared()
    sample = drain(sample_voxels(network.pixels, data))
    drain(fit_classifier(network.pixels, sample))
    turned = np.where(sample.target == 0, 1, sample.target).astype(np.int16)
    targets = instant._FitTargets.after(network.pixels, replace(sample, target=turned), again=True)
    assert set(targets.weight[sample.target == 0]) == {instant._WRONG_WEIGHT_AGAIN}
    pseudo = (sample.target == IGNORE) & (targets.classes != IGNORE)
    assert 0 < targets.doubt[pseudo].min() <= targets.doubt[pseudo].max() <= np.sqrt(1 - instant._SURE) + 1e-6


def test_several_threads_say_the_same_to_the_last_bit():
    network, data = prepared()
    sample = drain(sample_voxels(network.pixels, data))
    drain(fit_classifier(network.pixels, sample))
    targets = instant._FitTargets.after(network.pixels, sample)
    from sklearn.ensemble import ExtraTreesClassifier

    painted = targets.classes != IGNORE
    trees = ExtraTreesClassifier(30, min_samples_leaf=7, random_state=0).fit(
        sample.features[painted], targets.classes[painted]
    )
    found = [instant._probabilities(trees, sample.features, threads) for threads in (1, 2, 3)]
    assert 0.05 < ((found[0] > 0) & (found[0] < 1)).mean()
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    assert np.allclose(found[0], trees.predict_proba(sample.features), atol=1e-6)


def test_what_is_drawn_of_answers_follows_their_doubt():
    target = np.array([0, 1] + [IGNORE] * 400, np.int16)
    learnt = np.where(target == IGNORE, 0, target)
    doubt = np.where(np.arange(402) % 2, 0.4, 0.002).astype(np.float32)
    targets = instant._FitTargets(learnt, np.ones(402), doubt)
    rows = np.concatenate(
        [instant._drawn_voxels(target, targets, np.random.default_rng(s))[0] for s in range(20)]
    )
    others = rows[target[rows] == IGNORE]
    assert len(others) == 20 * 2 * instant._PSEUDO_RATIO
    assert (others % 2).mean() > 0.95
    assert len(set(others)) > 100  # drawn, not ranked


def test_columns_are_what_the_layers_give():
    network, _ = prepared()
    x = torch.randn(network.pixels.features, 7)
    expected = network.pixels.layers(x.T[..., None, None]).flatten(1).T
    assert torch.allclose(network.pixels.columns(x), expected, atol=1e-5)


def test_the_same_seed_fits_the_same_whatever_the_state_of_the_process():
    found = []
    for state in (1, 2):
        network, data = prepared()
        torch.manual_seed(state)
        drain(fit_classifier(network.pixels, drain(sample_voxels(network.pixels, data, 3)), 3))
        found.append(network.pixels.state_dict())
        assert torch.initial_seed() == state
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


@pytest.mark.parametrize(("dims", "spacing"), [(2, (1.0, 1.0, 1.0)), (3, (4.0, 1.0, 1.0))])
def test_scales_follow_the_voxel(dims, spacing):
    scales = pixel_features(dims, spacing).scales
    assert all(len(s) == dims for s in scales)
    assert all(s[-1] == s[-2] for s in scales)
    if dims == 3:
        assert all(s[0] == pytest.approx(s[-1] / 4, abs=1e-3) for s in scales)
