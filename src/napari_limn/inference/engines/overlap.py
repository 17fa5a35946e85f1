"""Where overlapping tiles lie, and how much each counts, by axis."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import TYPE_CHECKING

import numpy as np

from napari_limn.errors import LimnError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_limn.network.footprint import Footprint

_SIGMA = 1 / 8  # of the tile's extent, as in nnU-Net (Isensee 2021, doi:10.1038/s41592-020-01008-z)


@dataclass(frozen=True, slots=True)
class Line:
    """Tiles and cells along one axis.

    The output is given in cells, half a tile long; so a cell is done as soon as the tiles that begin in it are.

    Parameters
    ----------
    extent
        Voxels of the volume along this axis.
    tile
        Extent of a tile, a multiple of `step`.
    step
        Tiles begin on multiples of it.
    overlapped
        Whether tiles overlap; otherwise they lie side by side.

    Examples
    --------
    >>> line = Line(22, 8, 4, overlapped=True)
    >>> line.spans()
    [(0, 8), (4, 12), (8, 16), (12, 20), (16, 22)]
    >>> line.cells()
    [(0, 4), (4, 8), (8, 12), (12, 16), (16, 20), (20, 22)]
    """

    extent: int
    tile: int
    step: int
    overlapped: bool

    @property
    def cell(self) -> int:
        """Return the extent of a cell: half a tile, in whole steps.

        A whole tile where there is no overlap.
        """
        if self.extent <= self.tile or not self.overlapped:
            return self.tile
        return self.tile // 2 // self.step * self.step

    def spans(self) -> list[tuple[int, int]]:
        """Return the tiles.

        The last is moved inwards, and loses less than a step where the volume does not end on one.
        """
        if not self.overlapped:
            return self.cells()
        last = ceil(max(0, self.extent - self.tile) / self.step) * self.step
        return [(start, min(start + self.tile, self.extent)) for start in (*range(0, last, self.cell), last)]

    def cells(self) -> list[tuple[int, int]]:
        """Return the cells; the last ends with the volume."""
        return [(start, min(start + self.cell, self.extent)) for start in range(0, self.extent, self.cell)]

    def touched(self, span: tuple[int, int]) -> range:
        """Return the cells that a tile shares voxels with."""
        return range(span[0] // self.cell, ceil(span[1] / self.cell))

    def shares(self) -> list[NDArray[np.float32]]:
        """Return how much each tile counts at each of its voxels.

        At every voxel of the volume this adds up to 1.

        A Gaussian over the sum of those of all tiles. Tiles form a grid, so the product of the shares along each axis
        is what the product of the Gaussians over the sum of these products would be; but nothing becomes so small that
        it needs a floor, which would let the corners of tiles count as much as the rest (MONAI floors the product).
        """
        bells = [_bell(stop - start) for start, stop in self.spans()]
        total = np.zeros(self.extent)
        for (start, stop), bell in zip(self.spans(), bells, strict=True):
            total[start:stop] += bell
        return [
            (bell / total[start:stop]).astype(np.float32)
            for (start, stop), bell in zip(self.spans(), bells, strict=True)
        ]

    def reach(self) -> int:
        """Return how many cells ahead something may have been added up.

        That is, ahead of the cell that is done next.
        """
        began: dict[int, int] = {}
        for touched in map(self.touched, self.spans()):
            for cell in touched:
                began.setdefault(cell, touched[0])
        return max(cell - first for cell, first in began.items())


def lines_of(
    grid: Sequence[int], tile: Sequence[int], footprints: Sequence[Footprint], ndim: int
) -> tuple[Line, ...]:
    """Lay tiles along T, Z, Y and X.

    The last `ndim` axes, those that the network sees, overlap.

    Raises
    ------
    LimnError
        If tiles do not begin on the network's stride, or are too short to overlap.
    """
    lines = tuple(
        Line(n, size, f.step, overlapped=axis >= 4 - ndim)
        for axis, (n, size, f) in enumerate(zip(grid, tile, footprints, strict=True))
    )
    for name, line in zip("TZYX", lines, strict=True):
        least = 2 * line.step if line.overlapped and line.extent > line.tile else line.step
        if line.tile % line.step or line.tile < least:
            raise LimnError(
                f"found tiles of {line.tile} voxels along {name}, expected a multiple of the network's stride of "
                f"{line.step}, at least {least}, to overlap them."
            )
    return lines


def order(lines: Sequence[Line]) -> list[int]:
    """Sort axes from the outermost to the innermost.

    Frames, then the longest first, so that the least is kept.
    """
    return sorted(
        range(4), key=lambda axis: (lines[axis].overlapped, -lines[axis].extent * lines[axis].overlapped)
    )


def kept_bytes(lines: Sequence[Line], classes: int) -> int:
    """Count the bytes of the sums that are kept at most.

    That is a layer of cells across the longest axis, and a row and a cell in the next ones.

    Parameters
    ----------
    lines
        Along T, Z, Y and X.
    classes
        Probabilities at each voxel, 4 bytes each.

    Examples
    --------
    >>> one = Line(1, 1, 1, overlapped=False)
    >>> kept_bytes((one, one, Line(4096, 128, 16, overlapped=True), Line(640, 128, 16, overlapped=True)), 3) / 12
    49152.0
    """
    axes, voxels = order(lines), 1
    for place in reversed(range(4)):
        line = lines[axes[place]]
        inner = prod(
            lines[axis].extent if lines[axis].overlapped else lines[axis].cell for axis in axes[place + 1 :]
        )
        voxels = min(line.cell, line.extent) * (line.reach() * inner + voxels)
    return voxels * classes * 4


def _bell(n: int) -> NDArray[np.float64]:
    """Return a Gaussian over `n` voxels.

    At its ends, four sigmas out, it has 3e-4 of its height.
    """
    bell: NDArray[np.float64] = np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n * _SIGMA)) ** 2)
    return bell
