"""Blocks of a volume, and where they touch.

Each step of this room looks at one block at a time. What crosses a border goes through shells: the outermost planes of a block,
kept until the last neighbour has been.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

from napari_limn.volume.boxes import Box, Grid, clipped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_limn.volume.volume import Volume

Offset = tuple[int, int, int]
"""From a voxel or a block to a neighbour, along Z, Y and X; each −1, 0 or 1."""

_FLAT, _SOLID, _COMPACT = (1, 1, 1024, 1024), (1, 128, 128, 128), (1, 192, 192, 192)
_MOST = 1 << 23  # voxels of a block that follows the pieces in which a file is stored
EARLIER: tuple[Offset, ...] = tuple(s for s in product((-1, 0, 1), repeat=3) if s < (0, 0, 0))  # type: ignore[misc]
"""Half of the steps to the neighbours: those that lead back in scan order."""


@dataclass(frozen=True, slots=True)
class BlockGrid:
    """A volume cut into blocks, one time point each.

    Parameters
    ----------
    shape
        Extent (T, Z, Y, X) of the volume.
    block
        Extent of a block; 1 along T, since objects of different times are different objects.

    Examples
    --------
    >>> grid = BlockGrid((1, 1, 5, 9), (1, 1, 4, 4))
    >>> grid.count, grid.box(5), dict(grid.earlier(4))
    (6, ((0, 1), (0, 1), (4, 5), (8, 9)), {(0, -1, -1): 0, (0, -1, 0): 1, (0, -1, 1): 2, (0, 0, -1): 3})
    """

    shape: Grid
    block: Grid

    @classmethod
    def of(cls, volume: Volume, *, compact: bool = False) -> BlockGrid:
        """Choose blocks that suit the way in which a file is stored.

        Parameters
        ----------
        volume
            What is read.
        compact
            Whether blocks must be about as long along each axis, since more is read around them.
        """
        target = _FLAT if volume.grid[1] == 1 else _COMPACT if compact else _SOLID
        sides = dict(
            zip(volume.axes.names, getattr(volume.data, "chunks", None) or volume.data.shape, strict=True)
        )
        stored = tuple(
            min(n, max(int(sides.get(a, 1)) * max(1, t // int(sides.get(a, 1))), 1))
            for a, n, t in zip("TZYX", volume.grid, target, strict=True)
        )
        fits = getattr(volume.data, "chunks", None) is not None and prod(stored[1:]) <= _MOST and not compact
        t, z, y, x = (1, *stored[1:]) if fits else tuple(map(min, target, volume.grid))
        return cls(volume.grid, (t, z, y, x))

    @property
    def counts(self) -> Grid:
        """Return the number of blocks along each axis."""
        t, z, y, x = (-(-n // b) for n, b in zip(self.shape, self.block, strict=True))
        return t, z, y, x

    @property
    def count(self) -> int:
        """Return the number of blocks."""
        return prod(self.counts)

    def box(self, number: int) -> Box:
        """Return where a block lies; they are numbered in scan order."""
        starts = [at * b for at, b in zip(self._place(number), self.block, strict=True)]
        return clipped(tuple((a, a + b) for a, b in zip(starts, self.block, strict=True)), self.shape)

    def earlier(self, number: int) -> Iterator[tuple[Offset, int]]:
        """Yield the neighbours with lower numbers, and the steps to them."""
        t, *place = self._place(number)
        _, *counts = self.counts
        for step in EARLIER:
            z, y, x = (p + s for p, s in zip(place, step, strict=True))
            if 0 <= z < counts[0] and 0 <= y < counts[1] and 0 <= x < counts[2]:
                yield step, ((t * counts[0] + z) * counts[1] + y) * counts[2] + x

    @property
    def reach(self) -> int:
        """Return how far back the number of a neighbour may lie."""
        _, _, rows, columns = self.counts
        return rows * columns + columns + 1

    def _place(self, number: int) -> Grid:
        position = []
        for count in reversed(self.counts):
            number, at = divmod(number, count)
            position.append(at)
        t, z, y, x = reversed(position)
        return t, z, y, x


class Shell:
    """The outermost planes of the arrays of one block.

    Parameters
    ----------
    arrays
        Of the block, each (Z, Y, X).
    """

    __slots__ = ("_planes",)

    def __init__(self, *arrays: NDArray[Any]) -> None:
        self._planes = {
            (axis, side): tuple(a.take(side, axis=axis) for a in arrays)
            for axis in range(3)
            for side in (0, -1)
        }

    def side(self, step: Offset) -> tuple[NDArray[Any], ...]:
        """Return what of the block lies on the side of a step."""
        axis = next(a for a in range(3) if step[a])
        index = tuple(
            slice(None) if step[a] == 0 else (0 if step[a] < 0 else -1) for a in range(3) if a != axis
        )
        return tuple(plane[index] for plane in self._planes[axis, 0 if step[axis] < 0 else -1])


Side = tuple["NDArray[Any]", ...]


def touching(
    here: Shell, there: Shell, step: Offset, *, diagonal: bool
) -> Iterator[tuple[Offset, Side, Side]]:
    """Yield the voxels of two neighbouring blocks that touch.

    Parameters
    ----------
    here, there
        Shells of the blocks.
    step
        From the one block to the other.
    diagonal
        Whether voxels touch at edges and corners, too.

    Yields
    ------
    The step from voxel to voxel; then for both blocks what their arrays hold there, one by one.
    """
    if not diagonal and sum(map(abs, step)) > 1:
        return
    ours, theirs = here.side(step), there.side((-step[0], -step[1], -step[2]))
    free = [a for a in range(3) if step[a] == 0]
    for shift in product((-1, 0, 1) if diagonal else (0,), repeat=len(free)):
        by = dict(zip(free, shift, strict=True))
        z, y, x = (by.get(a, step[a]) for a in range(3))
        one = tuple(slice(max(0, -s), min(0, -s) or None) for s in shift)
        other = tuple(slice(max(0, s), min(0, s) or None) for s in shift)
        yield (z, y, x), tuple(a[one] for a in ours), tuple(a[other] for a in theirs)


class Shells:
    """The shells of blocks that later blocks may still touch."""

    def __init__(self, grid: BlockGrid) -> None:
        self._grid = grid
        self._kept: dict[int, Shell] = {}

    def add(self, number: int, shell: Shell) -> Iterator[tuple[Offset, int, Shell]]:
        """Take the shell of the next block; yield its earlier neighbours.

        Blocks come in the order of their numbers. Of a neighbour: the step to it, its number and its shell.
        """
        for step, other in self._grid.earlier(number):
            yield step, other, self._kept[other]
        self._kept[number] = shell
        self._kept.pop(number - self._grid.reach, None)
