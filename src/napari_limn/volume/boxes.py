"""Boxes on the TZYX grid: half-open intervals, one an axis."""

from __future__ import annotations

import itertools
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Box = tuple[tuple[int, int], ...]
"""One ``(start, stop)`` an axis, in voxels; on the grid these are T, Z, Y, X."""

Grid = tuple[int, int, int, int]
"""Four whole numbers of the TZYX grid: an extent, a step, or a position."""

TileIndex = tuple[int, ...]
"""Which tile it is, counted along each axis."""


def whole(shape: Sequence[int]) -> Box:
    """Return the box that holds everything of `shape`."""
    return tuple((0, n) for n in shape)


def shape_of(box: Box) -> tuple[int, ...]:
    """Return the extent along each axis."""
    return tuple(stop - start for start, stop in box)


def size_of(box: Box) -> int:
    """Count the voxels of a box."""
    return prod(shape_of(box))


def grown(box: Box, margin: Sequence[int]) -> Box:
    """Grow a box by `margin` voxels on both sides of each axis.

    It may leave the volume.
    """
    return tuple((start - m, stop + m) for (start, stop), m in zip(box, margin, strict=True))


def clipped(box: Box, shape: Sequence[int]) -> Box:
    """Return the part of a box inside a volume of `shape`.

    An axis without overlap becomes empty.
    """
    return tuple(
        (min(max(a, 0), n), max(min(b, n), min(max(a, 0), n))) for (a, b), n in zip(box, shape, strict=True)
    )


def shifted(box: Box, origin: Sequence[int]) -> Box:
    """Return the box in coordinates that count from `origin`."""
    return tuple((start - o, stop - o) for (start, stop), o in zip(box, origin, strict=True))


def slices(box: Box) -> tuple[slice, ...]:
    """Return the box as an index."""
    return tuple(slice(start, stop) for start, stop in box)


def within(inner: Box, outer: Box) -> tuple[slice, ...]:
    """Return a box as an index into an array that holds `outer`.

    Examples
    --------
    >>> within(((3, 5), (2, 4)), ((3, 8), (0, 4)))
    (slice(0, 2, None), slice(2, 4, None))
    """
    return slices(shifted(inner, [start for start, _ in outer]))


def overlap(one: Box, other: Box) -> Box:
    """Return what two boxes share; an axis without overlap becomes empty.

    Examples
    --------
    >>> overlap(((0, 5), (2, 9)), ((3, 8), (0, 4)))
    ((3, 5), (2, 4))
    """
    return tuple((max(a, c), max(min(b, d), a, c)) for (a, b), (c, d) in zip(one, other, strict=True))


def contains(outer: Box, inner: Box) -> bool:
    """Return whether `inner` lies in `outer` completely."""
    return all(a <= c <= d <= b for (a, b), (c, d) in zip(outer, inner, strict=True))


def blocks(shape: Sequence[int], block: Sequence[int]) -> Iterator[Box]:
    """Cut `shape` into boxes of at most `block` voxels an axis.

    They cover it once, the last axis fastest.

    Examples
    --------
    >>> list(blocks((5,), (2,)))
    [((0, 2),), ((2, 4),), ((4, 5),)]
    """
    starts = [range(0, n, b) for n, b in zip(shape, block, strict=True)]
    for origin in itertools.product(*starts):
        yield tuple((o, min(o + b, n)) for o, b, n in zip(origin, block, shape, strict=True))


def count_blocks(shape: Sequence[int], block: Sequence[int]) -> int:
    """Count the boxes that :func:`blocks` gives."""
    return prod(-(-n // b) for n, b in zip(shape, block, strict=True))
