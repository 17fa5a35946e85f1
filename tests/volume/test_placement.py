"""Where two grids lie: corners, whatever turned, mirrored or sheared them."""

from __future__ import annotations

import numpy as np
import pytest

from napari_limn.annotation.image_checks import check_place
from napari_limn.errors import LimnError
from napari_limn.volume.axes import Axes
from napari_limn.volume.placement import NEAR, Placement, distance
from napari_limn.volume.volume import Volume, stack_channels, voxels_apart


def at(names, matrix, offset):
    """A placement that a user sees."""
    return Placement(
        names, ("pixel",) * len(names), np.array(matrix, float), np.array(offset, float), shown=True
    )


def random_place(rng, names):
    """Any affine map that keeps voxels voxels."""
    n = len(names)
    matrix = rng.normal(0, 1, (n, n)) + np.diag(rng.choice([-3.0, 3.0], n))
    return at(names, matrix, rng.normal(0, 50, n))


def farthest(ours, theirs, shape):
    """The same by brute force: every voxel, through the world and back."""
    every = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1).reshape(-1, len(shape))
    world = every @ ours.matrix.T + ours.offset
    back = (world - theirs.offset) @ np.linalg.inv(theirs.matrix).T
    return np.abs(back - every).max()


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("names", ["YX", "ZYX", "TZYX"])
def test_the_distance_is_that_of_the_farthest_voxel(seed, names):
    rng = np.random.default_rng(seed)
    shape = rng.integers(2, 9, len(names))
    ours, theirs = random_place(rng, names), random_place(rng, names)
    found, true = distance(ours, theirs, shape), farthest(ours, theirs, shape)
    assert true - 1e-6 <= found, "a corner of the last voxel lies half a voxel further"
    assert distance(ours, ours, shape) == pytest.approx(0, abs=1e-9)
    nudged = at(names, theirs.matrix * (1 + 1e-7), theirs.offset)
    assert distance(nudged, theirs, shape) < NEAR, "rounding is no other place"


@pytest.mark.parametrize("seed", range(10))
def test_the_order_of_named_axes_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    shape = dict(zip("ZYX", (4, 7, 9), strict=True))
    place = random_place(rng, "ZYX")
    order = "".join(rng.permutation(list("ZYX")))
    image = Volume(np.zeros((4, 7, 9)), Axes.of("ZYX"), "image", place=place)
    labels = Volume(
        np.zeros([shape[a] for a in order], np.uint8), Axes.of(order), "labels", place=place.along(order)
    )
    assert check_place(image, labels) == []
    elsewhere = place.along(order).offset + 3 * place.along(order).matrix[:, 0]
    moved = Volume(labels.data, labels.axes, "labels", place=at(order, place.along(order).matrix, elsewhere))
    assert voxels_apart(moved, image) == pytest.approx(3)
    assert len(check_place(image, moved)) == 1


def test_files_are_compared_by_name_in_one_unit_and_as_far_as_they_round():
    image = Volume.of(np.zeros((5, 6, 7)), Axes.of("XYZ", (0.1, 0.1, 0.5), ("micrometer",) * 3))
    labels = Volume.of(np.zeros((7, 6, 5), np.uint8), Axes.of("ZYX", (500, 100, 100), ("nanometer",) * 3))
    assert check_place(image, labels) == []
    wide = Volume.of(np.zeros((4000, 9)), Axes.of("YX", (0.1, 0.1), ("micrometer",) * 2))
    rounded = Volume.of(np.zeros((4000, 9)), Axes.of("YX", (0.10005, 0.1), ("micrometer",) * 2))
    assert check_place(wide, rounded) == []
    assert check_place(wide, rounded, shown=True) == []
    other = Volume.of(np.zeros((4000, 9)), Axes.of("YX", (0.102, 0.1), ("micrometer",) * 2))
    assert "found voxels of 0.102 × 0.1, expected 0.1 × 0.1" in check_place(wide, other)[0].sentence


def test_a_cube_of_other_axes_is_another_place():
    """Voxels count one by one where the extents are the same, whatever the axes are called."""
    size = ("micrometer",) * 3
    image = Volume.of(np.zeros((6, 6, 6)), Axes.of("XYZ", (0.1, 0.1, 0.5), size), "image")
    labels = Volume.of(np.zeros((6, 6, 6), np.uint8), Axes.of("ZYX", (0.5, 0.1, 0.1), size), "labels")
    (finding,) = check_place(image, labels)
    assert "found corners" in finding.sentence


@pytest.mark.parametrize(
    "axes",
    [
        Axes.of("YX", (0.3, 0.3), ("micrometer",) * 2),
        Axes.of("YX", (0.1, 0.1), ("micrometer",) * 2, (5.0, 5.0)),
    ],
)
def test_channels_that_lie_elsewhere_are_not_stacked(axes):
    first = Volume.of(np.zeros((20, 30)), Axes.of("YX", (0.1, 0.1), ("micrometer",) * 2), "one")
    with pytest.raises(LimnError, match="found them .* voxels apart"):
        stack_channels([first, Volume.of(np.zeros((20, 30)), axes, "two")])
    assert stack_channels([first, Volume.of(np.zeros((20, 30)))]).channels == 2, "a file without sizes"


def test_a_place_that_is_no_number_is_another_place():
    broken = at("YX", [[np.nan, 0], [0, 1]], [0, 0])
    assert distance(broken, at("YX", np.eye(2), [0, 0]), (3, 3)) == np.inf
