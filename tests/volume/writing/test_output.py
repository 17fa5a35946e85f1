from __future__ import annotations

import errno
import json
import shutil
from collections import namedtuple

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from outputs import output_at
from partitions import extents, partitions, small

from napari_limn.errors import LimnError
from napari_limn.files import durable
from napari_limn.files.working import MARK
from napari_limn.volume.axes import Axes
from napari_limn.volume.boxes import blocks, slices, whole
from napari_limn.volume.reading.omezarr import open_zarr
from napari_limn.volume.reading.open import open_volume
from napari_limn.volume.reading.tiff import open_tiff
from napari_limn.volume.volume import Volume
from napari_limn.volume.writing import pyramid
from napari_limn.volume.writing.array_output import ArrayOutput, in_memory, labels_shape
from napari_limn.volume.writing.output import plan_output

COLORS = {1: (1.0, 0.0, 0.2, 1.0), 3: (0.0, 0.999, 0.4, 0.8)}
NAMES = {1: "cell", 3: "wall"}
MICRONS = Axes("CZYX", (1.0, 2.0, 0.5, 0.25), ("pixel",) + ("micrometer",) * 3, (0.0, 10.0, 20.0, 30.0))
BLOCK = (1, 2, 4, 5)
SUFFIXES = [".tif", ".tiff", ".ome.tif", ".zarr", ".ome.zarr"]


@pytest.fixture(autouse=True, scope="module")
def _quick():
    """These tests do not wait for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(durable.os, "fsync", lambda handle: None)
        yield


@pytest.fixture
def image():
    return Volume(np.zeros((2, 5, 8, 9), np.uint16), MICRONS, "brain.tif")


@pytest.fixture
def labels():
    return np.random.default_rng(0).integers(0, 4, (1, 5, 8, 9)).astype(np.uint8)


def create(path, image, dtype="u1", block=BLOCK, **options):
    return output_at(path, image, np.dtype(dtype), block, COLORS, NAMES, **options)


def finished(path, image, **options):
    """An output without a label."""
    output = create(path, image, **options)
    output.write(
        whole(image.grid), np.zeros(image.grid, np.uint8), options.get("probabilities") and none(image)
    )
    return output.finish()


def none(image):
    return np.zeros((2, *image.grid), np.float32)


def files(folder):
    """Content of every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


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
def test_the_file_has_its_name_only_when_it_is_complete(tmp_path, image, labels, suffix):
    path = tmp_path / f"labels{suffix}"
    output = write_blocks(create(path, image), labels)
    assert [p.name for p in tmp_path.iterdir()] == [f"labels{suffix}.partial"]
    output.finish()
    assert [p.name for p in tmp_path.iterdir()] == [f"labels{suffix}"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_existing_file_is_refused_and_not_touched(tmp_path, image, suffix):
    path = finished(tmp_path / f"labels{suffix}", image)
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
    write_blocks(output, 0 * labels).finish()
    assert not open_volume(path).read(everywhere).any()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_what_an_aborted_run_left_is_cleared_away(tmp_path, image, labels, suffix):
    write_blocks(create(tmp_path / f"labels{suffix}", image), labels)
    path = finished(tmp_path / f"labels{suffix}", image)
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
    assert volume.data.shards == (10, 8, 6)
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
        ("inch", "in", 2.54),
    ],
)
def test_tiff_voxel_size_in_ome_and_in_the_resolution_tags(tmp_path, unit, symbol, centimetres):
    axes = Axes("ZYX", (2.0, 0.5, 0.25), (unit,) * 3, (0.0,) * 3)
    path = finished(tmp_path / "labels.tif", Volume(np.zeros((5, 8, 9)), axes))
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
    path = finished(tmp_path / "labels.tif", Volume.of(np.zeros((5, 8, 9))))
    with tifffile.TiffFile(path) as tif:
        assert "PhysicalSize" not in tif.ome_metadata
    assert open_tiff(path).axes == Axes.of("ZYX")


@pytest.mark.parametrize("scale", [(4.0, 1.0, 1.0), (1.0, 0.5, 3.0)])
def test_a_tiff_keeps_the_proportions_of_voxels_whose_unit_is_unknown(tmp_path, scale):
    axes = Axes.of("ZYX", scale)
    path = finished(tmp_path / "labels.tif", Volume(np.zeros((5, 8, 9)), axes))
    assert open_tiff(path).axes == axes
    with tifffile.TiffFile(path) as tif:
        assert 'Unit="pixel"' in tif.ome_metadata
        assert tif.pages.first.tags.valueof("ResolutionUnit") != 3


@pytest.mark.parametrize("time", ["second", "millisecond", "minute", "hour"])
def test_a_tiff_over_time(tmp_path, time):
    axes = Axes("TZYX", (3.0, 2.0, 0.5, 0.25), (time,) + ("micrometer",) * 3, (0.0,) * 4)
    image = Volume(np.zeros((2, 5, 8, 9)), axes)
    labels = np.random.default_rng(0).integers(0, 4, image.grid).astype(np.uint8)
    volume = open_tiff(write_blocks(create(tmp_path / "labels.tif", image), labels).finish())
    assert volume.axes == axes
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "labels.tif"), labels)


@pytest.mark.parametrize("name", ["a.tif", "a.ome.zarr"])
def test_labels_lie_where_their_image_does(tmp_path, name):
    axes = Axes("ZYX", (2.0, 0.5, 0.5), ("micrometer",) * 3, (0.0, 100.0, -2.5))
    image = Volume(np.zeros((2, 20, 30), np.uint8), axes)
    out = output_at(tmp_path / name, image, np.uint8, (1, 1, 20, 30), {1: (1.0, 0.0, 0.0, 1.0)}, {})
    for z in range(2):
        out.write(((0, 1), (z, z + 1), (0, 20), (0, 30)), np.ones((1, 1, 20, 30), np.uint8))
    assert open_volume(out.finish()).axes == axes


def test_colours_come_back_from_a_tiff(tmp_path, image):
    volume = open_tiff(finished(tmp_path / "labels.tif", image))
    assert volume.colors == COLORS
    assert all(isinstance(value, int) for value in volume.colors)


@pytest.mark.parametrize("name", ["labels.tif", "labels.zarr"])
@pytest.mark.parametrize("names", [{}, {1: "axon", 3: 'a <"b"> & µ\n'}])
def test_names_come_back_from_files(tmp_path, image, name, names):
    output = output_at(tmp_path / name, image, "uint8", (1, 1, 8, 9), COLORS, names)
    volume = open_volume(write_blocks(output, np.zeros(image.grid, np.uint8)).finish())
    assert volume.names == (names or None)
    assert volume.colors.keys() == COLORS.keys()


@pytest.mark.parametrize(
    "looks", ['{"napari-limn labels": 5}', '{"napari-limn labels": {"1": [0]}}', "napari-limn labels"]
)
def test_a_label_file_with_broken_looks_is_an_image(tmp_path, looks):
    tifffile.imwrite(
        tmp_path / "a.ome.tif", np.zeros((4, 5), np.uint8), ome=True, metadata={"Description": looks}
    )
    volume = open_tiff(tmp_path / "a.ome.tif")
    assert (volume.colors, volume.names) == (None, None)


def test_colours_come_back_from_a_zarr_rounded_to_bytes(tmp_path, image):
    volume = open_zarr(finished(tmp_path / "labels.zarr", image))
    assert set(volume.colors) == set(COLORS)
    for value, color in COLORS.items():
        assert volume.colors[value] == pytest.approx(color, abs=1 / 510)


def open_json(path):
    return json.loads((path / "zarr.json").read_text())


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


@pytest.mark.parametrize("kind", [pytest.param(None, marks=pytest.mark.exhaustive), "uint8"])
def test_a_run_that_was_stopped_anywhere_leaves_the_same_files(tmp_path, image, labels, kind):
    rng = np.random.default_rng(3)
    likely = rng.random((2, *labels.shape), np.float32) if kind else None
    labels[:, :3, :4] = 0  # shards of zeros are not stored
    boxes = list(blocks(labels.shape, (1, 1, 3, 4)))

    def run(name, stop, done=frozenset()):
        with small():
            output = create(tmp_path / name, image, block=(1, 1, 3, 4), done=done, probabilities=kind)
        told = []
        for box in boxes[:stop]:
            if output.missing(box):
                told += output.write(box, labels[slices(box)], likely[:, *slices(box)] if kind else None)
        return output, told

    undisturbed = files(run("whole.zarr", None)[0].finish())
    assert sum("classes/0/c" in name for name in undisturbed) > 3
    assert sum("classes/1/c" in name for name in undisturbed) > 1
    for stop in range(0, len(boxes), 4):
        output, told = run(f"a{stop}.zarr", stop)
        output.close()
        leftover = tmp_path / f"a{stop}.zarr.partial" / "labels/classes/0/c.abc.partial"
        leftover.write_bytes(b"half a shard")
        output, more = run(f"a{stop}.zarr", None, frozenset(told))
        assert not leftover.exists()
        assert sorted(told + more) == list(range(output.layout.levels[0].count))
        found = files(output.finish())
        found = {n: b.replace(f'"a{stop}"'.encode(), b'"whole"') for n, b in found.items()}
        assert found == undisturbed


def test_what_is_told_of_is_synced(tmp_path, image, labels, monkeypatch):
    synced = []
    monkeypatch.setattr(pyramid, "sync_file", synced.append)
    with small():
        output = create(tmp_path / "a.zarr", image, block=(1, 1, 3, 4), probabilities="uint8")
    box = whole(image.grid)
    output.write(box, labels + np.uint8(1), none(image) + 1)
    stored = {
        p
        for p in (tmp_path / "a.zarr.partial").rglob("*")
        if p.is_file() and p.name not in ("zarr.json", MARK)
    }
    assert stored == set(synced)
    assert len(synced) == len(stored)


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_an_output_with_a_hole_is_not_finished(tmp_path, image, labels, suffix):
    with small():
        output = create(tmp_path / f"labels{suffix}", image)
    box = ((0, 1), (0, 5), (0, 8), (0, 5))
    assert output.write(box, labels[slices(box)])
    assert not output.missing(box)
    assert output.missing(whole(image.grid))
    with pytest.raises(
        LimnError, match=r"labels\S+: \d+ of \d+ shards are missing; run the same command again"
    ):
        output.finish()
    assert [p.name for p in tmp_path.iterdir()] == [f"labels{suffix}.partial"]


def test_nothing_to_resume_is_told(tmp_path, image):
    with pytest.raises(LimnError, match="no unfinished output to go on with; say --overwrite"):
        create(tmp_path / "labels.zarr", image, done={0})
    with small():
        create(tmp_path / "labels.zarr", image)
    with pytest.raises(LimnError, match=r"found an unfinished output of extent \(5, 8, 9\) in shards of"):
        create(tmp_path / "labels.zarr", image, done={0})
    with pytest.raises(LimnError, match="found shards 0 to 7 done, expected numbers below 1"):
        create(tmp_path / "labels.zarr", image, done={0, 7})


def test_a_full_disk_is_told_in_a_sentence(tmp_path, image, labels, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    output = create(tmp_path / "labels.zarr", image)
    monkeypatch.setattr(zarr.Array, "__setitem__", full)
    with pytest.raises(
        LimnError, match=r"the disk is full; make room: what was finished stays, and the same"
    ):
        output.write(whole(image.grid), labels)


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(tmp_path, monkeypatch):
    usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12 - 10**8, 10**8))
    image = Volume.of(np.broadcast_to(np.uint8(0), (10_000, 1500, 1000)))
    with pytest.raises(LimnError, match=r"need 0\.3 GB or more, the disk has 0\.1 GB free; make room"):
        create(tmp_path / "labels.ome.zarr", image)
    assert list(tmp_path.iterdir()) == []


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


def test_labels_must_fit_their_box(tmp_path, image, labels):
    with pytest.raises(LimnError, match=r"found labels of shape \(1, 5, 8, 9\) for box"):
        create(tmp_path / "a.zarr", image).write(((0, 1), (0, 5), (0, 8), (0, 8)), labels)


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


@pytest.mark.parametrize(
    ("names", "shape"), [("YX", (300, 700)), ("ZYX", (3, 40, 50)), ("TZYX", (2, 3, 300, 20))]
)
def test_a_tiff_is_tiled_and_compressed(tmp_path, names, shape):
    image = Volume.of(np.zeros(shape), names)
    labels = np.random.default_rng(0).integers(0, 4, image.grid).astype(np.uint16)
    block = (1, 2, 100, 90)
    path = write_blocks(
        create(tmp_path / "a.tif", image, "u2", block=block), labels, block, order=-1
    ).finish()
    with tifffile.TiffFile(path) as tif:
        page = tif.pages.first
        assert (page.is_tiled, page.compression.name, page.predictor) == (True, "ADOBE_DEFLATE", 1)
        assert page.tile == tuple(min(256, -(-n // 16) * 16) for n in shape[-2:])
        assert (tif.series[0].axes, tif.series[0].shape) == (names, shape)
    np.testing.assert_array_equal(tifffile.imread(path), labels.reshape(shape))
    found = open_tiff(path)
    assert isinstance(found.data, zarr.Array)
    np.testing.assert_array_equal(found.read(whole(found.grid))[0], labels)
    assert list(tmp_path.iterdir()) == [path]


def test_a_tiff_resumes_from_what_was_staged(tmp_path, image, labels):
    boxes = list(blocks(labels.shape, BLOCK))
    with small():
        plain = write_blocks(create(tmp_path / "whole.tif", image), labels).finish()
        first = create(tmp_path / "a.tif", image)
        done = {n for box in boxes[:7] for n in first.write(box, labels[slices(box)])}
        assert done
        first.close()
        output = create(tmp_path / "a.tif", image, done=done)
    for box in filter(output.missing, boxes):
        output.write(box, labels[slices(box)])
    assert open_tiff(output.finish()).colors == COLORS
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), tifffile.imread(plain))


def test_what_an_output_needs_is_known_before(tmp_path, image):
    layout = plan_output(tmp_path / "a.zarr", image, "u2", BLOCK, probabilities="uint8", classes=2)
    assert layout.summary == {
        "label type": "uint16",
        "probabilities": "2 of uint8",
        "level 0": "shape 1×5×8×9 stride 1×1×1×1 shard 1×6×8×10 chunk 1×2×4×5",
    }
    assert layout.buffer_bytes == 5 * 8 * 9 * 4 + 2 * 5 * 8 * 9 * 2
    assert layout == create(tmp_path / "a.zarr", image, "u2", probabilities="uint8").layout
    assert list(tmp_path.iterdir()) == [tmp_path / "a.zarr.partial"]


@pytest.mark.real
def test_labels_of_a_real_stack_come_back_with_its_voxel_size(tmp_path, real_data):
    image = open_volume(real_data / "files/tiff/neubias/xyz_8bit__mitotic_plate_calibrated.tif")
    labels = (image.read(tuple((0, n) for n in image.grid))[0] > 100).astype(np.uint8)
    for name in ("labels.tif", "labels.ome.zarr"):
        block = (1, 16, 128, 128)
        volume = open_volume(
            write_blocks(create(tmp_path / name, image, block=block), labels, block).finish()
        )
        assert volume.axes.names == image.axes.names
        assert volume.axes.units == image.axes.units
        assert volume.axes.scale == pytest.approx(image.axes.scale)
        np.testing.assert_array_equal(volume.read(tuple((0, n) for n in image.grid))[0], labels)
