from __future__ import annotations

import numpy as np
import pytest
import tifffile
import zarr

from napari_limn.errors import LimnError
from napari_limn.volume.axes import Axes
from napari_limn.volume.reading.open import open_labels, open_volume
from napari_limn.volume.volume import Volume

STACK = np.arange(4 * 6 * 8, dtype=np.uint8).reshape(4, 6, 8)
MICRONS = Axes("ZYX", (2.0, 0.5, 0.5), ("micrometer",) * 3, (1.0, 2.0, 3.0))


@pytest.fixture
def image():
    return Volume.of(STACK, MICRONS, "brain.tif")


@pytest.mark.parametrize("name", ["a.tif", "a.TIF", "a.tiff", "a.ome.tiff"])
@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_tiffs_open_by_suffix(tmp_path, name, kind):
    tifffile.imwrite(tmp_path / name, STACK, photometric="minisblack", metadata={"axes": "ZYX"})
    assert open_volume(kind(tmp_path / name)).grid == (1, 4, 6, 8)


def test_folders_open_as_zarr_whatever_they_are_called(tmp_path):
    zarr.create_array(tmp_path / "brain", shape=STACK.shape, dtype="uint8")[:] = STACK
    assert open_volume(tmp_path / "brain").grid == (1, 4, 6, 8)


@pytest.mark.parametrize(("name", "suffix"), [("a.png", ".png"), ("a.nd2", ".nd2"), ("brain", "(none)")])
def test_an_unknown_suffix_is_refused_with_a_way_out(tmp_path, name, suffix):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(LimnError) as caught:
        open_volume(tmp_path / name)
    assert f"{name}: found suffix '{suffix}', expected .tif, .tiff or a .zarr folder" in str(caught.value)
    assert "export" in str(caught.value)


@pytest.mark.parametrize("name", ["none.tif", "none.zarr", "none"])
def test_a_missing_path_is_told_in_full(tmp_path, name):
    with pytest.raises(LimnError) as caught:
        open_volume(tmp_path / name)
    assert str(caught.value) == f"{tmp_path / name}: there is no such file or folder; check the spelling."


def test_axes_of_a_file_may_be_named(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK, photometric="minisblack")
    assert open_volume(tmp_path / "a.tif", "tyx").grid == (4, 1, 6, 8)
    assert open_volume(tmp_path / "a.tif", Axes.of("CYX")).channels == 4


def test_arrays_with_and_without_axes():
    assert open_volume(STACK).axes.names == "ZYX"
    assert open_volume(STACK, "tyx").grid == (4, 1, 6, 8)
    assert open_volume(STACK, MICRONS).axes is MICRONS
    assert open_volume(STACK.tolist()).grid == (1, 4, 6, 8)
    with pytest.raises(LimnError, match="one axis for each dimension"):
        open_volume(STACK, "YX")


def test_a_volume_passes_or_gets_new_names(image):
    assert open_volume(image) is image
    renamed = open_volume(image, "tyx")
    assert (renamed.axes.names, renamed.axes.scale, renamed.name) == ("TYX", MICRONS.scale, "brain.tif")
    assert renamed.data is image.data
    other = Axes.of("CYX")
    assert open_volume(image, other).axes is other
    with pytest.raises(LimnError, match="found 3 values for axes YX"):
        open_volume(image, "YX")


def test_labels_take_the_axes_of_the_image(image):
    labels = open_labels(np.zeros((4, 6, 8), np.uint8), image)
    assert labels.axes == image.axes
    assert labels.name == "labels"


def test_labels_of_an_image_with_channels_have_none():
    image = Volume.of(np.zeros((6, 3, 8)), Axes.of("YCX", scale=(0.5, 1.0, 0.25)))
    labels = open_labels(np.ones((6, 8), np.int64), image)
    assert labels.axes == Axes.of("YX", scale=(0.5, 0.25))


def test_a_label_file_takes_the_axes_of_the_image_where_it_fits(tmp_path, image):
    path = tmp_path / "labels.tif"
    tifffile.imwrite(path, STACK, photometric="minisblack", imagej=True, metadata={"axes": "TYX"})
    assert open_volume(path).axes.names == "TYX"
    labels = open_labels(path, image)
    assert (labels.axes, labels.name) == (image.axes, "labels.tif")


def test_a_label_volume_keeps_its_data_and_colours(image):
    own = Volume(STACK, Axes.of("TYX"), "painted", colors={1: (1.0, 0.0, 0.0, 1.0)})
    labels = open_labels(own, image)
    assert (labels.axes, labels.name, labels.colors) == (image.axes, "painted", own.colors)
    assert labels.data is STACK


def test_labels_may_leave_out_axes_of_extent_one():
    image = Volume.of(np.zeros((1, 6, 8)), "ZYX")
    assert open_labels(np.zeros((6, 8), np.uint8), image).grid == (1, 1, 6, 8)
    assert open_labels(np.zeros((1, 1, 6, 8), np.uint8), image).grid == (1, 1, 6, 8)


@pytest.mark.parametrize("dtype", ["?", "u1", "u2", "i4", "i8", ">u2"])
def test_whole_numbers_are_labels(image, dtype):
    assert open_labels(STACK.astype(dtype), image).dtype == np.dtype(dtype)


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8"])
def test_other_numbers_are_no_labels(image, dtype):
    with pytest.raises(LimnError) as caught:
        open_labels(STACK.astype(dtype), image)
    message = f"found labels of type {np.dtype(dtype)}, expected whole numbers; save them as integers."
    assert message in str(caught.value)


@pytest.mark.parametrize("shape", [(4, 6, 9), (3, 6, 8), (6, 8), (2, 4, 6, 8)])
def test_labels_of_another_extent_are_refused_with_both_sizes(image, shape):
    with pytest.raises(LimnError) as caught:
        open_labels(np.zeros(shape, np.uint8), image)
    found = Volume.of(np.zeros(shape)).grid
    assert f"found labels of TZYX size {found}" in str(caught.value)
    assert "expected (1, 4, 6, 8) like the image brain.tif" in str(caught.value)


def test_coloured_labels_are_refused_as_such():
    image = Volume.of(np.zeros((6, 8)), name="brain.tif")
    with pytest.raises(LimnError, match="with 3 channels, expected"):
        open_labels(np.zeros((6, 8, 3), np.uint8), image)


def test_labels_of_a_file_are_not_read_to_be_opened(tmp_path):
    with tifffile.TiffWriter(tmp_path / "labels.tif") as writer:
        writer.write(None, shape=(1000, 1000, 1000), dtype="uint8", photometric="minisblack")
    image = Volume.of(np.broadcast_to(np.uint8(0), (1000, 1000, 1000)))
    assert open_labels(tmp_path / "labels.tif", image).nbytes == 10**9
