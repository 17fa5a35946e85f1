"""How much is decoded at once for a box, and how often.

Why: a chunk, strip or tile is decoded as a whole, however small the box, and Zarr decodes many at once. Large ones are decoded
one after the other, over all threads, so that a run can say before it begins what reading takes. The blocks of a run read parts of
the same pieces one after the other; for as long as it lasts, what was decoded is kept, as far as its memory goes.
"""

from __future__ import annotations

from contextlib import contextmanager
from math import prod
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.volume.boxes import contains, size_of, slices, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_limn.volume.boxes import Box

MOST_FOR_SAMPLES = 400_000_000
"""Bytes that reading a piece may take where an image is only looked at, beside any memory limit."""

_AT_ONCE = 64_000_000  # bytes that are decoded at once, or one piece
_CONCURRENT = 10  # pieces that Zarr decodes at once
_COPIES = 3  # of a large piece: as stored or decoded, in order, and what is kept of it
_TURNS = 8  # of all kept pieces, within which one is used or of no use any more
_ONE_READER = RLock()


class _Kept:
    """Decoded pieces of one array, while runs read it."""

    def __init__(self, array: Any) -> None:
        self.array, self.runs, self.most = array, 0, 0
        self._parts: list[tuple[Box, NDArray[Any]]] = []  # the one that was used last comes last
        self._used: dict[Box, int] = {}
        self._reads = 0

    def read(self, spans: Box, piece: tuple[int, ...]) -> NDArray[Any]:
        """Read what lies in few pieces, which may be kept."""
        self._reads += 1
        there = next((each for each in self._parts if contains(each[0], spans)), None)
        box, part = there or self._decoded(spans, piece)
        self._parts = [each for each in self._parts if each[0] != box] + [(box, part)]
        self._used[box] = self._reads
        return part[within(spans, box)]

    def _decoded(self, spans: Box, piece: tuple[int, ...]) -> tuple[Box, NDArray[Any]]:
        shape = self.array.shape
        box = tuple(
            (a // p * p, min(int(n), -(-b // p) * p))
            for (a, b), p, n in zip(spans, piece, shape, strict=True)
        )
        size = size_of(box) * int(np.dtype(self.array.dtype).itemsize)
        while self._parts and size + sum(part.nbytes for _, part in self._parts) > self.most:
            self._forget_one()
        return box, np.asarray(self.array[slices(box)])

    def _forget_one(self) -> None:
        """Forget what was not used for long, else what was used last.

        A run goes over the pieces below a row of blocks again and again, and the first of them comes first again.
        """
        long = _TURNS * len(self._parts)
        box, _ = self._parts.pop(0 if self._reads - self._used[self._parts[0][0]] > long else -1)
        del self._used[box]


_KEPT: dict[int, _Kept] = {}


@contextmanager
def decoded_once(array: Any, most: int = 0) -> Iterator[None]:
    """Keep pieces that are decoded meanwhile, and decode them no more.

    Parameters
    ----------
    array
        That of a volume which does not change meanwhile.
    most
        Bytes that are kept; of large pieces at least the last one, which :func:`reading_bytes` counts.
    """
    large = [part for part in parts_of(array) if _piece(part) and (most or reading_bytes(part))]
    with _ONE_READER:
        for part in large:
            kept = _KEPT.setdefault(id(part), _Kept(part))
            kept.runs += 1
            kept.most = max(kept.most, most // len(large), reading_bytes(part) // _COPIES)
    try:
        yield
    finally:
        with _ONE_READER:
            for part in large:
                kept = _KEPT[id(part)]
                kept.runs -= 1
                if not kept.runs:
                    del _KEPT[id(part)]


def parts_of(array: Any) -> list[Any]:
    """Return the arrays that channels are read from; most often one."""
    return [part.data for part in array.parts] if hasattr(array, "parts") else [array]


def reading_bytes(array: Any) -> int:
    """Return the bytes that reading takes beside what is read.

    0 where pieces are so small that it does not count.
    """
    if hasattr(array, "parts"):
        return max(map(reading_bytes, parts_of(array)), default=0)
    piece = _piece(array)
    if piece is None or _CONCURRENT * _size(piece, array) <= _AT_ONCE:
        return 0
    return _COPIES * max(_AT_ONCE, _size(piece, array))


def bytes_of_pieces(array: Any, extent: tuple[int, ...]) -> int:
    """Return the bytes of all pieces that a part touches.

    Parameters
    ----------
    array
        As it is stored.
    extent
        Of the part along each of its axes, wherever it begins.

    Returns
    -------
    0 for an array that is not stored in pieces.
    """
    piece = _piece(array)
    if piece is None:
        return 0
    touched = [
        min(int(n), (-(-(e - 1) // p) + 1) * p) for e, p, n in zip(extent, piece, array.shape, strict=True)
    ]
    return prod(touched) * int(np.dtype(array.dtype).itemsize)


def rows_of_piece(array: Any, axis: int) -> int:
    """Return a stored piece's extent along an axis; 1 for none."""
    piece = _piece(array)
    return 1 if piece is None else piece[axis]


def read_pieces(array: Any, index: tuple[slice, ...]) -> Any:
    """Read a part of an array.

    Few pieces at a time where they are large.
    """
    piece = _piece(array)
    if piece is None or (_CONCURRENT * _size(piece, array) <= _AT_ONCE and id(array) not in _KEPT):
        return array[index]
    spans = [each.indices(int(n))[:2] for each, n in zip(index, array.shape, strict=True)]
    result = np.empty([b - a for a, b in spans], array.dtype)
    with _ONE_READER:
        _fill(array, spans, piece, result)
    return result


def _fill(array: Any, spans: list[tuple[int, int]], piece: tuple[int, ...], into: Any) -> None:
    """Read what lies in few pieces; halve what lies in more."""
    touched = [-(-b // p) - a // p for (a, b), p in zip(spans, piece, strict=True)]
    if max(touched) == 1 or prod(touched) * _size(piece, array) <= _AT_ONCE:
        kept = _KEPT.get(id(array))
        into[...] = (
            array[tuple(slice(a, b) for a, b in spans)] if kept is None else kept.read(tuple(spans), piece)
        )
        return
    axis = int(np.argmax(touched))
    first, last = spans[axis]
    middle = (first // piece[axis] + touched[axis] // 2) * piece[axis]
    for start, stop in ((first, middle), (middle, last)):
        part = [*spans[:axis], (start, stop), *spans[axis + 1 :]]
        at = (*[slice(None)] * axis, slice(start - first, stop - first))
        _fill(array, part, piece, into[at])


def _piece(array: Any) -> tuple[int, ...] | None:
    """Return the extent of a stored piece.

    None for an array in memory.

    Zarr gives one number for each axis, Dask the extents of all pieces.
    """
    chunks = getattr(array, "chunks", None)
    if not isinstance(chunks, tuple) or len(chunks) != len(array.shape) or not chunks:
        return None
    each = (max(map(int, c)) if isinstance(c, tuple) else int(c) for c in chunks)
    return tuple(max(1, n) for n in each)


def _size(piece: tuple[int, ...], array: Any) -> int:
    return prod(piece) * int(np.dtype(array.dtype).itemsize)
