"""How much is decoded at once for a box.

Why: a chunk, strip or tile is decoded as a whole, however small the box, and Zarr decodes many at once. Large ones are decoded
one after the other, over all threads, so that a run can say before it begins what reading takes.
"""

from __future__ import annotations

from math import prod
from threading import RLock
from typing import Any

import numpy as np

_AT_ONCE = 64_000_000  # bytes that are decoded at once, or one piece
_CONCURRENT = 10  # pieces that Zarr decodes at once
_COPIES = 3  # of a large piece: as stored or decoded, in order, and what is kept of it
_ONE_READER = RLock()


def reading_bytes(array: Any) -> int:
    """Return the bytes that reading takes beside what is read.

    0 where pieces are so small that it does not count.
    """
    if (parts := getattr(array, "parts", None)) is not None:
        return max((reading_bytes(part.data) for part in parts), default=0)
    piece = _piece(array)
    if piece is None or _CONCURRENT * _size(piece, array) <= _AT_ONCE:
        return 0
    return _COPIES * max(_AT_ONCE, _size(piece, array))


def rows_of_piece(array: Any, axis: int) -> int:
    """Return a stored piece's extent along an axis; 1 for none."""
    piece = _piece(array)
    return 1 if piece is None else piece[axis]


def read_pieces(array: Any, index: tuple[slice, ...]) -> Any:
    """Read a part of an array.

    Few pieces at a time where they are large.
    """
    piece = _piece(array)
    if piece is None or _CONCURRENT * _size(piece, array) <= _AT_ONCE:
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
        into[...] = array[tuple(slice(a, b) for a, b in spans)]
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
