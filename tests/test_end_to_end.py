"""The whole way on real microscopy: strokes, training, prediction, score; colour, stacks, time series."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
import tifffile
from PIL import Image

import napari_limn as limn
from napari_limn import samples
from napari_limn.cli import main

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def paint(real_data):
    """Simulated strokes on a class image: 1 for the first class, 2 for the second, 0 elsewhere."""
    source = real_data.parent / "tools" / "strokes.py"
    if not source.exists():
        pytest.skip("the stroke simulator is not on this machine")
    spec = importlib.util.spec_from_file_location("strokes", source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.paint


def pair(folder):
    """The first image of a folder, and whether each voxel is foreground."""
    image = sorted((folder / "images").glob("*.tif"))[0]
    return image, (tifffile.imread(folder / "masks" / image.name) > 0).astype(np.uint8)


@pytest.mark.exhaustive
def test_colour_histology(real_data, paint, tmp_path):
    image, truth = pair(real_data / "histology_dsb")
    volume = limn.open_volume(image)
    assert volume.channels == 3
    network = limn.UNetSpec(width=8, factors=((2, 2),) * 3)
    model = limn.train(
        volume, paint(truth, 2.0, 0), limn.TrainSpec(steps=120, network=network, patch=(96, 96))
    )
    assert model.spec.network.in_channels == 3
    score = limn.score(limn.predict(model, volume), truth + 1)
    assert score.mean_iou > 0.55, score


@pytest.mark.exhaustive
def test_a_stack_with_a_network_over_volumes(real_data, paint):
    image, truth = pair(real_data / "nuclei_3d_embryo")
    volume = limn.open_volume(image)
    strokes = paint(truth, 3.0, 0, slices=6)
    network = limn.UNetSpec(width=8, factors=((1, 2, 2), (2, 2, 2)))
    spec = limn.TrainSpec(steps=60, dims=3, network=network, patch=(16, 48, 48), batch=2)
    model = limn.train(volume, strokes, spec)
    labels = limn.predict(model, volume, spec=limn.PredictSpec(memory="400MB"))
    assert labels.shape == truth.shape
    assert limn.score(labels, truth + 1).mean_iou > 0.6


def test_a_stack_slice_by_slice_and_as_a_time_series_gives_the_same(real_data, paint, tmp_path):
    image, truth = pair(real_data / "nuclei_3d_ovule")
    stack = tifffile.imread(image)[:20]
    network = limn.UNetSpec(width=4, factors=((2, 2),) * 2)
    spec = limn.TrainSpec(steps=40, network=network, patch=(48, 48))
    model = limn.train(limn.open_volume(stack, "ZYX"), paint(truth[:20], 3.0, 0, slices=3), spec)
    planes = limn.predict(model, limn.open_volume(stack, "ZYX"))
    frames = limn.predict(model, limn.open_volume(stack, "TYX"))
    np.testing.assert_array_equal(planes, frames)
    assert set(np.unique(planes)) == {1, 2}


def test_a_full_mask_with_background_as_zero(real_data):
    image, truth = pair(real_data / "nuclei_fluo_2d")
    network = limn.UNetSpec(width=8, factors=((2, 2),) * 2)
    spec = limn.TrainSpec(steps=60, zero="background", network=network, patch=(64, 64))
    model = limn.train(image, truth, spec)
    labels = limn.predict(model, image)
    assert set(np.unique(labels)) == {0, 1}
    assert limn.score(labels, truth).mean_iou > 0.7


@pytest.mark.exhaustive
def test_painted_by_a_person(real_data):
    folder = real_data / "sparse_paint"
    name = "maize_clsm.tif"
    labels = tifffile.imread(folder / "sparse_labels" / name)
    if len(np.unique(labels[labels > 0])) < 2:
        pytest.skip("this image is painted in one class")
    model = limn.train(folder / "images" / name, labels, limn.TrainSpec(steps=10, patch=(64, 64)))
    assert set(np.unique(limn.predict(model, folder / "images" / name))) <= set(np.unique(labels)) - {0}


@pytest.mark.exhaustive
def test_the_demo_without_a_window(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "demo"), "--seconds", "4", "--no-window", "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["painted_share"] < 0.01
    assert {"painted", "unseen"} == set(said["scores"])
    assert said["screenshot"] is None
    labels = tifffile.imread(tmp_path / "demo" / "sem_rat3_labels.tif")
    with Image.open(tmp_path / "demo" / "sem_rat3_labels.png") as picture:
        assert picture.size == (2 * labels.shape[1] + 8, labels.shape[0])
    assert labels.shape == tifffile.imread(samples.PAINTED.image).shape
    assert json.loads((tmp_path / "demo" / "scores.json").read_text())["scores"] == said["scores"]
    assert limn.Model.load(tmp_path / "demo" / "demo.limn").spec.classes.names == (
        "background",
        "axon",
        "myelin",
    )
