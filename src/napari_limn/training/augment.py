"""Random variation of patches: image and labels move together, grey values alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from napari_limn.annotation.classes import IGNORE

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_WARPED = 0.75  # share of patches that are turned and stretched; the others stay sharp
_STRETCH = 0.3  # largest change of size, as a logarithm
_SHEAR = 0.1
_GAIN, _OFFSET, _NOISE = 0.22, 0.1, 0.1


def augmented(images: Tensor, targets: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """One random variant of a batch of patches.

    Parameters
    ----------
    images
        (N, C, [Z,] Y, X), scaled intensities.
    targets
        (N, [Z,] Y, X), class indices; may be smaller than the images by the same amount on all sides.

    Returns
    -------
    Both, of the same shapes. Each patch is flipped along random axes; three in four are also turned by any angle in
    the YX plane, stretched by up to 35 % and sheared a little. Each channel gets a random gain (0.8–1.25) and offset
    (±0.1), and the patch white noise of up to 0.1. Targets are never interpolated; what comes in from outside is
    ignored.
    """
    moves = np.stack([_move(targets.ndim - 1, rng) for _ in images])
    images = _moved(images, moves, "bilinear", "reflection")
    labels = _moved((targets - IGNORE).float()[:, None], moves, "nearest", "zeros")[:, 0].long() + IGNORE
    return _regraded(images, rng), labels


def _move(ndim: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A random linear map of the patch about its centre, in voxels, axes in the order of the patch."""
    move = np.diag(np.where(rng.random(ndim) < 0.5, -1.0, 1.0))
    if rng.random() < _WARPED:
        angle = rng.uniform(-np.pi, np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        size, ratio, shear = (
            np.exp(rng.uniform(-_STRETCH, _STRETCH)),
            np.exp(rng.uniform(-_SHEAR, _SHEAR)),
            rng.uniform(-_SHEAR, _SHEAR),
        )
        move[-2:, -2:] = turn @ np.array([[size, shear], [0, size * ratio]]) @ move[-2:, -2:]
    return move


def _moved(batch: Tensor, moves: NDArray[Any], mode: str, padding: str) -> Tensor:
    """Apply a map to each patch of (N, C, …)."""
    sizes = np.array(batch.shape[2:], float)
    relative = moves * sizes[None, None, :] / sizes[None, :, None]  # grid_sample measures in half extents
    matrix = np.concatenate(
        [relative[:, ::-1, ::-1], np.zeros((*moves.shape[:2], 1))], axis=2
    )  # and lists x first
    grid = F.affine_grid(torch.from_numpy(matrix).float(), list(batch.shape), align_corners=False)
    return F.grid_sample(batch, grid, mode=mode, padding_mode=padding, align_corners=False)


def _regraded(images: Tensor, rng: np.random.Generator) -> Tensor:
    each = (*images.shape[:2], *(1,) * (images.ndim - 2))
    gain = np.exp(rng.uniform(-_GAIN, _GAIN, each))
    offset = rng.uniform(-_OFFSET, _OFFSET, each)
    noise = rng.uniform(0, _NOISE, (len(images), *each[1:])) * rng.standard_normal(images.shape, np.float32)
    return images * torch.from_numpy(gain).float() + torch.from_numpy(offset + noise).float()
