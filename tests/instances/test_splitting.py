"""Splitting in blocks beside that of the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt, gaussian_filter, generate_binary_structure, label

from napari_limn.instances.blocks import BlockGrid
from napari_limn.instances.splitting import landscape as depths_of
from napari_limn.instances.splitting.basins import Basins, join_basins
from napari_limn.instances.splitting.landscape import Landscape
from napari_limn.instances.splitting.ratio import RATIOS, Splitting, fit_ratio
from napari_limn.instances.splitting.store import BlockStore
from napari_limn.instances.survey import Survey
from napari_limn.volume.axes import Axes
from napari_limn.volume.volume import Volume


@pytest.fixture
def near(monkeypatch):
    """Distances count up to a few voxels, so that small blocks have neighbours that they do not see."""
    monkeypatch.setattr(depths_of, "_LIMIT_FLAT", 3)
    monkeypatch.setattr(depths_of, "_LIMIT_SOLID", 3)


def split(labels, probabilities, block, spacing, classes=(1,), folder=None):
    """Basins of TZYX labels in blocks: the basin at each voxel, and what they are split by."""
    volume = Volume(labels, Axes.of("TZYX", (1.0, *spacing)))
    grid = BlockGrid(labels.shape, block)
    known = None if probabilities is None else Volume.of(probabilities, "CTZYX")
    shape = Landscape(spacing, flat=labels.shape[1] == 1)
    source = Basins(volume, classes, shape, BlockStore(folder), known, range(len(classes)))
    *_, (joined, peaks) = join_basins(source, grid)
    survey, basins = Survey(grid, joined.count), np.zeros(labels.shape, np.uint32)
    for number in range(grid.count):
        box = grid.box(number)
        known = source.block(number, box)
        part = joined.part(number, known["labels"])
        survey.add(number, part, depths=known["depths"])
        basins[tuple(slice(*side) for side in box)] = part.regions[None]
    return basins, Splitting.of(peaks, joined.classes, survey.sums, survey.contacts())


def scene(shape, seed, classes=1):
    """Rough probabilities, and labels where they are high."""
    rng = np.random.default_rng(seed)
    parts = [gaussian_filter(rng.random(shape), (0, 0.8, 0.8, 0.8)) for _ in range(classes)]
    raw = np.stack([(part - part.min()) / np.ptp(part) for part in parts])
    values = np.where(raw.max(0) > 0.5, raw.argmax(0) + 1, 0).astype(np.uint8)
    return values, np.rint(raw * 255).astype(np.uint8)


@pytest.mark.usefixtures("near")
@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([(1, 1, 23, 29), (1, 9, 13, 14), (2, 5, 9, 12)]),
    st.tuples(st.just(1), *(st.integers(2, 14) for _ in range(3))),
    st.sampled_from([(1.0, 1.0, 1.0), (2.7, 1.0, 1.3)]),
    st.booleans(),
    st.integers(1, 2),
    st.integers(0, 2**32 - 1),
)
def test_blocks_split_as_the_whole_ids_included(shape, block, spacing, probable, classes, seed):
    values, probabilities = scene(shape, seed, classes)
    given_ = probabilities if probable else None
    wanted = tuple(range(1, classes + 1))
    blocks, one = split(values, given_, block, spacing, wanted)
    whole, other = split(values, given_, (1, *shape[1:]), spacing, wanted)
    np.testing.assert_array_equal(blocks, whole)
    for ratio in (0.4, 0.8, 0.98):
        ours, theirs = one.objects(ratio, 3), other.objects(ratio, 3)
        np.testing.assert_array_equal(ours.ids, theirs.ids)
        np.testing.assert_array_equal(ours.sums.inner_faces, theirs.sums.inner_faces)
        np.testing.assert_array_equal(ours.sums.second_moments, theirs.sums.second_moments)
        objects = ours.ids[whole]
        kept = np.unique(objects[objects > 0])
        assert kept.tolist() == list(range(1, len(ours.classes) + 1))
        assert list(dict.fromkeys(objects[objects > 0].tolist())) == kept.tolist(), "numbered in scan order"


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_without_a_split_basins_are_the_components(seed):
    values, _ = scene((1, 6, 11, 12), seed)
    basins, splitting = split(values, None, (1, 4, 5, 6), (1.0, 1.0, 1.0))
    objects = splitting.objects(0.0).ids[basins]
    np.testing.assert_array_equal(objects[0], label(values[0], generate_binary_structure(3, 3))[0])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(1.0, 1.0, 1.0), (3.0, 1.0, 1.5), (0.7, 1.0, 0.9)]))
def test_distances_are_those_of_scipy_up_to_the_limit(seed, spacing):
    mask = gaussian_filter(np.random.default_rng(seed).random((20, 30, 40)), 2) > 0.49
    mask[10, 10, 10] = False
    limit = 16 * min(spacing)
    expected = np.minimum(distance_transform_edt(mask, spacing), limit)
    ours = np.sqrt(Landscape(spacing).squared(mask) / depths_of._FAR) * limit
    np.testing.assert_allclose(ours, expected, atol=0.02 * min(spacing))


def discs(centres, radius, shape):
    y, x = np.indices(shape)
    return np.any([(y - cy) ** 2 + (x - cx) ** 2 <= radius**2 for cy, cx in centres], axis=0)


def test_discs_that_touch_are_split_and_one_disc_is_not():
    mask = discs([(20, 20), (20, 37)], 10, (41, 60)).astype(np.uint8)[None, None]
    basins, splitting = split(mask, None, (1, 1, 16, 16), (1.0, 1.0, 1.0))
    objects = splitting.objects(0.8)
    assert len(objects.classes) == 2
    pixels = objects.ids[basins][0, 0]
    assert (pixels[20, 10], pixels[20, 47]) == (1, 2)
    assert len(splitting.objects(0.4).classes) == 1
    assert len(splitting.objects(0.8, smallest=1000).classes) == 0
    alone = discs([(20, 20)], 10, (41, 41)).astype(np.uint8)[None, None]
    assert len(split(alone, None, (1, 1, 16, 16), (1.0, 1.0, 1.0))[1].objects(0.9).classes) == 1


def test_a_fit_finds_the_ratio_of_painted_objects():
    mask = discs([(20, 20), (20, 37)], 10, (41, 60)).astype(np.uint8)[None, None]
    basins, splitting = split(mask, None, (1, 1, 64, 64), (1.0, 1.0, 1.0))
    for wanted in (0.4, 0.8):
        painted = splitting.objects(wanted).ids[basins]
        overlaps = np.zeros((basins.max() + 1, painted.max()), np.int64)
        np.add.at(overlaps, (basins[painted > 0], painted[painted > 0] - 1), 1)
        fitted = fit_ratio(splitting, overlaps)
        np.testing.assert_array_equal(splitting.objects(fitted).ids[basins], painted)
        assert fitted in RATIOS


@pytest.mark.usefixtures("near")
def test_what_a_killed_run_left_of_blocks_is_used(tmp_path, monkeypatch):
    values, probabilities = scene((1, 1, 40, 40), 3)
    whole, _ = split(values, probabilities, (1, 1, 11, 11), (1.0, 1.0, 1.0), folder=tmp_path)
    left = sorted(tmp_path.iterdir())
    assert len(left) == 16
    for path in left[5:]:
        path.unlink()
    computed, compute = [], Basins._computed
    monkeypatch.setattr(Basins, "_computed", lambda self, box: computed.append(box) or compute(self, box))
    again, _ = split(values, probabilities, (1, 1, 11, 11), (1.0, 1.0, 1.0), folder=tmp_path)
    np.testing.assert_array_equal(again, whole)
    assert len(computed) == 11
