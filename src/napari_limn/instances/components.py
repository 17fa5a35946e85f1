"""Connected components of classes, block by block.

Each block is labelled by itself; what touches across borders is joined at the end. An object is numbered by its first voxel in scan
order (T, Z, Y, X; X fastest), as :func:`scipy.ndimage.label` does, so no number depends on the blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.ndimage import generate_binary_structure, label
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from napari_limn.instances.blocks import Shell, Shells, touching

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_limn.instances.blocks import BlockGrid
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.volume import Volume

Connectivity = Literal["full", "face"]
"""Which neighbours of a voxel are of its object: all of 3^d, or those that share a face."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """What one block holds of objects.

    Attributes
    ----------
    labels
        Number of the piece at each voxel (Z, Y, X), from 1 on; 0 where there is none.
    classes
        Value of the class of each piece.
    """

    labels: NDArray[np.uint32]
    classes: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Return the number of pieces."""
        return len(self.classes)


@dataclass(frozen=True, slots=True)
class Components:
    """The components of some classes of a label volume, as pieces.

    Parameters
    ----------
    volume
        The labels.
    classes
        Values whose components are objects. Voxels of different classes are never of one object.
    connectivity
        Which voxels touch.
    """

    volume: Volume
    classes: Sequence[int]
    connectivity: Connectivity = "full"

    def pieces(self, box: Box) -> Pieces:
        """Label a block by itself."""
        values = self.volume.read(box)[0, 0]
        structure = generate_binary_structure(3, 3 if self.connectivity == "full" else 1)
        labels = np.zeros(values.shape, np.uint32)
        counts: list[int] = []
        for value in self.classes:
            mask = values == value
            own, count = label(mask, structure)
            np.add(labels, own, out=labels, casting="unsafe")
            if start := sum(counts):
                labels[mask] += np.uint32(start)
            counts.append(count)
        return Pieces(labels, np.repeat(np.asarray(self.classes, np.int64), counts))


@dataclass(frozen=True, slots=True)
class Joined:
    """Pieces of all blocks, and the object of each.

    Attributes
    ----------
    starts
        How many pieces there are in all blocks before each block.
    objects
        Object of each piece, counted over all blocks; 0 for pieces that are dropped. Row 0 stands for no piece.
    classes
        Class of each object; row 0 stands for none.
    """

    starts: NDArray[np.int64]
    objects: NDArray[np.uint32]
    classes: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Return the number of objects."""
        return len(self.classes) - 1

    def part(self, number: int, labels: NDArray[np.uint32]) -> Part:
        """Return what a block holds of objects, from its pieces."""
        start = int(self.starts[number])
        table = self.objects[start : int(self.starts[number + 1]) + 1].copy()
        table[0] = 0
        return Part(labels, table, table[labels])


@dataclass(frozen=True, slots=True)
class Part:
    """What one block holds of regions, such as objects or basins.

    Attributes
    ----------
    labels
        Piece at each voxel (Z, Y, X); 0 for none.
    table
        Region of each piece; row 0 stands for none.
    regions
        Region at each voxel.
    """

    labels: NDArray[np.uint32]
    table: NDArray[np.uint32]
    regions: NDArray[np.uint32]

    def compact(self) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Return the block with its regions numbered from 1 on.

        And what those are.

        The first of them stands for none.
        """
        own, inverse = np.unique(self.table, return_inverse=True)
        if len(own) == len(self.table):
            return self.labels, self.table.astype(np.int64)
        return inverse.astype(np.uint32)[self.labels], own.astype(np.int64)


class Joiner:
    """Collects the pieces of blocks, in their order, and joins them.

    Parameters
    ----------
    grid
        The blocks.
    connectivity
        Which voxels touch.
    """

    def __init__(self, grid: BlockGrid, connectivity: Connectivity) -> None:
        self._grid, self._diagonal = grid, connectivity == "full"
        self._shells = Shells(grid)
        self._starts, self._number = [0], 0
        self._classes: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
        self._first: list[NDArray[np.int64]] = [np.full(1, -1, np.int64)]
        self._sizes: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
        self._pairs: list[NDArray[np.uint64]] = []

    def add(self, pieces: Pieces) -> None:
        """Take the pieces of the next block."""
        start, number = self._starts[-1], self._number
        box = self._grid.box(number)
        self._first.append(first_voxels(pieces.labels, pieces.count, box, self._grid.shape))
        self._sizes.append(np.bincount(pieces.labels.ravel(), minlength=pieces.count + 1)[1:])
        self._classes.append(pieces.classes)
        shell = Shell(pieces.labels)
        for step, neighbour, other in self._shells.add(number, shell):
            starts = start, self._starts[neighbour]
            for _, (ours,), (theirs,) in touching(shell, other, step, diagonal=self._diagonal):
                self._pairs.append(pairs_of(ours.ravel(), theirs.ravel(), starts))
        self._starts.append(start + pieces.count)
        self._number += 1

    def joined(self, smallest: int = 0) -> Joined:
        """Join what touches, once all blocks were added.

        Parameters
        ----------
        smallest
            Voxels of an object, at least; smaller ones are dropped.
        """
        classes, first = np.concatenate(self._classes), np.concatenate(self._first)
        of_piece, count = _union(_unique(self._pairs), classes)
        sizes = np.zeros(count, np.int64)
        np.add.at(sizes, of_piece, np.concatenate(self._sizes))
        numbers = numbered(_least(first, of_piece, count), keep=sizes >= max(smallest, 1))
        named = np.zeros(int(numbers.max(initial=0)) + 1, np.int64)
        named[numbers[of_piece]] = classes
        named[0] = 0
        return Joined(np.asarray(self._starts), numbers[of_piece], named)


def numbered(first: NDArray[np.int64], keep: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Give regions numbers by their first voxel.

    What is not kept gets 0.

    Examples
    --------
    >>> numbered(np.array([7, 3, 5]), np.array([True, True, False])).tolist()
    [2, 1, 0]
    """
    kept = np.flatnonzero(keep)
    numbers = np.zeros(len(first), np.uint32)
    numbers[kept[np.argsort(first[kept], kind="stable")]] = np.arange(1, len(kept) + 1)
    return numbers


def first_voxels(labels: NDArray[np.uint32], count: int, box: Box, shape: Sequence[int]) -> NDArray[np.int64]:
    """Find the first voxel of each piece of a block.

    As its place in the scan of the whole volume.
    """
    flat = labels.ravel()
    there = np.flatnonzero(flat)[::-1]
    at = np.zeros(count + 1, np.int64)
    at[flat[there]] = there  # of several the last is kept, which is the first voxel
    return scan_places(at[1:], box, shape)


def scan_places(at: NDArray[np.int64], box: Box, shape: Sequence[int]) -> NDArray[np.int64]:
    """Turn places in a block's scan into those of the volume."""
    z, y, x = np.unravel_index(at, [stop - start for start, stop in box[1:]])
    (t, _), (z0, _), (y0, _), (x0, _) = box
    place: NDArray[np.int64] = ((t * shape[1] + z + z0) * shape[2] + y + y0) * shape[3] + x + x0
    return place


def pairs_of(
    ours: NDArray[np.uint32], theirs: NDArray[np.uint32], starts: tuple[int, int]
) -> NDArray[np.uint64]:
    """Return which pieces touch, as one number a pair, each once.

    Parameters
    ----------
    ours, theirs
        Pieces of two blocks, voxel by voxel.
    starts
        What is added to their numbers.
    """
    both = (ours > 0) & (theirs > 0)
    one, other = (
        p[both].astype(np.uint64) + np.uint64(s) for p, s in zip((ours, theirs), starts, strict=True)
    )
    keys = one << np.uint64(32) | other
    if len(keys) > 1:  # most of them repeat along a row
        keys = keys[np.r_[True, keys[1:] != keys[:-1]]]
    return np.unique(keys)


def split_pairs(pairs: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return both members of each pair."""
    return (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _unique(pairs: list[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    return np.unique(np.concatenate(pairs)) if pairs else np.zeros(0, np.uint64)


def _union(pairs: NDArray[np.uint64], classes: NDArray[np.int64]) -> tuple[NDArray[np.int32], int]:
    """Join pieces of one class.

    Returns the set of each, and the number of sets.
    """
    ours, theirs = split_pairs(pairs)
    same = classes[ours] == classes[theirs]
    ours, theirs = ours[same], theirs[same]
    graph: Any = coo_matrix(
        (np.ones(len(ours), np.uint8), (ours, theirs)), shape=(len(classes), len(classes))
    )
    count, sets = connected_components(graph, directed=False)
    return sets, int(count)


def _least(first: NDArray[np.int64], sets: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    least = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(least, sets, first)
    return least


def join_components(source: Components, grid: BlockGrid, smallest: int = 0) -> Iterator[Joined | None]:
    """Label all blocks, then join them.

    Yields None after each block, and at the end what they make.
    """
    joiner = Joiner(grid, source.connectivity)
    for number in range(grid.count):
        joiner.add(source.pieces(grid.box(number)))
        yield None
    yield joiner.joined(smallest)
