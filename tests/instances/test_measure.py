"""Measurements in blocks beside scikit-image's of the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, label
from skimage.measure import regionprops_table

from napari_limn.instances.blocks import BlockGrid, Shell, Shells, touching
from napari_limn.instances.measure import Sums, add_seam_faces, sums_of
from napari_limn.instances.properties import properties
from napari_limn.volume.axes import Axes
from napari_limn.volume.volume import Volume

NAMES = ("area", "num_pixels", "centroid", "bbox", "axis_major_length", "axis_minor_length")
FLAT = ("eccentricity", "orientation")
BRIGHT = ("intensity_mean", "intensity_std", "intensity_min", "intensity_max")


def blobs(shape, seed=0, share=0.5):
    return label(gaussian_filter(np.random.default_rng(seed).random(shape), 1.5) > share)[0].astype(np.uint32)


def measured(objects, block, image=None, spacing=(1.0, 1.0, 1.0)):
    """The table of objects (Z, Y, X), measured in blocks."""
    count, shape = int(objects.max()), (1, *objects.shape)
    grid, pivot = BlockGrid(shape, block), None
    if image is not None:
        kind = np.float64 if image.dtype.kind == "f" else np.int64
        pivot = np.full(len(image), 7, kind)
    sums, shells = Sums.none(count + 1, pivot), Shells(grid)
    for number in range(grid.count):
        box = grid.box(number)
        at = tuple(slice(*side) for side in box[1:])
        part = None if image is None else image[(slice(None), *at)]
        sums.add(np.arange(count + 1), sums_of(objects[at], count, box, shape, part, pivot))
        shell = Shell(objects[at])
        for step, _, other in shells.add(number, shell):
            for way, (ours,), (theirs,) in touching(shell, other, step, diagonal=False):
                add_seam_faces(sums, ours, theirs, way)
    volume = Volume(objects[None], Axes.of("TZYX", (1.0, *spacing)))
    return properties(sums.rows(1), volume, np.ones(count, np.int64))


def compare(table, objects, names, image=None, spacing=None):
    flat = objects.shape[0] == 1
    channels = None if image is None else np.moveaxis(image, 0, -1)
    squeezed = (objects[0], None if channels is None else channels[0]) if flat else (objects, channels)
    sizes = spacing[1:] if flat else spacing
    theirs = regionprops_table(
        squeezed[0].astype(int), squeezed[1], properties=("label", *names), spacing=sizes
    )
    for name, column in theirs.items():
        single = name.startswith("intensity") and len(image) == 1
        ours = table[name.removesuffix("-0") if single else name]
        np.testing.assert_allclose(ours, column, rtol=1e-6, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("block", [(1, 9, 9, 9), (1, 5, 7, 4), (1, 20, 22, 24)])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.5, 0.4, 0.3)])
def test_a_stack_is_measured_as_scikit_image_does(block, spacing):
    objects = blobs((20, 22, 24))
    image = np.random.default_rng(1).integers(0, 65535, (2, *objects.shape)).astype(np.uint16)
    table = measured(objects, block, image, spacing)
    whole = measured(objects, (1, *objects.shape), image, spacing)
    for name, column in table.columns.items():
        np.testing.assert_array_equal(column, whole[name], err_msg=f"blocks change {name}")
    wide = np.ptp(np.argwhere(objects == 1), axis=0).min() > 0
    compare(table, objects, (*NAMES, *BRIGHT) if wide else BRIGHT, image, spacing)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32])
def test_a_plane_is_measured_as_scikit_image_does(kind):
    objects, spacing = blobs((1, 60, 50)), (1.0, 0.4, 0.3)
    image = (np.random.default_rng(1).random((1, *objects.shape)) * 200 - (kind != np.uint8) * 100).astype(
        kind
    )
    table = measured(objects, (1, 1, 17, 19), image, spacing)
    compare(table, objects, (*NAMES, *FLAT, *BRIGHT), image, spacing)


@settings(max_examples=20, deadline=None)
@given(st.tuples(*(st.integers(1, n) for n in (5, 6, 7))), st.integers(0, 2**32 - 1))
def test_surfaces_are_the_faces_between_an_object_and_all_else(block, seed):
    objects = np.random.default_rng(seed).integers(0, 4, (5, 6, 7)).astype(np.uint32)
    objects.flat[:3] = (1, 2, 3)  # each is there
    spacing = (3.0, 2.0, 0.5)
    table = measured(objects, (1, *block), spacing=spacing)
    padded = np.pad(objects, 1)
    for number in (1, 2, 3):
        mask = padded == number
        faces = [np.diff(mask.astype(int), axis=axis).astype(bool).sum() for axis in range(3)]
        expected = faces[0] * 1.0 + faces[1] * 1.5 + faces[2] * 6.0
        assert table["surface_faces"][number - 1] == pytest.approx(expected)
        inner = (objects == number)[1:-1, 1:-1, 1:-1].sum() == (objects == number).sum()
        assert table["touches_border"][number - 1] == (not inner)


def test_sums_beyond_63_bits_come_out_right():
    """A slide of 200 000 pixels each way, with bright 32-bit values: centred, they fit."""
    shape, box = (1, 1, 200_000, 200_000), ((0, 1), (0, 1), (199_990, 200_000), (199_980, 200_000))
    labels = np.ones((1, 10, 20), np.uint32)
    image = np.full((1, 1, 10, 20), 4_000_000_000, np.uint32)
    image[..., 0] += 1000
    sums = Sums.none(2, np.zeros(1, np.int64))
    for _ in range(1000):  # as from many blocks
        sums.add(np.array([0, 1]), sums_of(labels, 1, box, shape, image, np.zeros(1, np.int64)))
    volume = Volume(np.broadcast_to(np.uint8(0), shape), Axes.of("TZYX"))
    table = properties(sums.rows(1), volume, np.ones(1, np.int64))
    assert table["axis_major_length"][0] == pytest.approx(4 * np.sqrt((20**2 - 1) / 12))
    assert table["intensity_std"][0] == pytest.approx(1000 * np.sqrt(0.05 * 0.95))
    assert table["intensity_mean"][0] == pytest.approx(4e9 + 50, rel=1e-15)
