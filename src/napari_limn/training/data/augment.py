"""Random variation of patches: image and labels move together, grey values alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from napari_limn.annotation.classes import IGNORE

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        """Copy the batch to a device."""
        parts = (self.images, self.targets, self.weights, self.soft)
        return Batch(*(part if part is None else part.to(device) for part in parts))  # type: ignore[arg-type]


def augmented(batch: Batch, rng: np.random.Generator, spec: AugmentSpec) -> Batch:
    """Make one random variant of a batch of patches.

    Shifts come from the drawing of patches. Everything about a patch moves together. Targets and weights are never
    interpolated; what comes in from outside is ignored, and nothing is known of it.
    """
    ndim = batch.targets.ndim - 1
    moves = _linear_maps(len(batch.images), ndim, rng, spec)
    bends = _bends(batch.images, rng, spec.elastic) if spec.elastic else None
    extent, less = batch.images.shape[2:], batch.targets.shape[1:]
    whole = _places(extent, moves, bends)
    inner = whole if less == extent else _places(less, moves, bends)
    labels = (batch.targets - IGNORE).float()[:, None]
    weights, soft = batch.weights, batch.soft
    if weights is not None:
        weights = _at(inner, weights[:, None], "nearest", "zeros")[:, 0]
    if soft is not None:
        soft = _at(inner, soft, "bilinear", "zeros")
    return Batch(
        _regraded(_at(whole, batch.images, "bilinear", "reflection"), rng, spec),
        _at(inner, labels, "nearest", "zeros")[:, 0].long() + IGNORE,
        weights,
        soft,
    )


def _linear_maps(count: int, ndim: int, rng: np.random.Generator, spec: AugmentSpec) -> NDArray[np.float64]:
    """Draw linear maps of patches about their centres.

    Of shape (N, axes, axes), in voxels, axes in the order of the patch.
    """
    moves = np.eye(ndim) * np.where(rng.random((count, ndim)) < 0.5, -1.0, 1.0)[:, None]
    warped = rng.random(count) < spec.warped
    angle = rng.uniform(-np.pi, np.pi, count)
    cos, sin = np.cos(angle), np.sin(angle)
    size = np.exp(rng.uniform(-spec.stretch, spec.stretch, count))
    ratio = np.exp(rng.uniform(-spec.shear, spec.shear, count))
    shear = rng.uniform(-spec.shear, spec.shear, count)
    # a turn after a stretch along both axes and a shear
    warps = np.array(
        [[cos * size, cos * shear - sin * size * ratio], [sin * size, sin * shear + cos * size * ratio]]
    )
    moves[warped, -2:, -2:] = (warps.transpose(2, 0, 1) @ moves[:, -2:, -2:])[warped]
    return moves


def _bends(images: Tensor, rng: np.random.Generator, spread: float) -> Tensor:
    """Draw displacements (N, Y, X, 2) along X and Y, in pixels."""
    coarse = torch.from_numpy(rng.normal(0, spread, (len(images), 2, 3, 3))).float()
    field = F.interpolate(coarse, size=images.shape[-2:], mode="bicubic", align_corners=True)
    return field.movedim(1, -1)


def _places(extent: Sequence[int], moves: NDArray[Any], bends: Tensor | None) -> Tensor:
    """Compute where each voxel of patches of an extent comes from.

    That is a linear map of each patch, and the middle of the displacements.
    """
    sizes = np.array(extent, float)
    relative = moves * sizes[None, None, :] / sizes[None, :, None]  # grid_sample measures in half extents
    columns = torch.from_numpy(relative[:, ::-1].astype(np.float32))  # and lists x first
    first, *others = (_along(axis, n, columns[..., axis]) for axis, n in enumerate(extent))
    grid = sum(others, first)
    if bends is not None:
        height, width = extent[-2:]
        top, left = ((n - m) // 2 for n, m in zip(bends.shape[1:3], (height, width), strict=True))
        middle = bends[:, top : top + height, left : left + width] * 2 / torch.tensor([width, height])
        grid[..., :2] += middle if len(extent) == 2 else middle[:, None]
    return grid


def _along(axis: int, extent: int, column: Tensor) -> Tensor:
    """Compute what an axis of the patch adds to places.

    Places are (N, …, axes); it is `column` (N, axes), x first, times the centres of the voxels.
    """
    count, ndim = column.shape
    centres = (2 * torch.arange(extent) + 1) / extent - 1
    shape = [extent if other == axis else 1 for other in range(ndim)]
    return centres.view(1, *shape, 1) * column.view(count, *[1] * ndim, ndim)


def _at(places: Tensor, batch: Tensor, mode: str, padding: str) -> Tensor:
    """Sample patches (N, C, …) at these places."""
    return F.grid_sample(batch, places, mode=mode, padding_mode=padding, align_corners=False)


def _regraded(images: Tensor, rng: np.random.Generator, spec: AugmentSpec) -> Tensor:
    """Give images another contrast and brightness, and noise."""
    each = (*images.shape[:2], *(1,) * (images.ndim - 2))
    gain = torch.from_numpy(np.exp(rng.uniform(-spec.gain, spec.gain, each)).astype(np.float32))
    offset = torch.from_numpy(rng.uniform(-spec.offset, spec.offset, each).astype(np.float32))
    width = torch.from_numpy(rng.uniform(0, spec.noise, (len(images), *each[1:])).astype(np.float32))
    # drawn by torch, in a third of the time
    random = torch.Generator().manual_seed(int(rng.integers(1 << 63)))
    noise = torch.randn(images.shape, generator=random)
    return noise.mul_(width).addcmul_(images, gain).add_(offset)
