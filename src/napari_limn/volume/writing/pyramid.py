"""The writer of sharded pyramids.

Blocks come in once, every shard of every level is written once.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, product
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.files.durable import sync_file, sync_folder
from napari_limn.volume.boxes import overlap, shape_of, size_of, slices, within
from napari_limn.volume.writing.layout import picked

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import zarr
    from numpy.typing import NDArray

    from napari_limn.volume.boxes import Box, Grid
    from napari_limn.volume.writing.layout import Level

Parts = list["NDArray[Any]"]
"""One array (C, T, Z, Y, X) for each target: labels with C = 1, probabilities with one channel a class."""

_STORED = "CTZYX"


class Target:
    """One multiscale array on disk, addressed on the grid.

    Parameters
    ----------
    arrays
        The levels, finest first.
    names
        Axes of the arrays in their order, letters of TCZYX; a shard holds one channel.
    folder
        Where the levels lie, as folders named by their number.
    """

    def __init__(self, arrays: Sequence[zarr.Array[Any]], names: str, folder: Path) -> None:
        self._arrays, self._names, self.folder = arrays, names, folder
        self.dtype = arrays[0].dtype
        self.channels = arrays[0].shape[names.index("C")] if "C" in names else 1
        self._synced: set[Path] = set()

    def write(self, level: int, box: Box, data: NDArray[Any]) -> None:
        """Write an array to a box of a level.

        Its shape is (C, T, Z, Y, X).
        """
        own = [a for a in _STORED if a in self._names]
        absent = tuple(i for i, a in enumerate(_STORED) if a not in self._names)
        order = [own.index(a) for a in self._names]
        laid_out = np.squeeze(data, axis=absent).transpose(order).astype(self.dtype, copy=False)
        self._arrays[level][self._index(box)] = laid_out

    def read(self, level: int, box: Box) -> NDArray[Any]:
        """Read a box of a level as (C, T, Z, Y, X)."""
        part = np.asarray(self._arrays[level][self._index(box)])
        order = [self._names.index(a) for a in _STORED if a in self._names]
        return part.transpose(order).reshape(self.channels, *shape_of(box))

    def sync(self, level: int, place: Grid) -> None:
        """Wait until the shard at a place is on the disk.

        With all the folders on the way to it.
        """
        at = dict(zip("TZYX", place, strict=True))
        root = self.folder / str(level)
        for numbers in product(*(range(self.channels) if a == "C" else (at[a],) for a in self._names)):
            path = root.joinpath("c", *map(str, numbers))
            sync_file(path)
            sync_folder(path.parent)
            for folder in path.parents[1 : len(numbers) + 1]:
                if (below := _child(folder, path)) not in self._synced and below.is_dir():
                    sync_folder(folder)
                    self._synced.add(below)

    def _index(self, box: Box) -> tuple[slice, ...]:
        at = dict(zip("TZYX", slices(box), strict=True))
        return tuple(at.get(a, slice(None)) for a in self._names)


def _child(folder: Path, path: Path) -> Path:
    """Return the entry of `folder` on the way to `path`."""
    return folder / path.relative_to(folder).parts[0]


@dataclass(slots=True)
class _Buffer:
    """A shard that waits for the rest of its voxels."""

    parts: Parts
    left: int


class Pyramid:
    """Collects blocks into shards and writes each once it is whole.

    Every second voxel of a shard is handed to the next level.

    Parameters
    ----------
    levels
        Geometry, finest first.
    targets
        Arrays to write: all of the same extent, each from its own part of a block.
    done
        Shards of level 0 that an earlier run left on disk. What they gave to coarser shards that were not whole is
        read back from them.
    """

    def __init__(
        self, levels: Sequence[Level], targets: Sequence[Target], done: Iterable[int] = frozenset()
    ) -> None:
        self._levels, self._targets = levels, targets
        self._reported = set(done)
        self._done: list[set[int]] = []
        self._open: list[dict[int, _Buffer]] = []
        self.forget_unfinished()

    @property
    def lacking(self) -> int:
        """Return the number of level-0 shards that are not on disk."""
        return self._levels[0].count - len(self._done[0])

    @property
    def buffered_bytes(self) -> int:
        """Return the bytes of the shards that wait at this moment."""
        return sum(p.nbytes for opened in self._open for b in opened.values() for p in b.parts)

    def read(self, level: int, box: Box) -> NDArray[Any]:
        """Read what is known by now in a box of a level.

        Of the first target, as (T, Z, Y, X); zeros elsewhere.

        Whole shards come from the disk; of others the voxels are picked from the memory in which they, or the finer ones
        that they will be made of, wait. Any thread may look.
        """
        # From fine to coarse and the disk last: what is handed on meanwhile is found where it has gone.
        waiting = [self._waiting(finer, level, box) for finer in range(level + 1)]
        labels: NDArray[Any] = self._targets[0].read(level, box)[0]
        for place, part in chain.from_iterable(reversed(waiting)):  # what a coarse one lacks, finer ones have
            common = overlap(place, box)
            inside = within(common, place)
            labels[within(common, box)] = part[inside]
        return labels

    def _waiting(self, finer: int, level: int, box: Box) -> list[tuple[Box, NDArray[Any]]]:
        """List what open shards of a finer level hold of a box.

        The box is one of `level`: where each piece lies there, and its voxels.
        """
        here, strides = self._levels[finer], (self._levels[finer].stride, self._levels[level].stride)
        step = tuple(b // a for a, b in zip(*strides, strict=True))
        span = tuple((a * s, (b - 1) * s + 1) for (a, b), s in zip(box, step, strict=True))
        pieces = []
        for number in here.touching(span):
            if (buffer := self._open[finer].get(number)) is not None:
                region = here.box(number)
                pieces.append((picked(region, step), _pick(buffer.parts[:1], region, step)[0][0]))
        return pieces

    def missing(self, box: Box) -> bool:
        """Return whether a voxel of a box is not on disk.

        The box is one of level 0.
        """
        return any(number not in self._done[0] for number in self._levels[0].touching(box))

    def forget_unfinished(self) -> None:
        """Go back to the shards that :meth:`write` reported.

        As the next run would: all other blocks are to come again.

        Where memory ran out amid a shard, it is not known which coarser ones got their part of it.
        """
        self._done = [set(self._reported), *(set() for _ in self._levels[1:])]
        self._open = [{} for _ in self._levels]
        for level in range(len(self._levels) - 1):
            self._refill(level)

    def write(self, box: Box, parts: Parts) -> list[int]:
        """Take a block of level 0.

        Returns the level-0 shards that are durable by it, with all that they complete.
        """
        finished = self._put(0, box, parts)
        self._reported.update(finished)
        return finished

    def _put(self, level: int, box: Box, parts: Parts) -> list[int]:
        finished = []
        for number in self._levels[level].touching(box):
            if number not in self._done[level] and (whole := self._collect(level, number, box, parts)):
                self._flush(level, number, whole)
                finished.append(number)
        return finished

    def _collect(self, level: int, number: int, box: Box, parts: Parts) -> Parts | None:
        """Put what a box gives into the shard.

        Returns the shard if it is whole now.
        """
        region = self._levels[level].box(number)
        common = overlap(region, box)
        given = [p[(slice(None), *within(common, box))] for p in parts]
        opened = self._open[level]
        if common == region:
            return given
        if number not in opened:
            shape = shape_of(region)
            fresh = [np.zeros((t.channels, *shape), t.dtype) for t in self._targets]  # a viewer may look
            opened[number] = _Buffer(fresh, size_of(region))
        buffer = opened[number]
        inside = within(common, region)
        for into, part in zip(buffer.parts, given, strict=True):
            into[(slice(None), *inside)] = part
        buffer.left -= size_of(common)
        return buffer.parts if buffer.left == 0 else None  # seen there until it is on the disk

    def _flush(self, level: int, number: int, parts: Parts) -> None:
        """Write a shard, then what it completes on coarser levels."""
        here = self._levels[level]
        region, place = here.box(number), here.place(number)
        for target, part in zip(self._targets, parts, strict=True):
            target.write(level, region, part)
            target.sync(level, place)
        self._done[level].add(number)
        if level + 1 < len(self._levels):
            step = self._levels[level + 1].step
            self._put(level + 1, picked(region, step), _pick(parts, region, step))
        self._open[level].pop(number, None)

    def _refill(self, level: int) -> None:
        """Give the next level what it has from shards of this one.

        Whole shards are on disk, of others the buffers are lost.
        """
        here, step, done = self._levels[level], self._levels[level + 1].step, self._done[level]
        lost: set[int] = set()
        for number in range(self._levels[level + 1].count) if done else ():
            if done.issuperset(sources := self._sources(level, number)):
                self._done[level + 1].add(number)
            else:
                lost.update(done.intersection(sources))
        for number in sorted(lost):
            region = here.box(number)
            parts = [target.read(level, region) for target in self._targets]
            self._put(level + 1, picked(region, step), _pick(parts, region, step))

    def _sources(self, level: int, number: int) -> list[int]:
        """List the shards that give voxels to a shard above."""
        here, above = self._levels[level], self._levels[level + 1]
        box = above.box(number)
        span = tuple((a * s, (b - 1) * s + 1) for (a, b), s in zip(box, above.step, strict=True))
        sources = list(here.touching(span))
        if all(n >= s for n, s in zip(here.shard, above.step, strict=True)):
            return sources
        # shards so thin that some lie between the voxels that are kept
        return [n for n in sources if all(a < b for a, b in picked(here.box(n), above.step))]


def _pick(parts: Parts, region: Box, step: Sequence[int]) -> Parts:
    """Return the voxels of a region that the next level keeps.

    Every `step`-th of the whole volume, not of the region.
    """
    starts = [-a % s for (a, _), s in zip(region, step, strict=True)]
    index = (slice(None), *(slice(a, None, s) for a, s in zip(starts, step, strict=True)))
    return [part[index] for part in parts]
