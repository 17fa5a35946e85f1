"""Labels level by level: indexing narrows down, ``numpy.asarray`` reads.

Why: napari cuts the tile out of a level first and takes the slice after that. An array that reads at once
would read the whole stack, and dask would read whole chunks.
"""

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
        """Return the extent along each axis, in voxels."""
        sizes = dict(zip(GRID, shape_of(self.box), strict=True))
        return tuple(sizes[a] for a in self.names)

    @property
    def ndim(self) -> int:
        """Return the number of axes."""
        return len(self.names)

    @property
    def size(self) -> int:
        """Return the number of voxels."""
        return prod(self.shape)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Return the extent of a stored piece along each axis."""
        sizes = dict(zip(GRID, self.chunk, strict=True))
        return tuple(sizes[a] for a in self.names)

    def __getitem__(self, index: Any) -> LazyLabels | NDArray[Any]:
        """Return a part of it, to be read later.

        For whole numbers and slices without step; for anything else it is read now.
        """
        entries = plain_entries(index, self.ndim)
        if entries is None:
            part: NDArray[Any] = np.asarray(self)[index]
            return part
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
    """Return all levels of a label volume, finest first; nothing is read.

    Their axes come in the order of `names`.
    """
    levels = []
    for data in (labels.data, *labels.levels):
        level = Volume(data, labels.axes, labels.name)
        sizes = dict(zip(labels.axes.names, getattr(data, "chunks", None) or data.shape, strict=True))
        chunk = tuple(sizes.get(a, 1) for a in GRID)
        read = partial(_labels_of, level)
        levels.append(LazyLabels(read, whole(level.grid), names, labels.dtype, chunk))
    return tuple(levels)


def _labels_of(level: Volume, box: Box) -> NDArray[Any]:
    labels: NDArray[Any] = level.read(box)[0]
    return labels


def plain_entries(index: Any, ndim: int) -> list[int | slice] | None:
    """Return one whole number or slice an axis, or None.

    None where there is a step, a list, a new axis or too much.

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
