"""Labels as OME-TIFF: voxel sizes, axes, colours, and how they are stored."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import zarr
from label_files import (
    BLOCK,
    COLORS,
    create,
    finished,
    write_blocks,
)
from partitions import small

from napari_limn.errors import LimnError
from napari_limn.volume.axes import Axes
from napari_limn.volume.boxes import blocks, slices, whole
from napari_limn.volume.reading.tiff import open_tiff
from napari_limn.volume.volume import Volume


def test_a_tiff_in_another_order_is_refused_with_a_way_out(tmp_path):
    image = Volume.of(np.zeros((5, 8, 9)), "XYZ", "brain.tif")
    with pytest.raises(
        LimnError, match=r"brain\.tif: found axes XYZ, OME-TIFF needs.*TZYX; write \.ome\.zarr"
    ):
        create(tmp_path / "labels.tif", image)
    assert list(tmp_path.iterdir()) == []


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


def test_colours_come_back_from_a_tiff(tmp_path, image):
    volume = open_tiff(finished(tmp_path / "labels.tif", image))
    assert volume.colors == COLORS
    assert all(isinstance(value, int) for value in volume.colors)


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
