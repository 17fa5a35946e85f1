"""A box that marks a place in the window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Shapes

from napari_limn._napari.layers.camera import rectangle
from napari_limn._napari.layers.layers import placement, volume_of
from napari_limn.volume.boxes import shape_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels

    from napari_limn.volume.boxes import Box

_EDGE = 1 / 32  # of the side of a place: how thick its box is drawn


class MarkedBox:
    """Draws one box at a time; the active layer stays the same.

    Parameters
    ----------
    viewer
        Of the window.
    name
        Of the layer.
    """

    def __init__(self, viewer: ViewerModel, name: str) -> None:
        self.viewer, self._name = viewer, name
        self._layer: Shapes | None = None

    def show(self, layer: Image | Labels, box: Box) -> None:
        """Draw the box on the grid of a layer, and no other."""
        volume = volume_of(layer)
        corners = rectangle(volume.axes.names, box)
        if self._layer is not None and self._layer in self.viewer.layers:
            self._layer.data = [corners]  # a new layer would take a quarter of a second
            return
        active = self.viewer.layers.selection.active
        width = max(1.0, _EDGE * max(shape_of(box)[2:]))
        self._layer = Shapes(
            [corners], shape_type="rectangle", edge_width=width, edge_color="yellow", face_color="transparent",
            name=self._name, **placement(layer, volume),
        )  # fmt: skip
        self._layer.editable = False
        self.viewer.add_layer(self._layer)
        self.viewer.layers.selection.active = active if active in self.viewer.layers else layer

    def hide(self) -> None:
        """Take the box away."""
        if self._layer is not None and self._layer in self.viewer.layers:
            self.viewer.layers.remove(self._layer)
        self._layer = None
