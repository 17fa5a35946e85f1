"""Moving the view to a box of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_limn.volume.axes import GRID

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_limn.volume.boxes import Box

_AROUND = 3.0  # sides of the box that the canvas shows
_FAR, _NEAR = 2.5, 1.5  # times further away and nearer that are as good, so that the zoom stays


def look_at(viewer: ViewerModel, layer: Layer, names: str, box: Box) -> None:
    """Show the middle slice of a box, centred on the canvas.

    Parameters
    ----------
    viewer, layer
        The view to move, and a layer, which gives the transform from voxels to the world.
    names
        Axes of the layer, letters of TZYX.
    box
        On the TZYX grid.
    """
    spans = [box[GRID.index(name)] for name in names]
    middle = np.asarray(layer.data_to_world([(a + b - 1) // 2 for a, b in spans]))
    first = viewer.dims.ndim - layer.ndim
    viewer.dims.set_point([first + i for i in range(layer.ndim)], middle.tolist())
    shown = [axis - first for axis in viewer.dims.displayed if axis >= first]
    low, high = (np.asarray(layer.data_to_world([span[end] - 0.5 for span in spans])) for end in (0, 1))
    center, extent = ((low + high) / 2)[shown], np.abs(high - low)[shown]
    camera = viewer.scene.camera
    camera.center = (*(0.0,) * (3 - len(shown)), *center.tolist())
    wanted = float(min(viewer.canvas.size) / (_AROUND * max(extent.max(), 1e-9)))
    if not wanted / _FAR <= camera.zoom <= wanted * _NEAR:
        camera.zoom = wanted


def rectangle(names: str, box: Box) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Give the corners (4, D) around a box in its first slice.

    They are in the coordinates of a layer with axes `names`.
    """
    spans = [box[GRID.index(name)] for name in names]
    corners = [
        [float(a) for a, _ in spans[:-2]] + [spans[-2][i] - 0.5, spans[-1][j] - 0.5]
        for i, j in ((0, 0), (0, 1), (1, 1), (1, 0))
    ]
    return np.array(corners)
