"""Where two label volumes of one image disagree."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.errors import LimnError
from napari_limn.volume.axes import GRID, Axes
from napari_limn.volume.boxes import size_of, whole
from napari_limn.volume.reading.lazy import LazyLabels
from napari_limn.volume.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_limn.volume.boxes import Box

AT_ONCE = 4 << 20
"""Voxels that are compared at most while the window waits."""

_THIN = 512  # rows that are read at a time: as many as a stored piece usually has


@dataclass(frozen=True, slots=True)
class Disagreement:
    """How much two label volumes differ in a box.

    Parameters
    ----------
    differing, compared
        Voxels; those that one of the two has not computed yet are not compared.
    """

    differing: int
    compared: int

    @property
    def share(self) -> float:
        """Give the share of the compared voxels that differ, 0–1."""
        return self.differing / self.compared if self.compared else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two label volumes of one image, level by level.

    Parameters
    ----------
    first, second
        Arrays of the same shapes, the finest level first.
    names
        Axes of the arrays, letters of TZYX.
    zero
        What a 0 of `second` becomes in the difference: a value that neither of them has, where 0 is a class; 0 where it means
        “not computed”.

    Examples
    --------
    >>> pair = Pair([np.array([[1, 2], [0, 2]])], [np.array([[1, 1], [2, 2]])], "YX")
    >>> np.asarray(pair.difference()[0])
    array([[0, 1],
           [0, 0]])
    >>> pair.count(((0, 1), (0, 1), (0, 2), (0, 2)))
    Disagreement(differing=1, compared=3)
    """

    first: Sequence[Any]
    second: Sequence[Any]
    names: str
    zero: int = 0

    def __post_init__(self) -> None:
        shapes = [
            [tuple(int(n) for n in level.shape) for level in levels] for levels in (self.first, self.second)
        ]
        if shapes[0][0] != shapes[1][0]:
            raise LimnError(
                f"found labels of size {shapes[0][0]} and {shapes[1][0]}, expected two predictions of one image; "
                "choose others."
            )
        same = next((i for i, pair in enumerate(zip(*shapes, strict=False)) if pair[0] != pair[1]), None)
        both = min(len(shapes[0]), len(shapes[1])) if same is None else same
        object.__setattr__(self, "first", tuple(self.first[:both]))
        object.__setattr__(self, "second", tuple(self.second[:both]))

    @property
    def levels(self) -> int:
        """Count the levels that both have."""
        return len(self.first)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Give the smallest type that holds all values.

        Namely the labels of both, and the value for a 0.
        """
        dtypes = [np.dtype(level.dtype) for level in (self.first[0], self.second[0])]
        smallest: np.dtype[Any] = np.result_type(*dtypes, np.min_scalar_type(self.zero))
        return smallest

    def grid(self, level: int = 0) -> tuple[int, int, int, int]:
        """Give the extent (T, Z, Y, X) of a level."""
        return self._volumes(level)[0].grid

    def difference(self) -> tuple[LazyLabels, ...]:
        """Show labels of the second where they differ.

        It is 0 elsewhere; nothing is read.
        """
        levels = []
        for level in range(self.levels):
            chunks = getattr(self.second[level], "chunks", None) or ()
            plain = len(chunks) == len(self.names) and all(isinstance(n, int) for n in chunks)
            sizes = dict(zip(self.names, chunks, strict=True)) if plain else {"Y": 256, "X": 256}
            chunk = tuple(sizes.get(a, 1) for a in GRID)
            read = partial(self._differing, level)
            levels.append(LazyLabels(read, whole(self.grid(level)), self.names, self.dtype, chunk))
        return tuple(levels)

    def count(self, box: Box, level: int = 0) -> Disagreement:
        """Count voxels that differ in a box of a level.

        The box is on the TZYX grid of the level; rows are read a few at a time.
        """
        differing = compared = 0
        (top, bottom) = box[2]
        for row in range(top, bottom, _THIN):
            part = (*box[:2], (row, min(bottom, row + _THIN)), box[3])
            first, second = self._read(level, part)
            there = self._computed(first, second)
            differing += int(np.count_nonzero((first != second) & there))
            compared += int(np.count_nonzero(there))
        return Disagreement(differing, compared)

    def _differing(self, level: int, box: Box) -> NDArray[Any]:
        first, second = self._read(level, box)
        shown = second.astype(self.dtype)
        shown[second == 0] = self.zero
        shown[(first == second) | ~self._computed(first, second)] = 0
        return shown

    def _computed(self, first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.bool_]:
        """Find voxels that both have computed.

        Where 0 is no class, those that are not 0.
        """
        there: NDArray[np.bool_] = np.ones(first.shape, bool) if self.zero else (first != 0) & (second != 0)
        return there

    def _read(self, level: int, box: Box) -> tuple[NDArray[Any], NDArray[Any]]:
        first, second = self._volumes(level)
        return first.read(box)[0], second.read(box)[0]

    def _volumes(self, level: int) -> tuple[Volume, Volume]:
        axes = Axes.of(self.names)
        return Volume(self.first[level], axes, "first"), Volume(self.second[level], axes, "second")


def plane_in_sight(pair: Pair, plane: Box, view: Box) -> tuple[Box, int, bool]:
    """Choose what to compare while the window waits.

    Parameters
    ----------
    pair
        What is compared.
    plane, view
        The visible slice and what of it is on the canvas, on the finest TZYX grid.

    Returns
    -------
    box
        On the grid of the level.
    level
        0 unless only a coarser level of the whole plane is small enough.
    whole
        Whether the box is the whole plane; otherwise it is the middle of the view.
    """
    for level in range(pair.levels):
        box = _coarser(plane, pair.grid(), pair.grid(level))
        if size_of(box) <= AT_ONCE:
            return box, level, True
    side = int(AT_ONCE**0.5)
    middle = tuple(_middle(span, side) for span in view)
    return middle, 0, False


def _middle(span: tuple[int, int], most: int) -> tuple[int, int]:
    low, high = span
    start = low + max(0, high - low - most) // 2
    return start, start + min(most, high - low)


def _coarser(box: Box, fine: tuple[int, ...], coarse: tuple[int, ...]) -> Box:
    """Give a box on a coarser grid; never empty."""
    spans = []
    for (low, high), a, b in zip(box, fine, coarse, strict=True):
        start = min(low * b // a, b - 1)
        spans.append((start, max(start + 1, min(b, -(-high * b // a)))))
    return tuple(spans)
