"""Where to paint next: pooled values, and patches worth a look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_limn.volume.boxes import Box

Point = tuple[int, int, int, int]
"""A voxel on the TZYX grid."""

_CELL = 32  # pixels a side at most; a patch is two cells wide, so that patches overlap by half
_CELLS = 1 << 20  # at most, so that the memory does not grow with the volume
# of its value is left to a patch beside paint: where everything is painted, the values still decide
_LEAST = 0.02


@dataclass(frozen=True, slots=True)
class SuggestedPatch:
    """A patch to look at.

    Parameters
    ----------
    at
        Its middle, in voxels (T, Z, Y, X).
    box
        Its extent on the TZYX grid, one slice thick unless the volume is too large for that.
    score
        Mean of the pooled values over the patch, 0–1.
    """

    at: Point
    box: Box
    score: float


class Pool:
    """Means of the values of a volume over a coarse grid.

    Blocks come in any order and of any extent.

    Parameters
    ----------
    grid
        Extent (T, Z, Y, X) of the volume.
    cell
        Extent of a cell; chosen where not given, so that there are no more than about a million cells.

    Examples
    --------
    >>> pool = Pool((1, 1, 4, 4), (1, 1, 2, 2))
    >>> pool.add(((0, 1), (0, 1), (0, 4), (0, 2)), np.ones((1, 1, 4, 2)))
    >>> pool.means[0, 0].tolist()
    [[1.0, 0.0], [1.0, 0.0]]
    """

    def __init__(self, grid: tuple[int, ...], cell: tuple[int, ...] | None = None) -> None:
        self.grid, self.cell = grid, cell or choose_cell(grid)
        shape = [-(-n // c) for n, c in zip(grid, self.cell, strict=True)]
        self.sums = np.zeros(shape)

    @property
    def voxels(self) -> NDArray[np.float64]:
        """Count the voxels of each cell."""
        sizes: NDArray[np.float64] = np.ones(())
        for n, c in zip(self.grid, self.cell, strict=True):
            sizes = np.multiply.outer(sizes, np.diff([*range(0, n, c), n]).astype(float))
        return sizes

    @property
    def means(self) -> NDArray[np.float64]:
        """Give the mean of each cell, over all its voxels."""
        return self.sums / self.voxels

    def add(self, box: Box, values: NDArray[Any]) -> None:
        """Add the values (T, Z, Y, X) of a box.

        Each voxel of the volume comes once.
        """
        index = []
        for axis, ((start, stop), c) in enumerate(zip(box, self.cell, strict=True)):
            first = [0, *(n - start for n in range((start // c + 1) * c, stop, c))]
            values = np.add.reduceat(values, first, axis, dtype=np.float64)
            index.append(slice(start // c, start // c + len(first)))
        self.sums[tuple(index)] += values


def choose_cell(grid: tuple[int, ...]) -> tuple[int, ...]:
    """Choose cells of 32 pixels in a slice, fewer in small images.

    They are larger where a volume would have too many of them.

    Examples
    --------
    >>> choose_cell((1, 1, 1024, 2048))
    (1, 1, 32, 32)
    """
    side = min(_CELL, max(4, min(grid[-2:]) // 8))
    cell = [1, 1, side, side]
    while np.prod([-(-n // c) for n, c in zip(grid, cell, strict=True)], dtype=float) > _CELLS:
        axis = 1 if cell[1] < min(grid[1], 8) else 2
        for a in (1,) if axis == 1 else (2, 3):
            cell[a] *= 2
    return tuple(cell)


def find_places(
    pool: Pool,
    spacing: tuple[float, float, float],
    count: int = 5,
    paint: NDArray[np.integer[Any]] | None = None,
    visited: Sequence[Point] = (),
) -> list[SuggestedPatch]:
    """Find the patches of the highest pooled values.

    They lie away from one another, from paint and from visited ones.

    Parameters
    ----------
    pool
        Values of the volume, 0–1, for example the uncertainty of a model.
    spacing
        Voxel size (Z, Y, X), in any unit.
    count
        How many at most.
    paint
        Painted voxels (N, 4).
    visited
        Middles of patches that were looked at.

    Returns
    -------
    The best first; fewer than `count` where nothing is left that has a value, or that was not visited.

    Notes
    -----
    Greedy: after each choice the value of every patch falls by 1 − exp(−(d/s)²), d its distance from the chosen one and
    s the side of a patch. Frames of time lie one side apart.
    """
    patches = _Patches(pool, spacing)
    worth = patches.scores.ravel().copy()
    if paint is not None and len(paint):
        worth *= np.maximum(_LEAST, _farness(patches.from_paint(paint).ravel() / patches.side))
    for point in visited:
        worth *= patches.away_from(point)
    suggested: list[SuggestedPatch] = []
    while len(suggested) < count and worth.max() > 0:
        best = int(worth.argmax())
        patch = patches.patch(best)
        suggested.append(patch)
        worth *= patches.away_from(patch.at)
        worth[best] = 0
    return suggested


def _farness(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give what is left of a value at a distance.

    The distance is in sides of a patch.
    """
    return -np.expm1(-np.square(distance))


class _Patches:
    """Patches of two by two cells, which overlap by half.

    Of one cell where there are no two.
    """

    def __init__(self, pool: Pool, spacing: tuple[float, float, float]) -> None:
        self._pool = pool
        self._width = [1, 1, *(min(2, n) for n in pool.sums.shape[2:])]
        self.scores = self._over(pool.sums) / self._over(pool.voxels)
        self.side = self._width[3] * pool.cell[3] * spacing[2]
        self._steps = np.array([self.side, *spacing])  # from voxel to voxel
        axes = [
            (np.arange(n) + w / 2) * c * step
            for n, w, c, step in zip(self.scores.shape, self._width, pool.cell, self._steps, strict=True)
        ]
        self._axes = axes

    def _over(self, cells: NDArray[Any]) -> NDArray[np.float64]:
        """Sum the cells of each patch."""
        windows = np.lib.stride_tricks.sliding_window_view(cells, self._width)
        total: NDArray[np.float64] = windows.sum((-4, -3, -2, -1))
        return total

    def from_paint(self, where: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """Compute the distance of each patch from paint.

        From the nearest cell with paint, the mean over the cells of the patch.
        """
        bare = np.ones(self._pool.sums.shape, bool)
        bare[tuple((where // self._pool.cell).T)] = False
        distance = ndimage.distance_transform_edt(bare, sampling=self._steps * self._pool.cell)
        mean: NDArray[np.float64] = self._over(np.asarray(distance)) / np.prod(self._width)
        return mean

    def away_from(self, point: Sequence[int]) -> NDArray[np.float64]:
        """Give what is left of each value beside a point.

        The point was looked at.
        """
        square: NDArray[np.float64] = np.zeros(())
        for along, p, step in zip(self._axes, point, self._steps, strict=True):
            square = np.add.outer(square, np.square(along - (p + 0.5) * step))
        return _farness(np.sqrt(square).ravel() / self.side)

    def patch(self, number: int) -> SuggestedPatch:
        """Give the patch of a number in raster order."""
        first = np.unravel_index(number, self.scores.shape)
        box = tuple(
            (int(i) * c, min((int(i) + w) * c, n))
            for i, w, c, n in zip(first, self._width, self._pool.cell, self._pool.grid, strict=True)
        )
        t, z, y, x = ((a + b) // 2 for a, b in box)
        return SuggestedPatch((t, z, y, x), box, float(self.scores.ravel()[number]))
