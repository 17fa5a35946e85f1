"""Masks in which every object has a number of its own.

The foreground in them, and where objects need to be separated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects, minimum_filter

from napari_limn.annotation.classes import refuse_negative
from napari_limn.errors import LimnError
from napari_limn.volume.axes import GRID, Axes
from napari_limn.volume.boxes import grown
from napari_limn.volume.reading.reflect import read_reflected
from napari_limn.volume.volume import Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_limn.volume.boxes import Box

W0, SIGMA = 10.0, 5.0  # Ronneberger 2015, section 3
REACH = 5 * SIGMA  # pixels; beyond it an object adds less than 0.0001


def separated(objects: NDArray[np.integer[Any]], dims: int | None = None) -> NDArray[np.integer[Any]]:
    """Draw a line of background between objects that touch.

    One voxel wide, between those that touch face to face.

    Parameters
    ----------
    objects
        Any shape; 0 for background, any other value an object.
    dims
        Along how many of the last axes they touch; None for all.

    Examples
    --------
    >>> separated(np.array([[1, 1, 2, 2, 0, 3]]))
    array([[1, 1, 0, 2, 0, 3]])
    """
    ndim = objects.ndim
    size = tuple(3 if axis >= ndim - (dims or ndim) else 1 for axis in range(ndim))
    cross = np.abs(np.indices(size).T - np.array(size) // 2).T.sum(0) <= 1
    lowest = minimum_filter(
        np.where(objects > 0, objects, np.iinfo(objects.dtype).max), footprint=cross, mode="nearest"
    )
    return np.where(lowest < objects, 0, objects)


def border_weights(
    objects: NDArray[np.integer[Any]], spacing: tuple[float, ...] | None = None
) -> NDArray[np.float32]:
    """Weight the background between objects, as Ronneberger 2015.

    See arXiv:1505.04597, eq. 2.

    Parameters
    ----------
    objects
        ([Z,] Y, X), 0 for background, any other value an object.
    spacing
        Extent of a voxel along each axis, in pixels; None for 1.

    Returns
    -------
    1 + w₀ · exp(−(d₁ + d₂)² / 2σ²) in the background, with the distances to the two nearest objects in pixels, w₀ = 10
    and σ = 5; 1 in objects. Weights of classes come on top. Objects more than 5 σ away are left out.

    Examples
    --------
    >>> border_weights(np.array([[1, 1, 0, 2, 2]])).round(2)
    array([[ 1.  ,  1.  , 10.23,  1.  ,  1.  ]], dtype=float32)
    """
    steps = spacing or (1.0,) * objects.ndim
    _, numbers = np.unique(objects, return_inverse=True)
    numbers = numbers.reshape(objects.shape) + (0 if (objects == 0).any() else 1)
    first, second = np.full((2, *objects.shape), np.inf)
    for number, box in enumerate(find_objects(numbers), start=1):
        near = tuple(
            slice(max(0, s.start - int(REACH / step)), s.stop + int(REACH / step))
            for s, step in zip(box, steps, strict=True)
        )
        distance = distance_transform_edt(numbers[near] != number, sampling=steps)
        second[near] = np.minimum(second[near], np.maximum(first[near], distance))
        first[near] = np.minimum(first[near], distance)
    extra = W0 * np.exp(-((first + second) ** 2) / (2 * SIGMA**2))
    return np.where(objects > 0, 1.0, 1.0 + extra).astype(np.float32)


class _Foreground:
    """An array that is 1 inside objects, 0 elsewhere.

    Of shape (C, T, Z, Y, X); 0 is also on the lines between objects.
    """

    def __init__(self, objects: Volume, dims: int) -> None:
        self.shape, self.dtype = (1, *objects.grid), np.dtype(np.uint8)
        self._objects, self._dims = objects, dims

    def __getitem__(self, index: tuple[slice, ...]) -> NDArray[np.uint8]:
        box = tuple((s.start, s.stop) for s in index[1:])
        return (objects_in(self._objects, box, self._dims) > 0).astype(np.uint8)[None]


def objects_in(objects: Volume, box: Box, dims: int) -> NDArray[np.integer[Any]]:
    """Read the separated objects (T, Z, Y, X) of a box.

    Reflected beyond the border.
    """
    one = tuple(int(axis >= 4 - dims) for axis in range(4))
    around = read_reflected(objects, grown(box, one))[0]
    if around.dtype.kind == "b":
        around = around.astype(np.uint8)
    if around.dtype.kind not in "iu":
        raise LimnError(f"{objects.name}: found {around.dtype}, expected whole numbers, one for each object.")
    refuse_negative(around)
    inner = tuple(slice(e, n - e) for e, n in zip(one, around.shape, strict=True))
    return separated(around, dims)[inner]


def foreground(objects: Volume, dims: int) -> Volume:
    """Return the volume of classes in a volume of objects.

    1 for any of them, 0 for background.

    Parameters
    ----------
    objects
        Where every object has a number of its own.
    dims
        2 if objects are separated within planes only, 3 if from plane to plane too.
    """
    return Volume(_Foreground(objects, dims), Axes.of("C" + GRID), objects.name, place=objects.placement)
