"""Labels as OME-Zarr: levels, shards, metadata, probabilities, and labels inside an image."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from label_files import (
    COLORS,
    MICRONS,
    create,
    finished,
    none,
    open_json,
    write_blocks,
)
from partitions import extents, partitions, small

from napari_limn.errors import LimnError
from napari_limn.volume.axes import Axes
from napari_limn.volume.boxes import slices, whole
from napari_limn.volume.reading.omezarr import open_zarr
from napari_limn.volume.reading.open import open_volume
from napari_limn.volume.volume import Volume
from napari_limn.volume.writing.array_output import in_memory


def test_a_zarr_in_another_order_keeps_it(tmp_path):
    axes = Axes("XYZ", (0.25, 0.5, 2.0), ("micrometer",) * 3, (1.0, 2.0, 3.0))
    image = Volume.of(np.zeros((9, 8, 5)), axes)
    labels = np.random.default_rng(0).integers(0, 4, (1, 5, 8, 9)).astype(np.uint8)
    volume = open_zarr(write_blocks(create(tmp_path / "labels.zarr", image), labels).finish())
    assert volume.axes == axes
    assert volume.data.shards == (10, 8, 6)
    np.testing.assert_array_equal(volume.data[:], labels[0].transpose(2, 1, 0))


def test_colours_come_back_from_a_zarr_rounded_to_bytes(tmp_path, image):
    volume = open_zarr(finished(tmp_path / "labels.zarr", image))
    assert set(volume.colors) == set(COLORS)
    for value, color in COLORS.items():
        assert volume.colors[value] == pytest.approx(color, abs=1 / 510)


@given(
    st.data(),
    st.permutations("TCZYX"),
    st.sets(st.sampled_from("TCZ")),
    extents,
    st.sampled_from([None, "uint8", "float16"]),
)
@settings(deadline=None, max_examples=6)
def test_a_zarr_of_any_axes_is_whole_on_all_levels(tmp_path_factory, data, order, left_out, block, kind):
    names = "".join(a for a in order if a not in left_out)
    sizes = {"T": 2, "C": 3, "Z": 5, "Y": 9, "X": 11}
    image = Volume.of(np.zeros([sizes[a] for a in names], np.uint8), names)
    labels = np.random.default_rng(1).integers(0, 200, image.grid).astype(np.uint8)
    likely = np.random.default_rng(2).random((2, *image.grid), np.float32) if kind else None
    with small():
        output = create(tmp_path_factory.mktemp("any") / "a.zarr", image, block=block, probabilities=kind)
    told = []
    for box in data.draw(partitions(image.grid)):
        told += output.write(box, labels[slices(box)], likely[:, *slices(box)] if kind else None)
    path = output.finish()
    assert sorted(told) == list(range(output.layout.levels[0].count))
    found = open_volume(path)
    assert found.axes.names == "".join(sorted(names.replace("C", ""), key=lambda a: a != "T"))
    levels = [found.data, *found.levels]
    for level, at in zip(levels, output.layout, strict=True):
        expected = labels[tuple(slice(None, None, s) for s in at.stride)]
        part = Volume(level, found.axes)
        np.testing.assert_array_equal(part.read(whole(part.grid))[0], expected)
    if kind:
        stored = np.rint(255 * likely).astype("u1") if kind == "uint8" else likely.astype("f2")
        chances = open_volume(path / "probabilities")
        assert (chances.dtype, chances.channels) == (np.dtype(kind), 2)
        for level, at in zip([chances.data, *chances.levels], output.layout, strict=True):
            part = Volume(level, chances.axes)
            expected = stored[:, *(slice(None, None, s) for s in at.stride)]
            np.testing.assert_array_equal(part.read(whole(part.grid)), expected)


def test_a_zarr_has_shards_of_chunks_and_no_shard_without_labels(tmp_path, image, labels):
    with small():
        output = create(tmp_path / "labels.ome.zarr", image, block=(1, 2, 3, 3))
    box = ((0, 1), (0, 2), (6, 8), (0, 9))
    ones = np.zeros_like(labels)
    ones[slices(box)] = 1
    level = write_blocks(output, ones).finish() / "labels/classes/0"
    array = zarr.open_array(level)
    assert (array.shards, array.chunks) == ((2, 6, 6), (2, 3, 3))
    stored = {str(p.relative_to(level)) for p in level.rglob("*") if p.is_file()}
    assert stored == {"zarr.json", "c/0/1/0", "c/0/1/1"}


def test_metadata_of_a_zarr(tmp_path, image):
    with small(coarsest=5):
        path = finished(tmp_path / "brain.labels.ome.zarr", image)
    root, label = open_json(path), open_json(path / "labels" / "classes")
    assert root["zarr_format"] == 3
    assert root["attributes"]["ome"]["version"] == "0.5"
    assert open_json(path / "labels")["attributes"]["ome"] == {"version": "0.5", "labels": ["classes"]}
    (whole_image,), (multiscale,) = (m["attributes"]["ome"]["multiscales"] for m in (root, label))
    assert (whole_image["name"], multiscale["name"]) == ("brain", "classes")
    assert [d["path"] for d in whole_image["datasets"]] == [f"labels/classes/{n}" for n in range(3)]
    assert [d["path"] for d in multiscale["datasets"]] == ["0", "1", "2"]
    for found in (whole_image, multiscale):
        assert found["axes"] == [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"]
        assert [d["coordinateTransformations"] for d in found["datasets"]] == [
            [{"type": "scale", "scale": s}, {"type": "translation", "translation": [10.0, 20.0, 30.0]}]
            for s in ([2.0, 0.5, 0.25], [2.0, 0.5, 0.5], [2.0, 1.0, 1.0])
        ]
    described = label["attributes"]["ome"]["image-label"]
    assert described["source"] == {"image": "../../"}
    assert described["colors"] == [
        {"label-value": 1, "rgba": [255, 0, 51, 255]},
        {"label-value": 3, "rgba": [0, 255, 102, 204]},
    ]
    assert described["properties"] == [
        {"label-value": 1, "class": "cell"},
        {"label-value": 3, "class": "wall"},
    ]
    assert open_json(path / "labels/classes/0")["dimension_names"] == ["z", "y", "x"]
    for part in (path, path / "labels/classes"):
        volume = open_volume(part)
        assert volume.axes == MICRONS.without("C")
        assert set(volume.colors) == {1, 3}
        assert len(volume.levels) == 2


def test_probabilities_are_the_image_of_their_labels(tmp_path, image):
    path = finished(tmp_path / "a.ome.zarr", image, probabilities="uint8")
    ome = open_json(path)["attributes"]["ome"]
    assert [d["path"] for d in ome["multiscales"][0]["datasets"]] == ["probabilities/0"]
    assert [(c["label"], c["color"]) for c in ome["omero"]["channels"]] == [
        ("cell", "FF0033"),
        ("wall", "00FF66"),
    ]
    assert open_volume(path).colors is not None
    chances = open_volume(path / "probabilities")
    assert chances.axes.names == "CZYX"
    assert chances.axes.without("C") == MICRONS.without("C")
    assert zarr.open_array(path / "probabilities/0").shards[0] == 1


@pytest.mark.parametrize("given", [None, 3])
def test_probabilities_must_be_of_all_classes(tmp_path, image, labels, given):
    output = create(tmp_path / "a.ome.zarr", image, probabilities="float16")
    likely = None if given is None else np.zeros((given, *labels.shape), np.float32)
    with pytest.raises(LimnError, match=f"found probabilities of {given or 0} classes, expected 2"):
        output.write(whole(labels.shape), labels, likely)
    with pytest.raises(LimnError, match="found class probabilities for an array of labels"):
        in_memory(image, "u1").write(whole(labels.shape), labels, none(image))


def test_probabilities_do_not_fit_a_tiff(tmp_path, image):
    with pytest.raises(
        LimnError, match=r"class probabilities asked for, expected a name that ends in \.ome\.zarr"
    ):
        create(tmp_path / "a.tif", image, probabilities="uint8")
    assert list(tmp_path.iterdir()) == []


def test_a_zarr_of_unknown_voxel_size_has_neither_units_nor_translation(tmp_path):
    image = Volume.of(np.zeros((2, 5, 8, 9)), "TZYX")
    path = finished(tmp_path / "labels.zarr", image)
    (multiscale,) = zarr.open_group(path).attrs["ome"]["multiscales"]
    assert [axis["type"] for axis in multiscale["axes"]] == ["time", "space", "space", "space"]
    assert not any("unit" in axis for axis in multiscale["axes"])
    (dataset,) = multiscale["datasets"]
    assert [step["type"] for step in dataset["coordinateTransformations"]] == ["scale"]


def test_a_zarr_that_is_not_complete_is_no_image(tmp_path, image):
    create(tmp_path / "labels.zarr", image)
    with pytest.raises(LimnError, match="no readable Zarr"):
        open_zarr(tmp_path / "labels.zarr.partial")


def foreign_image(path, levels=3):
    """An OME-Zarr 0.5 image of another writer."""
    group = zarr.create_group(path, zarr_format=3)
    for n in range(levels):
        shape = (5, -(-8 // 2**n), -(-9 // 2**n))
        group.create_array(str(n), shape=shape, dtype="u2", dimension_names=list("zyx"))
    datasets = [
        {
            "path": str(n),
            "coordinateTransformations": [{"type": "scale", "scale": [2.0, 0.5 * 2**n, 0.25 * 2**n]}],
        }
        for n in range(levels)
    ]
    axes = [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    return path


def valid(path):
    """Both validators accept a path."""
    yaozarrs = pytest.importorskip("yaozarrs")
    assert yaozarrs.validate_zarr_store(str(path)).ome_version() == "0.5"
    try:
        from ome_zarr_models import open_ome_zarr
    except ImportError:
        return True
    return open_ome_zarr(zarr.open_group(path, mode="r")) is not None


def test_labels_go_into_the_image_they_belong_to(tmp_path, image, labels):
    inside = foreign_image(tmp_path / "brain.ome.zarr") / "labels"
    for name in ("first", "second.v2"):
        output = create(inside / name, image)
        assert len(output.layout.levels) == 3
        write_blocks(output, labels)
        assert not (inside / name).exists()
        assert output.finish() == inside / name
        assert open_volume(inside / name).colors.keys() == {1, 3}
        np.testing.assert_array_equal(open_volume(inside / name).data[:], labels[0])
    assert open_json(inside)["attributes"]["ome"]["labels"] == ["first", "second.v2"]
    assert {p.name for p in inside.iterdir()} == {"zarr.json", "first", "second.v2"}
    assert open_volume(inside.parent).colors is None
    for path in (inside.parent, inside, inside / "first", inside / "second.v2"):
        assert valid(path)
    write_blocks(create(inside / "first", image, overwrite=True), labels).finish()
    assert open_json(inside)["attributes"]["ome"]["labels"] == ["first", "second.v2"]


@pytest.mark.parametrize("name", ["a b", "x" * 65, "...", "a:b", "é", "a.partial"])
def test_names_that_not_every_system_can_store_are_refused(tmp_path, image, name):
    inside = foreign_image(tmp_path / "brain.ome.zarr") / "labels"
    with pytest.raises(LimnError, match="found a name that not every system can store"):
        create(inside / name, image)
    assert not inside.exists()


def test_an_image_of_an_older_format_takes_no_labels(tmp_path, image):
    zarr.create_group(tmp_path / "old.zarr", zarr_format=2).attrs["multiscales"] = [{}]
    with pytest.raises(LimnError, match=r"found no OME-Zarr 0\.5 image to write labels into, expected one"):
        create(tmp_path / "old.zarr/labels/a", image)


@pytest.mark.parametrize("kind", [None, "uint8", "float16"])
@pytest.mark.parametrize("names", ["YX", "ZYX", "CZYX", "TYX", "TZYX", "ZTCYX"])
def test_an_output_is_valid_wherever_it_is_opened(tmp_path, names, kind):
    units = tuple({"T": "second", "C": "pixel"}.get(a, "micrometer") for a in names)
    image = Volume(np.zeros((2, 3, 4, 5, 6)[-len(names) :]), Axes.of(names, units=units))
    with small():
        path = finished(tmp_path / "labels.ome.zarr", image, probabilities=kind)
    for part in (".", "labels", "labels/classes", *(["probabilities"] if kind else ())):
        assert valid(path / part)
    assert not list(path.rglob("*.partial"))
