"""What a finding's button does to the layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_limn._napari.layers.layers import image_volume, placement
from napari_limn._napari.layers.strokes_layer import new_strokes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer

    from napari_limn.annotation.findings import Remedy


def caption(remedy: Remedy) -> str:
    """Return the text on the button of a remedy."""
    return {
        "select": f"Paint class {remedy.value}",
        "go": "Go to another slice",
        "zero": "0 is background",
        "objects": "They are numbered objects",
        "dims": f"Train a {remedy.value}D network",
        "place": "Copy the image's position",
        "layer": "New layer that fits",
        "axes": "They are channels" if "C" in (remedy.axes or "") else "The first axis is time",
    }[remedy.action]


def fix_layers(
    remedy: Remedy, viewer: ViewerModel, image: Image, labels: Labels | None
) -> list[Labels] | list[Image]:
    """Do to the layers what a remedy says.

    Returns new ones to go on with: one to paint on, or an image and its further channels.
    """
    if remedy.action == "layer":
        return [_new_labels(viewer, image)]
    if remedy.action == "axes" and "C" in (remedy.axes or ""):
        return _split(viewer, image, remedy.axes or "")
    if remedy.action == "axes" and remedy.axes is not None:
        _name_axes((image, labels), remedy.axes)
    if remedy.action == "go" and remedy.place is not None:
        _go(viewer, image, remedy.place)
    if labels is not None and remedy.action == "select" and remedy.value is not None:
        viewer.layers.selection.active = labels
        labels.selected_label, labels.mode = remedy.value, "paint"
    if labels is not None and remedy.action == "place":
        for name, value in placement(image, image_volume([image])).items():
            setattr(labels, name, value)
    return []


def _new_labels(viewer: ViewerModel, image: Image) -> Labels:
    """Add an empty layer to paint on, like the image.

    It is as large, in its place, and journalled.
    """
    layer = new_strokes(image)
    viewer.add_layer(layer)
    layer.mode = "paint"
    return layer


def _go(viewer: ViewerModel, image: Image, place: tuple[int, int, int, int]) -> None:
    """Show the slice of a place on the TZYX grid."""
    names = image_volume([image]).axes.names
    at = dict(zip("TZ", place, strict=False))
    first = viewer.dims.ndim - image.ndim
    for axis, name in enumerate(names):
        if name in at:
            viewer.dims.set_point(first + axis, at[name] * image.scale[axis] + image.translate[axis])


def _name_axes(layers: Iterable[Layer | None], axes: str) -> None:
    for layer in layers:
        if layer is not None and layer.ndim == len(axes):
            layer.axis_labels = tuple(axes.lower())


def _split(viewer: ViewerModel, image: Image, axes: str) -> list[Image]:
    """Make a layer of each channel, and hide the image."""
    _name_axes([image], axes)
    at = axes.index("C")
    channels: list[Image] = viewer.add_image(
        image.data, channel_axis=at, name=[f"{image.name} [{c}]" for c in range(image.data.shape[at])],
        multiscale=image.multiscale, **placement(image, image_volume([image])),
    )  # fmt: skip
    image.visible = False
    return channels
