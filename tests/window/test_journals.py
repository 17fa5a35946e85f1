"""Which image a layer's strokes are journalled for; without a window."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QObject

from napari_limn import Classes, LimnError
from napari_limn._napari.layers.facts import facts_of
from napari_limn._napari.layers.layers import (
    made_by,
    note_file,
    refuse_kept,
    show_labels,
    volume_of,
)
from napari_limn._napari.painting.recorder import Journals
from napari_limn._napari.training.remedies import fix_layers
from napari_limn.annotation.findings import Remedy

da = pytest.importorskip("dask.array")

SHAPE = (40, 50)


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def journals(qapp, viewer):
    """Of a window with two images of one extent, `below` and `above`."""
    parent = QObject()
    viewer.add_image(np.zeros(SHAPE, np.float32), name="below", scale=(2, 2), translate=(0, 5))
    viewer.add_image(np.ones(SHAPE, np.float32), name="above")
    yield Journals(viewer, parent)
    viewer.layers.clear()


def image_of(journals, layer):
    """Paint on a layer, and give the image that its journal names."""
    layer.paint((20, 20), 7)
    return journals.of(layer).recording.journal.header.image


def predict(viewer, image, data):
    return show_labels(viewer, image, volume_of(image), data, Classes((1, 2)), "model")


def lazy(file):
    return da.from_array(file, chunks=(40, 25), name=False)


def test_a_map_of_an_image_is_none_to_paint_on(viewer, journals):
    top = viewer.layers["above"]
    viewer.add_layer(Image(np.zeros(SHAPE), name="doubts", metadata=made_by("model", top, "uncertainty")))
    assert image_of(journals, viewer.add_labels(np.zeros(SHAPE, np.uint8))) == "above"


def test_strokes_are_of_the_image_in_whose_place_they_lie(viewer, journals):
    place = {"scale": (2, 2), "translate": (0, 5)}
    assert image_of(journals, viewer.add_labels(np.zeros(SHAPE, np.uint8), **place)) == "below"
    assert image_of(journals, viewer.add_labels(np.zeros(SHAPE, np.uint8))) == "above"


def test_a_corrected_prediction_is_of_the_image_that_was_predicted(viewer, journals):
    below = viewer.layers["below"]
    below.scale, below.translate = (1, 1), (0, 0)
    prediction = predict(viewer, below, np.ones(SHAPE, np.uint8))
    assert image_of(journals, prediction) == "below"
    assert prediction.name == "below corrected"
    prediction.data = np.ones(SHAPE, np.uint16)  # another journal
    prediction.refresh()
    assert image_of(journals, prediction) == "below"


def test_strokes_go_on_with_their_image_when_that_is_renamed(viewer, journals):
    below = viewer.layers["below"]
    below.scale, below.translate = (1, 1), (0, 0)
    layer = journals.new_layer(below)
    below.name, viewer.layers["above"].name = "beneath", "below"
    layer.data = np.zeros(SHAPE, np.uint16)  # another journal
    layer.refresh()
    assert image_of(journals, layer) == "beneath"


def test_a_layer_that_a_finding_made_is_of_its_image(viewer, journals):
    below = viewer.layers["below"]
    below.scale, below.translate = (1, 1), (0, 0)
    [layer] = fix_layers(Remedy(action="layer"), viewer, below, None)
    assert (layer.name, layer.mode, facts_of(layer).image) == ("below strokes", "paint", "below")
    np.testing.assert_allclose(layer.get_color(1), journals.new_layer(below).get_color(1))
    assert image_of(journals, layer) == "below"


@pytest.mark.parametrize("drawn", ["a click", "a line"])
def test_a_prediction_of_a_file_is_the_user_s_own_once_they_paint_on_it(viewer, journals, tmp_path, drawn):
    file = np.ones(SHAPE, np.uint8)
    layer = predict(viewer, viewer.layers["above"], lazy(file))
    note_file(layer, tmp_path / "out.tif")
    layer.brush_size = 5
    with layer.block_history() if drawn == "a line" else nullcontext():
        layer.paint((20, 20), 2)  # napari announces a click before it writes it, and a line afterwards
        if drawn == "a line":
            layer.paint((20, 30), 2)
    file[:] = 9
    painted = layer.data == 2
    np.testing.assert_array_equal(layer.data, np.where(painted, 2, 1))
    assert painted.sum() == (42 if drawn == "a line" else 21)
    refuse_kept(viewer, tmp_path / "out.tif")
    recording = journals.of(layer).recording
    np.testing.assert_array_equal(np.asarray(recording.known), layer.data)
    layer.undo()
    assert (layer.data == 1).all()
    assert recording.strokes == 0


def test_what_is_painted_on_a_large_prediction_of_a_file_forbids_writing_over_it(
    viewer, journals, tmp_path, monkeypatch
):
    monkeypatch.setattr("napari_limn._napari.painting.journalling.WATCHED", 100)
    layer = predict(viewer, viewer.layers["above"], lazy(np.ones(SHAPE, np.uint8)))
    note_file(layer, tmp_path / "out.tif")
    refuse_kept(viewer, tmp_path / "out.tif")
    layer.paint((20, 20), 2)
    assert journals.of(layer) is None
    with pytest.raises(
        LimnError, match="layer “above corrected”, which is painted on and would show the new"
    ):
        refuse_kept(viewer, tmp_path / "out.tif")
