"""Labels of every kind through napari's Save and our reader: voxels, scale, units, colours and names stay."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

pytest.importorskip("napari")
import dask.array as da
from napari.components import LayerList
from napari.layers import Labels
from npe2 import PluginManifest

from napari_limn._napari.files.reader import get_reader
from napari_limn._napari.files.writer import write_labels
from napari_limn._napari.layers.class_table import names_of
from napari_limn._napari.layers.facts import LayerFacts
from napari_limn._napari.layers.layers import finest, painted_look
from napari_limn.errors import LimnError

RNG = np.random.default_rng(1)
PLANE = RNG.integers(0, 4, (18, 25), dtype=np.uint8)
STACK = RNG.integers(0, 4, (5, 18, 25), dtype=np.uint16)
SERIES = RNG.integers(0, 3, (2, 3, 18, 25), dtype=np.uint8)
MICRO = "micrometer"
COLORS = {None: (0, 0, 0, 0), 1: (1, 0.2, 0, 1), 2: (0, 0.4, 1, 1), 3: (0.2, 1, 0.2, 1)}
NAMED = LayerFacts(class_names={1: "<b>axon</b>", 3: "Müll, 日本"}).to_metadata()


def stored(array):
    made = zarr.create_array({}, shape=array.shape, chunks=(1, 9, 9), dtype=array.dtype)
    made[:] = array
    return made


KINDS = {
    "plane": (PLANE, {}),
    "stack with units": (
        STACK,
        {"scale": (0.5, 0.1, 0.1), "units": (MICRO,) * 3, "axis_labels": ("z", "y", "x")},
    ),
    "series": (
        SERIES[:, 0],
        {"axis_labels": ("t", "y", "x"), "scale": (2.0, 0.3, 0.3), "units": ("second", MICRO, MICRO)},
    ),
    "series of stacks": (SERIES, {"axis_labels": ("t", "z", "y", "x")}),
    "origin": (STACK, {"translate": (3.0, -2.5, 40.0), "scale": (2.0, 1.0, 1.0)}),
    "levels": ([STACK, STACK[:, ::2, ::2]], {"multiscale": True}),
    "dask": (da.from_array(STACK, chunks=(2, 7, 25)), {}),
    "zarr": (stored(STACK), {"scale": (4.0, 1.0, 1.0)}),
    "large values": (np.where(PLANE > 1, np.uint32(4_000_000_000), PLANE).astype(np.uint32), {}),
    "colours and names": (PLANE, {"colormap": COLORS, "metadata": NAMED}),
    "pixels of two sizes": (PLANE, {"scale": (0.2, 0.5), "units": ("nanometer", "nanometer")}),
    "nothing painted": (np.zeros((4, 6), np.uint8), {}),
}


@pytest.fixture(autouse=True)
def _known_to_napari(npe2pm):
    """Let napari know this package as it does when it starts."""
    npe2pm.register(PluginManifest.from_distribution("napari-limn"))


def saved_and_opened(layer, path):
    assert LayerList([layer]).save(str(path), plugin="napari-limn") == [str(path)]
    [(data, look, kind)] = get_reader(str(path))(str(path))
    assert kind == "labels"
    return Labels(data, **look)


@pytest.mark.parametrize("suffix", [".ome.zarr", ".tif"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_comes_back_as_it_was(kind, suffix, tmp_path):
    data, look = KINDS[kind]
    layer = Labels(data, name="cells", **look)
    again = saved_and_opened(layer, tmp_path / f"cells{suffix}")

    assert finest(again).dtype == finest(layer).dtype
    np.testing.assert_array_equal(np.asarray(finest(again)), np.asarray(finest(layer)))
    np.testing.assert_allclose(again.scale, layer.scale)
    np.testing.assert_allclose(again.translate, layer.translate)
    assert [str(unit) for unit in again.units] == [str(unit) for unit in layer.units]
    if "axis_labels" in look:
        assert again.axis_labels == look["axis_labels"]
    values = [value for value in np.unique(np.asarray(finest(layer))) if value]
    for value, color in painted_look(layer, values).items():
        np.testing.assert_allclose(painted_look(again, [value])[value], color, atol=1 / 254)
    for value, name in names_of(layer).items():
        assert names_of(again)[value] == name


def test_what_a_file_cannot_say_is_said(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("napari_limn._napari.files.writer.notify_warning", shown.append)
    layer = Labels(PLANE, name="<i>cells", rotate=30)

    saved_and_opened(layer, tmp_path / "cells.ome.zarr")

    assert len(shown) == 1
    assert "turned, mirrored or sheared" in shown[0]
    assert "<i>" not in shown[0]


def test_a_file_that_the_layer_reads_from_is_not_replaced(tmp_path):
    path = tmp_path / "big.ome.zarr"
    saved_and_opened(Labels(STACK), path)
    before = sorted(p.stat().st_mtime_ns for p in path.rglob("*"))
    data, look, _ = get_reader(str(path))(str(path))[0]

    with pytest.raises(LimnError, match="choose another name"):
        write_labels(
            str(path), da.from_array(np.asarray(finest(Labels(data, **look)))), {**look, "multiscale": False}
        )
    assert sorted(p.stat().st_mtime_ns for p in path.rglob("*")) == before


def test_labels_in_memory_replace_a_file(tmp_path):
    path = tmp_path / "cells.tif"
    saved_and_opened(Labels(PLANE), path)
    again = saved_and_opened(Labels(PLANE[::-1].copy()), path)
    np.testing.assert_array_equal(np.asarray(again.data), PLANE[::-1])
    assert [p.name for p in tmp_path.iterdir()] == ["cells.tif"]
