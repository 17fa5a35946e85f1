"""Labels level by level, for looking at: indexing only narrows down, ``numpy.asarray`` reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.volume.axes import GRID
from napari_limn.volume.boxes import Box, shape_of, whole
from napari_limn.volume.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class LazyLabels:
    """An array of labels that is read box by box.

    Parameters
    ----------
    read
        Gives the labels (T, Z, Y, X) of a box on the TZYX grid.
    box
        What of the grid this array shows.
    names
        Its axes in their order, letters of TZYX; along the others the box is one voxel thick.
    dtype
        Type of a label.
    chunk
        Extent (T, Z, Y, X) of what is stored in one piece; a hint for how much to read at once.

    Examples
    --------
    >>> zeros = LazyLabels(lambda box: np.zeros(shape_of(box), np.uint8), whole((1, 10**6, 512, 512)), "ZYX", np.dtype("u1"))
    >>> zeros.shape, zeros[7, 100:200].shape, int(np.asarray(zeros[7, 100:200]).sum())
    ((1000000, 512, 512), (100, 512), 0)
    """

    read: Callable[[Box], NDArray[Any]]
    box: Box
    names: str
    dtype: np.dtype[Any]
    chunk: tuple[int, ...] = (1, 1, 256, 256)

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent along each axis, in voxels."""
        sizes = dict(zip(GRID, shape_of(self.box), strict=True))
        return tuple(sizes[a] for a in self.names)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.names)

    @property
    def size(self) -> int:
        """Number of voxels."""
        return prod(self.shape)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Extent of a stored piece along each axis."""
        sizes = dict(zip(GRID, self.chunk, strict=True))
        return tuple(sizes[a] for a in self.names)

    def __getitem__(self, index: Any) -> LazyLabels | NDArray[Any]:
        """A part of it, read later: for whole numbers and slices without step; anything else is read now."""
        entries = plain_entries(index, self.ndim)
        if entries is None:
            found: NDArray[Any] = np.asarray(self)[index]
            return found
        spans, names = dict(zip(GRID, self.box, strict=True)), ""
        for name, length, entry in zip(self.names, self.shape, entries, strict=True):
            start, _ = spans[name]
            if isinstance(entry, slice):
                first, stop, _ = entry.indices(length)
                spans[name] = (start + first, start + max(first, stop))
                names += name
            else:
                at = range(length)[entry]
                spans[name] = (start + at, start + at + 1)
        box = tuple(spans[a] for a in GRID)
        return LazyLabels(self.read, box, names, self.dtype, self.chunk)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read it."""
        own = [GRID.index(a) for a in self.names]
        absent = tuple(i for i in range(len(GRID)) if i not in own)
        part = self.read(self.box) if self.size else np.zeros(shape_of(self.box), self.dtype)
        order = np.argsort(np.argsort(own))
        return np.squeeze(part, axis=absent).transpose(order).astype(dtype or self.dtype, copy=False)


def lazy_levels(labels: Volume, names: str) -> tuple[LazyLabels, ...]:
    """All levels of a label volume, finest first, with their axes in the order of `names`; nothing is read."""
    found = []
    for data in (labels.data, *labels.levels):
        level = Volume(data, labels.axes, labels.name)
        sizes = dict(zip(labels.axes.names, getattr(data, "chunks", None) or data.shape, strict=True))
        chunk = tuple(sizes.get(a, 1) for a in GRID)
        read = partial(_labels_of, level)
        found.append(LazyLabels(read, whole(level.grid), names, labels.dtype, chunk))
    return tuple(found)


def _labels_of(level: Volume, box: Box) -> NDArray[Any]:
    found: NDArray[Any] = level.read(box)[0]
    return found


def plain_entries(index: Any, ndim: int) -> list[int | slice] | None:
    """One whole number or slice an axis; None where there is a step, a list, a new axis or too much.

    Examples
    --------
    >>> plain_entries((..., 3), 3)
    [slice(None, None, None), slice(None, None, None), 3]
    """
    given = list(index) if isinstance(index, tuple) else [index]
    dots = [i for i, entry in enumerate(given) if entry is Ellipsis]
    at = dots[0] if dots else len(given)
    given[at : at + 1] = (ndim - len(given) + len(dots)) * [slice(None)]
    plain = all(
        (isinstance(e, slice) and e.step in (None, 1))
        or (isinstance(e, (int, np.integer)) and not isinstance(e, bool))
        for e in given
    )
    return given if plain and len(dots) < 2 and len(given) == ndim else None
