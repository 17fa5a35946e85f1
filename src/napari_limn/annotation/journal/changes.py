"""What changed in an array of labels, as runs of voxels.

Each with the value before and the value after.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.annotation.journal.sparse_labels import PaintStore
from napari_limn.volume.boxes import Box, blocks, shape_of, size_of, slices

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

_AT_ONCE = 1 << 22  # voxels that are spelled out at once
_DENSE = 8  # times as many voxels as there are may lie in a box that is worked on as a whole
_AT_MOST = 1 << 27  # voxels of such a box
_SLAB = 1 << 22  # voxels that are compared at once


@dataclass(frozen=True, slots=True, eq=False)
class Voxels:
    """Some voxels of an array.

    Parameters
    ----------
    shape
        Of the array.
    box
        A box that holds them and not much else, or nothing.
    voxels
        Which of the box they are (bool, flat), or their positions in the whole array.
    """

    shape: tuple[int, ...]
    box: Box
    voxels: NDArray[Any]

    def get(self, data: Any) -> NDArray[Any]:
        """Read their values in an array."""
        if self.box:
            values: NDArray[Any] = np.asarray(data[slices(self.box)]).reshape(-1)[self.voxels]
            return values
        return np.asarray(data[np.unravel_index(self.voxels, self.shape)])

    def put(self, data: Any, values: NDArray[Any]) -> None:
        """Write their values into an array."""
        if not self.box:
            data[np.unravel_index(self.voxels, self.shape)] = values.astype(data.dtype)
            return
        region = np.array(data[slices(self.box)]).reshape(-1)
        region[self.voxels] = values.astype(region.dtype)
        data[slices(self.box)] = region.reshape(shape_of(self.box))


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """Runs of voxels that were one value and became another.

    Parameters
    ----------
    start, length
        Integer arrays of shape (R,): first voxel of each run, counted through the whole array in C order, and number of
        voxels; ascending and disjoint.
    old, new
        Integer arrays of shape (R,): the value before and after.

    Examples
    --------
    >>> change = Change.of(np.array([4, 5, 9]), np.array([0, 0, 2]), np.array([1, 1, 1]))
    >>> change.length.tolist(), change.size
    ([2, 1], 3)
    """

    start: NDArray[np.int64]
    length: NDArray[np.int64]
    old: NDArray[np.int64]
    new: NDArray[np.int64]

    @classmethod
    def of(cls, positions: NDArray[Any], old: NDArray[Any], new: NDArray[Any]) -> Change:
        """Make the change of single voxels, `positions` ascending.

        Where old and new are the same, nothing changed.
        """
        differs = old != new
        at, before, after = (a[differs].astype(np.int64) for a in (positions, old, new))
        broken = (np.diff(at) != 1) | (np.diff(before) != 0) | (np.diff(after) != 0)
        first = np.flatnonzero(np.concatenate([[True], broken])) if len(at) else np.zeros(0, np.intp)
        return cls(
            at[first], np.diff(np.append(first, len(at))).astype(np.int64), before[first], after[first]
        )

    @classmethod
    def between(cls, old: NDArray[Any], new: NDArray[Any], box: Box, shape: Sequence[int]) -> Change:
        """Make the change from `old` to `new` labels of a box.

        The box lies in an array of `shape`.
        """
        before, after = old.reshape(-1), new.reshape(-1)
        differs = before != after
        ends = np.ones(len(before) + 1, bool)  # a run ends where values change, and with its row
        ends[1:-1] = (before[1:] != before[:-1]) | (after[1:] != after[:-1])
        ends[:: max(1, old.shape[-1])] = True
        first, last = np.flatnonzero(differs & ends[:-1]), np.flatnonzero(differs & ends[1:])
        places = np.unravel_index(first, old.shape)
        start = np.ravel_multi_index([p + a for p, (a, _) in zip(places, box, strict=True)], tuple(shape))
        return cls(*(a.astype(np.int64) for a in (start, last - first + 1, before[first], after[first])))

    @classmethod
    def joined(cls, parts: Iterable[Change]) -> Change:
        """Join several changes, of disjoint voxels."""
        rows = [(p.start, p.length, p.old, p.new) for p in parts] or [(np.zeros(0, np.int64),) * 4]
        columns = [np.concatenate(column) for column in zip(*rows, strict=True)]
        if (np.diff(columns[0]) < 0).any():
            order = np.argsort(columns[0], kind="stable")
            columns = [column[order] for column in columns]
        return cls(*columns)

    @property
    def size(self) -> int:
        """Return the number of voxels that changed."""
        return int(self.length.sum())

    def reversed(self) -> Change:
        """Return the change that takes it back."""
        return Change(self.start, self.length, self.new, self.old)

    def pieces(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
        """Yield positions, old and new values, voxel by voxel.

        A few millions at once.
        """
        for start, length, old, new in self._portions():
            before = np.cumsum(length) - length
            positions = np.repeat(start - before, length) + np.arange(int(length.sum()))
            yield positions, np.repeat(old, length), np.repeat(new, length)

    def _portions(self) -> Iterator[tuple[NDArray[np.int64], ...]]:
        """Yield groups of runs of few voxels together.

        A longer run is cut up.
        """
        counts = -(-self.length // _AT_ONCE)
        which = np.repeat(np.arange(len(counts)), counts)
        offset = (np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)) * _AT_ONCE
        start, length = self.start[which] + offset, np.minimum(self.length[which] - offset, _AT_ONCE)
        group = np.cumsum(length) // _AT_ONCE
        for rows in np.split(np.arange(len(which)), np.flatnonzero(np.diff(group)) + 1):
            if len(rows):
                yield start[rows], length[rows], self.old[which[rows]], self.new[which[rows]]

    def box(self, shape: Sequence[int]) -> Box:
        """Return the box around it in an array of `shape`.

        Empty if nothing changed.
        """
        if not len(self.start):
            return tuple((0, 0) for _ in shape)
        first = np.unravel_index(self.start, tuple(shape))
        last = np.unravel_index(self.start + self.length - 1, tuple(shape))
        wraps, spans = np.zeros(len(self.start), bool), []
        for low, high, n in zip(first, last, shape, strict=True):
            spans.append((0, int(n)) if wraps.any() else (int(low.min()), int(high.max()) + 1))
            wraps |= low != high  # such a run holds whole lines of the axes that follow
        return tuple(spans)

    def portions(
        self, shape: Sequence[int], dtype: np.dtype[Any]
    ) -> Iterator[tuple[Voxels, NDArray[Any], NDArray[Any]]]:
        """Yield voxels of an array with their old and new values.

        The array has this `shape` and `dtype`.
        """
        box = self.box(shape)
        if size_of(box) <= min(_DENSE * self.size, _AT_MOST):
            first = np.unravel_index(self.start, tuple(shape))
            within = [p - a for p, (a, _) in zip(first, box, strict=True)]
            start = np.ravel_multi_index(within, shape_of(box)) if self.size else self.start
            edges = np.zeros(size_of(box) + 1, np.int8)  # a run that wraps finds the box as wide as the array
            edges[start] += 1
            edges[start + self.length] -= 1  # of two runs each begins, and ends, where no other does
            cover = np.cumsum(edges[:-1], dtype=np.int8).view(bool)
            yield (
                Voxels(tuple(shape), box, cover),
                np.repeat(self.old.astype(dtype), self.length),
                np.repeat(self.new.astype(dtype), self.length),
            )
            return
        for positions, old, new in self.pieces():
            yield Voxels(tuple(shape), (), positions), old.astype(dtype), new.astype(dtype)

    # ---- as text -------------------------------------------------------------------------------------------------
    def encoded(self) -> str:
        """Write it as plain text.

        The four columns, starts as the gap to the end of the run before, deflated, in base 64.
        """
        ends = np.concatenate([[0], (self.start + self.length)[:-1]])
        columns = np.stack([self.start - ends[: len(self.start)], self.length, self.old, self.new])
        return base64.b64encode(zlib.compress(columns.astype("<i8").tobytes(), 1)).decode("ascii")

    @classmethod
    def decoded(cls, text: str) -> Change:
        """Read what :meth:`encoded` gave.

        Raises
        ------
        ValueError
            For any other text.
        """
        try:
            raw = zlib.decompress(base64.b64decode(text, validate=True))
        except zlib.error as error:
            raise ValueError(str(error)) from error
        gap, length, old, new = np.frombuffer(raw, "<i8").reshape(4, -1).astype(np.int64)
        return cls(np.cumsum(gap + length) - length, length, old, new)


def difference(known: PaintStore, data: Any) -> Change:
    """Return what makes `data` of `known`, both of one extent."""
    if isinstance(data, PaintStore):
        boxes: Iterable[Box] = {*known.boxes(), *(cell for box in data.boxes() for cell in known.cells(box))}
    else:
        boxes = blocks(known.shape, _slab(known.shape))
    return Change.joined(
        Change.between(known.read(box), np.ascontiguousarray(data[slices(box)]), box, known.shape)
        for box in boxes
    )


def _slab(shape: Sequence[int]) -> list[int]:
    """Choose the boxes in which an array is compared.

    Whole lines of its last axes, a few million voxels.
    """
    room, extent = _SLAB, list[int]()
    for n in reversed(shape):
        extent.insert(0, max(1, min(n, room)))
        room //= n
    return extent
