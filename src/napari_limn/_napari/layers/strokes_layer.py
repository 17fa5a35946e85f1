"""New layers to paint on, in the place of an image."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels

from napari_limn._napari.layers.class_table import OTHER, painted_layers, set_legend
from napari_limn._napari.layers.facts import LayerFacts, facts_of
from napari_limn._napari.layers.layers import PLAIN, colormap, lies_on, placement, volume_of
from napari_limn.annotation.classes import MOST, default_color
from napari_limn.annotation.journal.sparse_labels import PaintStore
from napari_limn.annotation.legend import Legend
from napari_limn.errors import LimnError
from napari_limn.volume.volume import size_in_bytes
from napari_limn.volume.writing.array_output import labels_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel

_PLANE = 1 << 29  # voxels of a plane that napari can show as labels
STROKES = np.dtype(np.uint8)
"""Type of the labels in a new strokes layer: classes are few."""


def new_strokes(image: Image, legend: Legend | None = None) -> Labels:
    """Make an empty layer to paint on, to be journalled.

    Its classes are those of `legend`.

    Raises
    ------
    LimnError
        If a plane of the image is too large to be painted on in napari.
    """
    return strokes_layer(image, empty_strokes(image), f"{image.name} strokes", legend or Legend())


def empty_strokes(image: Image) -> Any:
    """Make the data of a new layer to paint on.

    The image may be of any size, and the data can be journalled.

    Raises
    ------
    LimnError
        If a plane of the image is too large to be painted on in napari.
    """
    volume = volume_of(image)
    shape = labels_shape(volume)
    if volume.grid[-1] * volume.grid[-2] > _PLANE:
        raise LimnError(
            f"{image.name}: found planes of {volume.grid[-2]} × {volume.grid[-1]} pixels, expected at most "
            f"{_PLANE / 1e6:.0f} million to paint on; cut the image into parts."
        )
    return np.zeros(shape, STROKES) if is_plain(shape, STROKES) else PaintStore(shape, STROKES)


def is_plain(shape: Sequence[int], dtype: Any) -> bool:
    """Return whether labels are small enough to be a plain numpy array."""
    return size_in_bytes(tuple(shape), dtype) <= PLAIN


def strokes_of(viewer: ViewerModel, image: Image) -> Labels | None:
    """Find the topmost layer that is painted on for an image.

    One that nobody knows the image of counts where it lies on this one.
    """
    for layer in painted_layers(viewer):
        facts = facts_of(layer)
        if facts.image is not None or facts.image_id is not None:
            if facts.belongs_to(image):
                return layer
            continue
        with suppress(LimnError):  # an image that nothing can be painted for
            if labels_shape(volume_of(image)) == tuple(layer.data.shape) and lies_on(layer, image):
                return layer
    return None


def strokes_layer(image: Image, data: Any, name: str, legend: Legend) -> Labels:
    """Make a layer to paint on with these data and legend."""
    usual = {value: default_color(value) for value in range(1, MOST + 1)}
    look = colormap(usual | legend.colors, OTHER)
    metadata = LayerFacts.of(image).to_metadata()
    layer = Labels(data, name=name, colormap=look, metadata=metadata, **placement(image, volume_of(image)))
    if legend != Legend():
        set_legend(layer, legend)
    return layer
