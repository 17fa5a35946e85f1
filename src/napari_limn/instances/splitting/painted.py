"""Objects that were painted whole, to fit a split to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.errors import LimnError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_limn.instances.blocks import BlockGrid
    from napari_limn.volume.volume import Volume

FEWEST = 3
"""Objects painted whole that a fit needs, at least."""


def whole_objects(painted: Volume, grid: BlockGrid) -> NDArray[Any]:
    """Return the values of objects that were painted whole.

    Raises
    ------
    LimnError
        If there are too few.
    """
    parts = [np.unique(painted.read(grid.box(number))) for number in range(grid.count)]
    values: NDArray[Any] = np.unique(np.concatenate(parts))
    values = values[values != 0]
    if len(values) < FEWEST:
        raise LimnError(
            f"{painted.name}: found {len(values)} painted objects, expected {FEWEST} or more, each whole and with a value of "
            "its own; paint more, or give a number for the split."
        )
    return values


def add_overlaps(
    overlaps: NDArray[np.int64], regions: NDArray[Any], painted: NDArray[Any], values: NDArray[Any]
) -> None:
    """Count the voxels that basins share with painted objects, in a block.

    Parameters
    ----------
    overlaps
        What is counted so far (basins, objects).
    regions, painted
        Basin and paint at each voxel.
    values
        Of the objects, sorted.
    """
    there = np.isin(painted, values)
    np.add.at(overlaps, (regions[there], np.searchsorted(values, painted[there])), 1)
