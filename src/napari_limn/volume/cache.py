"""Part of a volume kept in memory, for who reads the same place again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_limn.volume.axes import GRID, Axes
from napari_limn.volume.boxes import Box, contains, size_of, within
from napari_limn.volume.volume import Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray


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


def cached(volume: Volume, box: Box, most: int = 1 << 29) -> Volume:
    """The same volume with `box` read into memory now; as it is, if the box takes more than `most` bytes."""
    if size_of(box) * volume.channels * volume.dtype.itemsize > most:
        return volume
    return Volume(_Window(volume, box), Axes.of("C" + GRID), volume.name)
