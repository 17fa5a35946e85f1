"""A copy of the paint, taken while the user paints on.

In another thread than the one that paints.
"""

from __future__ import annotations

from collections import deque
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.volume.boxes import blocks, clipped, overlap, shape_of, shifted, size_of, slices, within

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_limn.volume.boxes import Box, TileIndex
    from napari_limn.volume.volume import ArrayLike

_SIDE = 256  # of a tile along the last two axes; one voxel along all others
_SCAN = 1 << 22  # voxels read at once where everything is looked at


class Snapshot:
    """What was painted up to the latest :meth:`take`.

    An array-like in tiles, of which only those are kept that ever held paint.

    The thread that paints calls :meth:`mark`, *after* it has painted, and :meth:`replace`; they only take a note, so
    painting never waits. The thread that trains calls :meth:`changed` and :meth:`take`, and reads. What is painted while it
    copies is marked afterwards, and so copied again next time.

    Parameters
    ----------
    data
        The array that is painted into.

    Examples
    --------
    >>> painted = np.zeros((4, 4), np.uint8)
    >>> snapshot = Snapshot(painted)
    >>> painted[1, 2] = 3
    >>> snapshot.mark(((1, 2), (2, 3)))
    >>> for _ in snapshot.take():
    ...     pass
    >>> painted[:] = 0
    >>> int(snapshot[0:4, 0:4].max()), snapshot.changed()
    (3, True)
    """

    def __init__(self, data: ArrayLike) -> None:
        self._data = data
        self.shape: tuple[int, ...] = tuple(data.shape)
        self.dtype = np.dtype(data.dtype)
        self._tiles: dict[TileIndex, NDArray[Any]] = {}
        self._taken: ArrayLike | None = None  # what the tiles were copied from
        self._marks: deque[Box] = deque()  # noted by the thread that paints
        self._dirty: list[Box] = []  # taken from there, and not yet copied

    # ---- where the user paints -----------------------------------------------------------------------------------
    def mark(self, box: Box) -> None:
        """Note that something may have changed in a box.

        In the array's own axes; it may leave the array.
        """
        self._marks.append(box)

    def replace(self, data: ArrayLike) -> None:
        """Go on with another array."""
        self._data = data

    # ---- where the model is trained ------------------------------------------------------------------------------
    def changed(self) -> bool:
        """Return whether the paint has changed since the latest :meth:`take`.

        Where it was marked, or where there ever was some.

        The latter notices what is not marked, such as undo.
        """
        data = self._data
        if data is not self._taken:
            return True
        while self._marks:
            self._dirty.append(self._marks.popleft())
        self._dirty = [
            box for box in self._dirty if any(self._is_other(data, place) for place in self._places(box))
        ]
        return bool(self._dirty) or any(self._is_other(data, place) for place in self._tiles)

    def take(self) -> Iterator[None]:
        """Copy what changed, and pause between pieces.

        So its caller can break it off.

        What was not reached is copied next time.
        """
        data = self._data
        while self._marks:
            self._dirty.append(self._marks.popleft())
        if data is not self._taken:
            yield from self._take_all(data)
            return
        boxes, self._dirty = self._dirty, []
        try:
            yield from self._take_boxes(data, boxes)
            boxes = []
        finally:
            self._dirty += boxes  # it was broken off
        for place in list(self._tiles):
            self._copy(place, _read(data, self._box(place)))

    def __getitem__(self, index: Sequence[slice]) -> NDArray[Any]:
        box = tuple((start, stop) for start, stop, _ in map(slice.indices, index, self.shape))
        part = np.zeros(shape_of(box), self.dtype)
        for place in self._known(box):
            own = self._box(place)
            if size_of(shared := overlap(own, box)):
                origins = ([start for start, _ in each] for each in (box, own))
                to, from_ = (slices(shifted(shared, origin)) for origin in origins)
                part[to] = self._tiles[place][from_]
        return part

    def boxes(self) -> list[Box]:
        """Return disjoint boxes outside of which there is no paint.

        In the array's own axes.
        """
        return [self._box(place) for place in sorted(self._tiles)]

    def _take_all(self, data: ArrayLike) -> Iterator[None]:
        self._taken = None
        self.shape, self.dtype, self._tiles = tuple(data.shape), np.dtype(data.dtype), {}
        boxes = getattr(data, "boxes", None)  # of an array that knows where there may be paint
        yield from self._search(data) if boxes is None else self._take_boxes(data, boxes())
        self._taken, self._dirty = data, []

    def _take_boxes(self, data: ArrayLike, boxes: Sequence[Box]) -> Iterator[None]:
        """Copy every tile that shares voxels with the boxes, once."""
        for place in dict.fromkeys(place for box in boxes for place in self._places(box)):
            self._copy(place, _read(data, self._box(place)))
            yield

    def _search(self, data: ArrayLike) -> Iterator[None]:
        """Read everything, and copy the tiles that hold paint."""
        for piece in blocks(self.shape, _piece(self.shape)):
            part = _read(data, piece)
            if part.any():
                for place in self._places(piece):
                    self._copy(place, part[within(self._box(place), piece)])
            yield

    def _copy(self, place: TileIndex, part: NDArray[Any]) -> None:
        known = self._tiles.get(place)
        if (known is None and part.any()) or (known is not None and not np.array_equal(known, part)):
            self._tiles[place] = part.copy()

    def _is_other(self, data: ArrayLike, place: TileIndex) -> bool:
        known, part = self._tiles.get(place), _read(data, self._box(place))
        return bool(part.any()) if known is None else not np.array_equal(known, part)

    # ---- geometry ------------------------------------------------------------------------------------------------
    def _places(self, box: Box) -> Iterator[TileIndex]:
        """Yield the tiles that share voxels with a box."""
        inside = clipped(box, self.shape)
        sides = _tile(len(self.shape))
        return product(
            *(range(a // n, -(-b // n) if b > a else a // n) for (a, b), n in zip(inside, sides, strict=True))
        )

    def _known(self, box: Box) -> list[TileIndex]:
        """List tiles with paint that may share voxels with a box.

        Perhaps others too: the fewer of what there is and what fits.
        """
        inside = clipped(box, self.shape)
        fitting = prod(-(-b // n) - a // n for (a, b), n in zip(inside, _tile(len(self.shape)), strict=True))
        if fitting < len(self._tiles):
            return [place for place in self._places(box) if place in self._tiles]
        return list(self._tiles)

    def _box(self, place: TileIndex) -> Box:
        sides = zip(place, _tile(len(place)), strict=True)
        return clipped(tuple((i * n, (i + 1) * n) for i, n in sides), self.shape)


def _read(data: ArrayLike, box: Box) -> NDArray[Any]:
    return np.asarray(data[slices(box)])


def _tile(ndim: int) -> tuple[int, ...]:
    return (1,) * (ndim - 2) + (_SIDE,) * 2


def _piece(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Choose a piece of about :data:`_SCAN` voxels at most.

    Made of whole tiles.
    """
    rows = max(1, _SCAN // (shape[-1] * _SIDE)) * _SIDE
    planes = max(1, _SCAN // prod(shape[-2:])) if len(shape) > 2 else 1
    return ((1,) * (len(shape) - 3) + (planes, rows, shape[-1]))[-len(shape) :]
