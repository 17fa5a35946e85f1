"""Losses in which voxels that nobody labelled take no part.

Every loss begins by picking out the labelled voxels. An unlabelled one has no term in any sum and none in any count,
so its gradient is exactly zero, and no loss depends on how many there are. (Multiplying logits by 0 instead would make
each one a voxel of uniform prediction and water the gradient down.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from napari_limn.annotation.classes import IGNORE

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from napari_limn.training.spec import Loss

_GAMMA = 2.0  # of the focal loss, the value that its paper found best
_SMOOTH = 1.0  # voxel added to both parts of a Dice, so that a class of few voxels does not jump


def masked_loss(
    kind: Loss, logits: Tensor, target: Tensor, weights: Tensor | None = None, classes: Tensor | None = None
) -> Tensor:
    """Compute a loss, or the sum of two, over the labelled voxels.

    Parameters
    ----------
    kind
        ``"cross_entropy"`` (for two classes that is binary cross-entropy); ``"dice"``, soft and averaged over the
        classes that are labelled (Milletari 2016, arXiv:1606.04797); ``"focal"`` (Lin 2017, arXiv:1708.02002, γ = 2);
        or a sum of these.
    logits
        (N, K, …), any real numbers.
    target
        (N, …), class indices, :data:`~napari_limn.annotation.classes.IGNORE` where nobody labelled.
    weights
        (N, …), of voxels, 0 or more; None for 1.
    classes
        (K,), of classes, 0 or more; None for 1.

    Returns
    -------
    Scalar: means over the labelled voxels by their weights. 0, with gradient 0, where nothing is labelled.

    Examples
    --------
    >>> float(masked_loss("cross_entropy", torch.zeros(1, 2, 3), torch.tensor([[0, IGNORE, 1]])))
    0.6931471824645996
    """
    labelled = target != IGNORE
    rows, truth = logits.movedim(1, -1)[labelled].float(), target[labelled]
    each = torch.ones_like(rows[:, 0]) if weights is None else weights[labelled]
    if classes is not None:
        each = each * classes[truth]
    if not len(truth):
        return rows.sum()
    return torch.stack([_LOSSES[part](rows, truth, each) for part in kind.split("+")]).sum()


def soft_loss(logits: Tensor, soft: Tensor, target: Tensor) -> Tensor:
    """Compute the loss against soft targets of unlabelled voxels.

    It is the cross-entropy against probabilities, and what of each class is not shared. The second part is 1 − the Jaccard index of probabilities (Wang 2023, arXiv:2302.05666), averaged over the classes: a class of few
    voxels, which the first hardly sees, counts in it as much as the others.

    Parameters
    ----------
    logits
        (N, K, …), any real numbers.
    soft
        (N, K, …), probabilities, less where they are partly known, 0 where they are not: a voxel counts by their sum.
    target
        (N, …), class indices, :data:`~napari_limn.annotation.classes.IGNORE` where nobody labelled.

    Returns
    -------
    Scalar: 0, with gradient 0, where nothing is known.

    Examples
    --------
    >>> half = torch.full((1, 2, 3), 0.5)
    >>> float(soft_loss(torch.zeros(1, 2, 3), half, torch.tensor([[0, IGNORE, IGNORE]])))  # as sure as the target is
    0.6931471824645996
    """
    known = soft * (target == IGNORE)[:, None]  # not picked out: that takes longer than the loss
    logs = torch.log_softmax(logits.float(), 1)
    there = known.sum(1, keepdim=True)
    predicted = logs.exp() * there
    axes = (0, *range(2, known.ndim))
    both = torch.minimum(predicted, known).sum(axes)
    either = predicted.sum(axes) + known.sum(axes) - both  # the sum of the larger ones
    entropy = -(known * logs).sum() / there.sum().clamp(min=torch.finfo(known.dtype).tiny)
    return entropy + 1 - ((both + _SMOOTH) / (either + _SMOOTH)).mean()


def _cross_entropy(rows: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Average −log p of the true class; of M rows of logits."""
    return _mean(F.cross_entropy(rows, truth, reduction="none"), weights)


def _focal(rows: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Weigh the cross-entropy of each voxel by (1 − p)^γ.

    What is right already counts little.
    """
    entropy = F.cross_entropy(rows, truth, reduction="none")
    return _mean((1 - torch.exp(-entropy)) ** _GAMMA * entropy, weights)


def _dice(rows: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Compute 1 − soft Dice, averaged over the labelled classes."""
    predicted = torch.softmax(rows, 1)
    true = F.one_hot(truth, rows.shape[1]).to(predicted)
    both = (weights[:, None] * predicted * true).sum(0)
    either = (weights[:, None] * (predicted + true)).sum(0)
    there = true.sum(0) > 0
    return 1 - ((2 * both + _SMOOTH) / (either + _SMOOTH))[there].mean()


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)


_LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "cross_entropy": _cross_entropy,
    "focal": _focal,
    "dice": _dice,
}
