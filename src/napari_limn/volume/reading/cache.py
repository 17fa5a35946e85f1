"""A part of a volume in memory, to be read repeatedly."""

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
    """An array of which one box is in memory.

    Of shape (C, T, Z, Y, X); outside of `box` the volume is read.
    """

    def __init__(self, volume: Volume, box: Box) -> None:
        self.shape, self.dtype = (volume.channels, *volume.grid), volume.dtype
        self._volume, self._box = volume, box
        self._kept = volume.read(box).copy()  # the user may go on painting

    def __getitem__(self, index: tuple[slice, ...]) -> NDArray[Any]:
        box = tuple((s.start, s.stop) for s in index[1:])
        if not contains(self._box, box):
            return self._volume.read(box)
        return self._kept[(slice(None), *within(box, self._box))]


def cached_all(volumes: Sequence[Volume], boxes: Sequence[Box | None]) -> list[Volume]:
    """Read the box of each volume into memory.

    Only of the first ones, if they take too much together; a volume without a box stays as it is.
    """
    all_kept, left = list[Volume](), _TOGETHER
    for volume, box in zip(volumes, boxes, strict=True):
        kept = volume if box is None else cached(volume, box, min(_EACH, left))
        if kept is not volume and box is not None:
            left -= _bytes(volume, box)
        all_kept.append(kept)
    return all_kept


def cached(volume: Volume, box: Box, most: int = _EACH) -> Volume:
    """Read `box` of a volume into memory now.

    The volume stays as it is if the box takes more than `most` bytes.
    """
    if _bytes(volume, box) > most:
        return volume
    return Volume(_Window(volume, box), Axes.of("C" + GRID), volume.name)


def _bytes(volume: Volume, box: Box) -> int:
    return size_of(box) * volume.channels * volume.dtype.itemsize
