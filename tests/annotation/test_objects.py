from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_limn.annotation.objects import border_weights, foreground, objects_in, separated
from napari_limn.errors import LimnError
from napari_limn.volume.volume import Volume


def squares(seed, shape=(40, 44), count=8):
    """Squares numbered at random, some of which touch or cover one another."""
    rng = np.random.default_rng(seed)
    objects = np.zeros(shape, np.int32)
    for number in rng.permutation(np.arange(3, 3 + 5 * count, 5)):
        place = tuple(slice(a, a + rng.integers(2, 9)) for a in (rng.integers(0, n - 4) for n in shape))
        objects[place] = number
    return objects


def by_hand(objects, spacing=(1.0, 1.0)):
    """The formula of the paper, voxel by voxel, with every object and every distance."""
    values = np.unique(objects[objects > 0])
    found = np.ones(objects.shape)
    places = {v: np.argwhere(objects == v) * spacing for v in values}
    for voxel in np.argwhere(objects == 0):
        each = sorted(np.sqrt(((places[v] - voxel * spacing) ** 2).sum(1)).min() for v in values)
        if len(each) > 1:
            found[tuple(voxel)] += 10 * np.exp(-((each[0] + each[1]) ** 2) / 50)
    return found


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (2.5, 1.0)])
@pytest.mark.parametrize("seed", range(4))
def test_weights_are_those_of_the_paper(seed, spacing):
    objects = squares(seed)
    np.testing.assert_allclose(border_weights(objects, spacing), by_hand(objects, spacing), atol=1e-4)


def test_a_gap_of_one_pixel_weighs_most_and_lone_objects_nothing():
    objects = np.zeros((30, 60), int)
    objects[10:20, 10:20], objects[10:20, 21:30] = 1, 2
    weights = border_weights(objects)
    assert weights[15, 20] == pytest.approx(1 + 10 * np.exp(-4 / 50))
    assert weights.argmax() == np.ravel_multi_index((10, 20), weights.shape)
    assert (border_weights(np.where(objects == 2, 0, objects)) == 1).all()
    assert (border_weights(np.zeros((5, 5), int)) == 1).all()
    assert (border_weights(np.full((5, 5), 7)) == 1).all()


@given(seed=st.integers(0, 2**31), dims=st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_parted_objects_do_not_touch_and_lose_only_voxels_that_did(seed, dims):
    objects = squares(seed, (6, 20, 22))
    found = separated(objects, dims)
    touches = np.zeros(objects.shape, bool)
    for axis in range(3 - dims, 3):
        low, high = (
            found.take(range(*ends), axis) for ends in ((0, found.shape[axis] - 1), (1, found.shape[axis]))
        )
        assert not ((low > 0) & (high > 0) & (low != high)).any()
        for shift in (-1, 1):
            other = np.roll(objects, shift, axis)
            edge = [slice(None)] * 3
            edge[axis] = slice(-1, None) if shift == -1 else slice(0, 1)
            other[tuple(edge)] = 0
            touches |= (other > 0) & (other != objects)
    lost = (objects > 0) & (found == 0)
    assert not (lost & ~touches).any()
    assert ((found == objects) | lost).all()


def test_objects_in_neighbouring_planes_touch_only_in_3d():
    objects = np.zeros((2, 3, 3), np.uint16)
    objects[0], objects[1] = 1, 2
    volume = Volume.of(objects)
    whole = tuple((0, n) for n in volume.grid)
    assert foreground(volume, 2).read(whole).all()
    assert foreground(volume, 3).read(whole)[0, 0].tolist() == [[[1] * 3] * 3, [[0] * 3] * 3]


@pytest.mark.parametrize("dims", [2, 3])
def test_a_box_is_parted_as_the_whole(dims):
    objects = squares(5, (6, 30, 33), 20)
    volume = Volume.of(objects)
    whole = objects_in(volume, tuple((0, n) for n in volume.grid), dims)
    np.testing.assert_array_equal(whole[0], separated(objects, dims))
    box = ((0, 1), (2, 5), (7, 20), (11, 33))
    np.testing.assert_array_equal(objects_in(volume, box, dims), whole[:, 2:5, 7:20, 11:33])


def test_a_mask_of_true_and_false_is_one_object():
    mask = np.zeros((6, 7), bool)
    mask[2:4, 2:5] = True
    found = foreground(Volume.of(mask), 2).read(((0, 1), (0, 1), (0, 6), (0, 7)))[0, 0, 0]
    np.testing.assert_array_equal(found, mask)


def test_what_is_wrong_with_a_mask_is_not_told_as_a_damaged_file():
    with pytest.raises(LimnError, match="found float32, expected whole numbers") as caught:
        foreground(Volume.of(np.zeros((6, 7), np.float32)), 2).read(((0, 1), (0, 1), (0, 6), (0, 7)))
    assert "damaged" not in str(caught.value)


def test_masks_of_fractions_are_refused():
    with pytest.raises(LimnError, match="found float64, expected whole numbers"):
        foreground(Volume.of(np.zeros((4, 4))), 2).read(((0, 1), (0, 1), (0, 4), (0, 4)))


@pytest.mark.parametrize("dims", [2, 3])
def test_negative_numbers_are_refused(dims):
    objects = np.ones((2, 4, 4), np.int16)
    objects[1, 2, 3] = -7
    volume = Volume.of(objects)
    with pytest.raises(LimnError, match=r"negative label -7.*0 and above.*renumber"):
        foreground(volume, dims).read(((0, 1), (0, 2), (0, 4), (0, 4)))
