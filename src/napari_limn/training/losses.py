"""Losses in which voxels that nobody labelled take no part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional as F

from napari_limn.annotation.classes import IGNORE

if TYPE_CHECKING:
    from torch import Tensor


def masked_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy over the labelled voxels.

    Parameters
    ----------
    logits
        (N, K, …), any real numbers.
    target
        (N, …), class indices, :data:`~napari_limn.annotation.classes.IGNORE` where nobody labelled.

    Returns
    -------
    Scalar; 0, with gradient 0, where nothing is labelled.

    Notes
    -----
    An unlabelled voxel has no term in the sum and none in the count, so its gradient is exactly zero and the loss does
    not depend on how many there are. Multiplying logits by 0 instead would make each one a voxel of uniform
    prediction and water the gradient down.

    Examples
    --------
    >>> import torch
    >>> float(masked_cross_entropy(torch.zeros(1, 2, 3), torch.tensor([[0, IGNORE, 1]])))
    0.6931471824645996
    """
    total = F.cross_entropy(logits.float(), target, ignore_index=IGNORE, reduction="sum")
    return total / (target != IGNORE).sum().clamp(min=1)
