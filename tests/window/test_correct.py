"""A click that turns a predicted region into a stroke."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from predictions import predict

from napari_limn import LimnError
from napari_limn._napari.files.reader import get_reader
from napari_limn._napari.layers.facts import LayerFacts
from napari_limn._napari.painting.class_list import ClassLegend
from napari_limn._napari.painting.correct import ClickCorrector
from napari_limn.annotation.journal.export import saving_events
from napari_limn.events import drain
from napari_limn.volume.volume import Volume

da = pytest.importorskip("dask.array")


@pytest.fixture
def corrector(qtbot, viewer):
    """Strokes on the stack, a prediction of a bar of “core” in slice 1, and the button."""
    strokes = viewer.add_labels(np.zeros((4, 20, 30), np.uint8), name="strokes")
    data = np.ones((4, 20, 30))
    data[1, 5:8, 10:20] = 2
    predict(viewer, data, "model a")
    viewer.dims.set_point(0, 3)
    legend = ClassLegend(viewer)
    legend.layer = strokes
    found = ClickCorrector(viewer, legend)
    for part in (legend, found):
        qtbot.addWidget(part)
    return found


def place(viewer, *index):
    return viewer.layers["cells"].data_to_world(index)


def test_a_click_paints_the_region_as_the_chosen_class_and_undo_takes_it_back(viewer, corrector):
    strokes = viewer.layers["strokes"]
    heard = []
    strokes.events.paint.connect(lambda event: heard.append(event.value))
    corrector.legend.choose(1)
    corrector.correct(place(viewer, 1, 6, 12))
    bar = np.asarray(viewer.layers["cells labels"].data) == 2
    np.testing.assert_array_equal(strokes.data, bar)
    assert "30 pixels are “class 1” now" in corrector.status.text()
    [[(indices, before, value)]] = heard
    assert len(indices[0]) == len(before) == 30
    assert value == 1
    strokes.undo()
    assert not strokes.data.any()


@pytest.mark.parametrize("made", [LayerFacts(difference=("a", "b")), LayerFacts(audit="0")])
def test_what_compares_predictions_is_none_to_click_on(viewer, corrector, made):
    viewer.add_labels(np.full((4, 20, 30), 3, np.uint8), metadata=made.to_metadata(), scale=(5, 0.5, 0.5))
    corrector.correct(place(viewer, 1, 6, 12), confirm=True)
    assert set(np.unique(viewer.layers["strokes"].data)) == {0, 2}


def test_confirming_paints_what_was_predicted_and_leaves_strokes(viewer, corrector):
    strokes = viewer.layers["strokes"]
    strokes.data[1, 5, 10:14] = 1
    corrector.correct(place(viewer, 1, 6, 12), confirm=True)
    assert (strokes.data[1] == 2).sum() == 26
    assert (strokes.data[1] == 1).sum() == 4
    corrector.legend.choose(0)
    corrector.correct(place(viewer, 1, 6, 12))
    assert not strokes.data.any()
    assert "not labelled" in corrector.status.text()


def test_a_region_stays_in_its_slice_whatever_the_view(viewer, corrector):
    strokes = viewer.layers["strokes"]
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_point(1, 2 + 0.5 * 6)
    corrector.legend.choose(2)
    corrector.correct(place(viewer, 1, 6, 12))
    assert set(zip(*np.nonzero(strokes.data), strict=True)) == {(1, 6, x) for x in range(10, 20)}


def test_strokes_on_disk_are_painted_too(viewer, corrector, tmp_path):
    data = zarr.create_array(tmp_path / "s.zarr", shape=(4, 20, 30), chunks=(1, 10, 10), dtype="uint8")
    corrector.legend.layer = viewer.add_labels(data, name="on disk")
    corrector.legend.choose(2)
    corrector.correct(place(viewer, 1, 6, 12))
    np.testing.assert_array_equal(np.asarray(data) == 2, np.asarray(viewer.layers["cells labels"].data) == 2)
    viewer.layers["on disk"].undo()
    assert not np.asarray(data).any()


@pytest.mark.parametrize("name", ["s.tif", "s.ome.zarr"])
def test_strokes_that_were_saved_and_opened_again_are_painted_too(viewer, corrector, tmp_path, name):
    painted = np.zeros((4, 20, 30), np.uint8)
    painted[0, 3] = 2
    drain(saving_events(Volume.of(painted, "ZYX", "s"), tmp_path / name))
    [(data, look, _)] = get_reader(str(tmp_path / name))(str(tmp_path / name))
    strokes = corrector.legend.layer = viewer.add_labels(data, **look)
    corrector.legend.choose(2)
    corrector.correct(place(viewer, 1, 6, 12))
    bar = np.asarray(viewer.layers["cells labels"].data) == 2
    np.testing.assert_array_equal(strokes.data == 2, bar | (painted == 2))
    strokes.undo()
    np.testing.assert_array_equal(strokes.data, painted)


def test_what_cannot_be_corrected_is_one_sentence(viewer, corrector):
    with pytest.raises(LimnError, match="no predicted region under the mouse"):
        corrector.correct((3, -50, -50))
    viewer.dims.ndisplay = 3
    with pytest.raises(LimnError, match="switch to 2D"):
        corrector.correct(place(viewer, 1, 6, 12))
    viewer.dims.ndisplay = 2
    corrector.legend.layer = viewer.add_labels(np.zeros((4, 20, 31), np.uint8), name="other")
    with pytest.raises(LimnError, match=r"other: found the extent \(4, 20, 31\), expected \(4, 20, 30\)"):
        corrector.correct(place(viewer, 1, 6, 12))
    corrector.legend.layer = viewer.add_labels(
        [np.zeros((8, 8), np.uint8), np.zeros((4, 4), np.uint8)], multiscale=True, name="levels"
    )
    with pytest.raises(LimnError, match="levels: this layer cannot be painted on"):
        corrector.correct(place(viewer, 1, 6, 12))
    corrector.legend.layer = viewer.add_labels(da.zeros((4, 20, 30), dtype=np.uint8), name="lazy")
    with pytest.raises(LimnError, match="lazy: found labels that are read from a file piece by piece"):
        corrector.correct(place(viewer, 1, 6, 12))
    corrector.legend.layer = None
    with pytest.raises(LimnError, match="no labels layer to paint on"):
        corrector.correct(place(viewer, 1, 6, 12))


def test_escape_ends_it_and_gets_its_own_meaning_back(viewer, corrector):
    strokes = viewer.layers["strokes"]
    before = dict(strokes.keymap), dict(viewer.keymap)
    for keys in (strokes.keymap, viewer.keymap):
        corrector.button.setChecked(True)
        next(act for key, act in keys.items() if str(key) == "Escape")(strokes)
        assert not corrector.button.isChecked()
        assert (dict(strokes.keymap), dict(viewer.keymap)) == before


def test_the_button_puts_the_brush_away_and_back(viewer, corrector):
    strokes = viewer.layers["strokes"]
    strokes.mode = "paint"
    callbacks = len(viewer.mouse_drag_callbacks)
    corrector.button.setChecked(True)
    assert strokes.mode == "pan_zoom"
    assert viewer.layers.selection.active is strokes
    assert len(viewer.mouse_drag_callbacks) == callbacks + 1
    corrector.button.setChecked(False)
    assert strokes.mode == "paint"
    assert len(viewer.mouse_drag_callbacks) == callbacks
    corrector.button.setChecked(True)
    corrector.legend.layer = None
    assert not corrector.button.isChecked()
    corrector.button.setChecked(True)
    assert not corrector.button.isChecked()
    assert "no labels layer" in corrector.status.text()
