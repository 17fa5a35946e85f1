"""Pieces of a stroke, and boxes in which it is looked at."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.volume.boxes import Box, overlap, shape_of, shifted, size_of, slices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_CELL = 256  # voxels along the sides of the pieces that a wide stroke is looked at in
_DENSE = 8  # times as many voxels as were painted may lie in a box that is looked at as a whole


@dataclass(frozen=True, slots=True, eq=False)
class StrokePiece:
    """A piece of a stroke.

    Parameters
    ----------
    box
        Where it lies.
    mask
        Which voxels of the box were painted; None for all.
    values
        Their new value: one, or as many as there are.
    """

    box: Box
    mask: NDArray[np.bool_] | None
    values: Any

    @classmethod
    def at(cls, places: Sequence[NDArray[Any]], values: Any) -> list[StrokePiece]:
        """Make pieces from an array of places for each axis.

        And their value, one or as many; of a place named twice the last counts.
        """
        spread = np.broadcast_to(np.asarray(values), places[0].shape)
        cells = np.stack([p // s for p, s in zip(places, _sides(len(places)), strict=True)], axis=1)
        _, which = np.unique(cells, axis=0, return_inverse=True)
        order = np.argsort(which.ravel(), kind="stable")
        cuts = np.flatnonzero(np.diff(which.ravel()[order])) + 1
        return [cls._of_cell([p[g] for p in places], spread[g]) for g in np.split(order, cuts) if len(g)]

    @classmethod
    def _of_cell(cls, places: list[NDArray[Any]], values: NDArray[Any]) -> StrokePiece:
        box = tuple((int(p.min()), int(p.max()) + 1) for p in places)
        within = tuple(p - a for p, (a, _) in zip(places, box, strict=True))
        mask, spread = np.zeros(shape_of(box), bool), np.zeros(shape_of(box), values.dtype)
        mask[within], spread[within] = True, values
        return cls(box, mask, spread[mask])

    def write(self, labels: NDArray[Any], origin: Sequence[int]) -> None:
        """Write it into an array of labels that begins at `origin`."""
        part = labels[slices(shifted(self.box, origin))]
        part[... if self.mask is None else self.mask] = self.values


def cells_around(boxes: Sequence[Box]) -> list[Box]:
    """Cover boxes by disjoint ones.

    Their hull, or where that is mostly empty, the parts of it that are not.
    """
    hull = tuple((min(a for a, _ in spans), max(b for _, b in spans)) for spans in zip(*boxes, strict=True))
    if size_of(hull) <= max(_DENSE * sum(map(size_of, boxes)), _CELL**2):
        return [hull]
    sides, keys = _sides(len(hull)), set[tuple[int, ...]]()
    for box in boxes:
        ranges = [range(a // s, -(-b // s)) for (a, b), s in zip(box, sides, strict=True)]
        keys.update(itertools.product(*ranges))
    cells = (tuple((k * s, k * s + s) for k, s in zip(key, sides, strict=True)) for key in sorted(keys))
    return [overlap(cell, hull) for cell in cells]


def _sides(ndim: int) -> list[int]:
    """Return the extent of such a part: a square of two axes.

    Those are the last two.
    """
    return [_CELL if i >= ndim - 2 else 1 for i in range(ndim)]
