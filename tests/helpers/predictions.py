"""Predictions of a stack in a viewer without a window."""

from __future__ import annotations

import numpy as np

from napari_limn import Classes
from napari_limn._napari.layers.layers import show_labels, volume_of

RED, GREEN, GREY = (1.0, 0.0, 0.0, 1.0), (0.0, 1.0, 0.0, 1.0), (0.6, 0.6, 0.6, 1.0)
CLASSES = Classes((1, 2), names=("rim", "core"), colors=(RED, GREEN))


def predict(viewer, data, model, classes=CLASSES):
    image = viewer.layers["cells"]
    return show_labels(viewer, image, volume_of(image), np.asarray(data, np.uint8), classes, model)
