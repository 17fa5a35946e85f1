"""The connected region around a point of a plane of labels.

Of bounded size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import label

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

REACH = 256
"""Voxels to each side of the point that are looked at; one click shall not paint a whole section."""


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Voxels of one value that hang together.

    Parameters
    ----------
    value
        Their label.
    rows, columns
        Where they lie in the plane, one entry a voxel.
    cut
        Whether the region goes on beyond the part that was looked at.
    """

    value: int
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    cut: bool


def region_at(
    read: Callable[[slice, slice], NDArray[Any]],
    extent: tuple[int, int],
    point: tuple[int, int],
    reach: int = REACH,
    view: tuple[tuple[int, int], ...] | None = None,
) -> Region | None:
    """Find the voxels that share the label of a point.

    Those that hang together with it, side by side.

    Parameters
    ----------
    read
        Gives the labels (Y, X) of a part of the plane.
    extent
        Size (Y, X) of the plane.
    point
        Row and column.
    reach
        How far to look, in voxels.
    view
        Rows and columns, ``(start, stop)``, to stay within; None for the whole plane.

    Returns
    -------
    None if the point lies outside the plane, or the view.

    Examples
    --------
    >>> plane = np.array([[2, 2, 0], [1, 2, 2]])
    >>> found = region_at(lambda y, x: plane[y, x], (2, 3), (0, 0))
    >>> found.value, found.rows.tolist(), found.columns.tolist(), found.cut
    (2, [0, 0, 1, 1], [0, 1, 1, 2], False)
    """
    spans = [
        (max(0, low, at - reach), min(size, high, at + reach + 1))
        for at, size, (low, high) in zip(point, extent, view or tuple((0, n) for n in extent), strict=True)
    ]
    if not all(low <= at < high for at, (low, high) in zip(point, spans, strict=True)):
        return None
    window = np.asarray(read(*(slice(*span) for span in spans)))
    inner = tuple(at - low for at, (low, _) in zip(point, spans, strict=True))
    parts, _ = label(window == window[inner])
    mask = parts == parts[inner]
    rows, columns = np.nonzero(mask)
    cut = any(
        bool(side.any())
        for axis, ((low, high), size) in enumerate(zip(spans, extent, strict=True))
        for side, whole in ((mask.take(0, axis), low == 0), (mask.take(-1, axis), high == size))
        if not whole
    )
    return Region(int(window[inner]), rows + spans[0][0], columns + spans[1][0], cut)
