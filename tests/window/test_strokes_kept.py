"""Strokes in a real window, kept in files: of images that are too large for memory, of their own, and of others."""

from __future__ import annotations

import json
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from strokes_by_hand import begin, journal, kinds, remove, write_image

from napari_limn import LimnError
from napari_limn.annotation.journal.format import read_journal, replay
from napari_limn.annotation.journal.sparse_labels import PaintStore
from napari_limn.volume.reading.open import open_volume

pytestmark = pytest.mark.window


@pytest.fixture
def image(tmp_path):
    return write_image(tmp_path)


def test_labels_that_are_read_from_a_file_are_not_saved_over_one(hand, image, tmp_path):
    hand.drop(image)
    path = tmp_path / "mine.tif"
    tifffile.imwrite(path, np.ones(hand.viewer.layers[0].data.shape, np.uint8))
    layer = hand.viewer.add_labels(da.from_array(tifffile.memmap(path)), name="mine")
    strokes = hand.open_widget("Strokes")
    strokes.labels.value = layer
    before = path.read_bytes()
    with pytest.raises(LimnError, match="reads its labels from a file piece by piece, perhaps from this one"):
        strokes.save(path)
    assert path.read_bytes() == before
    strokes.save(tmp_path / "other.tif")
    hand.wait_idle(strokes)
    assert (tifffile.imread(tmp_path / "other.tif") == 1).all()


@pytest.fixture
def huge(tmp_path):
    """An OME-Zarr of 30 GB of which next to nothing is stored."""
    path = tmp_path / "huge.ome.zarr"
    group = zarr.create_group(path, zarr_format=3)
    array = group.create_array(
        "0", shape=(1000, 4096, 3662), chunks=(1, 512, 512), dtype="u2", fill_value=0,
        dimension_names=["z", "y", "x"],
    )  # fmt: skip
    array[500, :512, :512] = 7
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"]
    scale = [{"type": "scale", "scale": [2.0, 0.5, 0.5]}]
    ome = {
        "version": "0.5",
        "multiscales": [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}],
    }
    group.attrs["ome"] = ome
    return path


@pytest.mark.exhaustive
def test_painting_on_an_image_of_30_gb(hand, huge, tmp_path):
    hand.drop(huge)
    widget = hand.open_widget("Strokes")
    hand.viewer.dims.set_point(0, 1000)
    hand.press("limn-strokes-new")
    hand.pump(0.3)
    layer = hand.viewer.layers[-1]
    assert isinstance(layer.data, PaintStore)
    assert layer.data.size * 2 > 29e9
    assert tuple(layer.scale) == (2.0, 0.5, 0.5)
    assert layer.axis_labels == ("z", "y", "x")
    layer.paint((500, 100, 100), 3)
    with layer.block_history():
        for x in range(0, 200, 3):
            layer.paint((501, 300, 1000 + x), 2)
    layer.fill((500, 100, 100), 1)
    layer.undo()
    contents = read_journal(journal(huge))
    assert [r.kind for r in contents.records] == ["stroke", "stroke", "stroke", "undo"]
    rebuilt = replay(contents)
    assert rebuilt.boxes() == layer.data.boxes()
    for box in rebuilt.boxes():
        np.testing.assert_array_equal(rebuilt.read(box), layer.data.read(box))
    assert layer.data.nbytes < 1e6
    remove(hand, layer)
    hand.press("limn-strokes-offer-back")
    hand.pump(0.2)
    back = widget.labels.value
    assert isinstance(back.data, PaintStore)
    assert back.data[500, 100, 100] == 3


def test_strokes_are_saved_to_a_file_of_their_own(hand, image, tmp_path):
    widget, layer = begin(hand, image)
    hand.paint([(50, 50), (60, 90)], 2)
    for name in ("out.tif", "out.ome.zarr"):
        widget.save(tmp_path / name)
        hand.wait_idle(widget)
        labels = open_volume(tmp_path / name)
        np.testing.assert_array_equal(
            np.squeeze(labels.read(((0, 1), (0, 1), (0, 200), (0, 240)))), layer.data
        )
        assert labels.axes.scale == (0.5, 0.5)
        np.testing.assert_allclose(labels.colors[2][:3], layer.get_color(2)[:3], atol=0.01)
    assert kinds(image) == ["stroke", "saved", "saved"]
    remove(hand, layer)
    hand.pump(0.1)
    assert "They were saved as" in widget.offer.sentence.text()
    hand.press("limn-strokes-offer-later")
    assert not hand.find("limn-strokes-offer").isVisible()
    assert json.loads(Path(journal(image)).read_text().splitlines()[-1])["note"].endswith("out.ome.zarr")
