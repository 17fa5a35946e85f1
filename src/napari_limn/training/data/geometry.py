"""Extents of patches and windows on the TZYX grid, as a network needs them."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from napari_limn.errors import LimnError
from napari_limn.network.graph import footprint
from napari_limn.training.spec import PATCH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_limn.network.spec import UNetSpec
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.volume import Volume


def patch_size(
    network: UNetSpec,
    asked: tuple[int, ...] | None,
    image: Volume,
    usual: Mapping[int, int] = PATCH,
    *,
    batch: int = 2,
) -> tuple[int, int, int, int]:
    """Extent (T, Z, Y, X) of the output of a patch: the least that the network allows and that is not below `asked`.

    Where nothing is asked, `usual` tells the voxels a side by the axes of the network; fewer are taken along a coarse z.
    """
    if asked is not None and len(asked) != network.ndim:
        raise LimnError(
            f"TrainSpec.patch: found {asked}, expected {network.ndim} extents for a {network.ndim}D network."
        )
    wanted = asked or (usual[2],) * 2
    if network.ndim == 3 and asked is None:
        z, y, x = image.axes.spacing
        wanted = (min(image.grid[1], round(usual[3] * min(y, x) / z)), usual[3], usual[3])
    sizes = []
    for least, foot in zip(wanted, footprint(network), strict=True):
        first = foot.smallest - 2 * foot.shrink if foot.shrink else foot.step
        if network.norm == "instance" or (network.norm == "batch" and batch == 1):
            # one sample at the coarsest level has no deviation to divide by
            first += foot.step
        sizes.append(first + foot.step * max(0, -(-(least - first) // foot.step)))
    t, z, y, x = on_grid(sizes, 1)
    return t, z, y, x


def on_grid(values: Sequence[int], fill: int) -> tuple[int, ...]:
    """Values of the network's axes as values on the TZYX grid."""
    return (fill,) * (4 - len(values)) + tuple(values)


def around(box: Box, size: tuple[int, ...], steps: tuple[int, ...]) -> Box:
    """A box of `size`, or as many `steps` larger as it takes, with `box` in its middle."""
    found = []
    for (start, stop), n, step in zip(box, size, steps, strict=True):
        extent = n + step * max(0, ceil((stop - start - n) / step))
        first = (start + stop - extent) // 2
        found.append((first, first + extent))
    return tuple(found)
