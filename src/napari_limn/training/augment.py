"""Random variation of patches: image and labels move together, grey values alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from napari_limn.annotation.classes import IGNORE

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_limn.training.spec import AugmentSpec


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The patches of a training step.

    Parameters
    ----------
    images
        (N, C, [Z,] Y, X), scaled intensities.
    targets
        (N, [Z,] Y, X), class indices; may be smaller than the images by the same amount on all sides.
    weights
        Of the targets' voxels, of the same shape; or None.
    soft
        Probabilities of K classes at the targets' voxels, (N, K, [Z,] Y, X), 0 for all where nothing is known; or None.
    """

    images: Tensor
    targets: Tensor
    weights: Tensor | None = None
    soft: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        parts = (self.images, self.targets, self.weights, self.soft)
        return Batch(*(part if part is None else part.to(device) for part in parts))  # type: ignore[arg-type]


def augmented(batch: Batch, rng: np.random.Generator, spec: AugmentSpec) -> Batch:
    """One random variant of a batch of patches; shifts come from the drawing of patches.

    Everything about a patch moves together. Targets and weights are never interpolated; what comes in from outside is
    ignored, and nothing is known of it.
    """
    ndim = batch.targets.ndim - 1
    moves = np.stack([_move(ndim, rng, spec) for _ in batch.images])
    bends = _bends(batch.images, rng, spec.elastic) if spec.elastic else None
    images = _moved(batch.images, moves, bends, "bilinear", "reflection")
    labels = _moved((batch.targets - IGNORE).float()[:, None], moves, bends, "nearest", "zeros")[:, 0]
    weights, soft = batch.weights, batch.soft
    if weights is not None:
        weights = _moved(weights[:, None], moves, bends, "nearest", "zeros")[:, 0]
    if soft is not None:
        soft = _moved(soft, moves, bends, "bilinear", "zeros")
    return Batch(_regraded(images, rng, spec), labels.long() + IGNORE, weights, soft)


def _move(ndim: int, rng: np.random.Generator, spec: AugmentSpec) -> NDArray[np.float64]:
    """A random linear map of the patch about its centre, in voxels, axes in the order of the patch."""
    move = np.diag(np.where(rng.random(ndim) < 0.5, -1.0, 1.0))
    if rng.random() < spec.warped:
        angle = rng.uniform(-np.pi, np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        size = np.exp(rng.uniform(-spec.stretch, spec.stretch))
        ratio = np.exp(rng.uniform(-spec.shear, spec.shear))
        shear = rng.uniform(-spec.shear, spec.shear)
        move[-2:, -2:] = turn @ np.array([[size, shear], [0, size * ratio]]) @ move[-2:, -2:]
    return move


def _bends(images: Tensor, rng: np.random.Generator, spread: float) -> Tensor:
    """Random displacements along X and Y, in pixels: (N, Y, X, 2)."""
    coarse = torch.from_numpy(rng.normal(0, spread, (len(images), 2, 3, 3))).float()
    field = F.interpolate(coarse, size=images.shape[-2:], mode="bicubic", align_corners=True)
    return field.movedim(1, -1)


def _moved(batch: Tensor, moves: NDArray[Any], bends: Tensor | None, mode: str, padding: str) -> Tensor:
    """Apply a linear map, and the middle of the displacements, to each patch of (N, C, …)."""
    sizes = np.array(batch.shape[2:], float)
    relative = moves * sizes[None, None, :] / sizes[None, :, None]  # grid_sample measures in half extents
    matrix = np.concatenate(
        [relative[:, ::-1, ::-1], np.zeros((*moves.shape[:2], 1))], axis=2
    )  # and lists x first
    grid = F.affine_grid(torch.from_numpy(matrix).float(), list(batch.shape), align_corners=False)
    if bends is not None:
        height, width = batch.shape[-2:]
        top, left = ((n - m) // 2 for n, m in zip(bends.shape[1:3], (height, width), strict=True))
        middle = bends[:, top : top + height, left : left + width] * 2 / torch.tensor([width, height])
        grid[..., :2] += middle if batch.ndim == 4 else middle[:, None]
    return F.grid_sample(batch, grid, mode=mode, padding_mode=padding, align_corners=False)


def _regraded(images: Tensor, rng: np.random.Generator, spec: AugmentSpec) -> Tensor:
    each = (*images.shape[:2], *(1,) * (images.ndim - 2))
    gain = np.exp(rng.uniform(-spec.gain, spec.gain, each))
    offset = rng.uniform(-spec.offset, spec.offset, each)
    noise = rng.uniform(0, spec.noise, (len(images), *each[1:])) * rng.standard_normal(
        images.shape, np.float32
    )
    return images * torch.from_numpy(gain).float() + torch.from_numpy(offset + noise).float()
