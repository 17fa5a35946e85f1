"""Objects at any setting, without computing a voxel again, are those of a run with that setting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

import napari_limn as limn
from napari_limn import LimnError
from napari_limn.instances import blocks
from napari_limn.instances.adjustable import adjustable_events
from napari_limn.instances.splitting.ratio import RATIOS
from napari_limn.runs import drain


@pytest.fixture(scope="module")
def _small():
    """Blocks of 16 voxels a side, so that a small image has many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "_FLAT", (1, 1, 16, 16))
        patch.setattr(blocks, "_COMPACT", (1, 8, 16, 16))
        yield


def scene(seed, shape=(40, 44)):
    """Blobs of two classes that touch, with intensities."""
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.random(shape), 2.0)
    labels = np.ones(shape, np.uint8)
    labels[smooth > np.quantile(smooth, 0.6)] = 2
    labels[..., : shape[-1] // 3][labels[..., : shape[-1] // 3] == 2] = 3
    return labels, (smooth * 1000).astype(np.uint16)


def adjustable(labels, image, classes=None):
    return drain(adjustable_events(labels, image, np.zeros(labels.shape, np.uint32), classes))


@pytest.mark.usefixtures("_small")
@settings(max_examples=12)
@given(
    st.integers(0, 99),
    st.sampled_from([(40, 44), (7, 20, 24)]),
    st.sampled_from([None, *RATIOS]),
    st.sampled_from([0, 5, 40]),
)
def test_what_a_knob_shows_is_what_a_run_gives(seed, shape, split, smallest):
    labels, image = scene(seed, shape)
    found = adjustable(labels, image)
    shown = found.at(split, smallest)
    run = limn.objects(labels, image, spec=limn.ObjectSpec(split=split, smallest=smallest))
    np.testing.assert_array_equal(shown.ids[np.asarray(found.basins.data)], run.labels)
    assert list(shown.table.columns) == list(run.table.columns)
    for name, column in shown.table.columns.items():
        np.testing.assert_array_equal(column, run.table[name], err_msg=name)


@pytest.mark.usefixtures("_small")
def test_an_object_that_stays_keeps_its_key():
    found = adjustable(*scene(3))
    few, many = found.at(0.5), found.at(0.95)
    assert few.count < many.count
    assert len(set(few.keys[1:].tolist())) == few.count
    assert set(few.keys.tolist()) <= set(many.keys.tolist()), (
        "more is split; the highest basin of each part stays"
    )


@pytest.mark.usefixtures("_small")
def test_a_fit_finds_the_split_that_objects_were_painted_by():
    labels, image = scene(5, (64, 64))
    found = adjustable(labels, image)
    for split in (0.5, 0.95):
        truth = found.at(split).ids[np.asarray(found.basins.data)]
        chosen = found.at(found.fit(truth))
        np.testing.assert_array_equal(chosen.ids[np.asarray(found.basins.data)], truth)
    with pytest.raises(LimnError, match="2 painted objects, expected 3"):
        found.fit(np.minimum(truth, 2).astype(np.uint8))


def test_no_object_is_no_error():
    labels = np.ones((20, 20), np.uint8)
    labels[4, 4] = 2
    found = adjustable(labels, None)
    assert found.at(0.8, 5).count == 0
    assert len(found.at(0.8, 5).table) == 0
    assert found.at(0.8).count == 1
