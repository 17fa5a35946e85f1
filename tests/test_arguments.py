"""What is written in Python is answered as what is read from a file: at once, naming the field."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from napari_limn import (
    AugmentSpec,
    Classes,
    LimnError,
    Model,
    ModelSpec,
    PredictSpec,
    TrainSpec,
    UNetSpec,
)
from napari_limn.network.spec import PixelSpec
from napari_limn.network.unet import UNet
from napari_limn.specs import from_json, parse_json, to_json
from napari_limn.volume.intensity import IntensitySpec

HUGE = 10**400
WRONG = {
    TrainSpec: [
        {"seconds": "60"}, {"seconds": True}, {"seconds": None}, {"seconds": HUGE}, {"seconds": float("nan")}, {"seconds": [60]},
        {"steps": 2.5}, {"steps": True}, {"steps": "6"}, {"steps": 0}, {"seed": -1}, {"seed": 1 << 32}, {"seed": 1.0}, {"seed": None},
        {"zero": "nothing"}, {"zero": 0}, {"dims": 4}, {"dims": "2"}, {"dims": True}, {"objects": "no"}, {"objects": 1},
        {"preset": "best"}, {"preset": 1}, {"network": "unet"}, {"network": {"width": "8"}}, {"network": 5}, {"patch": 64},
        {"patch": (64.5, 64)}, {"patch": "64"}, {"patch": (64, True)}, {"patch": ()}, {"patch": (0, 64)}, {"patch": (10**9, 10**9)},
        {"batch": 2.5}, {"batch": 0}, {"batch": 10**9, "patch": (64, 64)}, {"batch": "4"}, {"batch": HUGE}, {"rate": "fast"}, {"rate": 0},
        {"rate": float("inf")}, {"loss": "mse"}, {"loss": None}, {"class_weights": 1.0}, {"class_weights": ("a", "b")},
        {"class_weights": (float("nan"), 1.0)}, {"augment": None}, {"augment": "much"}, {"augment": {"flip": 3}}, {"instant": "yes"},
        {"soft_targets": "half"}, {"held_out": 0.9}, {"held_out": "0.1"}, {"intensity": (1, 99)}, {"intensity": None}, {"device": "gpu"},
        {"device": torch.device("cpu")},
    ],
    PredictSpec: [
        {"memory": 1.5}, {"memory": True}, {"memory": ["2GB"]}, {"precision": "float64"}, {"precision": 16}, {"device": "tpu"}, {"device": None},
        {"prune": 1.0}, {"prune": "1"}, {"probabilities": "float32"}, {"probabilities": True}, {"mixed": 1}, {"mixed": "yes"},
    ],
    UNetSpec: [
        {"width": True}, {"width": 8.0}, {"width": "8"}, {"width": 10**6, "max_width": 10**6}, {"width": HUGE}, {"factors": 2}, {"factors": (2, 2)},
        {"factors": ((2, "2"),)}, {"factors": ((10**9, 2),)}, {"factors": ((2, 2),) * 60}, {"in_channels": None}, {"in_channels": 10**12},
        {"out_channels": 2.0}, {"padding": True}, {"norm": None}, {"dropout": "half"}, {"dropout": float("nan")}, {"supervised": 1},
        {"pixels": (1.0, 1.0)}, {"pruned": "1"},
    ],
    PixelSpec: [
        {"scales": 1.0}, {"scales": ((1.0, "1"),)}, {"scales": ((1.0, float("nan")),)}, {"scales": ((1.0, 1.0),), "hidden": 32},
        {"scales": ((1.0, 1.0),), "hidden": (10**9,)}, {"scales": ((1.0, 1.0),), "windows": 1.0}, {"scales": ((1.0, 1.0),), "hidden": (True,)},
    ],
    IntensitySpec: [{"low": "1"}, {"low": None}, {"high": True}, {"low": float("nan")}, {"high": 101}, {"low": 50, "high": 50}],
    AugmentSpec: [{"noise": "0.1"}, {"noise": -1}, {"noise": float("nan")}, {"gain": None}, {"warped": 2}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "fields"), [(kind, fields) for kind, rows in WRONG.items() for fields in rows], ids=str
)
def test_a_wrong_argument_is_answered_at_once_with_its_name(kind, fields):
    with pytest.raises(LimnError) as refused:
        kind(**fields)
    sentence = str(refused.value)
    assert len(sentence) < 500
    assert "\n" not in sentence


def test_numbers_of_numpy_and_lists_are_welcome_and_become_python_s():
    spec = TrainSpec(steps=np.int64(5), rate=np.float32(0.5), patch=[np.int32(64), 64], seconds=7)
    assert spec == TrainSpec(steps=5, rate=0.5, patch=(64, 64), seconds=7.0)
    assert [type(value) for value in (spec.steps, spec.rate, spec.seconds, *spec.patch)] == [
        int,
        float,
        float,
        int,
        int,
    ]
    assert json.dumps(to_json(UNetSpec(width=np.int64(8)))) == json.dumps(to_json(UNetSpec(width=8)))
    assert from_json(TrainSpec, json.loads(json.dumps(to_json(spec)))) == spec


def test_a_nested_spec_may_be_given_as_what_a_file_would_hold():
    assert TrainSpec(intensity={"low": 2}).intensity == IntensitySpec(low=2.0)


@pytest.mark.parametrize("text", ["[" * 100_000, "", "{", b"\xff\xfe", "9" * 5000, "NaN, 1"])
def test_what_is_no_json_is_refused_in_a_sentence(text):
    with pytest.raises(LimnError, match=r"^found no valid JSON \(.*\), expected a spec\.$"):
        parse_json(text, "a spec")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_refused_at_load(tmp_path, value):
    spec = ModelSpec(network=UNetSpec(width=2, factors=((2, 2),)), classes=Classes((1, 2), "unlabelled"))
    network = UNet(spec.network)
    path = Model(spec, network).save(tmp_path / "good.limn")
    assert Model.load(path).spec.network == spec.network
    with torch.no_grad():
        network.head.bias[0] = value
    path = Model(spec, network).save(tmp_path / "bad.limn")
    with pytest.raises(LimnError, match=r"bad\.limn: found weights that are no finite numbers \(head\.bias"):
        Model.load(path)
