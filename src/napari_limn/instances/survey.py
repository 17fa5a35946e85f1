"""One pass over regions: what they measure, where they touch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.instances.blocks import EARLIER, Shell, Shells, touching
from napari_limn.instances.components import split_pairs
from napari_limn.instances.measure import Sums, add_seam_faces, sums_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_limn.instances.blocks import BlockGrid, Offset
    from napari_limn.instances.components import Part

_COLLECTED = 1 << 20  # pairs that wait until those that repeat are put together


@dataclass(frozen=True, slots=True)
class Contacts:
    """Pairs of regions that touch.

    Attributes
    ----------
    ones, others
        The regions, ones < others, each pair once.
    saddles
        Greatest depth at which one can go over.
    faces
        Faces along Z, Y and X that they share (3, N).
    """

    ones: NDArray[np.int64]
    others: NDArray[np.int64]
    saddles: NDArray[np.int64]
    faces: NDArray[np.int64]


class Survey:
    """Measures regions block by block.

    Blocks come in the order of their numbers.

    Parameters
    ----------
    grid
        The blocks.
    count
        Number of regions; they are numbered from 1 on.
    pivot
        Near the intensities of each channel; None without an image.
    probability
        Whether probabilities are summed.
    """

    def __init__(
        self, grid: BlockGrid, count: int, pivot: NDArray[Any] | None = None, *, probability: bool = False
    ) -> None:
        self._grid, self._shells = grid, Shells(grid)
        self._pivot = pivot
        self._keys: list[NDArray[np.uint64]] = []
        self._rows: list[NDArray[np.int64]] = []
        self._waiting = 0
        self.sums = Sums.none(count + 1, pivot, probability=probability)

    def add(
        self,
        number: int,
        part: Part,
        image: NDArray[Any] | None = None,
        probability: NDArray[Any] | None = None,
        depths: NDArray[np.uint16] | None = None,
    ) -> None:
        """Take the next block.

        Parameters
        ----------
        number
            Of the block.
        part
            What it holds of regions.
        image
            Intensities (C, Z, Y, X).
        probability
            Of the region's class, as whole numbers (Z, Y, X).
        depths
            Where regions that touch are to be found: depth at each voxel.
        """
        box, regions = self._grid.box(number), part.regions
        compact, own = part.compact()
        sums = sums_of(compact, len(own) - 1, box, self._grid.shape, image, self._pivot, probability)
        self.sums.add(own, sums)
        shell = Shell(regions) if depths is None else Shell(regions, depths)
        if depths is not None:
            self._touch_inside(regions, depths)
        for step, _, other in self._shells.add(number, shell):
            for way, ours, theirs in touching(shell, other, step, diagonal=depths is not None):
                if sum(map(abs, way)) == 1:
                    add_seam_faces(self.sums, ours[0], theirs[0], way)
                if depths is not None:
                    self._touch(ours, theirs, way)

    def contacts(self) -> Contacts:
        """Return which regions touch, once all blocks were added."""
        self._put_together()
        keys = self._keys[0] if self._keys else np.zeros(0, np.uint64)
        rows = self._rows[0] if self._rows else np.zeros((4, 0), np.int64)
        ones, others = split_pairs(keys)
        return Contacts(ones, others, rows[0], rows[1:])

    def _touch_inside(self, regions: NDArray[np.uint32], depths: NDArray[np.uint16]) -> None:
        for step in EARLIER:
            here = tuple(slice(max(0, -s), min(0, -s) or None) for s in step)
            there = tuple(slice(max(0, s), min(0, s) or None) for s in step)
            if all(n > abs(s) for n, s in zip(regions.shape, step, strict=True)):
                self._touch((regions[here], depths[here]), (regions[there], depths[there]), step)

    def _touch(self, ours: tuple[Any, ...], theirs: tuple[Any, ...], way: Offset) -> None:
        """Collect the pairs among voxels that touch by a step."""
        apart = np.nonzero(ours[0] != theirs[0])
        one, other = ours[0][apart], theirs[0][apart]
        both = (one > 0) & (other > 0)
        if not both.any():
            return
        saddles = np.minimum(ours[1][apart], theirs[1][apart])[both].astype(np.int64)
        one, other = one[both].astype(np.uint64), other[both].astype(np.uint64)
        keys = np.minimum(one, other) << np.uint64(32) | np.maximum(one, other)
        faces = [np.full(len(keys), int(sum(map(abs, way)) == 1 and way[axis] != 0)) for axis in range(3)]
        self._collect(*_put_together(keys, np.stack([saddles, *faces])))

    def _collect(self, keys: NDArray[np.uint64], rows: NDArray[np.int64]) -> None:
        self._keys.append(keys)
        self._rows.append(rows)
        self._waiting += len(keys)
        if self._waiting > _COLLECTED:
            self._put_together()
            self._waiting = 0

    def _put_together(self) -> None:
        if self._keys:
            keys, rows = _put_together(np.concatenate(self._keys), np.concatenate(self._rows, axis=1))
            self._keys, self._rows = [keys], [rows]


def _put_together(
    keys: NDArray[np.uint64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Put pairs that repeat together: the highest saddle, all faces."""
    order = np.argsort(keys, kind="stable")
    keys, rows = keys[order], rows[:, order]
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]]) if len(keys) else np.zeros(0, np.int64)
    saddles = np.maximum.reduceat(rows[0], starts) if len(keys) else rows[0]
    faces = np.add.reduceat(rows[1:], starts, axis=1) if len(keys) else rows[1:]
    return keys[starts], np.concatenate([saddles[None], faces])
