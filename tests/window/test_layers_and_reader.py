"""What crosses between layers, files and volumes; most of it without a window."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import tifffile
import zarr
from outputs import output_at

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.layers._layer_actions import _duplicate_layer
from napari.utils._proxies import PublicOnlyProxy

from napari_limn import Classes, LimnError
from napari_limn._napari.files.reader import get_reader
from napari_limn._napari.files.samples import painted_sem, unseen_sem
from napari_limn._napari.layers.class_table import names_of
from napari_limn._napari.layers.facts import LayerFacts
from napari_limn._napari.layers.layers import (
    empty_labels,
    hand_over,
    image_volume,
    is_painted,
    layer_axes,
    painted_look,
    placement,
    show_labels,
    under,
    volume_of,
)
from napari_limn.training.planning.presets import preset_network
from napari_limn.volume.reading.open import open_volume
from napari_limn.volume.writing.array_output import labels_shape


def read(path):
    return get_reader(str(path))(str(path))


def test_a_stack_opens_lazily_with_scale_and_units(tmp_path):
    data = np.arange(5 * 20 * 30, dtype=np.uint16).reshape(5, 20, 30)
    metadata = {
        "axes": "ZYX",
        "PhysicalSizeX": 0.2,
        "PhysicalSizeY": 0.2,
        "PhysicalSizeZ": 900,
        "PhysicalSizeZUnit": "nm",
    }
    tifffile.imwrite(tmp_path / "stack.ome.tif", data, metadata=metadata)
    [(array, look, kind)] = read(tmp_path / "stack.ome.tif")
    assert kind == "image"
    assert not isinstance(array, np.ndarray)
    np.testing.assert_array_equal(array[2], data[2])
    layer = Image(array, **look)
    assert tuple(layer.scale) == pytest.approx((900, 0.2, 0.2))
    assert [str(u) for u in layer.units] == ["nanometer", "micrometer", "micrometer"]
    assert layer.axis_labels == ("z", "y", "x")


def test_channels_become_layers_and_colour_stays_together(tmp_path):
    data = np.random.default_rng(0).integers(0, 255, (2, 3, 16, 16), np.uint8)
    tifffile.imwrite(tmp_path / "zcyx.tif", np.moveaxis(data, 0, 1), imagej=True, metadata={"axes": "ZCYX"})
    layers = read(tmp_path / "zcyx.tif")
    assert [look["name"] for _, look, _ in layers] == ["zcyx [0]", "zcyx [1]"]
    np.testing.assert_array_equal(layers[1][0], data[1])
    tifffile.imwrite(tmp_path / "rgb.tif", data[0][..., None].repeat(3, axis=-1), photometric="rgb")
    [(_, look, _)] = read(tmp_path / "rgb.tif")
    assert look["rgb"]
    assert look["axis_labels"] == ("z", "y", "x")


def test_labels_written_here_open_as_labels_in_their_colours(tmp_path):
    image = open_volume(np.zeros((6, 8), np.uint8))
    for name in ("labels.tif", "labels.ome.zarr"):
        output = output_at(
            tmp_path / name, image, "uint8", (1, 1, 6, 8), {3: (1.0, 0.0, 0.0, 1.0)}, {3: "axon"}
        )
        output.write(((0, 1), (0, 1), (0, 6), (0, 8)), np.full((1, 1, 6, 8), 3, np.uint8))
        output.finish()
        [(array, look, kind)] = read(tmp_path / name)
        assert kind == "labels"
        assert isinstance(array, np.ndarray), (
            "these could be painted on only in part, and would not be journalled"
        )
        assert array.flags.writeable
        layer = Labels(array, **look)
        np.testing.assert_allclose(layer.get_color(3), (1, 0, 0, 1))


def test_large_labels_open_lazily(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_limn._napari.files.reader.PLAIN", 47)
    image = open_volume(np.zeros((6, 8), np.uint8))
    output = output_at(tmp_path / "labels.tif", image, "uint8", (1, 1, 6, 8), {}, {})
    output.write(((0, 1), (0, 1), (0, 6), (0, 8)), np.full((1, 1, 6, 8), 3, np.uint8))
    output.finish()
    [(array, _, _)] = read(tmp_path / "labels.tif")
    assert not isinstance(array, np.ndarray)


def test_a_pyramid_opens_as_one(tmp_path):
    group = zarr.create_group(tmp_path / "p.zarr", zarr_format=3)
    for level, n in enumerate((32, 16)):
        group.create_array(str(level), data=np.full((n, n), level, np.uint8))
    paths = [
        {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": [2**level] * 2}]}
        for level in (0, 1)
    ]
    axes = [{"name": a, "type": "space"} for a in "yx"]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": paths}]}
    [(levels, look, _)] = read(tmp_path / "p.zarr")
    assert look["multiscale"]
    assert [level.shape for level in levels] == [(32, 32), (16, 16)]


def test_the_reader_leaves_other_files_alone(tmp_path):
    assert get_reader(str(tmp_path / "picture.png")) is None
    assert get_reader(["a.tif", "b.png"]) is None
    assert get_reader([]) is None
    assert get_reader(["a.tif", "b.zarr"]) is not None


def test_a_layer_becomes_a_volume_and_its_labels_come_back_to_its_place():
    viewer = ViewerModel()
    image = viewer.add_image(
        np.zeros((4, 10, 12), np.uint8), name="brain", scale=(3, 0.5, 0.5), translate=(7, 1, 2), rotate=20,
        units=("micrometer",) * 3, axis_labels=("t", "y", "x"),
    )  # fmt: skip
    volume = volume_of(image)
    assert volume.axes.names == "TYX"
    assert volume.grid == (4, 1, 10, 12)
    assert volume.axes.units == ("micrometer",) * 3
    classes = Classes((1, 5), colors=((1.0, 0.0, 0.0, 1.0), (0.0, 1.0, 0.0, 1.0)))
    shown = show_labels(viewer, image, volume, empty_labels(volume, np.uint8), classes, "model")
    for what in ("scale", "translate", "rotate", "shear"):
        np.testing.assert_allclose(getattr(shown, what), getattr(image, what))
    assert shown.units == image.units
    assert shown.axis_labels == image.axis_labels
    np.testing.assert_allclose(shown.get_color(5), (0, 1, 0, 1))
    again = show_labels(viewer, image, volume, empty_labels(volume, np.uint8), classes, "model")
    assert [layer.name for layer in viewer.layers] == ["brain", "brain labels"], "predictions pile up"
    assert again is not shown


def test_a_layer_of_the_same_name_that_the_user_made_is_not_replaced_and_predictions_do_not_pile_up():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((10, 12), np.uint8), name="brain")
    mine = viewer.add_labels(np.ones((10, 12), np.uint8), name="brain labels")
    for _ in range(3):
        predict(viewer, image)
    assert mine in viewer.layers
    assert len(viewer.layers) == 3


@pytest.mark.parametrize("touch", ["rename", "copy", "hand over", "hand over a renamed one"])
def test_a_prediction_that_the_user_touched_is_not_replaced(touch):
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((10, 12), np.uint8), name="brain")
    found = predict(viewer, image)
    if touch == "copy":
        viewer.layers.selection.active = found
        _duplicate_layer(viewer.layers)
        found = viewer.layers["brain labels copy"]
    if "rename" in touch:
        found.name = "mine"
    if "hand over" in touch:
        hand_over(found)
        assert found.name == ("mine" if "rename" in touch else "brain corrected")
        assert is_painted(found)
        assert names_of(found) == {1: "class 1", 2: "class 2"}
    predict(viewer, image)
    predict(viewer, image)
    assert found in viewer.layers
    assert len(viewer.layers) == 3


def predict(viewer, image):
    volume = volume_of(image)
    return show_labels(viewer, image, volume, empty_labels(volume, np.uint8), Classes((1, 2)), "model")


@pytest.mark.parametrize(
    ("shape", "look", "names"),
    [
        ((8, 9), {}, "YX"),
        ((3, 8, 9), {}, "ZYX"),
        ((2, 3, 8, 9), {}, "TZYX"),
        ((8, 9, 3), {"rgb": True}, "YXC"),
        ((5, 8, 9, 3), {"rgb": True, "axis_labels": ("time", "y", "x")}, "TYXC"),
        ((2, 3, 8, 9), {"axis_labels": ("c", "z", "y", "x")}, "CZYX"),
    ],
)
def test_axes_of_layers(shape, look, names):
    assert volume_of(Image(np.zeros(shape, np.uint8), **look)).axes.names == names


def test_a_layer_of_too_many_dimensions_is_refused_by_name():
    with pytest.raises(LimnError, match=r"five: found 5 dimensions .* expected axis labels"):
        volume_of(Image(np.zeros((2, 2, 2, 8, 9), np.uint8), name="five"))


def test_several_layers_are_the_channels_of_one_volume():
    layers = [Image(np.full((4, 5), v, np.uint8), name=str(v)) for v in (1, 2)]
    volume = image_volume(layers)
    assert volume.channels == 2
    assert volume.read(((0, 1), (0, 1), (0, 1), (0, 1))).ravel().tolist() == [1, 2]
    assert labels_shape(volume) == (4, 5), "labels would not fit the layers"
    for layer in layers:
        layer.scale = (2, 3)
    assert placement(layers[0], image_volume(layers))["scale"].tolist() == [2, 3]
    assert layer_axes(layers[0], volume) == "YX"
    with pytest.raises(LimnError, match="choose channels of one image"):
        image_volume([*layers, Image(np.zeros((4, 6)))])


def test_painted_colours_are_those_on_the_screen():
    layer = Labels(np.zeros((4, 5), np.uint8))
    colors = painted_look(layer)
    np.testing.assert_allclose(colors[3][:3], layer.get_color(3)[:3])
    assert all(color[3] == 1 for color in colors.values())


def test_large_labels_go_to_disk(monkeypatch):
    monkeypatch.setattr("napari_limn._napari.layers.layers._IN_MEMORY", 10)
    volume = open_volume(np.zeros((3, 40, 50), np.uint8))
    labels = empty_labels(volume, np.uint16)
    assert isinstance(labels, zarr.Array)
    assert (labels.shape, labels.dtype) == ((3, 40, 50), np.uint16)
    folder = labels.store.root
    assert folder.is_dir()
    del labels
    gc.collect()
    assert not folder.exists(), "labels that nothing holds any more stay on the disk"


def test_sample_data_are_real_images_with_strokes():
    [(image, _, _), (strokes, look, kind)] = painted_sem()
    assert kind == "labels"
    assert image.shape == strokes.shape
    assert set(np.unique(strokes)) == {0, 1, 2, 3}
    assert (strokes > 0).mean() < 0.01
    assert Labels(strokes, **look).data.dtype == np.uint8
    [(unseen, _, _)] = unseen_sem()
    assert unseen.shape != image.shape


def test_the_picture_follows_the_choice_of_the_network(hand):
    hand.viewer.add_image(np.random.default_rng(0).random((12, 64, 64)), scale=(3, 1, 1))
    train = hand.open_widget("Train")
    hand.pump(0.2)
    assert train.picture.spec == preset_network("balanced", 2)
    train.preset.value = "thorough"
    assert train.picture.spec == preset_network("thorough", 2)
    train.dims.value = 3
    assert train.picture.spec == preset_network("thorough", 3, (3.0, 1.0, 1.0), 12)
    drawn = train.picture.pixmap().toImage()
    assert len({drawn.pixel(x, drawn.height() // 5) for x in range(drawn.width())}) > 3
    train.preset.value, train.dims.value = "fast", 2
    assert train.picture.spec == preset_network("fast", 2)


@pytest.mark.parametrize(
    "given", [lambda viewer: viewer, PublicOnlyProxy], ids=["itself", "as plugins get it"]
)
def test_a_prediction_lies_between_image_and_paint_and_painting_goes_on(given):
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((8, 9)), name="cells")
    strokes = viewer.add_labels(np.zeros((8, 9), np.uint8), name="strokes")

    def predict():
        look = volume_of(image), np.ones((8, 9), np.uint8), Classes((1, 2)), "m"
        return show_labels(given(viewer), image, *look)

    for _ in range(2):
        layer = predict()
        assert [x.name for x in viewer.layers] == ["cells", "cells labels", "strokes"]
        assert viewer.layers.selection.active is strokes
    assert layer.opacity == 0.5
    viewer.layers.selection.active = image
    layer = predict()
    assert viewer.layers.selection.active is layer
    viewer.layers.remove(strokes)
    viewer.add_image(np.zeros((8, 9)), name="other")
    predict()
    assert viewer.layers[-1].name == "cells labels"


def test_a_prediction_comes_without_an_announcement_that_it_was_chosen():
    viewer, announced = ViewerModel(), []
    plugins = PublicOnlyProxy(viewer)
    image = viewer.add_image(np.zeros((8, 9), np.float32), name="cells")
    strokes = viewer.add_labels(np.zeros((8, 9), np.uint8), name="strokes")
    viewer.layers.selection.events.connect(lambda event: announced.append(event.type))
    shown = show_labels(plugins, image, volume_of(image), np.ones((8, 9), np.uint8), Classes((1, 2)), "model")
    assert list(viewer.layers) == [image, shown, strokes]
    assert set(viewer.layers.selection) == {strokes}
    assert viewer.layers.selection.active is strokes
    assert announced == []
    viewer.layers.selection.active = shown
    assert "active" in announced, "a later choice has to be announced"


def test_maps_of_doubt_lie_where_they_are_seen_above_predictions_and_below_paint():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((8, 9), np.float32), name="cells")
    strokes = viewer.add_labels(np.zeros((8, 9), np.uint8), name="strokes")

    def predict(kind, below=None):
        look = volume_of(image), np.ones((8, 9), np.uint8), Classes((1, 2)), "model"
        show_labels(viewer, image, *look, kind=kind, below=below)

    predict("labels")
    metadata = LayerFacts(model="model", image="cells").to_metadata()
    doubts = Image(np.zeros((8, 9), np.uint8), name="cells uncertainty", metadata=metadata)
    viewer.layers.insert(under(viewer, image, is_painted), doubts)
    predict("labels")
    predict("live", below=strokes)
    names = [layer.name for layer in viewer.layers]
    assert names == ["cells", "cells labels", "cells live", "cells uncertainty", "strokes"]


def two_images(folder):
    with tifffile.TiffWriter(folder / "two.tif") as writer:
        for shape in ((20, 24), (24, 20)):
            writer.write(np.zeros(shape, np.uint8), contiguous=False, photometric="minisblack")
    return folder / "two.tif"


def test_where_there_is_no_window_to_ask_in_all_images_of_a_path_are_read(tmp_path):
    layers = read(two_images(tmp_path))
    assert [(look["name"], array.shape) for array, look, _ in layers] == [
        ("two 0", (20, 24)),
        ("two 1", (24, 20)),
    ]


def test_a_dialog_asks_which_images_of_a_path_are_opened(make_napari_viewer, tmp_path, monkeypatch):
    viewer, answers = make_napari_viewer(), []

    def answer(dialog):
        rows = dialog.table.rowCount()
        assert [dialog.table.item(row, 3).text() for row in range(rows)] == ["20 × 24", "24 × 20"]
        act = answers.pop()
        if act == "all":
            dialog.all.click()
        else:
            dialog.table.selectRow(1)
            (dialog.accept if act == "second" else dialog.reject)()
        return dialog.result()

    monkeypatch.setattr("napari_limn._napari.files.choose.ChooseImages.exec", answer)
    path = two_images(tmp_path)
    for act, names in {"cancel": [], "second": ["two 1"], "all": ["two 1", "two 0", "two 1 [1]"]}.items():
        answers.append(act)
        viewer.open(path, plugin="napari-limn")
        assert [layer.name for layer in viewer.layers] == names
