"""Axes, voxel sizes and units of TIFFs: what is understood, and what counts as unknown."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from tiffs import STACK, everything, write

from napari_limn.volume.reading.tiff import open_tiff


def test_imagej_hyperstack_brings_its_axes_and_voxel_size(tmp_path):
    data = np.arange(2 * 3 * 2 * 8 * 9, dtype=np.uint16).reshape(2, 3, 2, 8, 9)
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        data,
        imagej=True,
        resolution=(4, 2),
        metadata={"axes": "TZCYX", "unit": "um", "spacing": 2.5, "finterval": 3.0},
    )
    volume = open_tiff(path)
    assert (volume.axes.names, volume.grid, volume.channels) == ("TZCYX", (2, 3, 8, 9), 2)
    assert volume.axes.scale == (3.0, 2.5, 1.0, 0.5, 0.25)
    assert volume.axes.units == ("second", "micrometer", "pixel", "micrometer", "micrometer")
    np.testing.assert_array_equal(everything(volume), data.transpose(2, 0, 1, 3, 4))


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("micron", "micrometer"), ("\\u00B5m", "micrometer"), ("nm", "nanometer"), ("pixel", "pixel")],
)
def test_imagej_units(tmp_path, unit, expected):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK, imagej=True, resolution=(10, 10), metadata={"axes": "ZYX", "unit": unit})
    assert open_tiff(path).axes.units[1:] == (expected, expected)


def test_ome_voxel_size_with_a_unit_for_each_axis(tmp_path):
    data = np.arange(2 * 3 * 4 * 8 * 9, dtype=np.uint16).reshape(2, 3, 4, 8, 9)
    sizes = {
        "PhysicalSizeX": 100.0,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.2,
        "PhysicalSizeZ": 0.003,
        "PhysicalSizeZUnit": "mm",
        "TimeIncrement": 5.0,
        "TimeIncrementUnit": "min",
    }
    volume = open_tiff(write(tmp_path / "a.ome.tif", data, metadata={"axes": "TCZYX", **sizes}))
    assert volume.axes.names == "TCZYX"
    assert volume.axes.scale == (5.0, 1.0, 0.003, 0.2, 100.0)
    assert volume.axes.units == ("minute", "pixel", "millimeter", "micrometer", "nanometer")
    np.testing.assert_array_equal(everything(volume), data.transpose(1, 0, 2, 3, 4))


@pytest.mark.parametrize("size", [0.0, "NaN", "INF", 1e300, -1e-300])
def test_ome_voxel_sizes_that_make_no_sense_count_as_unknown(tmp_path, size):
    path = write(
        tmp_path / "a.ome.tif", metadata={"axes": "ZYX", "PhysicalSizeX": size, "PhysicalSizeY": 0.5}
    )
    axes = open_tiff(path).axes
    assert axes.scale == (1.0, 0.5, 1.0)
    assert axes.units == ("pixel", "micrometer", "pixel")


def test_sizes_in_a_unit_that_is_not_known_count_as_unknown(tmp_path):
    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "furlong", "PhysicalSizeY": 0.25}
    sizes |= {"PhysicalSizeYUnit": "in", "PhysicalSizeZ": 4.0, "PhysicalSizeZUnit": "pixel"}
    axes = open_tiff(write(tmp_path / "a.ome.tif", metadata={"axes": "ZYX", **sizes})).axes
    assert (axes.scale, axes.units) == ((4.0, 0.25, 1.0), ("pixel", "inch", "pixel"))


@pytest.mark.parametrize("unit", ["inch", "furlong"])
def test_an_imagej_unit_that_says_nothing_leaves_no_numbers(tmp_path, unit):
    path, metadata = tmp_path / "a.tif", {"axes": "ZYX", "unit": unit, "spacing": 3.0}
    tifffile.imwrite(path, STACK, imagej=True, resolution=(72, 72), metadata=metadata)
    axes = open_tiff(path).axes
    assert (axes.scale, axes.units) == ((1.0,) * 3, ("pixel",) * 3)


def test_an_imagej_spacing_that_is_no_number_counts_as_unknown(tmp_path):
    metadata = {"axes": "ZYX", "unit": "um", "spacing": "thin"}
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, resolution=(2, 2), metadata=metadata)
    axes = open_tiff(tmp_path / "a.tif").axes
    assert (axes.scale, axes.units) == ((1.0, 0.5, 0.5), ("pixel", "micrometer", "micrometer"))


def commented(path, old, new, data=STACK, **metadata):
    """An OME-TIFF in whose XML something was replaced."""
    write(
        path, data, ome=True, metadata={"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25} | metadata
    )
    with tifffile.TiffFile(path) as tif:
        xml = tif.ome_metadata
    assert old in xml
    tifffile.tiffcomment(path, xml.replace(old, new).encode())
    return path


@pytest.mark.parametrize(
    ("written", "size"),
    [("0,5", 0.5), ("5E-1", 0.5), ("abc", None), ("", None), ("1,234.5", None), ("[0.5]", None)],
)
def test_an_ome_voxel_size_that_cannot_be_read_counts_as_unknown_on_its_axis(tmp_path, written, size):
    path = commented(tmp_path / "a.ome.tif", 'PhysicalSizeX="0.5"', f'PhysicalSizeX="{written}"')
    axes = open_tiff(path).axes
    assert axes.scale == (1.0, 0.25, size or 1.0)
    assert axes.units == ("pixel", "micrometer", "micrometer" if size else "pixel")


@pytest.mark.parametrize(
    ("old", "new"), [("</Image>", ""), ("<Pixels", "<Pixels <"), ("<Pixels", "<Other><Pixels")]
)
@pytest.mark.parametrize("looks", ["", '{"napari-limn labels": {"1": [0, 0, 0, 1]}}'])
def test_an_ome_xml_that_cannot_be_read_is_none(tmp_path, old, new, looks):
    volume = open_tiff(commented(tmp_path / "a.ome.tif", old, new, Description=looks))
    assert (volume.axes.scale, volume.colors) == ((1.0,) * 3, None)
    np.testing.assert_array_equal(everything(volume)[0, 0], STACK)


@pytest.mark.parametrize(
    ("unit", "scale", "units"),
    [
        ("CENTIMETER", (2.0, 1.0), ("micrometer",) * 2),
        ("INCH", (1.0, 1.0), ("pixel",) * 2),
        ("NONE", (1.0, 1.0), ("pixel",) * 2),
    ],
)
def test_resolution_tags_count_in_centimetres_only(tmp_path, unit, scale, units):
    path = write(tmp_path / "a.tif", STACK[0], resolution=(10000, 5000), resolutionunit=unit)
    axes = open_tiff(path).axes
    assert axes.scale == pytest.approx(scale)
    assert axes.units == units
