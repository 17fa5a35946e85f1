"""How predictions lie over an image: filled, outlined, or off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from napari.layers import Labels

from napari_limn._napari.layers.class_table import predicted_layers
from napari_limn._napari.layers.facts import facts_of
from napari_limn._napari.layers.layers import is_map

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.components import ViewerModel
    from napari.layers import Image, Layer

OverlayStyle = Literal["fill", "outline", "off"]
"""How a prediction is shown."""

OUTLINE = 2
"""Pixels of the width of an outline."""


def predictions_of(viewer: ViewerModel, image: Image | None) -> list[Labels]:
    """List what was predicted for an image, the topmost first."""
    return [x for x in predicted_layers(viewer) if image is not None and facts_of(x).belongs_to(image)]


def show_as(layers: Iterable[Labels], look: OverlayStyle) -> None:
    """Show predictions filled, as outlines, or not at all."""
    for layer in layers:
        layer.visible = look != "off"
        if look != "off":
            layer.contour = OUTLINE if look == "outline" else 0


class OutlineOnly:
    """Show an image with the outlines of some labels, for a while.

    What else lies over the image is hidden. :meth:`end` shows everything as before, and moves the view back.

    Parameters
    ----------
    viewer
        Of the window.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self._before: list[tuple[Layer, bool, int]] = []
        self._view: tuple[Any, float, Any] | None = None

    @property
    def on(self) -> bool:
        """Return whether there is a former view to go back to."""
        return self._view is not None

    def begin(self, outlined: Iterable[Labels], keep: Iterable[Layer] = ()) -> None:
        """Outline these labels; hide other predictions and maps.

        Layers to `keep` stay as they are.
        """
        shown, kept = list(outlined), list(keep)
        if self._view is None:
            camera = self.viewer.scene.camera
            self._view = tuple(camera.center), float(camera.zoom), tuple(self.viewer.dims.point)
        known = [layer for layer, _, _ in self._before]
        for layer in self.viewer.layers:
            if layer in kept or not (is_map(layer) or layer in shown or facts_of(layer).is_prediction):
                continue
            if layer not in known:
                self._before.append((layer, bool(layer.visible), int(getattr(layer, "contour", 0))))
            layer.visible = layer in shown
            if layer in shown:
                layer.contour = OUTLINE

    def end(self) -> None:
        """Show everything as before, and move the view back."""
        for layer, visible, contour in self._before:
            if layer in self.viewer.layers:
                layer.visible = visible
                if type(layer) is Labels:
                    layer.contour = contour
        self._before.clear()
        view, self._view = self._view, None
        if view is not None:
            center, zoom, point = view
            self.viewer.dims.point = point
            self.viewer.scene.camera.center, self.viewer.scene.camera.zoom = center, zoom
