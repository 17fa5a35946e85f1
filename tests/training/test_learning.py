"""Every loss, network and kind of image learns what strokes show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from two_areas import (
    IMAGE,
    SHORT,
    SPEC,
    STROKES,
    TINY,
    TINY_VOLUME,
    TRUTH,
    image_of,
    strokes_of,
    truth_of,
)

from napari_limn.evaluation.scores import score
from napari_limn.inference.pipeline import PredictSpec, predict
from napari_limn.model import Model
from napari_limn.training.spec import AugmentSpec
from napari_limn.training.trainer import train
from napari_limn.volume.volume import Volume

torch.set_num_threads(1)
LEARN = replace(SPEC, held_out=0.0)  # scoring takes longer than the steps


def test_thirty_steps_learn_two_areas(trained):
    model, _ = trained
    unseen = truth_of()[::-1].copy()
    assert score(predict(model, image_of(unseen, seed=9)), unseen).mean_iou > 0.9
    assert model.spec.score > 0.9


def test_one_painted_class_trains_when_zero_is_background():
    mask = np.where(TRUTH == 5, 5, 0).astype(np.uint8)
    model = train(IMAGE, mask, replace(LEARN, zero="background"))
    assert model.spec.classes.names == ("background", "class 5")
    assert score(predict(model, IMAGE), mask, "background").mean_iou > 0.9


def test_color_images_train():
    rgb = np.stack([IMAGE, 500 - IMAGE, np.zeros_like(IMAGE)], -1)
    model = train(rgb, STROKES, LEARN)
    assert model.spec.network.in_channels == 3
    assert score(predict(model, rgb), TRUTH).mean_iou > 0.9


def test_a_small_stack_trains_a_network_over_volumes():
    truth = np.stack([TRUTH] * 8)
    stack, strokes = image_of(truth), np.zeros_like(truth)
    strokes[2], strokes[5] = STROKES, STROKES
    spec = replace(LEARN, dims=3, network=TINY_VOLUME, patch=(4, 32, 32), steps=60)
    model = train(Volume.of(stack, "ZYX"), strokes, spec)
    assert model.spec.network.ndim == 3
    assert score(predict(model, Volume.of(stack, "ZYX")), truth).mean_iou > 0.9


def test_a_movie_trains_frame_by_frame():
    movie = np.stack([image_of(TRUTH, seed=s) for s in range(3)])
    strokes = np.zeros(movie.shape, np.uint8)
    strokes[1] = STROKES
    volume = Volume.of(movie, "TYX")
    model = train(volume, strokes, replace(LEARN, steps=60))
    assert model.spec.network.ndim == 2
    assert score(predict(model, volume)[2], TRUTH).mean_iou > 0.9


def test_several_images_train_one_model():
    other = TRUTH.T.copy()
    model = train([IMAGE, 3 * image_of(other)], [STROKES, strokes_of(other)], LEARN)
    assert score(predict(model, IMAGE), TRUTH).mean_iou > 0.9
    assert score(predict(model, 3 * image_of(other)), other).mean_iou > 0.9


def test_unpadded_networks_train():
    network = replace(TINY, padding="valid")
    model = train(IMAGE, STROKES, replace(LEARN, network=network, steps=60))
    assert score(predict(model, IMAGE), TRUTH).mean_iou > 0.9


def blobs(size=96):
    """Squares with numbers of their own, two of them touching, as image and as objects."""
    objects = np.zeros((size, size), np.uint16)
    for number, (y, x) in enumerate([(8, 8), (8, 24), (50, 10), (30, 60), (70, 70)], start=1):
        objects[y : y + 16, x : x + 16] = number
    return image_of((objects > 0).astype(float), contrast=300), objects


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"loss": "dice"}, marks=pytest.mark.exhaustive),
        pytest.param({"loss": "cross_entropy+dice"}, marks=pytest.mark.exhaustive),
        pytest.param({"loss": "focal"}, marks=pytest.mark.exhaustive),
        {"loss": "focal+dice"},
        {"class_weights": (1.0, 3.0)},
        {"augment": AugmentSpec(elastic=4.0)},
        {"network": replace(TINY, head="sigmoid")},
        {"network": replace(TINY, skip="nested", supervised=True)},
        {"network": replace(TINY, skip="attention", block="residual")},
        pytest.param(
            {"network": replace(TINY, up="interpolate", down="strided", dropout=0.2), "steps": 120},
            marks=pytest.mark.exhaustive,
        ),
        {"network": replace(TINY, norm="none", down="max_1x1"), "steps": 120},
    ],
    ids=str,
)
def test_every_loss_and_network_learns_two_areas(change):
    model = train(IMAGE, STROKES, replace(LEARN, **{"steps": 60} | change))
    unseen = truth_of()[::-1].copy()
    assert score(predict(model, image_of(unseen, seed=9)), unseen).mean_iou > 0.7  # by chance .25 to .5


@pytest.mark.parametrize(
    "norm",
    ["channel", *(pytest.param(n, marks=pytest.mark.exhaustive) for n in ("instance", "rms", "group"))],
)
def test_norms_that_take_brightness_away_learn_from_texture(norm):
    def grainy(truth, seed):
        grain = np.random.default_rng(seed).normal(0, 1, truth.shape)
        return np.where(truth == 5, 60 * grain, 8 * grain).astype(np.float32)

    # of width 8, at three times the rate, a norm over channels stays at a loss of ln 2 for 60 to 300 steps and more: how
    # long is up to the rounding of the processor
    network = replace(TINY, norm=norm, width=16)
    spec = replace(LEARN, network=network, rate=3e-3, steps=100, augment=AugmentSpec(noise=0.0))
    unseen = truth_of()[::-1].copy()
    found = predict(train(grainy(TRUTH, 0), STROKES, spec), grainy(unseen, 9))
    assert score(found, unseen).mean_iou > 0.8


def test_heavier_classes_take_more_room():
    hazy = image_of(TRUTH, contrast=8)
    share = [
        (predict(train(hazy, STROKES, replace(LEARN, class_weights=w)), hazy) == 5).mean()
        for w in ((10.0, 1.0), (1.0, 10.0))
    ]
    assert share[1] > share[0] + 0.2


def test_numbered_objects_train_a_network_that_separates_them():
    image, objects = blobs()
    spec = replace(LEARN, zero="background", objects=True, steps=60)
    model = train(image, objects, spec)
    assert model.spec.classes.values == (0, 1)
    assert score(predict(model, image), (objects > 0).astype(np.uint8), "background").mean_iou > 0.8


def test_a_supervised_network_can_be_pruned_saved_and_asked(tmp_path):
    network = replace(TINY, skip="nested", supervised=True)
    model = train(IMAGE, STROKES, replace(LEARN, steps=60, network=network))
    path = model.pruned(1).save(tmp_path / "small.limn")
    small = Model.load(path)
    assert small.spec.network.depth == 1
    np.testing.assert_array_equal(predict(small, IMAGE), predict(model, IMAGE, spec=PredictSpec(prune=1)))
    assert score(predict(small, IMAGE), TRUTH).mean_iou > 0.7
    again = train(IMAGE, STROKES, replace(SHORT, network=None), model=small)
    assert again.spec.network == small.spec.network
