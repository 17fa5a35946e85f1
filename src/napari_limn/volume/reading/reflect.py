"""Reading beyond the border of a volume, which is reflected there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.volume.boxes import contains, whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_limn.volume.boxes import Box
    from napari_limn.volume.volume import Volume


def read_reflected(volume: Volume, box: Box) -> NDArray[Any]:
    """Read a box that may leave the volume, reflected at the border.

    As in the U-Net paper (arXiv:1505.04597, fig. 2).

    The border voxel itself is not repeated; boxes larger than the volume swing back and forth.

    Returns
    -------
    array of shape (C, T, Z, Y, X)

    Examples
    --------
    >>> from napari_limn.volume.volume import Volume
    >>> row = Volume.of(np.arange(4).reshape(1, 4))
    >>> read_reflected(row, ((0, 1), (0, 1), (0, 1), (-2, 6))).ravel().tolist()
    [2, 1, 0, 1, 2, 3, 2, 1]
    """
    if contains(whole(volume.grid), box):
        return volume.read(box)
    places = [reflected(start, stop, n) for (start, stop), n in zip(box, volume.grid, strict=True)]
    part = volume.read(tuple((int(p.min()), int(p.max()) + 1) for p in places))
    for axis, place in enumerate(places, start=1):
        first = int(place.min())
        if not np.array_equal(place, np.arange(first, first + len(place))):
            part = part.take(place - first, axis)
    return part


def reflected(start: int, stop: int, size: int) -> NDArray[np.intp]:
    """Return positions inside `size`, reflected at its ends.

    They stand for `start` … `stop` − 1.
    """
    period = max(1, 2 * (size - 1))
    place = np.arange(start, stop) % period
    return np.where(place < size, place, period - place)
