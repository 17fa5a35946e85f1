"""Objects by hand: from a prediction to the table, and from a row to the object."""

from __future__ import annotations

import numpy as np
import pytest
from predictions import CLASSES

from napari_limn._napari.layers.facts import facts_of
from napari_limn._napari.layers.layers import show_labels, volume_of
from napari_limn._napari.objects.objects import ObjectsWidget

pytestmark = pytest.mark.window

y, x = np.indices((80, 120))
DISCS = ((20, 25, 12, 2), (20, 45, 10, 2), (60, 90, 8, 2))  # the first two touch


def labels(planes=None):
    plane = np.ones((80, 120), np.uint8)
    for cy, cx, r, value in DISCS:
        plane[(y - cy) ** 2 + (x - cx) ** 2 < r**2] = value
    return plane if planes is None else np.stack([plane] * planes)


@pytest.fixture(params=[None, 3], ids=["plane", "stack"])
def section(hand, request):
    """The section of the dock, with a prediction to work on."""
    image = np.random.default_rng(0).integers(0, 99, labels(request.param).shape).astype(np.uint8)
    scale = (2.0, 0.5, 0.5)[-image.ndim :]
    layer = hand.viewer.add_image(image, name="cells", scale=scale, units="um")
    dock = hand.open_dock()
    show_labels(hand.viewer, layer, volume_of(layer), labels(request.param), CLASSES, "m")
    hand.pump(0.1)
    dock.unfold("apply", "objects")
    hand.pump(0.1)
    return dock.sections[ObjectsWidget]


def found(hand, section):
    hand.press("limn-objects-start")
    hand.wait(lambda: section.controller.shown is not None and not section.run_box.running)
    return hand.viewer.layers["cells objects"]


def test_a_prediction_becomes_objects_that_follow_the_slider_and_keep_their_colours(hand, section):
    assert section.labels.value is hand.viewer.layers["cells labels"]
    layer = found(hand, section)
    assert facts_of(layer).kind == "objects"
    assert np.unique(np.asarray(layer.data)).tolist() == [0, 1, 2, 3]
    assert layer.scale.tolist() == hand.viewer.layers["cells labels"].scale.tolist()
    middle = (1, 60, 90)[-layer.ndim :]
    before = layer.colormap.map(np.asarray(layer.data[middle]))
    section.split.value = 0.4
    hand.wait(lambda: section.controller.shown.count == 2)
    np.testing.assert_array_equal(layer.colormap.map(np.asarray(layer.data[middle])), before)
    assert layer in hand.viewer.layers, "the same layer"
    section.smallest.value = "1000"
    hand.wait(lambda: section.controller.shown.count == (1 if layer.ndim == 3 else 0))


def test_a_row_leads_to_its_object_and_an_object_to_its_row(hand, section):
    layer = found(hand, section)
    table = section.table
    table.sortByColumn(0, table.rows._sorted[1].DescendingOrder)
    assert table.rows.data(table.rows.index(0, 0)) == "3"
    table.selectRow(0)
    hand.pump(0.1)
    assert layer.selected_label == 3
    place = layer.data_to_world((1, 60, 90)[-layer.ndim :])[-2:]
    np.testing.assert_allclose(hand.viewer.scene.camera.center[-2:], place, atol=0.6)
    layer.selected_label = 1
    assert table.currentIndex().row() == 2


def test_from_a_prediction_to_a_csv_in_two_presses(hand, section, tmp_path, monkeypatch):
    monkeypatch.setattr(section, "ask_where", lambda: tmp_path / "a.csv")
    hand.press("limn-objects-save")
    hand.wait((tmp_path / "a.csv").exists)
    head, *rows = (tmp_path / "a.csv").read_text().splitlines()
    assert head.startswith("label,class,class_name,num_pixels,area [um")
    assert len(rows) == 3


def test_objects_are_offered_to_nobody_as_labels(hand, section):
    layer = found(hand, section)
    dock = hand.open_dock()
    for other in dock.sections.values():
        for name in ("labels", "prediction", "first", "second"):
            field = getattr(other, name, None)
            assert field is None or layer not in getattr(field, "choices", ()) or field.value is not layer
