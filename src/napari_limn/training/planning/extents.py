"""Extents of patches and of held-out pieces, on the TZYX grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_limn.errors import LimnError
from napari_limn.training.spec import PATCH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeVar

    from napari_limn.network.footprint import Footprint
    from napari_limn.network.spec import UNetSpec
    from napari_limn.volume.volume import Volume

    T = TypeVar("T")

CELL = {2: (1, 1, 64, 64), 3: (1, 8, 32, 32)}
"""Pieces that filled areas are cut into to hold some out, by the axes of the network."""

GAP = {2: (0, 1, 8, 8), 3: (0, 2, 8, 8)}
"""Width around what is held out that training does not see either, by the axes of the network."""


def patch_size(
    network: UNetSpec,
    footprints: Sequence[Footprint],
    asked: tuple[int, ...] | None,
    image: Volume,
    usual: Mapping[int, int] = PATCH,
    *,
    batch: int = 2,
) -> tuple[int, int, int, int]:
    """Choose the extent of the output of a patch.

    It is the least legal one that is not below `asked`. Where nothing is asked, `usual` gives the voxels a side by the axes
    of the network; fewer are taken along a coarse z.
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
    for least, along in zip(wanted, footprints, strict=True):
        first = along.smallest - 2 * along.shrink if along.shrink else along.step
        if network.isolates_channels or (network.norm == "batch" and batch == 1):
            # one sample at the coarsest level has no deviation to divide by
            first += along.step
        sizes.append(first + along.step * max(0, -(-(least - first) // along.step)))
    return on_tzyx(sizes, 1)


def on_tzyx(values: Sequence[T], fill: T) -> tuple[T, T, T, T]:
    """Give values of the network's axes as values on the TZYX grid."""
    t, z, y, x = (fill,) * (4 - len(values)) + tuple(values)
    return t, z, y, x
