"""Sample data: File → Open Sample → Limn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_limn import samples
from napari_limn._napari.files.reader import layers_of
from napari_limn._napari.layers.layers import colormap, named
from napari_limn.volume.boxes import whole
from napari_limn.volume.reading.open import open_volume

if TYPE_CHECKING:
    from napari_limn._napari.files.reader import LayerData


def painted_sem() -> list[LayerData]:
    """Open an SEM image of rat spinal cord, with strokes.

    1 is background, 2 axon, 3 myelin; 0.5 % of the pixels are painted.
    """
    image = layers_of(open_volume(samples.PAINTED.image), "SEM rat 3")
    strokes = open_volume(samples.PAINTED.strokes)
    data, look, _ = layers_of(strokes, "strokes")[0]
    data = np.squeeze(strokes.read(whole(strokes.grid)))  # in memory: it is going to be painted on
    return [*image, (data, look | {"colormap": colormap(samples.COLORS)} | named(samples.NAMES), "labels")]


def unseen_sem() -> list[LayerData]:
    """Open another SEM image of the same rat."""
    return layers_of(open_volume(samples.UNSEEN.image), "SEM rat 3 b")
