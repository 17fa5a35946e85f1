from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import napari_limn as limn
from napari_limn.annotation.classes import IGNORE
from napari_limn.errors import LimnError
from napari_limn.events import drain
from napari_limn.network.spec import PixelSpec, UNetSpec
from napari_limn.network.unet import UNet
from napari_limn.training.data.painted import collect_training_data
from napari_limn.training.data.patches import Patch
from napari_limn.training.data.soft_targets import SoftTargets
from napari_limn.training.data.training_set import TrainingSet
from napari_limn.training.first_answer.distillation import pseudo_labels
from napari_limn.training.planning.resolve import resolve
from napari_limn.training.spec import TrainSpec
from napari_limn.volume.boxes import blocks, slices

torch.set_num_threads(1)

GRID, TILE = (2, 6, 20, 23), (1, 4, 8, 8)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(-9, 20), st.integers(1, 14)), min_size=4, max_size=4))
def test_any_box_is_read_from_tiles_as_from_the_whole(spans):
    whole = np.random.default_rng(0).random((3, *GRID)).astype(np.float16)
    soft = SoftTargets(3, TILE)
    for box in blocks(GRID, TILE):
        soft.add(1, box, whole[(slice(None), *slices(box))])
    box = tuple((start, start + n) for start, n in spans)
    far = np.pad(whole.astype(np.float32), ((0, 0), *((20, 40),) * 4))
    expected = far[(slice(None), *(slice(a + 20, b + 20) for a, b in box))]
    np.testing.assert_array_equal(soft.at(1, box), expected)
    assert not soft.at(0, box).any()


def painted_set(dims, **fields):
    shape = (8, 40, 40) if dims == 3 else (300, 90)
    image = np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32)
    image[..., 20:] += 1
    labels = np.zeros(shape, np.uint8)
    labels[..., 4:8, 5:9], labels[..., 4:8, 30:34] = 1, 2
    pixels = PixelSpec(scales=((1.0,) * dims,))
    network = UNetSpec(width=4, factors=((2,) * dims,), pixels=pixels)
    data = training_set(image, labels, TrainSpec(dims=dims, network=network, **fields))
    return data, UNet(network).eval().pixels


def training_set(image, labels, spec):
    painted = collect_training_data(image, labels, spec, None, {}, {})
    return TrainingSet(painted, resolve(spec, painted.images[0], painted.classes))


@pytest.mark.parametrize("dims", [2, 3])
def test_soft_targets_are_what_the_classifier_answers_in_tiles_with_paint(dims):
    data, classifier = painted_set(dims, held_out=0.0)
    soft = drain(pseudo_labels(classifier, data.regions))
    tiles = data.regions.painted_tiles((1, 1, 256, 256) if dims == 2 else (1, 32, 64, 64))
    assert tiles
    for tile in tiles:
        features = torch.from_numpy(data.regions.features_of(0, tile.box, classifier))[None]
        expected = torch.softmax(classifier.layers(classifier.standard(features)), 1)[0]
        found = soft.at(0, tile.box).reshape(expected.shape)
        np.testing.assert_allclose(found, expected.detach().numpy(), atol=1e-3)
    below = ((0, 1), (0, 1), (256, 300), (0, 90))
    if dims == 2:
        assert not soft.at(0, below).any()


def test_a_batch_carries_them_where_the_image_is():
    data, classifier = painted_set(2, held_out=0.0, batch=3, patch=(64, 64))
    assert data.batch().soft is None
    data.soft_targets = drain(pseudo_labels(classifier, data.regions))
    batch = data.batch()
    assert batch.soft.shape == (3, 2, *batch.targets.shape[1:])
    assert 0.1 < float(batch.soft.sum(1).mean()) <= 1 + 1e-3
    assert (batch.targets != IGNORE).any()


def test_nothing_is_known_where_strokes_are_held_out(monkeypatch):
    image = np.random.default_rng(0).normal(0, 0.1, (128, 256)).astype(np.float32)
    labels = np.zeros((128, 256), np.uint8)
    for y in range(8, 128, 16):
        labels[y, 8:120:3], labels[y, 136:250:3] = 1, 2
    augment = limn.AugmentSpec(warped=0.0, gain=0, offset=0)
    network = UNetSpec(width=4, factors=((2, 2),), pixels=PixelSpec(scales=((1.0, 1.0),)))
    spec = TrainSpec(held_out=0.3, patch=(128, 256), augment=augment, network=network)
    data = training_set(image, labels, spec)
    assert data.regions.holds_out
    data.soft_targets = drain(pseudo_labels(UNet(network).eval().pixels, data.regions))
    whole = ((0, 1), (0, 1), (0, 128), (0, 256))
    _, held = data.regions.targets_of(0, whole)
    known = data.soft_targets.at(0, whole)[:, 0, 0].sum(0)
    assert known[held].min() > 0.99
    monkeypatch.setattr(data._sampler, "draw", lambda *_: Patch(0, whole))
    batch = data.batch()
    known = batch.soft.sum(1)
    mirrored = [held, held[::-1], held[:, ::-1], held[::-1, ::-1]]
    for each in known:
        assert any(np.allclose(each, ~flipped, atol=0.01) for flipped in mirrored)


@pytest.mark.parametrize("fields", [{"soft_targets": 0.0}, {"zero": "background"}, {"instant": False}])
@pytest.mark.usefixtures("small_classifier")
def test_they_are_left_out_where_they_are_not_wanted(fields, monkeypatch):
    monkeypatch.setattr(
        "napari_limn.training.first_answer.answer.pseudo_labels", lambda *_: pytest.fail("asked")
    )
    image = np.random.default_rng(0).normal(0, 0.1, (64, 64)).astype(np.float32)
    labels = np.zeros((64, 64), np.uint8)
    labels[4:12, 4:12], labels[40:48, 40:48] = 1, 2
    limn.train(image, labels, TrainSpec(steps=1, patch=(32, 32), preset="fast", **fields))


def test_a_wrong_weight_is_refused():
    with pytest.raises(LimnError, match=r"TrainSpec.soft_targets: found -1, expected 0 or more"):
        TrainSpec(soft_targets=-1)


def test_patches_of_planes_without_paint_carry_soft_targets_alone():
    image = np.random.default_rng(0).normal(0, 0.1, (12, 40, 60)).astype(np.float32)
    image += np.arange(12)[:, None, None]
    labels = np.zeros(image.shape, np.uint8)
    labels[5, 4:9, 4:9], labels[5, 30:36, 30:36] = 1, 2
    augment = limn.AugmentSpec(warped=0.0)
    network = UNetSpec(width=4, factors=((2, 2),), pixels=PixelSpec(scales=((1.0, 1.0),)))
    spec = TrainSpec(held_out=0.0, batch=3, patch=(32, 32), augment=augment, network=network)
    data = training_set(image, labels, spec)
    soft = data.soft_targets = drain(pseudo_labels(UNet(network).eval().pixels, data.regions))
    assert len(soft.elsewhere) == 400_000 // 32**2
    scaling = data.regions.scalings[0]
    planes = {round(float(found.mean() * scaling.width[0] + scaling.low[0])) for found, _ in soft.elsewhere}
    assert len(planes) > 3
    assert 5 not in planes
    for _ in range(5):
        batch = data.batch()
        assert (batch.targets[:-1] != IGNORE).any()
        assert (batch.targets[-1] == IGNORE).all()
        assert float(batch.soft[-1].sum(0).mean()) == pytest.approx(1, abs=1e-2)


def test_classes_take_turns_beside_patches_of_planes_without_paint(monkeypatch):
    image = np.random.default_rng(0).normal(0, 0.1, (12, 40, 60)).astype(np.float32)
    labels = np.zeros(image.shape, np.uint8)
    for value in range(1, 5):
        labels[5, 4:9, 12 * value : 12 * value + 5] = value
    network = UNetSpec(width=4, factors=((2, 2),), pixels=PixelSpec(scales=((1.0, 1.0),)), out_channels=4)
    data = training_set(image, labels, TrainSpec(held_out=0.0, batch=4, patch=(32, 32), network=network))
    data.soft_targets = drain(pseudo_labels(UNet(network).eval().pixels, data.regions))
    turns, draw = [], data._sampler.draw
    monkeypatch.setattr(data._sampler, "draw", lambda turn, rng: (turns.append(turn), draw(turn, rng))[1])
    for _ in range(4):
        data.batch()
    assert [turn % 4 for turn in turns] == [0, 1, 2, 3] * 3


def test_a_single_plane_has_no_elsewhere():
    data, classifier = painted_set(2, held_out=0.0)
    assert drain(pseudo_labels(classifier, data.regions)).elsewhere == []
