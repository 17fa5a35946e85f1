"""Where voxels lie, and how far two grids are apart.

Why: strokes and channels count voxel by voxel, and a user sees them where their layers lie. Scale and origin alone cannot say that of
a layer that was turned, mirrored or sheared, so corners are compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from napari_limn.volume.axes import CENTIMETRES, Axes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

NEAR = 0.5
"""Voxels by which two grids may lie apart: a stroke still covers most of the voxel that it trains."""

_ROUNDED = 1e-3  # of the extent: files round voxel sizes


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where voxels lie: matrix × index + offset.

    Parameters
    ----------
    names
        Axes of the grid and of the world, without channels.
    units
        Of each axis of the world.
    matrix, offset
        From the index of a voxel to the world.
    shown
        Whether a user sees it there; that of a file without sizes says nothing.
    """

    names: str
    units: tuple[str, ...]
    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]
    shown: bool = False

    @classmethod
    def of(cls, axes: Axes) -> Placement:
        """Place voxels by scale and origin."""
        own = axes.without("C")
        return cls(own.names, own.units, np.diag(own.scale).astype(float), np.array(own.translate, float))

    @classmethod
    def seen(
        cls, names: str, units: tuple[str, ...], place: Callable[[Sequence[float]], Sequence[float]]
    ) -> Placement:
        """Place voxels where `place`, an affine function of an index, shows them."""
        origin = np.array(place([0.0] * len(names)), float)
        columns = [np.array(place(list(step)), float) - origin for step in np.eye(len(names))]
        keep = [i for i, name in enumerate(names) if name != "C"]
        matrix = np.column_stack(columns)[np.ix_(keep, keep)]
        own = "".join(names[i] for i in keep)
        return cls(own, tuple(units[i] for i in keep), matrix, origin[keep], shown=True)

    @property
    def says_nothing(self) -> bool:
        """Return whether it is that of a file without sizes."""
        plain = np.array_equal(self.matrix, np.eye(len(self.names))) and set(self.units) <= {"pixel"}
        return plain and not self.shown

    @property
    def is_plain(self) -> bool:
        """Return whether scale and origin say it all."""
        return bool((np.diag(np.diag(self.matrix)) == self.matrix).all() and (np.diag(self.matrix) > 0).all())

    def along(self, names: str) -> Placement:
        """Give the same placement with some axes, in another order."""
        order = [self.names.index(name) for name in names]
        units = tuple(self.units[i] for i in order)
        return Placement(names, units, self.matrix[np.ix_(order, order)], self.offset[order], self.shown)

    def with_names(self, names: str) -> Placement:
        """Give the same placement with other names, one by one."""
        return Placement(names, self.units, self.matrix, self.offset, self.shown)


def distance(ours: Placement, theirs: Placement, shape: Sequence[int]) -> float:
    """Return how far the corners of two grids lie apart.

    In voxels of theirs; what the rounding of voxel sizes in files explains is not counted.

    Parameters
    ----------
    ours, theirs
        With the same number of axes, one by one; `ours` may name its axes in another order.
    shape
        Voxels along the axes of `theirs`.

    Examples
    --------
    >>> one, other = Placement.of(Axes.of("YX")), Placement.of(Axes.of("YX", translate=(0.0, 3.0)))
    >>> round(distance(one, other, (50, 60)), 2)  # of files: a thousandth of 60 may be rounding
    2.94
    """
    world = (
        [ours.names.index(a) for a in theirs.names] if set(ours.names) == set(theirs.names) else slice(None)
    )
    corners = np.array(list(product(*((-0.5, n - 0.5) for n in shape)))).reshape(-1, len(shape)).T
    if not all(np.isfinite(part).all() for at in (ours, theirs) for part in (at.matrix, at.offset)):
        return float("inf")
    unit = np.array([_ratio(o, t) for o, t in zip(np.array(ours.units)[world], theirs.units, strict=True)])
    own = (ours.matrix @ corners + ours.offset[:, None])[world] * unit[:, None]
    apart = own - (theirs.matrix @ corners + theirs.offset[:, None])
    voxels = np.abs(np.linalg.lstsq(theirs.matrix, apart, rcond=None)[0]).max(axis=1, initial=0)
    slack = 0.0 if ours.shown or theirs.shown else _ROUNDED
    return float(np.maximum(voxels - slack * np.array(shape), 0).max(initial=0))


def _ratio(ours: str, theirs: str) -> float:
    """Return what a unit is in another; 1 where one is unknown."""
    if ours == theirs or not {ours, theirs} <= set(CENTIMETRES):
        return 1.0
    return CENTIMETRES[ours] / CENTIMETRES[theirs]
