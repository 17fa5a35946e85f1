"""Small pieces spread over a volume, read within a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.concurrency import in_parallel
from napari_limn.errors import LimnError
from napari_limn.volume.decoding.pieces import decoded_once

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_limn.volume.boxes import Box
    from napari_limn.volume.volume import Volume

_SIDE = 128  # pixels of a window along Y and X
_COUNT = 24
_TOGETHER = 4  # reads at once
_GOLDEN = 1.1673039782614187  # root of x⁵ = x + 1: the golden ratio of four axes


def sample_boxes(grid: tuple[int, ...], count: int = _COUNT, side: int = _SIDE) -> list[Box]:
    """Spread boxes of one plane evenly over a TZYX grid.

    Each has at most `side` × `side` pixels; each comes once.

    They follow the additive recurrence of Roberts (2018), whose points keep apart along every axis, however many there are.

    Examples
    --------
    >>> sample_boxes((1, 1, 100, 100))
    [((0, 1), (0, 1), (0, 100), (0, 100))]
    """
    extent = (1, 1, min(side, grid[2]), min(side, grid[3]))
    steps = _GOLDEN ** -np.arange(1.0, 5.0)
    boxes: dict[Box, None] = {}
    for number in range(count):
        places = (0.5 + number * steps) % 1
        starts = [int(p * (n - e + 1)) for p, n, e in zip(places, grid, extent, strict=True)]
        boxes[tuple((a, a + e) for a, e in zip(starts, extent, strict=True))] = None
    return list(boxes)


def sample_values(volume: Volume, count: int = _COUNT, side: int = _SIDE) -> NDArray[Any]:
    """Read the voxels (C, N) of :func:`sample_boxes`, in their own type.

    Boxes that cannot be read are left out.

    Raises
    ------
    LimnError
        If none of them can be read.
    """
    faults: list[LimnError] = []

    def tried(box: Box) -> NDArray[Any] | None:
        try:
            return volume.read(box).reshape(volume.channels, -1)
        except LimnError as error:
            faults.append(error)
            return None

    boxes = sample_boxes(volume.grid, count, side)
    with decoded_once(volume.data):
        parts = [part for part in in_parallel(tried, boxes, _TOGETHER) if part is not None]
    if not parts:
        raise faults[0]
    return np.concatenate(parts, axis=1)


def read_around(volume: Volume, boxes: list[Box]) -> list[NDArray[Any]]:
    """Read boxes of a volume, several at once.

    Each has the shape (C, T, Z, Y, X).
    """
    return list(in_parallel(volume.read, boxes, _TOGETHER))
