from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_limn.annotation.classes import IGNORE
from napari_limn.training.losses import masked_cross_entropy

torch.set_num_threads(1)

cases = {"seed": st.integers(0, 2**31), "classes": st.integers(2, 5), "share": st.floats(0.05, 1)}


def case(seed, classes, share, shape=(2, 6, 7)):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (shape[0], classes, *shape[1:])).astype(np.float32)
    target = np.where(rng.random(shape) < share, rng.integers(0, classes, shape), IGNORE)
    target.flat[0] = 0
    return logits, target


def by_numpy(logits, target):
    logits = np.moveaxis(logits.astype(np.float64), 1, -1)[target != IGNORE]
    chosen = target[target != IGNORE]
    log_sum = np.log(np.exp(logits).sum(axis=1))
    return (log_sum - logits[np.arange(len(chosen)), chosen]).mean()


def loss_and_gradient(logits, target):
    logits = torch.tensor(logits, requires_grad=True)
    loss = masked_cross_entropy(logits, torch.tensor(target))
    loss.backward()
    return loss.item(), logits.grad.numpy()


@given(**cases)
@settings(max_examples=30, deadline=None)
def test_the_loss_is_the_mean_cross_entropy_of_labelled_voxels(seed, classes, share):
    logits, target = case(seed, classes, share)
    assert loss_and_gradient(logits, target)[0] == pytest.approx(by_numpy(logits, target), rel=1e-5)


def test_volumes_count_as_planes_do():
    logits, target = case(0, 3, 0.5, (1, 3, 4, 5))
    assert loss_and_gradient(logits, target)[0] == pytest.approx(by_numpy(logits, target), rel=1e-5)


@given(**cases)
@settings(max_examples=30, deadline=None)
def test_the_gradient_is_exactly_zero_where_nobody_labelled_and_nowhere_else(seed, classes, share):
    logits, target = case(seed, classes, share)
    gradient = np.abs(loss_and_gradient(logits, target)[1]).sum(axis=1)
    assert np.array_equal(gradient == 0, target == IGNORE)


@given(**cases, extra=st.integers(1, 200))
@settings(max_examples=30, deadline=None)
def test_how_many_unlabelled_voxels_there_are_does_not_matter(seed, classes, share, extra):
    logits, target = case(seed, classes, share)
    around = np.random.default_rng(seed).normal(0, 3, (2, classes, 6, extra)).astype(np.float32)
    more_logits = np.concatenate([logits, around], axis=3)
    more_target = np.concatenate([target, np.full((2, 6, extra), IGNORE)], axis=2)
    loss, gradient = loss_and_gradient(logits, target)
    more_loss, more_gradient = loss_and_gradient(more_logits, more_target)
    assert more_loss == pytest.approx(loss, rel=1e-5)
    assert np.allclose(more_gradient[..., :7], gradient, rtol=1e-4, atol=1e-8)


def test_what_the_network_says_where_nobody_labelled_does_not_matter():
    logits, target = case(3, 3, 0.3)
    loud = np.where((target == IGNORE)[:, None], 1e4, logits).astype(np.float32)
    (loss, gradient), (loud_loss, loud_gradient) = (loss_and_gradient(x, target) for x in (logits, loud))
    assert loss == loud_loss
    assert np.array_equal(gradient, loud_gradient)


def test_nothing_labelled_gives_zero_and_no_gradient():
    logits, target = case(1, 3, 0.5)
    loss, gradient = loss_and_gradient(logits, np.full_like(target, IGNORE))
    assert loss == 0
    assert not gradient.any()


def test_the_loss_is_computed_in_full_precision():
    logits, target = case(2, 3, 0.5)
    half = torch.tensor(logits).bfloat16()
    loss = masked_cross_entropy(half, torch.tensor(target))
    assert loss.dtype is torch.float32
    assert loss.item() == pytest.approx(by_numpy(half.float().numpy(), target), rel=1e-5)
