"""What a click in a prediction corrects: decided here, without a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_limn.annotation.classes import default_name
from napari_limn.annotation.regions import Region, region_at
from napari_limn.errors import LimnError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_STILL = 3  # pixels that a hand may move in a click
_LEFT = 1


class Paintable(Protocol):
    """A layer whose voxels can be set in one step of undo."""

    name: str
    data: Any

    def data_setitem(self, indices: tuple[Any, ...], value: int) -> None:
        """Set voxels."""
        ...


@dataclass(frozen=True, slots=True)
class Plane:
    """The visible slice of a volume.

    Parameters
    ----------
    point
        A voxel of it.
    axes
        Its two axes, ascending, counted from the last.
    """

    point: tuple[int, ...]
    axes: tuple[int, int]


def is_click(start: Sequence[float], end: Sequence[float], button: int, mode: str) -> bool:
    """Return whether a press and a release correct something.

    They do at the same place, with the left button, while the view can be moved; all else moves the view, or paints.
    """
    still = np.abs(np.asarray(end) - np.asarray(start)).max() <= _STILL
    return button == _LEFT and bool(still) and mode == "pan_zoom"


def visible_plane(displayed: Sequence[int], ndim: int) -> tuple[int, int]:
    """Give the axes of the visible slice, ascending, counted from the last.

    Raises
    ------
    LimnError
        If the view is in 3D.
    """
    axes = sorted(int(axis) - ndim for axis in displayed)
    if len(axes) != 2:
        raise LimnError("found the view in 3D, expected a slice; switch to 2D to correct by click.")
    return axes[0], axes[1]


def refuse_unpaintable(name: str, *, editable: bool, lazy: bool) -> None:
    """Refuse a layer that a click cannot paint on.

    Raises
    ------
    LimnError
        If it is read-only, or `lazy`: read from a file piece by piece, which takes no list of voxels.
    """
    if not editable:
        raise LimnError(f"{name}: this layer cannot be painted on; choose another labels layer.")
    if lazy:
        raise LimnError(
            f"{name}: found labels that are read from a file piece by piece, expected labels in memory; choose another "
            "layer, or press New strokes layer in Strokes."
        )


def refuse_other_extent(name: str, shape: Sequence[int], predicted: Sequence[int]) -> None:
    """Refuse strokes of another extent than the prediction.

    Raises
    ------
    LimnError
        If the extents differ.
    """
    if list(shape) != list(predicted):
        raise LimnError(
            f"{name}: found the extent {tuple(shape)}, expected {tuple(predicted)} like the prediction; choose the labels "
            "layer of this image."
        )


def region_in(name: str, data: Any, plane: Plane, view: tuple[tuple[int, int], ...]) -> Region:
    """Find the region of one label around the voxel of a plane.

    Parameters
    ----------
    name, data
        The layer's name, for errors, and its labels.
    plane
        The slice, through the voxel that was clicked.
    view
        Rows and columns that are on the canvas.

    Raises
    ------
    LimnError
        If the voxel lies outside the layer.
    """
    point, shape = plane.point, tuple(int(n) for n in data.shape)
    rows_at, columns_at = (len(shape) + axis for axis in plane.axes)

    def read(rows: slice, columns: slice) -> Any:
        index: list[int | slice] = list(point)
        index[rows_at], index[columns_at] = rows, columns
        return np.asarray(data[tuple(index)])

    region = None
    if all(0 <= p < n for p, n in zip(point, shape, strict=True)):
        extent, place = (shape[rows_at], shape[columns_at]), (point[rows_at], point[columns_at])
        region = region_at(read, extent, place, view=view)
    if region is None:
        raise LimnError(f"{name}: found a click outside the layer, expected one inside it.")
    return region


def paint_region(
    strokes: Paintable, region: Region, plane: Plane, value: int, *, only_unlabelled: bool
) -> int:
    """Paint a region in one step; return how many voxels changed.

    Parameters
    ----------
    strokes, region, plane
        Where to paint, and what.
    value
        The class.
    only_unlabelled
        Whether strokes that are there stay.

    Raises
    ------
    LimnError
        If the layer's type does not hold the value.
    """
    if value > (most := np.iinfo(strokes.data.dtype).max):
        raise LimnError(
            f"{strokes.name}: found class {value}, expected up to {most}; use a layer of a larger type."
        )
    index = [np.full(len(region.rows), p, np.intp) for p in plane.point]
    index[plane.axes[0]], index[plane.axes[1]] = region.rows, region.columns
    before = np.asarray(strokes.data[tuple(index)])
    wrong = (before == 0) & (before != value) if only_unlabelled else before != value
    chosen = tuple(at[wrong] for at in index)
    if len(chosen[0]):
        strokes.data_setitem(chosen, value)
    return int(np.count_nonzero(wrong))


def sentence_of(count: int, value: int, names: Mapping[int, str], *, cut: bool, there: bool = True) -> str:
    """Say what a click painted.

    The region went on where it was `cut`; the strokes are not seen where the prediction is, unless they are `there`.
    """
    name = {0: "not labelled", **names}.get(value, default_name(value))
    more = " Only what is in sight and near the click was taken." if cut else ""
    if not there:
        more += " They are shown elsewhere: press “Copy the image's position” in Train."
    return f"{count:,} pixels are “{name}” now. Ctrl-Z takes it back.{more}"
