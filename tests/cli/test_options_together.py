"""Options that ask for different networks are refused in one sentence that names both; equal values are none."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from napari_limn import Classes, LimnError, Model, ModelSpec, TrainSpec, UNetSpec, train, training_events
from napari_limn.cli import main
from napari_limn.network.unet import UNet
from napari_limn.training import trainer

OWN = {"width": 2, "factors": [[2, 2]]}


class ReachedError(Exception):
    """The options are fine: training would begin."""


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("image.tif", "labels.tif"):
        tifffile.imwrite(name, np.zeros((8, 8), np.uint8))
    for name, network in {"own": UNetSpec(width=2, factors=((2, 2),)), "wide": UNetSpec(width=4)}.items():
        spec = ModelSpec(network=network, classes=Classes((1, 2)))
        Model(spec, UNet(network)).save(f"{name}.limn")
    return tmp_path


@pytest.fixture
def not_trained(monkeypatch):
    def reached(*_, **__):
        raise ReachedError

    monkeypatch.setattr(trainer, "training_events", reached)


def said(capsys, content, *options):
    """What stderr says; empty where the training would begin."""
    with open("spec.json", "w") as file:
        json.dump(content, file)
    given = ["train", "image.tif", "labels.tif", "-o", "m.limn", "--spec", "spec.json", *options]
    try:
        assert main(given) == 1
    except ReachedError:
        return ""
    return capsys.readouterr().err


@pytest.mark.usefixtures("not_trained")
@pytest.mark.parametrize(
    ("content", "options", "expected"),
    [
        ({"network": OWN}, ["--preset", "fast"], "spec.json: found --preset fast with a network in --spec, expected one of the two"),
        ({"network": OWN, "preset": "fast"}, ["--preset", "thorough"], "spec.json: found --preset thorough with a network in --spec"),
        ({"network": OWN}, ["--dims", "3"], "spec.json: found --dims 3 with a network in --spec, expected one of the two"),
        ({"network": OWN}, ["--from", "wide.limn"], "wide.limn: found another network in --spec with --from, expected one of the two"),
        ({"network": OWN}, ["--from", "own.limn", "--preset", "fast"], "own.limn: found --preset fast with --from"),
        ({"preset": "fast"}, ["--from", "own.limn", "--dims", "3"], "own.limn: found --dims 3 with --from"),
    ],
)  # fmt: skip
def test_a_conflict_is_one_sentence_with_both_names(capsys, files, content, options, expected):
    err = said(capsys, content, *options)
    assert err.startswith(f"napari-limn: {expected}")
    assert err.count("\n") == 1


@pytest.mark.usefixtures("not_trained")
@pytest.mark.parametrize(
    ("content", "options"),
    [
        ({"network": OWN, "preset": "fast"}, ["--preset", "fast"]), ({"network": OWN}, ["--dims", "2"]), ({"network": OWN}, ["--from", "own.limn"]),
        ({"network": OWN, "preset": "fast"}, ["--steps", "3", "--seed", "4"]), ({"preset": "fast"}, ["--preset", "balanced"]),
        ({"network": OWN | {"out_channels": 5, "share": 0.25}}, ["--from", "own.limn"]), ({"network": None}, ["--preset", "fast", "--dims", "3"]),
        ({"network": OWN, "steps": 3}, ["--seconds", "2"]), ({"preset": "fast"}, ["--from", "wide.limn"]),
    ],
)  # fmt: skip
def test_what_is_equal_or_lies_on_top_is_no_conflict(capsys, files, content, options):
    assert said(capsys, content, *options) == ""


def test_a_network_beside_a_model_or_other_axes_is_refused_in_python(files):
    image = np.zeros((8, 8), np.uint8)
    model = Model.load("own.limn")
    for spec in (
        TrainSpec(network=UNetSpec(width=4)),
        TrainSpec(network=UNetSpec(width=2, factors=((2, 2, 2),))),
    ):
        with pytest.raises(
            LimnError,
            match=r"^TrainSpec\.network: found another network than that of the model, expected one",
        ):
            train(image, image, spec, model=model)
    with pytest.raises(
        LimnError, match=r"^TrainSpec\.dims: found 3 with a network over planes, expected one of the two"
    ):
        train(image, image, TrainSpec(dims=3, network=UNetSpec(width=4)))
    with pytest.raises(LimnError, match="found no painted voxel"):
        next(training_events(image, image, TrainSpec(network=model.spec.network), model=model))
