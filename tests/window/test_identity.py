"""Layers belong to their image, whatever that is called, and whatever else has its name."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel

from napari_limn import Classes
from napari_limn._napari.layers.facts import layer_id, names_by_identity
from napari_limn._napari.layers.layers import image_of, show_labels, volume_of
from napari_limn._napari.panel.models import ModelRegistry
from napari_limn._napari.prediction.pairs import keep, pair_among

CLASSES = Classes((1, 2))
SHAPE = (20, 30)


@pytest.fixture
def viewer():
    """A viewer without a window, with an image in it."""
    found = ViewerModel()
    found.add_image(np.zeros(SHAPE), name="cells")
    return found


def predict(viewer, image, model="model"):
    return show_labels(viewer, image, volume_of(image), np.ones(SHAPE, np.uint8), CLASSES, model)


def test_a_prediction_goes_with_its_image_when_that_is_renamed(viewer):
    image = viewer.layers["cells"]
    first = predict(viewer, image)
    image.name = "cells of Monday"
    namesake = viewer.add_image(np.zeros(SHAPE), name="cells")
    of_namesake = predict(viewer, namesake)
    assert first in viewer.layers, "a prediction of another image took its place"
    keep(first)
    second, third = predict(viewer, image), predict(viewer, image)
    assert second not in viewer.layers, "a renamed image has one prediction, too"
    assert pair_among([third, of_namesake, first], None, None) == (first, third)
    assert (image_of(viewer, third), image_of(viewer, of_namesake)) == (image, namesake)
    viewer.layers.remove(image)
    assert image_of(viewer, third) is None


def test_a_copy_of_an_image_has_no_predictions(viewer):
    image = viewer.layers["cells"]
    shown = predict(viewer, image)
    copy = viewer.add_layer(type(image).create(*image.as_layer_data_tuple()))
    assert image_of(viewer, shown) is image
    predict(viewer, copy)
    assert shown in viewer.layers


def test_channels_of_a_training_are_known_under_other_names(viewer):
    one, two = viewer.layers["cells"], viewer.add_image(np.zeros(SHAPE), name="nuclei")
    models = ModelRegistry()
    models.put("m", "model", names_by_identity([one, two]))
    one.name, two.name = "nuclei", "cells"
    assert models.order_note("m", names_by_identity([one, two])) is None
    note = models.order_note("m", names_by_identity([two, one]))
    assert note is not None
    assert note.startswith(f"found the channels {two.name}, {one.name}, expected {one.name}, {two.name} as")
    assert layer_id(one) != layer_id(two)
