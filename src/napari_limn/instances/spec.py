"""How objects are made of classes, as a frozen record."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from napari_limn.errors import LimnError
from napari_limn.specs import check_fields
from napari_limn.volume.axes import CENTIMETRES, unit_name

if TYPE_CHECKING:
    from napari_limn.volume.volume import Volume

_SIZE = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*([^\W\d_²³]*)\s*\^?([23²³]?)\s*")
_COUNTED = ("", "px", "pixel", "pixels", "voxel", "voxels")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSpec:
    """How objects are made of classes.

    Parameters
    ----------
    classes
        Names or values of the classes whose objects are wanted; by default every class but the one called background, or, where none
        is, but the lowest value.
    split
        How readily objects that touch are separated, 0.4 (seldom) to 0.98 (often): at a neck thinner than that share of the thinner
        part. ``"fit"`` chooses it by objects that were painted whole; None separates only what does not touch.
    smallest
        Least size of an object: voxels as a whole number, or a text such as ``"20um2"`` or ``"300um3"``; smaller ones are dropped.
    """

    classes: tuple[int | str, ...] | None = None
    split: float | Literal["fit"] | None = 0.8
    smallest: int | str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if isinstance(self.split, float) and not 0 <= self.split <= 1:
            raise LimnError(
                f"ObjectSpec.split: found {self.split}, expected a number from 0 to 1, 'fit', or None."
            )
        if isinstance(self.smallest, int) and self.smallest < 0:
            raise LimnError(f"ObjectSpec.smallest: found {self.smallest}, expected 0 or more voxels.")


def least_voxels(smallest: int | str | None, volume: Volume) -> int:
    """Return the voxels of the smallest object.

    Parameters
    ----------
    smallest
        As of :class:`ObjectSpec`.
    volume
        Whose voxel size counts.

    Raises
    ------
    LimnError
        For a text that is no size, an area in a stack or a volume in a plane, or a length where no voxel size is known.
    """
    if smallest is None or isinstance(smallest, int):
        return smallest or 0
    ndim = 3 if volume.grid[1] > 1 else 2
    example = f"20um{ndim}"
    if not (match := _SIZE.fullmatch(smallest)) or (match[2].lower() in _COUNTED and match[3]):
        raise LimnError(
            f"found a smallest size of {smallest!r}, expected one such as {example}, or a number of voxels."
        )
    size, name, power = float(match[1]), match[2].lower(), "²³".find(match[3]) + 2 if match[3] else 0
    if name in _COUNTED:
        return math.ceil(size)
    unit, own = unit_name(name), volume.axes.units[volume.axes.names.index("X")]
    if unit not in CENTIMETRES:
        raise LimnError(
            f"found a smallest size of {smallest!r}, expected a unit such as um; say for example {example}."
        )
    power = int(match[3]) if match[3] in ("2", "3") else power
    if power != ndim:
        raise LimnError(
            f"{volume.name}: found a smallest size of {smallest!r} for an image of {ndim} dimensions, expected one such as {example}."
        )
    if own not in CENTIMETRES:
        raise LimnError(
            f"{volume.name}: found no voxel size in it, so {smallest!r} is not known in voxels; give the smallest size as a number of voxels."
        )
    z, y, x = volume.axes.spacing
    voxel = y * x * (z if ndim == 3 else 1)
    return math.ceil(size * (CENTIMETRES[unit] / CENTIMETRES[own]) ** ndim / voxel - 1e-9)
