"""Refreshing layers that show a prediction while it comes in."""

from __future__ import annotations

import time
from math import ceil, floor
from typing import TYPE_CHECKING, Any

import dask.array as da
from qtpy.QtCore import QTimer

from napari_limn.volume.axes import GRID
from napari_limn.volume.boxes import overlap, size_of
from napari_limn.volume.reading.lazy import lazy_levels
from napari_limn.volume.reading.open import open_volume

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari.components import ViewerModel
    from napari.layers import Image, Labels
    from qtpy.QtWidgets import QWidget

    from napari_limn.volume.boxes import Box

_WAIT = 0.25  # seconds between two refreshes at least
_SHARE = 0.2  # of the window's time that refreshes may take
_SIDE = 4096  # longest side of what is read at once of labels with a single level


class LayerRefresher:
    """Refreshes a layer after blocks that meet the view.

    It does so a few times a second at most, and rarely where it takes long.

    Parameters
    ----------
    viewer, layer
        The view, and the layer, whose data change by themselves.
    names
        Axes of the layer, letters of TZYX.
    parent
        The widget with which it ends.
    """

    def __init__(self, viewer: ViewerModel, layer: Labels, names: str, parent: QWidget | None = None) -> None:
        self.viewer, self.layer, self.names = viewer, layer, names
        self._timer = QTimer(parent)
        self._timer.setSingleShot(True)
        self._timer.setInterval(round(1000 * _WAIT))
        self._timer.timeout.connect(self.refresh)

    @property
    def due(self) -> bool:
        """Return whether a refresh is going to come."""
        return self._timer.isActive()

    def block_done(self, box: Box) -> None:
        """Take note of a block; those out of sight need no refresh.

        Many blocks make one refresh.
        """
        if not self.due and self.layer.visible and size_of(overlap(box, self.view())):
            self._timer.start()

    def refresh(self) -> None:
        """Show what there is now."""
        self._timer.stop()
        if self.layer in self.viewer.layers:
            began = time.perf_counter()
            self.layer.refresh(thumbnail=False, highlight=False, extent=False)
            took = time.perf_counter() - began
            self._timer.setInterval(round(1000 * max(_WAIT, took / _SHARE)))

    def view(self) -> Box:
        """Return the part of the TZYX grid on the canvas."""
        return field_of(self.viewer, self.layer, self.names)


def field_of(viewer: ViewerModel, layer: Labels | Image, names: str) -> Box:
    """Return the part of a layer's TZYX grid on the canvas.

    It may be a little more.

    `names` are the layer's axes; the box may reach beyond the layer.
    """
    dims = viewer.dims
    first = dims.ndim - layer.ndim
    point = layer.world_to_data(dims.point)
    shape = layer.level_shapes[0]
    strides = layer.downsample_factors[layer.data_level] if layer.multiscale else [1.0] * layer.ndim
    spans = {}
    for i, name in enumerate(names):
        if i + first not in dims.displayed:
            spans[name] = _slice(float(point[i]), float(strides[i]))
        elif dims.ndisplay == 3:
            spans[name] = (0, int(shape[i]))
        else:
            low, high = (float(c) for c in layer.corner_pixels[:, i])
            spans[name] = (floor(low * strides[i]), ceil((high + 1) * strides[i]))
    return tuple(spans.get(name, (0, 1)) for name in GRID)


def shown(levels: Sequence[Any]) -> dict[str, Any]:
    """Give levels as a layer takes them."""
    several = len(levels) > 1
    return {"data": list(levels) if several else levels[0], "multiscale": several}


def show_file(layer: Labels, path: Path, names: str) -> None:
    """Let a layer that showed an unfinished file show the finished one."""
    layer.data = file_data(path, names)["data"]
    layer.refresh()


def file_data(path: Path, names: str) -> dict[str, Any]:
    """Give labels of a file as a layer takes them.

    Their axes are in the order of `names`; nothing is read.
    """
    levels = lazy_levels(open_volume(path), names)
    if len(levels) > 1:
        return shown(levels)
    only = levels[0]  # as dask, so that it can be painted on
    planar = only.ndim - 2
    chunks = tuple(1 if i < planar else min(n, _SIDE) for i, n in enumerate(only.shape))
    return shown([da.from_array(only, chunks=chunks, name=False)])  # type: ignore[no-untyped-call]


def _slice(point: float, stride: float) -> tuple[int, int]:
    """Return the voxels from which the slice at a point is taken.

    A coarse level shows one that lies beside it.
    """
    if stride == 1:
        return round(point), round(point) + 1
    return floor(point - stride), ceil(point + stride) + 1
