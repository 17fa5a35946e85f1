"""Components in blocks beside those of the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import generate_binary_structure, label

from napari_limn.instances.blocks import BlockGrid
from napari_limn.instances.components import Components, join_components
from napari_limn.volume.volume import Volume

extents = st.tuples(*(st.integers(1, n) for n in (2, 6, 7, 9)))
cuts = st.tuples(st.just(1), *(st.integers(1, n) for n in (6, 7, 9)))


def in_blocks(values, block, classes, connectivity="full", smallest=0):
    """Objects of a TZYX array, computed block by block, and their classes."""
    source = Components(Volume.of(values, "TZYX"), classes, connectivity)
    grid = BlockGrid(values.shape, block)
    *_, joined = join_components(source, grid, smallest)
    objects = np.zeros(values.shape, np.uint32)
    for number in range(grid.count):
        box = grid.box(number)
        at = tuple(slice(*side) for side in box)
        objects[at] = joined.part(number, source.pieces(box).labels).regions[None]
    return objects, joined


def whole(mask, connectivity):
    """What scipy says, of which times are separate."""
    structure = np.zeros((3, 3, 3, 3), int)
    structure[1] = generate_binary_structure(3, 3 if connectivity == "full" else 1)
    return label(mask, structure)[0]


@settings(max_examples=40, deadline=None)
@given(extents, cuts, st.sampled_from(("full", "face")), st.floats(0.1, 0.9), st.integers(0, 2**32 - 1))
def test_blocks_give_the_components_of_scipy_ids_included(shape, block, connectivity, share, seed):
    mask = np.random.default_rng(seed).random(shape) < share
    objects, _ = in_blocks(mask.astype(np.uint8), block, [1], connectivity)
    np.testing.assert_array_equal(objects, whole(mask, connectivity))


@settings(max_examples=25, deadline=None)
@given(extents, cuts, st.sampled_from(("full", "face")), st.integers(0, 4), st.integers(0, 2**32 - 1))
def test_classes_are_apart_and_small_objects_go_without_a_gap_in_the_ids(
    shape, block, connectivity, smallest, seed
):
    values = np.random.default_rng(seed).integers(0, 4, shape).astype(np.uint16)
    objects, joined = in_blocks(values, block, [1, 3], connectivity, smallest)
    parts = [whole(values == value, connectivity) for value in (1, 3)]
    both = np.where(parts[0], parts[0], np.where(parts[1], parts[1] + parts[0].max(), 0))
    sizes = np.bincount(both.ravel())
    kept = np.where(sizes[both] >= smallest, both, 0)
    order = [k for k in dict.fromkeys(kept.ravel().tolist()) if k]
    renamed = np.zeros(both.max() + 1, np.uint32)
    renamed[order] = np.arange(1, len(order) + 1)
    np.testing.assert_array_equal(objects, renamed[kept])
    assert (joined.classes[objects] == np.where(objects, values, 0)).all()


def test_a_spiral_through_all_blocks_is_one_object():
    values = np.zeros((1, 1, 21, 21), np.uint8)
    for ring in range(0, 10, 2):
        values[0, 0, ring, ring : 21 - ring] = values[0, 0, 20 - ring, ring : 21 - ring] = 1
        values[0, 0, ring : 21 - ring, ring] = values[0, 0, ring : 21 - ring, 20 - ring] = 1
        values[0, 0, ring + 1, ring] = 0
        values[0, 0, ring + 2, ring + 1] = 1
    objects, joined = in_blocks(values, (1, 1, 4, 5), [1], "face")
    np.testing.assert_array_equal(objects, whole(values > 0, "face"))
    assert joined.count == whole(values > 0, "face").max()


@pytest.mark.parametrize(
    ("shape", "chunks", "block"),
    [
        ((1, 1, 3000, 3000), None, (1, 1, 1024, 1024)),
        ((2, 300, 300, 300), None, (1, 128, 128, 128)),
        ((1, 300, 300, 300), (1, 100, 100, 50), (1, 100, 100, 100)),
        ((1, 300, 9000, 9000), (1, 1, 9000, 9000), (1, 128, 128, 128)),
    ],
)
def test_blocks_follow_the_pieces_in_which_a_file_is_stored(shape, chunks, block):
    class Stored:
        dtype = np.dtype(np.uint8)

        def __getitem__(self, _):
            raise AssertionError("nothing is read")

    data = Stored()
    data.shape = shape
    if chunks:
        data.chunks = chunks
    assert BlockGrid.of(Volume.of(data, "TZYX")).block == block
