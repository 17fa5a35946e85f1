"""Basins of a landscape, block by block.

From each voxel the steepest way leads up to a peak; what goes to one peak is a basin. Ways that leave a block go on in its neighbour:
only where they leave is passed on. Of equal neighbours the last in scan order is taken, so no way depends on the blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import maximum_filter

from napari_limn.instances.blocks import Shell, Shells, touching
from napari_limn.instances.channels import channel_of
from napari_limn.instances.components import Joined, scan_places
from napari_limn.instances.splitting.landscape import masks_above
from napari_limn.volume.boxes import clipped, grown, shape_of, within

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_limn.instances.blocks import BlockGrid
    from napari_limn.instances.splitting.landscape import Landscape
    from napari_limn.instances.splitting.store import BlockStore
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.volume import Volume

_INDEX = np.uint64(0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Basins:
    """The basins of some classes of a label volume.

    Parameters
    ----------
    volume
        The labels.
    classes
        Values whose objects are split. Voxels of different classes are never of one object.
    landscape
        What they are split by.
    probabilities
        Of every class, one channel each; None where they are not known, and the outline of the labels counts alone.
    channels
        Channel of each class.
    store
        Keeps what was computed of each block.
    """

    volume: Volume
    classes: Sequence[int]
    landscape: Landscape
    store: BlockStore
    probabilities: Volume | None = None
    channels: Sequence[int] = ()

    def block(self, number: int, box: Box) -> dict[str, NDArray[Any]]:
        """Return what is known of a block.

        It is computed where it was not before.

        Returns
        -------
        ``labels``: piece at each voxel (Z, Y, X), 0 for none; ``depths``; ``ways``: step by which a way leaves the block, where one
        does; ``classes``: of each piece; ``ends``: voxel where the way of each piece ends.
        """
        if (known := self.store.load(number)) is None:
            known = self._computed(box)
            self.store.save(number, known)
        return known

    def _computed(self, box: Box) -> dict[str, NDArray[Any]]:
        outer = clipped(grown(box, (0, *(m + 1 for m in self.landscape.margin))), self.volume.grid)
        values = self.volume.read(outer)[0, 0]
        shape = shape_of(box)[1:]
        labels, ways = np.zeros(shape, np.uint32), np.zeros(shape, np.uint8)
        depths = np.zeros(shape, np.uint16)
        classes, ends = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for number, value in enumerate(self.classes):
            inside = values == value
            if inside[within(box, outer)[1:]].any():
                masks = self._masks(number, outer, inside)
                near = clipped(grown(box, (0, 1, 1, 1)), self.volume.grid)
                here = self.landscape.depths(masks, inside)[within(near, outer)[1:]]
                own, way, last = ascend(here, near, box)
                start = sum(map(len, ends))
                labels += np.where(own, own + np.uint32(start), np.uint32(0))
                ways += way
                depths += here[within(box, near)[1:]]
                classes.append(np.full(len(last), value, np.int64))
                ends.append(last)
        rows = {"classes": np.concatenate(classes), "ends": np.concatenate(ends)}
        return {"labels": labels, "depths": depths, "ways": ways, **rows}

    def _masks(self, number: int, outer: Box, inside: NDArray[np.bool_]) -> Sequence[NDArray[np.bool_]]:
        if self.probabilities is None:
            return [inside]
        probability = channel_of(self.probabilities, self.channels[number]).read(outer)[0, 0]
        scale = 1.0 if probability.dtype.kind == "f" else float(np.iinfo(probability.dtype).max)
        return masks_above(probability, scale)


def ascend(
    depths: NDArray[np.uint16], near: Box, box: Box
) -> tuple[NDArray[np.uint32], NDArray[np.uint8], NDArray[np.int64]]:
    """Follow the steepest way from each voxel of a block.

    Parameters
    ----------
    depths
        Of the block and its neighbours (Z, Y, X); 0 outside of objects.
    near, box
        Where they lie, and the block.

    Returns
    -------
    labels
        Where each way ends in the block, from 1 on; 0 outside of objects.
    ways
        The step by which a way leaves the block, at its last voxel there; 0 elsewhere.
    ends
        Last voxel of each way, in the scan of the block.
    """
    inner, shape = within(box, near)[1:], shape_of(box)[1:]
    index = np.arange(depths.size, dtype=np.uint64).reshape(depths.shape)
    keys = (depths.astype(np.uint64) << np.uint64(32)) | index
    best = (maximum_filter(keys, 3, mode="nearest")[inner] & _INDEX).astype(np.int64)
    numbers = np.full(depths.shape, -1, np.int32)
    numbers[inner] = np.arange(int(np.prod(shape)), dtype=np.int32).reshape(shape)
    there = np.flatnonzero(depths[inner])
    own = np.arange(int(np.prod(shape)), dtype=np.int32)
    target = numbers.ravel()[best.ravel()[there]]
    leaves = there[target < 0]
    pointers = own.copy()
    pointers[there] = np.where(target < 0, own[there], target)
    ends = _ends(pointers, there)
    ways = np.zeros(shape, np.uint8)
    moved = np.stack(np.unravel_index(best.ravel()[leaves], depths.shape)) - np.stack(
        np.unravel_index(index[inner].ravel()[leaves].astype(np.int64), depths.shape)
    )
    ways.ravel()[leaves] = way_code(moved)
    is_end = np.zeros(len(own), bool)
    is_end[ends] = True
    labels = np.zeros(len(own), np.uint32)
    labels[there] = np.cumsum(is_end, dtype=np.uint32)[ends]
    return labels.reshape(shape), ways, np.flatnonzero(is_end)


def _ends(pointers: NDArray[np.int32], there: NDArray[np.int64]) -> NDArray[np.int32]:
    """Follow pointers to their ends, for the voxels `there`."""
    ends = pointers[there]
    while True:
        further = pointers[ends]
        if np.array_equal(further, ends):
            return ends
        pointers[there] = ends = further


def way_code(steps: Any) -> Any:
    """Return the number of a step to a neighbour, from 1 on."""
    z, y, x = steps
    return 1 + (z + 1) * 9 + (y + 1) * 3 + (x + 1)


class BasinJoiner:
    """Collects the pieces of blocks, and lets their ways go on.

    Blocks come in the order of their numbers.
    """

    def __init__(self, grid: BlockGrid) -> None:
        self._grid, self._shells = grid, Shells(grid)
        self._starts = [0]
        self._parents: list[NDArray[np.uint32]] = []
        self._classes: list[NDArray[np.int64]] = []
        self._peaks: list[NDArray[np.uint16]] = []
        self._places: list[NDArray[np.int64]] = []

    def add(self, block: dict[str, NDArray[Any]]) -> None:
        """Take the next block."""
        number, start, count = len(self._parents), self._starts[-1], len(block["classes"])
        self._parents.append(np.arange(start + 1, start + count + 1, dtype=np.uint32))
        self._classes.append(block["classes"])
        self._peaks.append(block["depths"].ravel()[block["ends"]])
        self._places.append(scan_places(block["ends"], self._grid.box(number), self._grid.shape))
        shell = Shell(block["labels"], block["ways"])
        for step, neighbour, other in self._shells.add(number, shell):
            for way, ours, theirs in touching(shell, other, step, diagonal=True):
                self._lead(number, ours, neighbour, theirs, way_code(way))
                self._lead(neighbour, theirs, number, ours, way_code(-s for s in way))
        self._starts.append(start + count)

    def _lead(self, one: int, ours: Any, other: int, theirs: Any, code: int) -> None:
        """Let the ways that leave a block by a step go on."""
        leaves = ours[1] == code
        if leaves.any():
            parents = self._parents[one]
            parents[ours[0][leaves].astype(np.int64) - 1] = theirs[0][leaves] + np.uint32(self._starts[other])

    def joined(self) -> tuple[Joined, NDArray[np.int64]]:
        """Return the basin of each piece, and the depths of peaks.

        Basins are numbered by the place of their peak. Row 0 stands for none.
        """
        parents = np.concatenate([np.zeros(1, np.uint32), *self._parents])
        while not np.array_equal(further := parents[parents], parents):
            parents = further
        tops = np.flatnonzero(parents == np.arange(len(parents)))[1:]
        places = np.concatenate([np.zeros(0, np.int64), *self._places])[tops - 1]
        order = tops[np.argsort(places)]
        numbers = np.zeros(len(parents), np.uint32)
        numbers[order] = np.arange(1, len(order) + 1)
        classes = np.concatenate([np.zeros(1, np.int64), *self._classes])
        peaks = np.concatenate([np.zeros(1, np.uint16), *self._peaks]).astype(np.int64)
        zero = np.zeros(1, np.int64)
        joined = Joined(np.asarray(self._starts), numbers[parents], np.append(zero, classes[order]))
        return joined, np.append(zero, peaks[order])


def join_basins(source: Basins, grid: BlockGrid) -> Iterator[tuple[Joined, NDArray[np.int64]] | None]:
    """Compute all blocks, then join their ways.

    Yields None after each block, and at the end what :meth:`BasinJoiner.joined` gives.
    """
    joiner = BasinJoiner(grid)
    for number in range(grid.count):
        joiner.add(source.block(number, grid.box(number)))
        yield None
    yield joiner.joined()
