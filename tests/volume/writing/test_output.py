"""Label files of every kind: complete or not there, taken up again, refused."""

from __future__ import annotations

import errno
import shutil
from collections import namedtuple

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from label_files import (
    BLOCK,
    COLORS,
    SUFFIXES,
    create,
    files,
    finished,
    none,
    write_blocks,
)
from outputs import output_at
from partitions import small

from napari_limn.errors import LimnError
from napari_limn.files.working import MARK
from napari_limn.volume.axes import Axes
from napari_limn.volume.boxes import blocks, slices, whole
from napari_limn.volume.reading.open import open_volume
from napari_limn.volume.reading.tiff import open_tiff
from napari_limn.volume.volume import Volume
from napari_limn.volume.writing import pyramid
from napari_limn.volume.writing.array_output import ArrayOutput, in_memory, labels_shape
from napari_limn.volume.writing.output import plan_output


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


@pytest.mark.parametrize("name", ["a.tif", "a.ome.zarr"])
def test_labels_lie_where_their_image_does(tmp_path, name):
    axes = Axes("ZYX", (2.0, 0.5, 0.5), ("micrometer",) * 3, (0.0, 100.0, -2.5))
    image = Volume(np.zeros((2, 20, 30), np.uint8), axes)
    out = output_at(tmp_path / name, image, np.uint8, (1, 1, 20, 30), {1: (1.0, 0.0, 0.0, 1.0)}, {})
    for z in range(2):
        out.write(((0, 1), (z, z + 1), (0, 20), (0, 30)), np.ones((1, 1, 20, 30), np.uint8))
    assert open_volume(out.finish()).axes == axes


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


def test_labels_must_fit_their_box(tmp_path, image, labels):
    with pytest.raises(LimnError, match=r"found labels of shape \(1, 5, 8, 9\) for box"):
        create(tmp_path / "a.zarr", image).write(((0, 1), (0, 5), (0, 8), (0, 8)), labels)


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
