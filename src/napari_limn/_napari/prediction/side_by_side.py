"""An image and two predictions in boxes beside each other.

They are shown by napari's grid.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from napari_limn._napari.layers.listening import connected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.components import ViewerModel
    from napari.layers import Layer

_SPACING = 4.0  # pixels between two boxes


class SideBySide:
    """Show layers in a box each, with their names.

    They have the order given, and move and zoom together.

    What it changes in the window (the grid, which layers are visible and how far, their names on the canvas and their order) it puts back
    at the end, except where it was changed by others meanwhile. It ends by itself when the grid is switched off.

    Parameters
    ----------
    viewer
        Whose layers are shown.
    ended
        Called when they are not shown in boxes any more.
    """

    def __init__(self, viewer: ViewerModel, ended: Callable[[], object]) -> None:
        self.viewer, self._ended = viewer, ended
        self._undo: list[Callable[[], object]] = []

    @property
    def shown(self) -> bool:
        """Return whether layers are shown in boxes now."""
        return bool(self._undo)

    def begin(self, layers: Sequence[Layer]) -> None:
        """Show these layers beside each other, and no others."""
        self.end()
        grid, camera = self.viewer.canvas.grid, self.viewer.scene.camera
        self._in_order(layers)
        for layer in self.viewer.layers:
            self._set(layer, "visible", layer in layers)
        for layer in layers:
            self._set(layer.name_overlay, "visible", True)
            self._set(layer, "opacity", 1.0)
        shape = arranged(len(layers), self.viewer.canvas.size, _extent(self.viewer))
        self._set(grid, "stride", 1)
        self._set(grid, "shape", shape)
        self._set(grid, "spacing", _SPACING)
        self._set(grid, "enabled", True)
        smaller = 1 / max(shape)  # as much of the image as before, in a smaller box
        camera.zoom *= smaller
        self._undo.append(lambda: setattr(camera, "zoom", camera.zoom / smaller))
        self._undo.append(connected(grid.events.enabled, self.end))

    def end(self, event: Any = None) -> None:
        """Put everything back; nothing if no layers are shown in boxes."""
        undo, self._undo = self._undo, []
        for act in reversed(undo):
            act()
        if undo:
            self._ended()

    def _set(self, thing: Any, name: str, value: object) -> None:
        before = getattr(thing, name)
        if before != value:
            setattr(thing, name, value)
            self._undo.append(partial(_put_back, thing, name, value, before))

    def _in_order(self, layers: Sequence[Layer]) -> None:
        """Move layers that come too early behind the one before.

        The grid goes by the layer list.
        """
        listed = self.viewer.layers
        for one, other in pairwise(layers):
            if (at := listed.index(other)) < listed.index(one):
                listed.move(at, listed.index(one) + 1)
                self._undo.append(partial(self._move_back, other, at))

    def _move_back(self, layer: Layer, at: int) -> None:
        if layer in self.viewer.layers:
            self.viewer.layers.move(self.viewer.layers.index(layer), at)


def _put_back(thing: Any, name: str, value: object, before: object) -> None:
    """Give something back the value it had before.

    Only if it still has the one that it was given.
    """
    if getattr(thing, name) == value:
        setattr(thing, name, before)


def arranged(count: int, canvas: tuple[float, float], image: tuple[float, float]) -> tuple[int, int]:
    """Return the rows and columns that show an image largest.

    Parameters
    ----------
    count
        Of boxes.
    canvas, image
        Height and width of each, in units of its own.

    >>> arranged(3, (700, 1200), (1, 1)), arranged(3, (700, 600), (1, 1)), arranged(3, (700, 600), (1, 20))
    ((1, 3), (2, 2), (3, 1))
    """
    shapes = [(n, -(-count // n)) for n in range(1, count + 1)]
    return max(shapes, key=lambda shape: min(canvas[i] / shape[i] / image[i] for i in (0, 1)))


def _extent(viewer: ViewerModel) -> tuple[float, float]:
    """Return height and width of all layers, in the world."""
    low, high = viewer.layers.extent.world[:, list(viewer.dims.displayed)[-2:]]
    height, width = (max(float(x), 1e-9) for x in high - low)
    return height, width
