from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from napari_limn.evaluation.significance import likelier, mean_likelihood
from napari_limn.network.spec import PixelSpec, UNetSpec
from napari_limn.network.unet import UNet
from napari_limn.training.selection import MATURE, ModelSelector, SelectionPolicy, is_mature, share_beside

SPEC = UNetSpec(width=2, factors=((2, 2),), pixels=PixelSpec(scales=((1.0, 1.0),)))


def windows_of(rows):
    """One window a stroke: 12 voxels of class `row` in the first row, nothing else labelled."""
    windows = []
    for own in rows:
        target = torch.full((1, 8, 12), -1)
        target[0, 0] = own
        windows.append((torch.full((1, 1, 8, 12), float(own)), target))
    return windows


class Answer(nn.Module):
    """Logits that favour the class whose number the image carries, by so many deviations of their noise."""

    def __init__(self, clear, scale=1.0):
        super().__init__()
        self.clear, self.scale = clear, scale

    def forward(self, x):
        noise = torch.from_numpy(np.random.default_rng(0).normal(size=tuple(x[:, :1].shape))).float()
        lean = ((x[:, :1] - 0.5) * 2 * self.clear + noise) * self.scale
        return torch.cat([-lean, lean], 1) / 2


def network_that(answer):
    """A network that answers so; as a plain attribute, which hides the method."""
    network = UNet(SPEC).eval()
    vars(network)["convolved"] = answer
    return network


def selecting(classifier, rows=(0, 0, 0, 1, 1, 1), proven=False, **policy):
    selector = ModelSelector(windows_of(rows), SelectionPolicy(**policy), proven=proven)
    return selector, selector.classifier(classifier)


def test_a_classifier_is_shown_while_there_is_nothing_else():
    selector = ModelSelector(windows_of((0, 1)))
    selection = selector.classifier(Answer(3.0))
    assert (selection.share, selection.better) == (1.0, True)
    assert selection.score == pytest.approx(1.0)


def test_a_network_that_tells_classes_apart_more_clearly_takes_over():
    for classifier, share in ((1.5, 0.25), (-12.0, 0.0)):  # even without the classifier, where that is wrong
        selector, first = selecting(Answer(classifier))
        selection = selector.network(network_that(Answer(5.0)))
        assert selection.better
        assert selection.share == share
        assert selection.score >= first.score


def test_a_network_that_has_learnt_nothing_gains_nothing_by_making_the_classifier_less_sure():
    selector, _ = selecting(Answer(1.5, scale=5.0))
    assert not selector.network(network_that(Answer(0.0, scale=0.0))).better


def test_a_network_that_is_wrong_is_never_shown():
    selector, _ = selecting(Answer(1.0))
    assert not selector.network(network_that(Answer(-2.0))).better


def test_a_network_is_not_shown_on_the_word_of_a_single_stroke():
    selector, _ = selecting(Answer(1.0), rows=(1,))
    assert not selector.network(network_that(Answer(4.0))).better


def test_once_shown_a_network_gives_way_only_to_one_that_is_no_worse():
    selector, _ = selecting(Answer(1.5))
    assert selector.network(network_that(Answer(5.0))).better
    assert not selector.network(network_that(Answer(-5.0))).better
    assert selector.network(network_that(Answer(6.0))).better


def test_a_network_that_was_shown_before_gives_way_only_to_a_classifier_that_is_surely_better():
    for clear, stays in ((1.5, True), (-3.0, False)):
        selector = ModelSelector(windows_of((0, 0, 0, 1, 1, 1)), proven=True)
        assert not selector.classifier(Answer(1.5)).better
        assert selector.network(network_that(Answer(clear))).better is stays


def test_what_a_model_was_when_it_is_trained_further_stays_the_mark():
    """The best of many scores on few strokes would be the luckiest, and nothing would come after it."""
    for marked in (True, False):
        selector = ModelSelector(windows_of((0, 0, 0, 1, 1, 1)), SelectionPolicy(marked=marked), proven=True)
        assert all(selector.network(network_that(Answer(clear))).better for clear in (1.0, 6.0))
        assert selector.network(network_that(Answer(1.2))).better is marked
        assert not selector.network(network_that(Answer(-2.0))).better


def test_a_mature_network_is_shown_unless_it_is_surely_worse():
    for clear, shown in ((1.5, True), (-3.0, False)):
        selector, _ = selecting(Answer(1.5))
        assert not selector.network(network_that(Answer(clear))).better
        assert selector.network(network_that(Answer(clear)), mature=True).better is shown


def test_a_network_that_is_distilled_from_what_is_held_out_is_never_shown_alone():
    for distilled, share in ((False, 0.0), (True, 0.25)):
        selector, _ = selecting(Answer(-12.0), distilled=distilled)
        assert selector.network(network_that(Answer(5.0)), mature=True).share == share


def test_the_less_mature_a_network_the_more_the_classifier_counts_beside_it():
    shares = [share_beside(steps) for steps in range(0, 400, 10)]
    assert shares[0] == 1
    assert shares == sorted(shares, reverse=True)
    assert min(shares) == 0.25 > 0


def test_a_network_that_is_distilled_from_what_is_held_out_must_be_mature():
    selector, _ = selecting(Answer(1.5), distilled=True)
    immature = selector.network(network_that(Answer(5.0)))
    assert not immature.better
    assert immature.score is not None
    assert selector.network(network_that(Answer(5.0)), mature=True).better
    assert selector.network(network_that(Answer(5.0))).better
    before, _ = selecting(Answer(1.5), distilled=True, proven=True)  # shown before this training
    assert before.network(network_that(Answer(5.0))).better


def test_without_a_classifier_the_first_network_is_shown():
    selector = ModelSelector(windows_of((0, 1)))
    network = UNet(UNetSpec(width=2, factors=((2, 2),))).eval()
    selection = selector.network(network)
    assert (selection.share, selection.better) == (0.0, True)


def test_with_nothing_held_out_the_classifier_stays_unless_that_was_asked_for():
    network = UNet(SPEC).eval()
    assert not ModelSelector([]).network(network).better
    asked = ModelSelector([], SelectionPolicy(trusting=True)).network(network)
    assert (asked.share, asked.better) == (0.25, True)
    assert ModelSelector([], SelectionPolicy(trusting=True)).network(network, share=0.9).share == 0.9
    distilled = ModelSelector([], SelectionPolicy(distilled=True))
    assert not distilled.network(network).better
    assert distilled.network(network, mature=True).better
    assert not ModelSelector([]).network(network, mature=True).better


def test_a_classifier_is_scored_as_exactly_where_networks_compute_in_bfloat16():
    edge = nn.Conv2d(1, 2, 1).requires_grad_(False)
    edge.weight.copy_(torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1))
    edge.bias.copy_(torch.tensor([1000.5, -1000.5]))  # steps of 4 around there in bfloat16
    windows = [(image + 1000, target) for image, target in windows_of((0, 0, 1, 1))]
    coarse, exact = ModelSelector(windows, SelectionPolicy(bfloat16=True)), ModelSelector(windows)
    assert coarse.classifier(edge) == exact.classifier(edge)
    assert coarse._simple.score == 1
    np.testing.assert_array_equal(coarse._simple.likelihood, exact._simple.likelihood)
    network = network_that(edge)
    assert (
        ModelSelector(windows, SelectionPolicy(bfloat16=True)).network(network).score
        < ModelSelector(windows).network(network).score
        == 1
    )


def test_likelihood_counts_every_class_alike():
    counts = np.array([[[9, 0], [0, 0]], [[0, 0], [0, 1]]])
    sums = np.array([[-9.0, 0.0], [0.0, -3.0]])
    assert mean_likelihood(sums, counts) == pytest.approx((-1 - 3) / 2)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 12), st.integers(0, 10_000))
def test_nothing_is_likelier_than_itself_nor_both_ways(windows, seed):
    rng = np.random.default_rng(seed)
    counts = np.zeros((windows, 2, 2), int)
    counts[np.arange(windows), np.arange(windows) % 2, 0] = rng.integers(1, 50, windows)
    one, other = (-rng.random((windows, 2)) * counts.sum(2) for _ in range(2))
    assert not likelier(one, one, counts)
    assert not (likelier(one, other, counts) and likelier(other, one, counts))


def test_a_steady_gain_counts_and_one_that_swings_does_not():
    counts = np.zeros((6, 2, 2), int)
    counts[np.arange(6), np.arange(6) % 2, 0] = 10
    steady = np.where(counts.sum(2) > 0, 2.0, 0.0)
    swings = steady * np.array([9, 9, -8, -8, 1, 1])[:, None]
    nothing = np.zeros((6, 2))
    assert likelier(steady, nothing, counts)
    assert not likelier(swings, nothing, counts)


@pytest.mark.parametrize(
    ("learnt", "spent", "mature"),
    [(0, 0, False), (MATURE - 1, 0.49, False), (MATURE, 0, True), (0, 0.5, True), (MATURE, 0.5, True)],
)
def test_a_network_is_mature_by_its_steps_or_by_its_share_of_the_budget(learnt, spent, mature):
    assert is_mature(learnt, spent) is mature
