"""What scores a model is never trained on, and tiles show what can be learned."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from training_data import (
    PLANES,
    VALID,
    VOLUMES,
    data_for,
    image_of_labels,
    noise,
    striped,
    training_set,
    unscaled,
)

import napari_limn as limn
from napari_limn.annotation.classes import IGNORE
from napari_limn.network.spec import PixelSpec, UNetSpec
from napari_limn.network.unet import UNet
from napari_limn.training.data.painted import PaintedTile, collect_training_data
from napari_limn.training.first_answer import fit as instant
from napari_limn.training.first_answer import sample as drawn
from napari_limn.training.spec import TrainSpec
from napari_limn.volume.boxes import blocks
from napari_limn.volume.volume import Volume

torch.set_num_threads(1)


def test_windows_are_labelled_inside_held_out_regions_and_nothing_else_is():
    labels = striped((200, 200), length=22)
    data = data_for(image_of_labels(labels), labels)
    regions = data.regions.held[0].boxes
    windows = data.regions.held_out_windows()
    assert len(windows) == len(regions)
    for (_, target), region in zip(windows, regions, strict=True):
        inside = labels[tuple(slice(a, b) for a, b in region[2:])]
        assert (target != IGNORE).sum() == (inside > 0).sum()
        assert set(target.unique().tolist()) == {IGNORE, *(np.unique(inside[inside > 0]) - 1).tolist()}


@pytest.mark.usefixtures("plain")
def test_what_scores_is_never_trained_on():
    labels = striped((200, 200), length=22)
    marks = np.arange(labels.size, dtype=np.float64).reshape(labels.shape)
    data = data_for(marks, labels, batch=8)
    held = {
        round(float(v))
        for x, y in data.regions.held_out_windows()
        for v in unscaled(data, x[:, 0])[y != IGNORE]
    }
    trained = set()
    for _ in range(60):
        batch = data.batch()
        images, targets = batch.images, batch.targets
        trained |= {round(float(v)) for v in unscaled(data, images[:, 0])[targets != IGNORE]}
    painted = set(np.flatnonzero(labels).tolist())
    assert held <= painted
    assert len(trained & painted) > 0.5 * len(painted)
    assert not held & trained


def test_nothing_is_held_out_if_so_asked():
    data = data_for(noise((128, 128)), striped(), held_out=0.0)
    assert data.regions.held_out_windows() == []


@pytest.mark.parametrize("network", [PLANES, VALID])
def test_strokes_longer_than_the_patch_score_in_windows_as_large_as_it_takes(network):
    data = data_for(noise((128, 128)), striped(length=60), network, patch=(32, 32))
    windows = data.regions.held_out_windows()
    assert windows
    assert sum(int((y != IGNORE).sum()) for _, y in windows) == 60 * len(windows)
    for x, y in windows:
        assert UNet(network).eval()(x).shape[2:] == y.shape[1:]


def test_strokes_over_two_planes_score_with_all_of_their_paint():
    labels = np.zeros((4, 128, 128), np.uint8)
    labels[1] = labels[2] = striped()
    data = data_for(Volume.of(noise((4, 128, 128)), "ZYX"), labels)
    held = data.regions.held[0].held(np.argwhere(labels[None])).sum()
    assert sum(int((y != IGNORE).sum()) for _, y in data.regions.held_out_windows()) == held > 0


def test_one_of_several_images_may_be_without_paint():
    labels = striped()
    data = data_for([noise((128, 128))] * 2, [labels, np.zeros_like(labels)])
    assert data.regions.held_out_windows()


@pytest.mark.parametrize("network", [PLANES, VOLUMES])
def test_of_many_images_with_one_stroke_of_each_class_whole_strokes_are_held_out(network):
    images, labels = [], []
    for number in range(8):
        shape = (2, 64, 64 + 8 * number)[-network.ndim :]
        mask = np.zeros(shape, np.uint8)
        plane = mask.reshape(-1, *shape[-2:])[0]
        plane[10, 10:40], plane[40, 10:40] = 1, 2
        images.append(noise(shape, number))
        labels.append(mask)
    data = data_for(images, labels, network, patch=None, held_out=0.4)
    held = [(number, box) for number, out in enumerate(data.regions.held) for box in out.boxes]
    assert len({number for number, _ in held}) >= 2
    for number, box in held:
        inside = data.regions._labels[number].read(box)[0]
        assert inside.size == (inside > 0).sum() == 30  # a stroke of this image
    where = np.array([[0, 0, y, x] for y in (10, 40) for x in range(10, 40)])
    left = [~out.excluded(where) for out in data.regions.held]
    assert sum(keep[:30].sum() for keep in left) >= 4 * 30
    assert sum(keep[30:].sum() for keep in left) >= 4 * 30


@pytest.mark.parametrize(
    ("network", "shape", "extent"),
    [(PLANES, (3, 90, 140), (1, 1, 32, 40)), (VOLUMES, (20, 60, 110), (1, 7, 32, 40))],
    ids=["planes", "volumes"],
)
@pytest.mark.parametrize("seed", range(3))
def test_painted_tiles_show_what_can_be_learned_in_each(network, shape, extent, seed):
    rng = np.random.default_rng(seed)
    labels = [np.zeros(shape, np.uint8) for _ in range(2)]
    for own in labels:
        for _ in range(30):
            z, y, x = (int(rng.integers(0, n)) for n in shape)
            own[z, y : y + 3, x : x + 20] = rng.integers(1, 5)
    images = [Volume.of(noise(shape), "ZYX")] * 2
    data = data_for(images, labels, network, held_out=0.3, seed=seed, patch=(16,) * network.ndim)
    expected, held_out = set(), 0
    for source, box in itertools.product(range(2), blocks(data.regions.grid(0), extent)):
        target, held = data.regions.targets_of(source, box)
        if (target != IGNORE).any():
            found = np.unique(target[(target != IGNORE) & ~held])
            expected.add(PaintedTile(source, box, tuple(found.tolist())))
            held_out += len(np.unique(target)) - 1 > len(found)
    tiles = data.regions.painted_tiles(extent)
    assert set(tiles) == expected
    assert len(tiles) == len(expected)
    assert held_out


def two_classes_in_two_planes():
    """Strokes of two classes, side by side, in two tiles along z and two along x."""
    labels = np.zeros((64, 96, 96), np.uint8)
    for plane in (10, 50):
        labels[plane, 10:14, 10:40], labels[plane, 10:14, 56:86] = 1, 2
    return noise(labels.shape), labels


SOLID = UNetSpec(width=2, factors=((2, 2, 2),), pixels=PixelSpec(scales=((1.0, 1.0, 1.0),)))


def test_where_there_is_time_for_few_tiles_they_show_all_classes_that_are_not_held_out(monkeypatch):
    monkeypatch.setitem(drawn._SEEN, 3, 1)
    spec = TrainSpec(network=SOLID, patch=(8, 32, 32))
    painted = collect_training_data(*two_classes_in_two_planes(), spec, None, {}, {})
    classifier, before, fewer = UNet(SOLID).pixels, None, 0
    for seed in range(20):
        data = before = training_set(painted, replace(spec, seed=seed), before)
        tiles = data.regions.painted_tiles(drawn.TILE[3])
        chosen = drawn._chosen(tiles, classifier, seed, {})
        learned = [
            target[~held] for target, held in (data.regions.targets_of(t.source, t.box) for t in chosen)
        ]
        assert {0, 1} <= set(np.concatenate(learned).tolist())
        fewer += len(chosen) < len(tiles)
    assert fewer == 20


def test_a_volume_trains_though_a_tile_may_hold_nothing_but_what_is_held_out(monkeypatch):
    monkeypatch.setitem(drawn._SEEN, 3, 1)
    monkeypatch.setattr(drawn, "_OTHERS", 500)
    for name, value in {"_STEPS": 5, "_STEPS_ON": 5, "_OTHERS_ON": 500}.items():
        monkeypatch.setattr(instant, name, value)
    spec = TrainSpec(steps=1, seed=6, network=SOLID, patch=(8, 32, 32), device="cpu", soft_targets=0)
    model = limn.train(*two_classes_in_two_planes(), spec)
    assert model.spec.classes.values == (1, 2)
    assert model.spec.score is not None
