"""Part of a volume kept in memory, for who reads the same place again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_limn.volume.axes import GRID, Axes
from napari_limn.volume.boxes import Box, contains, size_of, within
from napari_limn.volume.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


_EACH, _TOGETHER = 1 << 29, 1 << 31  # bytes that are kept of one volume, and of several


class _Window:
    """Array-like of shape (C, T, Z, Y, X): inside `box` from memory, elsewhere from the volume."""

    def __init__(self, volume: Volume, box: Box) -> None:
        self.shape, self.dtype = (volume.channels, *volume.grid), volume.dtype
        self._volume, self._box = volume, box
        self._kept = volume.read(box).copy()  # the person may go on painting

    def __getitem__(self, index: tuple[slice, ...]) -> NDArray[Any]:
        box = tuple((s.start, s.stop) for s in index[1:])
        if not contains(self._box, box):
            return self._volume.read(box)
        return self._kept[(slice(None), *within(box, self._box))]


def cached_all(volumes: Sequence[Volume], boxes: Sequence[Box | None]) -> list[Volume]:
    """Each volume with its box in memory, the first ones if they take too much together; without a box as it is."""
    found, left = list[Volume](), _TOGETHER
    for volume, box in zip(volumes, boxes, strict=True):
        kept = volume if box is None else cached(volume, box, min(_EACH, left))
        if kept is not volume and box is not None:
            left -= _bytes(volume, box)
        found.append(kept)
    return found


def cached(volume: Volume, box: Box, most: int = _EACH) -> Volume:
    """The same volume with `box` read into memory now; as it is, if the box takes more than `most` bytes."""
    if _bytes(volume, box) > most:
        return volume
    return Volume(_Window(volume, box), Axes.of("C" + GRID), volume.name)


def _bytes(volume: Volume, box: Box) -> int:
    return size_of(box) * volume.channels * volume.dtype.itemsize
