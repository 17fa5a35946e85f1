from __future__ import annotations

import json
import shutil
from collections import namedtuple

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_limn.errors import LimnError
from napari_limn.volume.axes import Axes
from napari_limn.volume.boxes import blocks, slices
from napari_limn.volume.omezarr import open_zarr
from napari_limn.volume.open import open_volume
from napari_limn.volume.output import ArrayOutput, create_output, in_memory, labels_shape
from napari_limn.volume.tiff import open_tiff
from napari_limn.volume.volume import Volume

COLORS = {1: (1.0, 0.0, 0.2, 1.0), 3: (0.0, 0.999, 0.4, 0.8)}
NAMES = {1: "cell", 3: "wall"}
MICRONS = Axes("CZYX", (1.0, 2.0, 0.5, 0.25), ("pixel",) + ("micrometer",) * 3, (0.0, 10.0, 20.0, 30.0))
BLOCK = (1, 2, 4, 5)
SUFFIXES = [".tif", ".tiff", ".ome.tif", ".zarr", ".ome.zarr"]


@pytest.fixture
def image():
    return Volume(np.zeros((2, 5, 8, 9), np.uint16), MICRONS, "brain.tif")


@pytest.fixture
def labels():
    return np.random.default_rng(0).integers(0, 4, (1, 5, 8, 9)).astype(np.uint8)


def create(path, image, dtype="u1", block=BLOCK, **options):
    return create_output(path, image, np.dtype(dtype), block, COLORS, NAMES, **options)


def write_blocks(output, labels, block=BLOCK, order=1):
    for box in list(blocks(labels.shape, block))[::order]:
        output.write(box, labels[slices(box)])
    return output


@given(
    st.permutations("TCZYX"),
    st.sets(st.sampled_from("TCZ")),
    st.lists(st.integers(1, 5), min_size=4, max_size=4),
)
@settings(deadline=None, max_examples=80)
def test_blocks_in_any_order_make_the_whole_in_the_axes_of_the_image(order, left_out, block):
    names = "".join(a for a in order if a not in left_out)
    sizes = {"T": 2, "C": 3, "Z": 3, "Y": 5, "X": 7}
    image = Volume.of(np.zeros([sizes[a] for a in names], np.uint8), names)
    expected = np.random.default_rng(1).integers(1, 200, labels_shape(image)).astype(np.uint8)
    on_grid = Volume.of(expected, names.replace("C", "")).read(tuple((0, n) for n in image.grid))[0]
    output = write_blocks(in_memory(image, np.uint8), on_grid, block, order=-1)
    np.testing.assert_array_equal(output.finish(), expected)


def test_an_array_output_writes_into_what_it_is_given(image, labels):
    array = np.full((5, 8, 9), 99, np.uint8)
    output = ArrayOutput(image, array)
    output.write(((0, 1), (1, 2), (0, 8), (3, 9)), labels[:, 1:2, :, 3:9])
    assert output.finish() is array
    np.testing.assert_array_equal(array[1, :, 3:], labels[0, 1, :, 3:])
    assert (array[0] == 99).all()
    assert (array[1, :, :3] == 99).all()


def test_in_memory_is_zeros_of_the_type_asked_for(image):
    array = in_memory(image, np.uint16).finish()
    assert (array.shape, array.dtype, array.any()) == ((5, 8, 9), np.uint16, False)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i4"])
def test_a_file_written_block_by_block_equals_the_whole(tmp_path, image, labels, suffix, dtype):
    path = tmp_path / f"labels{suffix}"
    output = write_blocks(create(path, image, dtype), labels.astype(dtype))
    assert output.finish() == path
    volume = open_volume(path)
    assert volume.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(volume.read(((0, 1), (0, 5), (0, 8), (0, 9)))[0], labels)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_not_written_is_0(tmp_path, image, labels, suffix):
    output = create(tmp_path / f"labels{suffix}", image)
    box = ((0, 1), (2, 4), (4, 8), (5, 9))
    output.write(box, labels[slices(box)])
    found = open_volume(output.finish()).read(((0, 1), (0, 5), (0, 8), (0, 9)))[0]
    expected = np.zeros_like(labels)
    expected[slices(box)] = labels[slices(box)]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_file_has_its_name_only_when_it_is_complete(tmp_path, image, labels, suffix):
    path = tmp_path / f"labels{suffix}"
    output = write_blocks(create(path, image), labels)
    assert [p.name for p in tmp_path.iterdir()] == [f"labels{suffix}.partial"]
    output.finish()
    assert [p.name for p in tmp_path.iterdir()] == [f"labels{suffix}"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_existing_file_is_refused_and_not_touched(tmp_path, image, suffix):
    path = create(tmp_path / f"labels{suffix}", image).finish()
    before = sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*"))
    with pytest.raises(
        LimnError, match=r"labels\S+: exists already; choose another name, or say --overwrite"
    ):
        create(path, image)
    assert sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_overwrite_keeps_the_old_file_until_the_new_one_is_complete(tmp_path, image, labels, suffix):
    path = write_blocks(create(tmp_path / f"labels{suffix}", image), labels).finish()
    output = create(path, image, overwrite=True)
    everywhere = ((0, 1), (0, 5), (0, 8), (0, 9))
    np.testing.assert_array_equal(open_volume(path).read(everywhere)[0], labels)
    output.finish()
    assert not open_volume(path).read(everywhere).any()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_what_an_aborted_run_left_is_cleared_away(tmp_path, image, labels, suffix):
    write_blocks(create(tmp_path / f"labels{suffix}", image), labels)
    path = create(tmp_path / f"labels{suffix}", image).finish()
    assert not open_volume(path).read(((0, 1), (0, 5), (0, 8), (0, 9))).any()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("name", "suffix"), [("a.png", ".png"), ("a", "(none)"), ("a.ome", ".ome")])
def test_an_unknown_suffix_is_refused(tmp_path, image, name, suffix):
    with pytest.raises(LimnError) as caught:
        create(tmp_path / name, image)
    assert f"{name}: found suffix '{suffix}', expected .tif or .ome.zarr" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_a_missing_folder_is_refused_and_not_made(tmp_path, image, suffix):
    with pytest.raises(
        LimnError, match=r"none: there is no such folder to write labels\S+ into; create it first"
    ):
        create(tmp_path / "none" / f"labels{suffix}", image)
    assert not (tmp_path / "none").exists()


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(tmp_path, monkeypatch):
    usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12 - 10**9, 10**9))
    image = Volume.of(np.broadcast_to(np.uint8(0), (1000, 1500, 1000)))
    with pytest.raises(
        LimnError, match=r"need 1\.5 GB, the disk has 1\.0 GB free; make room, or.*\.ome\.zarr"
    ):
        create(tmp_path / "labels.tif", image)
    assert list(tmp_path.iterdir()) == []
    create(tmp_path / "labels.ome.zarr", image, block=(1, 64, 64, 64)).finish()


def test_a_tiff_in_another_order_is_refused_with_a_way_out(tmp_path):
    image = Volume.of(np.zeros((5, 8, 9)), "XYZ", "brain.tif")
    with pytest.raises(
        LimnError, match=r"brain\.tif: found axes XYZ, OME-TIFF needs.*TZYX; write \.ome\.zarr"
    ):
        create(tmp_path / "labels.tif", image)
    assert list(tmp_path.iterdir()) == []


def test_a_zarr_in_another_order_keeps_it(tmp_path):
    axes = Axes("XYZ", (0.25, 0.5, 2.0), ("micrometer",) * 3, (1.0, 2.0, 3.0))
    image = Volume.of(np.zeros((9, 8, 5)), axes)
    labels = np.random.default_rng(0).integers(0, 4, (1, 5, 8, 9)).astype(np.uint8)
    volume = open_zarr(write_blocks(create(tmp_path / "labels.zarr", image), labels).finish())
    assert volume.axes == axes
    assert volume.data.chunks == (5, 4, 2)
    np.testing.assert_array_equal(volume.data[:], labels[0].transpose(2, 1, 0))


@pytest.mark.parametrize("dtype", ["u8", "i8", "?"])
def test_a_type_that_ome_tiff_does_not_have_is_refused_and_leaves_nothing(tmp_path, image, dtype):
    with pytest.raises(LimnError, match=r"labels\.tif"):
        create(tmp_path / "labels.tif", image, dtype)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("unit", "symbol", "centimetres"),
    [
        ("micrometer", "µm", 1e-4),
        ("nanometer", "nm", 1e-7),
        ("millimeter", "mm", 0.1),
        ("centimeter", "cm", 1.0),
        ("angstrom", "Å", 1e-8),
    ],
)
def test_tiff_voxel_size_in_ome_and_in_the_resolution_tags(tmp_path, unit, symbol, centimetres):
    axes = Axes("ZYX", (2.0, 0.5, 0.25), (unit,) * 3, (0.0,) * 3)
    path = create(tmp_path / "labels.tif", Volume(np.zeros((5, 8, 9)), axes)).finish()
    with tifffile.TiffFile(path) as tif:
        assert tif.is_ome
        assert (tif.series[0].axes, tif.series[0].shape) == ("ZYX", (5, 8, 9))
        pixels = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]["Pixels"]
        tags = tif.pages.first.tags
        resolution = [tags[name].value for name in ("XResolution", "YResolution", "ResolutionUnit")]
    for axis, size in (("Z", 2.0), ("Y", 0.5), ("X", 0.25)):
        assert pixels[f"PhysicalSize{axis}"] == size
        assert pixels[f"PhysicalSize{axis}Unit"] == symbol
    assert resolution[0][0] / resolution[0][1] == pytest.approx(1 / (0.25 * centimetres), rel=1e-6)
    assert resolution[1][0] / resolution[1][1] == pytest.approx(1 / (0.5 * centimetres), rel=1e-6)
    assert resolution[2] == 3
    assert open_tiff(path).axes == axes


def test_a_tiff_of_unknown_voxel_size_claims_none(tmp_path):
    path = create(tmp_path / "labels.tif", Volume.of(np.zeros((5, 8, 9)))).finish()
    with tifffile.TiffFile(path) as tif:
        assert "PhysicalSize" not in tif.ome_metadata
    assert open_tiff(path).axes == Axes.of("ZYX")


@pytest.mark.parametrize("time", ["second", "millisecond", "minute", "hour"])
def test_a_tiff_over_time(tmp_path, time):
    axes = Axes("TZYX", (3.0, 2.0, 0.5, 0.25), (time,) + ("micrometer",) * 3, (0.0,) * 4)
    image = Volume(np.zeros((2, 5, 8, 9)), axes)
    labels = np.random.default_rng(0).integers(0, 4, image.grid).astype(np.uint8)
    volume = open_tiff(write_blocks(create(tmp_path / "labels.tif", image), labels).finish())
    assert volume.axes == axes
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "labels.tif"), labels)


def test_colours_come_back_from_a_tiff(tmp_path, image):
    volume = open_tiff(create(tmp_path / "labels.tif", image).finish())
    assert volume.colors == COLORS
    assert all(isinstance(value, int) for value in volume.colors)


def test_colours_come_back_from_a_zarr_rounded_to_bytes(tmp_path, image):
    volume = open_zarr(create(tmp_path / "labels.zarr", image).finish())
    assert set(volume.colors) == set(COLORS)
    for value, color in COLORS.items():
        assert volume.colors[value] == pytest.approx(color, abs=1 / 510)


def test_a_zarr_has_one_chunk_for_each_block_and_no_chunk_without_labels(tmp_path, image, labels):
    output = create(tmp_path / "labels.ome.zarr", image)
    box = ((0, 1), (2, 4), (4, 8), (5, 9))
    output.write(box, np.ones_like(labels[slices(box)]))
    level = output.finish() / "0"
    assert zarr.open_array(level).chunks == (2, 4, 5)
    files = [str(p.relative_to(level)) for p in level.rglob("*") if p.is_file() and p.name != "zarr.json"]
    assert files == ["c/1/1/1"]


def test_chunks_of_a_zarr_are_no_larger_than_it(tmp_path, image):
    path = create(tmp_path / "labels.zarr", image, block=(1, 64, 64, 64)).finish()
    assert zarr.open_array(path / "0").chunks == (5, 8, 9)


def test_metadata_of_a_zarr(tmp_path, image):
    path = create(tmp_path / "brain.labels.ome.zarr", image).finish()
    written = json.loads((path / "zarr.json").read_text())
    assert written["zarr_format"] == 3
    ome = written["attributes"]["ome"]
    assert ome["version"] == "0.5"
    ((multiscale),) = ome["multiscales"]
    assert multiscale["name"] == "brain"
    assert multiscale["axes"] == [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"]
    ((dataset),) = multiscale["datasets"]
    assert dataset["coordinateTransformations"] == [
        {"type": "scale", "scale": [2.0, 0.5, 0.25]},
        {"type": "translation", "translation": [10.0, 20.0, 30.0]},
    ]
    assert ome["image-label"]["colors"] == [
        {"label-value": 1, "rgba": [255, 0, 51, 255]},
        {"label-value": 3, "rgba": [0, 255, 102, 204]},
    ]
    assert ome["image-label"]["properties"] == [
        {"label-value": 1, "class": "cell"},
        {"label-value": 3, "class": "wall"},
    ]
    level = json.loads((path / dataset["path"] / "zarr.json").read_text())
    assert level["dimension_names"] == ["z", "y", "x"]
    assert open_zarr(path).axes == MICRONS.without("C")


def test_a_zarr_of_unknown_voxel_size_has_neither_units_nor_translation(tmp_path):
    image = Volume.of(np.zeros((2, 5, 8, 9)), "TZYX")
    path = create(tmp_path / "labels.zarr", image).finish()
    (multiscale,) = zarr.open_group(path).attrs["ome"]["multiscales"]
    assert [axis["type"] for axis in multiscale["axes"]] == ["time", "space", "space", "space"]
    assert not any("unit" in axis for axis in multiscale["axes"])
    (dataset,) = multiscale["datasets"]
    assert [step["type"] for step in dataset["coordinateTransformations"]] == ["scale"]


def test_a_zarr_that_is_not_complete_is_no_image(tmp_path, image):
    create(tmp_path / "labels.zarr", image)
    with pytest.raises(LimnError, match="without multiscale metadata"):
        open_zarr(tmp_path / "labels.zarr.partial")


@pytest.mark.parametrize("names", ["YX", "ZYX", "CZYX", "TYX", "TZYX", "CYX"])
def test_zarr_metadata_are_valid_ome_ngff(tmp_path, names):
    yaozarrs = pytest.importorskip("yaozarrs")
    units = tuple({"T": "second", "C": "pixel"}.get(a, "micrometer") for a in names)
    image = Volume(np.zeros((3, 4, 5, 6)[-len(names) :]), Axes.of(names, units=units))
    path = create(tmp_path / "labels.ome.zarr", image).finish()
    group = yaozarrs.validate_zarr_store(str(path))
    assert group.ome_version() == "0.5"


@pytest.mark.real
def test_labels_of_a_real_stack_come_back_with_its_voxel_size(tmp_path, real_data):
    image = open_volume(real_data / "files/tiff/neubias/xyz_8bit__mitotic_plate_calibrated.tif")
    labels = (image.read(tuple((0, n) for n in image.grid))[0] > 100).astype(np.uint8)
    for name in ("labels.tif", "labels.ome.zarr"):
        volume = open_volume(write_blocks(create(tmp_path / name, image), labels, (1, 16, 128, 128)).finish())
        assert volume.axes.names == image.axes.names
        assert volume.axes.units == image.axes.units
        assert volume.axes.scale == pytest.approx(image.axes.scale)
        np.testing.assert_array_equal(volume.read(tuple((0, n) for n in image.grid))[0], labels)
