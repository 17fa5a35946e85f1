"""How deep inside an object each voxel lies.

That is what objects that touch are split by.

The mean of the distances to where the probability falls below several thresholds, so that shape and dips of the probability both
count; a little smoothed; in physical units. Distances beyond a limit count as that limit: then a voxel depends on no more than
what lies within a margin around it, and blocks give what the whole would. Objects thicker than twice the limit are flat in the middle.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import gaussian_filter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

THRESHOLDS = (0.5, 0.7, 0.9)
"""Probabilities; more of them were no better."""

_LIMIT_FLAT, _LIMIT_SOLID = 31, 16  # finest voxels; the distance from which all count the same
_SMOOTH = 1.0  # finest voxels; standard deviation
_TRUNCATED = 3.0  # standard deviations
_FAR = (
    32767  # the limit, squared, in the whole numbers that distances are computed in: sums of two fit 16 bits
)
_DOUBLING = (1, 2, 4, 8, 16)  # sum up to the greater limit
_NONE = 200  # steps along a row to where nothing outside is near
_DEEPEST = 60000  # the limit in a landscape


@dataclass(frozen=True, slots=True)
class Landscape:
    """Computes depths on voxels of some size.

    Parameters
    ----------
    spacing
        Size of a voxel along Z, Y and X.
    flat
        Whether there is a single plane.

    Examples
    --------
    >>> Landscape((1.0, 0.5, 0.5), flat=False).margin
    (10, 19, 19)
    """

    spacing: tuple[float, float, float]
    flat: bool = False

    @property
    def margin(self) -> tuple[int, int, int]:
        """Return how far a depth depends on what lies around, in voxels."""
        z, y, x = (
            ceil(self._reach / size) + int(_TRUNCATED * sigma + 0.5)
            for size, sigma in zip(self.spacing, self._sigmas, strict=True)
        )
        return (0 if self.flat else z), y, x

    def depths(self, masks: Sequence[NDArray[np.bool_]], inside: NDArray[np.bool_]) -> NDArray[np.uint16]:
        """Compute depths: 1 or more inside, 0 elsewhere.

        Parameters
        ----------
        masks
            Where the probability is above each threshold (Z, Y, X).
        inside
            Where the class is.
        """
        roots = np.sqrt(np.arange(_FAR + 1, dtype=np.float32))
        total = np.zeros(inside.shape, np.float32)
        for mask in masks:
            total += roots[self.squared(mask)]
        smooth = gaussian_filter(total, self._sigmas, truncate=_TRUNCATED, mode="nearest")
        depth = np.rint(smooth * np.float32(_DEEPEST / (len(masks) * _FAR**0.5)))
        depths: NDArray[np.uint16] = np.where(inside, np.maximum(depth, 1), 0).astype(np.uint16)
        return depths

    def squared(self, mask: NDArray[np.bool_]) -> NDArray[np.uint16]:
        """Compute squared distances to the next voxel outside a mask.

        Beyond the border of the array nothing is outside.
        """
        reach = self._reach
        costs = []
        for size in self.spacing:
            away = np.arange(ceil(reach / size) + 1) * (size / reach)
            costs.append(np.minimum(np.rint(away**2 * _FAR), _FAR).astype(np.uint16))
        squared = _along_rows(mask, costs[2])
        for plane in squared:
            _lower(plane, costs[1])
        if not self.flat:
            for row in range(squared.shape[1]):
                column = squared[:, row].copy()
                _lower(column, costs[0])
                squared[:, row] = column
        return squared

    @property
    def _reach(self) -> float:
        """Return the distance from which all count the same."""
        return (_LIMIT_FLAT if self.flat else _LIMIT_SOLID) * self._finest

    @property
    def _finest(self) -> float:
        return min(self.spacing[1:] if self.flat else self.spacing)

    @property
    def _sigmas(self) -> tuple[float, float, float]:
        z, y, x = (_SMOOTH * self._finest / size for size in self.spacing)
        return (0.0 if self.flat else z), y, x


def masks_above(probability: NDArray[Any], scale: float) -> list[NDArray[np.bool_]]:
    """Return where a probability is above each threshold.

    `scale`: what stands for certain.
    """
    return [probability > scale * threshold for threshold in THRESHOLDS]


def _along_rows(mask: NDArray[np.bool_], costs: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return squared distances to the next voxel outside, along rows."""
    away = np.where(mask, np.uint8(_NONE), np.uint8(0))
    for step in _DOUBLING:  # sums of these are all distances up to the limit
        if step < mask.shape[-1]:
            np.minimum(away[..., step:], away[..., :-step] + np.uint8(step), out=away[..., step:])
            np.minimum(away[..., :-step], away[..., step:] + np.uint8(step), out=away[..., :-step])
    table = np.full(_NONE + 1, _FAR, np.uint16)
    table[: len(costs)] = costs
    return table[away]


def _lower(squared: NDArray[np.uint16], costs: NDArray[np.uint16]) -> None:
    """Lower values by what lies near along the first axis."""
    before = squared.copy()
    most = int(before.max(initial=0))
    for away, cost in enumerate(costs.tolist()):
        if away >= len(before) or cost >= most:
            return
        if away:
            np.minimum(squared[away:], before[:-away] + np.uint16(cost), out=squared[away:])
            np.minimum(squared[:-away], before[away:] + np.uint16(cost), out=squared[:-away])
