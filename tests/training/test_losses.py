from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_limn.annotation.classes import IGNORE
from napari_limn.training.losses import masked_loss, soft_loss
from napari_limn.training.spec import Loss

torch.set_num_threads(1)

each_loss = pytest.mark.parametrize("kind", get_args(Loss))
cases = {"seed": st.integers(0, 2**31), "classes": st.integers(2, 5), "share": st.floats(0.05, 1)}


def case(seed, classes, share, shape=(2, 6, 7)):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (shape[0], classes, *shape[1:])).astype(np.float32)
    target = np.where(rng.random(shape) < share, rng.integers(0, classes, shape), IGNORE)
    target.flat[0] = 0
    return logits, target


def by_numpy(kind, logits, target, weights=None, classes=None):
    """The losses of their papers, written out over the labelled voxels in double precision."""
    labelled = target != IGNORE
    rows, truth = np.moveaxis(logits.astype(np.float64), 1, -1)[labelled], target[labelled]
    each = np.ones(len(truth)) if weights is None else weights[labelled].astype(np.float64)
    if classes is not None:
        each = each * np.asarray(classes)[truth]
    p = np.exp(rows - rows.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    right = p[np.arange(len(truth)), truth]
    one_hot = np.eye(rows.shape[1])[truth]
    w = each[:, None]
    dice = (2 * (w * p * one_hot).sum(0) + 1) / ((w * p).sum(0) + (w * one_hot).sum(0) + 1)
    found = {
        "cross_entropy": (each * -np.log(right)).sum() / each.sum(),
        "focal": (each * (1 - right) ** 2 * -np.log(right)).sum() / each.sum(),
        "dice": 1 - dice[one_hot.any(0)].mean(),
    }
    return sum(found[part] for part in kind.split("+"))


def loss_and_gradient(kind, logits, target, weights=None, classes=None):
    logits = torch.tensor(logits, requires_grad=True)
    given = [None if values is None else torch.tensor(values) for values in (weights, classes)]
    loss = masked_loss(kind, logits, torch.tensor(target), *given)
    loss.backward()
    return loss.item(), logits.grad.numpy()


@each_loss
@given(**cases, weighted=st.booleans())
@settings(max_examples=30, deadline=None)
def test_every_loss_is_that_of_numpy(kind, seed, classes, share, weighted):
    logits, target = case(seed, classes, share)
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.1, 5, target.shape).astype(np.float32) if weighted else None
    each = rng.uniform(0.1, 5, classes).astype(np.float32) if weighted else None
    found = loss_and_gradient(kind, logits, target, weights, each)[0]
    assert found == pytest.approx(by_numpy(kind, logits, target, weights, each), rel=1e-4, abs=1e-6)


@each_loss
def test_volumes_count_as_planes_do(kind):
    logits, target = case(0, 3, 0.5, (1, 3, 4, 5))
    assert loss_and_gradient(kind, logits, target)[0] == pytest.approx(
        by_numpy(kind, logits, target), rel=1e-4
    )


@each_loss
@given(**cases)
@settings(max_examples=30, deadline=None)
def test_the_gradient_is_exactly_zero_where_nobody_labelled(kind, seed, classes, share):
    logits, target = case(seed, classes, share)
    gradient = np.abs(loss_and_gradient(kind, logits, target)[1]).sum(axis=1)
    assert (gradient[target == IGNORE] == 0).all()
    assert gradient[target != IGNORE].any()


@each_loss
@given(**cases, extra=st.integers(1, 200))
@settings(max_examples=30, deadline=None)
def test_how_many_unlabelled_voxels_there_are_does_not_matter(kind, seed, classes, share, extra):
    logits, target = case(seed, classes, share)
    around = np.random.default_rng(seed).normal(0, 3, (2, classes, 6, extra)).astype(np.float32)
    more_logits = np.concatenate([logits, around], axis=3)
    more_target = np.concatenate([target, np.full((2, 6, extra), IGNORE)], axis=2)
    loss, gradient = loss_and_gradient(kind, logits, target)
    more_loss, more_gradient = loss_and_gradient(kind, more_logits, more_target)
    assert more_loss == pytest.approx(loss, rel=1e-5)
    assert np.allclose(more_gradient[..., :7], gradient, rtol=1e-4, atol=1e-8)


@each_loss
def test_what_the_network_says_where_nobody_labelled_does_not_matter(kind):
    logits, target = case(3, 3, 0.3)
    loud = np.where((target == IGNORE)[:, None], 1e4, logits).astype(np.float32)
    (loss, gradient), (loud_loss, loud_gradient) = (
        loss_and_gradient(kind, x, target) for x in (logits, loud)
    )
    assert loss == loud_loss
    assert np.array_equal(gradient, loud_gradient)


@given(seed=st.integers(0, 2**31), share=st.floats(0.05, 1))
@settings(max_examples=30, deadline=None)
def test_two_classes_by_softmax_or_by_sigmoid_have_one_loss(seed, share):
    logits, target = case(seed, 2, share)
    score = logits[:, 1:] - logits[:, :1]
    as_sigmoid = np.concatenate([np.zeros_like(score), score], axis=1)
    labelled = target != IGNORE
    binary = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(score[:, 0][labelled]), torch.tensor(target[labelled], dtype=torch.float32)
    ).item()
    assert loss_and_gradient("cross_entropy", logits, target)[0] == pytest.approx(binary, rel=1e-4, abs=1e-6)
    for kind in get_args(Loss):
        one, two = (loss_and_gradient(kind, x, target)[0] for x in (as_sigmoid, logits))
        assert one == pytest.approx(two, rel=1e-4, abs=1e-6)


def test_a_class_that_nobody_labelled_takes_no_part_in_dice():
    logits, target = case(4, 2, 0.5)
    with_third = np.concatenate([logits, np.full_like(logits[:, :1], -50)], axis=1)
    found = [loss_and_gradient("dice", x, target)[0] for x in (logits, with_third)]
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_a_weight_of_zero_leaves_a_voxel_or_a_class_out():
    logits, target = case(5, 3, 0.6)
    without = np.where(target == 2, IGNORE, target)
    expected = loss_and_gradient("cross_entropy", logits, without)[0]
    by_class = loss_and_gradient("cross_entropy", logits, target, None, np.float32([1, 1, 0]))[0]
    by_voxel = loss_and_gradient("cross_entropy", logits, target, (target != 2).astype(np.float32))[0]
    assert expected == pytest.approx(by_class, rel=1e-6) == pytest.approx(by_voxel, rel=1e-6)


@each_loss
def test_nothing_labelled_gives_zero_and_no_gradient(kind):
    logits, target = case(1, 3, 0.5)
    loss, gradient = loss_and_gradient(kind, logits, np.full_like(target, IGNORE))
    assert loss == 0
    assert not gradient.any()


def test_the_loss_is_computed_in_full_precision():
    logits, target = case(2, 3, 0.5)
    half = torch.tensor(logits).bfloat16()
    loss = masked_loss("cross_entropy", half, torch.tensor(target))
    assert loss.dtype is torch.float32
    assert loss.item() == pytest.approx(by_numpy("cross_entropy", half.float().numpy(), target), rel=1e-5)


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_soft_loss_is_cross_entropy_and_what_is_not_shared_over_unlabelled_voxels(seed):
    rng = np.random.default_rng(seed)
    logits, target = rng.normal(size=(2, 3, 5, 4)), rng.integers(-1, 3, (2, 5, 4))
    target = np.where(target < 0, IGNORE, target)
    target[0, 0, 0] = IGNORE
    soft = rng.dirichlet(np.ones(3), (2, 5, 4)) * rng.random((2, 5, 4, 1))
    logs = np.moveaxis(logits - np.log(np.exp(logits).sum(1, keepdims=True)), 1, -1)
    asked = soft[target == IGNORE]
    entropy = -(asked * logs[target == IGNORE]).sum() / asked.sum()
    found = np.exp(logs[target == IGNORE]) * asked.sum(1, keepdims=True)
    shared = (np.minimum(found, asked).sum(0) + 1) / (np.maximum(found, asked).sum(0) + 1)
    loss = soft_loss(torch.tensor(logits), torch.tensor(soft).movedim(-1, 1), torch.tensor(target))
    assert float(loss) == pytest.approx(entropy + 1 - shared.mean(), rel=1e-5)


def test_soft_loss_sees_a_class_of_few_voxels():
    """Who calls everything background has nearly the cross-entropy of who is right, but not the loss."""
    soft = torch.zeros(1, 2, 20, 20)
    soft[:, 0] = 1
    soft[:, :, :2, :2] = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)
    nobody = torch.full((1, 20, 20), IGNORE)
    blind = torch.stack([torch.full((1, 20, 20), 3.0), torch.zeros(1, 20, 20)], 1)
    right = 3 * (2 * soft - 1)
    assert soft_loss(blind, soft, nobody) > soft_loss(right, soft, nobody) + 0.3


def test_soft_loss_where_nothing_is_known_is_zero_with_gradient_zero():
    logits = torch.randn(1, 2, 4, 4, requires_grad=True)
    loss = soft_loss(logits, torch.zeros(1, 2, 4, 4), torch.full((1, 4, 4), IGNORE))
    loss.backward()
    assert loss == 0
    assert logits.grad.abs().max() == 0
