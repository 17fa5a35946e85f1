"""How many bytes of half-filled shards wait at once.

Counted from the order in which blocks come.

Why: where a volume is swept in columns, a shard astride two columns waits for the length of a column. No formula of the extents
of one block says how many do, but when a shard is begun and whole is a sum over the axes, so all can be counted at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_limn.volume.axes import GRID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_limn.volume.boxes import Grid
    from napari_limn.volume.writing.layout import Level


@dataclass(frozen=True, slots=True)
class Order:
    """In which order the blocks of a volume come.

    Frame by frame, there column by column, there block by block.

    Parameters
    ----------
    block, column
        Their extents (T, Z, Y, X); a column of the whole grid is none.
    axes
        Axes of the raster of blocks, the outermost loop first; its first `frames` ones are those of the frames.
    frames
        Number of axes that are not swept.
    """

    block: Grid
    column: Grid
    axes: str = GRID
    frames: int = 1

    def turns(self, grid: Grid) -> list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
        """Give the blocks their numbers.

        Returns, for each axis, where blocks begin, where they end, and what each adds to the number of a block.
        """
        spans = [_spans(n, b, c) for n, b, c in zip(grid, self.block, self.column, strict=True)]
        loops = [(GRID.index(a), 1) for a in self.axes]
        columns = [(axis, 0) for axis in range(4)]
        digits = [*loops[: self.frames], *columns, *loops[self.frames :]]
        added = [np.zeros(len(starts), np.int64) for starts, _, _ in spans]
        weight = 1
        for axis, which in reversed(digits):
            places = spans[axis][2][which]
            added[axis] += weight * places
            weight *= int(places.max()) + 1
        return [(starts, ends, turn) for (starts, ends, _), turn in zip(spans, added, strict=True)]


def _spans(n: int, block: int, column: int) -> tuple[Any, Any, tuple[Any, Any]]:
    """Cut an axis into columns, and those into blocks.

    Returns starts and ends of the blocks, with the number of the column, and the number in the column.
    """
    starts = np.concatenate([np.arange(at, min(at + column, n), block) for at in range(0, n, column)])
    ends = np.append(starts[1:], n)
    return starts, ends, (starts // column, starts % column // block)


def held_bytes(levels: Sequence[Level], order: Order, itemsizes: Sequence[int]) -> int:
    """Count the bytes that half-filled shards take, at most.

    And the one that is just being compressed.

    Parameters
    ----------
    levels
        Of the output, finest first.
    order
        In which blocks come.
    itemsizes
        Bytes of a voxel in each array that is written.
    """
    largest = max(prod(map(min, level.shard, level.shape)) for level in levels)
    return most_waiting(levels, order) * sum(itemsizes) + 2 * largest * max(itemsizes)


def most_waiting(levels: Sequence[Level], order: Order) -> int:
    """Count the voxels that wait in half-filled shards, at most.

    Over all levels, as :class:`~napari_limn.volume.writing.pyramid.Pyramid` keeps them.
    """
    begun, whole = _finest(levels[0], order)
    times, voxels = list[NDArray[np.int64]](), list[NDArray[np.int64]]()
    for number, level in enumerate(levels):
        if number:
            begun, whole = _coarser(whole, levels[number - 1], level)
        first, last = _summed(begun), _summed(whole)
        waits = first < last
        size = _sizes(level)[waits]
        times += [
            2 * first[waits],
            2 * last[waits] + 1,
        ]  # what begins by a shard does so before that is forgotten
        voxels += [size, -size]
    taken = np.concatenate(voxels)[np.argsort(np.concatenate(times), kind="stable")]
    return int(np.cumsum(taken).max(initial=0))


def _finest(level: Level, order: Order) -> tuple[list[Any], list[Any]]:
    """Say when shards of level 0 are begun, and whole.

    In blocks, and inside a block in the order of the shards; what each place along an axis adds.
    """
    begun, whole = list[Any](), list[Any]()
    for axis, (starts, _, turn) in enumerate(order.turns(level.shape)):
        first = np.arange(level.counts[axis]) * level.shard[axis]
        last = np.minimum(first + level.shard[axis], level.shape[axis]) - 1
        inside = np.arange(level.counts[axis]) * prod(level.counts[axis + 1 :])
        for into, at in ((begun, first), (whole, last)):
            into.append(turn[np.searchsorted(starts, at, "right") - 1] * level.count + inside)
    return begun, whole


def _coarser(whole: list[Any], finer: Level, level: Level) -> tuple[list[Any], list[Any]]:
    """Say when shards of a level are begun, and whole.

    From when those of the finer one are whole.
    """
    begun, done = list[Any](), list[Any]()
    for axis, each in enumerate(whole):
        first = np.arange(level.counts[axis]) * level.shard[axis]
        last = np.minimum(first + level.shard[axis], level.shape[axis]) - 1
        begun.append(each[first * level.step[axis] // finer.shard[axis]])
        done.append(each[last * level.step[axis] // finer.shard[axis]])
    return begun, done


def _summed(each: Sequence[Any]) -> NDArray[np.int64]:
    t, z, y, x = each
    total: NDArray[np.int64] = t[:, None, None, None] + z[:, None, None] + y[:, None] + x
    return total.ravel()


def _sizes(level: Level) -> NDArray[np.int64]:
    """Return the voxels of each shard."""
    along = [
        np.minimum((np.arange(count) + 1) * shard, n) - np.arange(count) * shard
        for count, shard, n in zip(level.counts, level.shard, level.shape, strict=True)
    ]
    t, z, y, x = along
    return (t[:, None, None, None] * z[:, None, None] * y[:, None] * x).ravel().astype(np.int64)
