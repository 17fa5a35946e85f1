"""Which voxels the pixel classifier learns from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from textures import IMAGE, SPEC, prepared, strokes

from napari_limn.annotation.classes import IGNORE
from napari_limn.events import Improved, drain
from napari_limn.training.data.regions import RegionReader
from napari_limn.training.first_answer import sample as drawn
from napari_limn.training.first_answer.sample import sample_voxels
from napari_limn.training.trainer import train, training_events
from napari_limn.volume.boxes import shape_of

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("small_classifier")


def test_a_sample_knows_every_stroke_and_which_are_held_out():
    network, data = prepared(replace(SPEC, held_out=0.3), labels=strokes(range(5, 125, 8)))
    sample = drain(sample_voxels(network.pixels, data))
    painted = sample.target != IGNORE
    assert painted.sum() == (strokes(range(5, 125, 8)) > 0).sum()
    assert 0 < sample.held[painted].sum() < painted.sum() / 2
    rest = sample.without_held()
    assert not ((rest.target != IGNORE) & sample.held).any()
    assert np.array_equal(rest.target[~sample.held], sample.target[~sample.held])


@pytest.mark.exhaustive
def test_of_a_large_image_a_few_tiles_answer_first_and_change_nothing_for_the_rest(monkeypatch):
    monkeypatch.setitem(drawn.TILE, 2, (1, 1, 32, 32))
    network, data = prepared()
    assert not drawn.is_large(network.pixels, data)
    monkeypatch.setitem(drawn._QUICK, 2, 1)
    assert drawn.is_large(network.pixels, data)
    known = {}
    few = drain(sample_voxels(network.pixels, data, known=known, quick=True))
    whole, after = (
        drain(sample_voxels(network.pixels, data)),
        drain(sample_voxels(network.pixels, data, known=known)),
    )
    assert set(few.target) - {IGNORE} == {0, 1}
    assert len(few.target) < len(whole.target) / 2
    for one, other in (
        (whole.features, after.features),
        (whole.target, after.target),
        (whole.held, after.held),
    ):
        assert np.array_equal(one, other)

    events = []
    final = drain(training_events(IMAGE, strokes(), SPEC), events.append)
    answers = [e.model for e in events if isinstance(e, Improved) and e.model.spec.steps == 0]
    assert len(answers) >= 4
    monkeypatch.setitem(drawn._QUICK, 2, 1 << 30)
    for name, value in train(IMAGE, strokes(), SPEC).network.pixels.state_dict().items():
        assert torch.equal(value, final.network.pixels.state_dict()[name])


def test_more_strokes_cost_features_around_them_only(monkeypatch):
    seen = []
    features_of = RegionReader.features_of
    monkeypatch.setattr(
        RegionReader, "features_of", lambda *of: seen.append(shape_of(of[2])[-2:]) or features_of(*of)
    )
    monkeypatch.setattr("napari_limn.training.first_answer.sample._OTHERS", 500)
    network, data = prepared()
    known = {}
    drain(sample_voxels(network.pixels, data, known=known))
    assert seen == [(128, 128)]
    labels = strokes()
    labels[64, 10:30], labels[110, 72:120] = 2, 0
    _, data = prepared(labels=labels)
    sample = drain(sample_voxels(network.pixels, data, known=known))
    assert len(seen) == 2
    assert seen[1][0] <= 1
    assert seen[1][1] <= 20
    whole = features_of(data, 0, ((0, 1), (0, 1), (0, 128), (0, 128)), network.pixels)
    assert (sample.target == IGNORE).sum() > 50
    for value in (1, 2):
        found = sample.features[sample.target == value - 1]
        expected = whole[:, labels == value].T
        assert len(found) == len(expected)
        assert np.allclose(np.sort(found, 0), np.sort(expected, 0), atol=1e-4)


def test_of_filled_areas_some_of_each_class_are_looked_at_and_more_paint_changes_none(monkeypatch):
    monkeypatch.setattr(drawn, "_IN_TILE", 30)
    order, target = np.random.default_rng(0).permutation(400), np.full(400, IGNORE)
    target[:100], target[100:110] = 0, 1
    few = drawn._some_of_each(target, order)
    assert np.bincount(target[few]).tolist() == [30, 10]
    target[200:300] = 1
    more = drawn._some_of_each(target, order)
    assert np.bincount(target[more]).tolist() == [30, 30]
    assert set(few[target[few] == 0]) == set(more[target[more] == 0])


def test_features_of_a_tile_are_those_of_the_whole_image():
    network, data = prepared()
    whole = data.features_of(0, ((0, 1), (0, 1), (0, 128), (0, 128)), network.pixels)
    part = data.features_of(0, ((0, 1), (0, 1), (40, 72), (0, 50)), network.pixels)
    assert np.allclose(part, whole[:, 40:72, :50], atol=1e-5)
