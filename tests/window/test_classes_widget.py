"""Names and colours of classes on layers, in files and in the legend, without a window."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image, Labels
from outputs import output_at
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QColorDialog, QLineEdit

from napari_limn import Classes, LimnError
from napari_limn._napari.files.reader import get_reader
from napari_limn._napari.layers.class_table import (
    follow_legend,
    given_names,
    legend_of,
    names_of,
    restore,
    set_legend,
)
from napari_limn._napari.layers.facts import LayerFacts
from napari_limn._napari.layers.layers import painted_look, show_labels, volume_of
from napari_limn._napari.painting.class_list import ClassLegend
from napari_limn._napari.painting.keys import borrow_digits
from napari_limn._napari.training.train import TrainWidget
from napari_limn.annotation.legend import Legend, painted_values
from napari_limn.volume.reading.open import open_volume

RED, GREEN, BLUE = (1.0, 0.0, 0.0, 1.0), (0.0, 1.0, 0.0, 1.0), (0.0, 0.0, 1.0, 1.0)

NAMES, COLORS = {1: "background", 2: 'axon <"thick" & µ>'}, {1: RED, 2: GREEN}

CLASSES = Classes((1, 2), names=tuple(NAMES.values()), colors=tuple(COLORS.values()))


@pytest.fixture
def strokes():
    data = np.zeros((8, 9), np.uint8)
    data[1, 1:4], data[3, 1:4] = 1, 2
    return Labels(data, name="strokes")


def status(layer, row, column):
    return layer.get_status((row, column), dims_displayed=[0, 1])["value"]


# ---- on layers -------------------------------------------------------------------------------------------------------
def test_a_legend_lives_with_its_layer(strokes):
    before = painted_look(strokes)
    set_legend(strokes, legend_of(strokes, {1, 2}).renamed(2, "axon").recoloured(2, BLUE))
    assert names_of(strokes) == {1: "class 1", 2: "axon"}
    assert given_names(strokes) == {2: "axon"}
    np.testing.assert_allclose(strokes.get_color(2), BLUE)
    np.testing.assert_allclose(strokes.get_color(1), before[1], atol=1e-6)
    np.testing.assert_allclose(strokes.get_color(77), before[77], atol=1e-6)
    assert strokes.get_color(300)[3] == 1, "values without a colour of their own went out of sight"
    assert legend_of(strokes).names == {**legend_of(strokes).names, 1: "class 1", 2: "axon"}
    assert "axon" in status(strokes, 3, 2)
    assert "not labelled" in status(strokes, 0, 0)


def test_a_legend_is_read_back_as_it_was_set(strokes):
    legend = Legend.of({1, 2, 7}, NAMES, {1: RED, 2: GREEN, 7: BLUE})
    strokes.colormap = {0: "transparent", None: "transparent", 1: "white"}
    set_legend(strokes, legend)
    assert legend_of(strokes) == legend
    strokes.show_selected_label = True
    assert legend_of(strokes) == legend, "colours of the values that napari hides were lost"


def test_setting_the_same_legend_again_redraws_nothing(strokes):
    set_legend(strokes, Legend.of({1, 2}, NAMES, COLORS))
    heard = []
    for event in (strokes.events.colormap, strokes.events.features, strokes.events.metadata):
        event.connect(heard.append)
    set_legend(strokes, Legend.of({1, 2}, NAMES, COLORS))
    assert heard == []


def test_features_of_others_stay(strokes):
    strokes.features = {"index": [1, 2], "area": [3.0, 4.0]}
    set_legend(strokes, Legend.of({1, 2}, NAMES, COLORS))
    assert list(strokes.features.columns) == ["index", "area"]
    assert names_of(strokes) == NAMES


def test_a_model_names_classes_that_have_no_names(strokes):
    assert restore(strokes, CLASSES)
    assert names_of(strokes) == NAMES
    np.testing.assert_allclose(strokes.get_color(2), GREEN)
    other = Classes((1, 2), names=("a", "b"), colors=(BLUE, BLUE))
    assert not restore(strokes, other)
    assert names_of(strokes) == NAMES


def test_a_model_takes_no_colours_away_that_the_user_chose(strokes):
    strokes.colormap = {0: "transparent", None: "transparent", 1: "blue"}
    assert restore(strokes, CLASSES)
    np.testing.assert_allclose(strokes.get_color(1), BLUE)
    np.testing.assert_allclose(strokes.get_color(2), GREEN)


def test_predictions_have_names_and_are_no_strokes():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((8, 9)), name="cells")
    shown = show_labels(viewer, image, volume_of(image), np.full((8, 9), 2, np.uint8), CLASSES, "model")
    assert names_of(shown) == NAMES
    assert 'axon <"thick" & µ>' in status(shown, 3, 3)
    assert not restore(shown, Classes((1, 2)))


def test_a_prediction_follows_what_it_shows_alike_and_nothing_else():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((8, 9)), name="cells")
    classes = Classes((0, 1, 2), "background", ("rest", "axon", "myelin"), (BLUE, RED, GREEN))
    shown = show_labels(viewer, image, volume_of(image), np.full((8, 9), 2, np.uint8), classes, "model")
    before = Legend.of({1, 2, 5}, {1: "axon", 2: "sheath"}, {1: BLUE, 2: GREEN})
    after = before.renamed(1, "axons").renamed(2, "fat").recoloured(1, GREEN).recoloured(2, BLUE)
    follow_legend(shown, before, after)
    assert names_of(shown) == {0: "rest", 1: "axons", 2: "myelin"}
    np.testing.assert_allclose(shown.get_color(1), RED)
    np.testing.assert_allclose(shown.get_color(2), BLUE)


@pytest.mark.parametrize("name", ["labels.tif", "labels.ome.zarr"])
def test_names_come_back_from_files(tmp_path, name):
    image = open_volume(np.zeros((6, 8), np.uint8))
    output = output_at(tmp_path / name, image, "uint8", (1, 1, 6, 8), COLORS, NAMES)
    output.write(((0, 1), (0, 1), (0, 6), (0, 8)), np.full((1, 1, 6, 8), 2, np.uint8))
    output.finish()
    assert open_volume(tmp_path / name).names == NAMES
    path = str(tmp_path / name)
    [(array, look, _)] = get_reader(path)(path)
    layer = Labels(array, **look)
    assert names_of(layer) == NAMES
    assert NAMES[2] in status(layer, 2, 2)


# ---- keys ------------------------------------------------------------------------------------------------------------
@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=12), st.booleans())
def test_borrowed_keys_go_to_the_last_borrower_and_back_in_any_order(turns, own):
    layer, heard, held = Labels(np.zeros((3, 3), np.uint8)), [], {}
    if own:
        layer.bind_key("2", lambda _: heard.append("own"))
    for who in turns:  # borrows, or gives back what was borrowed
        if who in held:
            held.pop(who)()
        else:
            held[who] = borrow_digits(layer, lambda digit, who=who: heard.append((who, digit)))
    act = next((act for key, act in layer.keymap.items() if str(key) == "2"), None)
    if act is not None:
        act(layer)
    last = [(list(held)[-1], 2)] if held else ["own"] if own else []
    assert heard == last
    assert held or len(layer.keymap) == own


# ---- the legend ------------------------------------------------------------------------------------------------------
@pytest.fixture
def shown(qtbot, strokes):
    """A legend in sight, over a viewer without a window."""
    viewer = ViewerModel()
    viewer.add_layer(Image(np.zeros((8, 9)), name="cells"))
    viewer.add_layer(strokes)
    viewer.layers.selection.active = strokes
    legend = ClassLegend(viewer)
    qtbot.addWidget(legend)
    with qtbot.waitExposed(legend):
        legend.show()
    return legend


def rows(legend):
    """Key, name and mark of each row."""
    table = legend.table
    return [tuple(table.item(row, column).text() for column in (0, 2, 3)) for row in range(table.rowCount())]


def press(layer, key):
    next(act for bound, act in layer.keymap.items() if str(bound) == key)(layer)


def test_what_is_painted_is_listed_after_what_is_not(shown):
    assert rows(shown) == [("0", "not labelled", ""), ("1", "class 1", "●"), ("2", "class 2", "●")]


def test_an_empty_layer_offers_the_two_classes_that_a_model_needs(shown):
    empty = shown.viewer.add_layer(Labels(np.zeros((8, 9), np.uint8), name="new"))
    shown.viewer.layers.selection.active = empty
    assert shown.layer is empty
    assert rows(shown) == [("0", "not labelled", ""), ("1", "class 1", ""), ("2", "class 2", "")]


def test_classes_are_added_chosen_and_renamed(shown, strokes, qtbot):
    QTest.mouseClick(shown.add_button, Qt.MouseButton.LeftButton)
    assert strokes.selected_label == shown.value == 3
    assert rows(shown)[3] == ("3", "class 3", "")
    shown.table.item(3, 2).setText("  fat ")
    assert names_of(strokes) == {1: "class 1", 2: "class 2", 3: "fat"}
    assert rows(shown)[3] == ("3", "fat", "")
    press(strokes, "2")
    assert strokes.selected_label == 2
    assert shown.table.currentRow() == 2
    press(strokes, "8")
    assert strokes.selected_label == 2
    assert "There is no class 8 yet" in shown.status.text()
    strokes.selected_label = 1
    assert shown.table.currentRow() == 1, "a choice made in napari is not shown"


def test_digits_choose_in_the_table_and_are_letters_in_a_name(shown, strokes, qtbot):
    shown.table.setFocus()
    QTest.keyClick(shown.table, "2")
    assert strokes.selected_label == 2
    shown.table.editItem(shown.table.item(2, 2))
    editor = shown.table.findChild(QLineEdit)
    editor.selectAll()
    QTest.keyClicks(editor, "layer 1")
    QTest.keyClick(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: names_of(strokes).get(2) == "layer 1")
    assert strokes.selected_label == 2


def test_a_name_that_cannot_be_is_refused_and_the_old_one_stays(shown, strokes):
    shown.table.item(2, 2).setText("class 1")
    assert "called “class 1” already" in shown.status.text()
    assert rows(shown)[2][1] == "class 2"
    with pytest.raises(LimnError, match="empty name"):
        shown.rename(1, " ")


def test_a_colour_is_chosen_in_a_dialog_and_predictions_follow(shown, strokes, monkeypatch):
    image = shown.viewer.layers["cells"]
    legend = shown.legend
    classes = Classes((1, 2), names=tuple(legend.names.values()), colors=tuple(legend.colors.values()))
    predicted = show_labels(
        shown.viewer, image, volume_of(image), np.ones((8, 9), np.uint8), classes, "model"
    )
    monkeypatch.setattr(QColorDialog, "getColor", lambda *_: QColor(0, 0, 255))
    shown.choose(2)
    QTest.mouseClick(shown.color_button, Qt.MouseButton.LeftButton)
    for layer in (strokes, predicted):
        np.testing.assert_allclose(layer.get_color(2), BLUE)
    shown.choose(0)
    QTest.mouseClick(shown.color_button, Qt.MouseButton.LeftButton)
    assert "has no colour" in shown.status.text()
    monkeypatch.setattr(QColorDialog, "getColor", lambda *_: QColor())
    shown.choose(2)
    shown.choose_color()
    np.testing.assert_allclose(strokes.get_color(2), BLUE)


def test_marks_follow_paint_and_undo(shown, strokes, qtbot):
    shown.add_class()
    strokes.paint((6, 6), 3)
    qtbot.waitUntil(lambda: rows(shown)[3] == ("3", "class 3", "●"))
    strokes.undo()
    qtbot.waitUntil(lambda: rows(shown)[3] == ("3", "class 3", ""))


def test_a_class_chosen_in_napari_is_listed_and_seen_once_it_is_painted(shown, strokes):
    strokes.colormap = {0: "transparent", None: "transparent", 1: "red", 2: "green"}
    strokes.selected_label = 5
    assert len(rows(shown)) == 3
    strokes.paint((6, 6), 5)
    assert rows(shown)[3][:2] == ("5", "class 5")
    assert strokes.get_color(5)[3] == 1


def test_a_layer_that_numbers_objects_has_no_classes(shown):
    objects = Labels(np.arange(90).reshape(9, 10).astype(np.uint16), name="cells of it")
    shown.viewer.add_layer(objects)
    shown.viewer.layers.selection.active = objects
    assert "has 89 values: it numbers objects" in shown.status.text()
    assert rows(shown) == [("0", "not labelled", "")]


def test_predictions_are_left_alone_and_layers_may_go(shown, strokes):
    predicted = Labels(np.ones((8, 9), np.uint8), metadata=LayerFacts(model="m", image="cells").to_metadata())
    shown.viewer.add_layer(predicted)
    shown.viewer.layers.selection.active = predicted
    assert shown.layer is strokes
    shown.viewer.layers.remove(strokes)
    assert shown.layer is None
    assert "Add a labels layer" in shown.status.text()
    assert shown.value == 0
    shown.add_class()
    shown.choose(1)
    assert not strokes.keymap
    again = shown.viewer.add_layer(Labels(np.zeros((8, 9), np.uint8)))
    assert shown.layer is again


def test_the_status_bar_names_no_digit_that_the_legend_has_taken(shown, strokes):
    digits = re.compile(r"<\d>")
    for mode in ("paint", "fill", "pan_zoom"):
        strokes.mode = mode
        assert "use <E> for activate the label eraser" in shown.viewer.help
        assert not digits.search(shown.viewer.help)
    shown.hide()
    assert "use <1> for activate the label eraser" in strokes.help
    assert len(digits.findall(strokes.help)) > 3
    strokes.help = "something else"
    shown.show()
    assert strokes.help == "something else"


def test_a_legend_out_of_sight_holds_nothing(shown, strokes):
    assert len(strokes.keymap) == 10
    shown.hide()
    assert not strokes.keymap
    before = rows(shown)
    strokes.paint((6, 6), 7)
    shown.viewer.layers.remove(strokes)
    assert rows(shown) == before
    shown.show()
    assert shown.layer is None


def test_background_is_called_so_where_a_zero_means_it(shown):
    shown.set_zero("background")
    assert rows(shown)[0] == ("0", "background", "")
    shown.rename(1, "axon")
    assert next(iter(shown.layer.features["class"])) == "background"


def test_what_train_says_of_zero_the_legend_says_too(qtbot, shown):
    train = TrainWidget(shown.viewer)
    qtbot.addWidget(train)
    shown.viewer.add_image(np.zeros(shown.layer.data.shape), name="image")
    train.reset_choices()
    assert train.labels.value is shown.layer
    train.zero.value = "background"
    assert shown.table.item(0, 2).text() == "background"
    shown.rename(1, "axon")
    assert shown.layer.features["class"].tolist()[:2] == ["background", "axon"]
    train.zero.value = "unlabelled"
    assert shown.table.item(0, 2).text() == "not labelled"
    train.objects.value = True
    assert shown.legend.zero == "background"


def test_painted_values_of_a_layer_with_lazy_data_are_not_looked_for():
    da = pytest.importorskip("dask.array")
    assert painted_values(Labels(da.zeros((9, 9), dtype=np.uint8)).data) is None
