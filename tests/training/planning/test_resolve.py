"""What a run goes by is decided once, before it begins."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest
import torch

from napari_limn import device
from napari_limn.annotation.classes import Classes
from napari_limn.annotation.snapshot import Snapshot
from napari_limn.errors import LimnError
from napari_limn.events import Improved, Repainted, Step
from napari_limn.model import Model, ModelSpec
from napari_limn.network.spec import PixelSpec, UNetSpec
from napari_limn.network.unet import UNet
from napari_limn.training.live import live_events
from napari_limn.training.planning.resolve import continued, resolve
from napari_limn.training.selection import SelectionPolicy
from napari_limn.training.spec import TrainSpec
from napari_limn.training.trainer import train
from napari_limn.volume.axes import Axes
from napari_limn.volume.volume import Volume

torch.set_num_threads(1)

TINY = UNetSpec(width=2, factors=((2, 2),))
PLANE = Volume.of(np.zeros((64, 64), np.float32))
STACK = Volume.of(np.zeros((16, 64, 64), np.float32), Axes.of("ZYX", (3.0, 1.0, 0.5)))
TWO = Classes((1, 2))


def model_of(network=TINY, classes=TWO, **spec):
    return Model(ModelSpec(network=network, classes=classes, **spec), UNet(network))


@pytest.mark.parametrize("dims", [2, 3])
def test_of_a_spec_that_leaves_all_open_nothing_stays_open(dims):
    resolved = resolve(TrainSpec(dims=dims, device="cpu"), STACK, TWO)
    left_open = {f.name for f in fields(resolved) if getattr(resolved, f.name) is None}
    assert left_open == {"class_weights"}
    assert resolved.ndim == resolved.network.ndim == dims
    assert (resolved.network.in_channels, resolved.network.out_channels) == (1, 2)
    assert resolved.device == torch.device("cpu")
    assert resolved.voxel == (1.0, 6.0, 2.0, 1.0)
    for extent in (
        resolved.patch,
        resolved.window,
        resolved.shrink,
        resolved.step,
        resolved.cell,
        resolved.gap,
    ):
        assert len(extent) == 4


def test_it_cannot_be_changed():
    resolved = resolve(TrainSpec(device="cpu"), PLANE, TWO)
    with pytest.raises(FrozenInstanceError):
        resolved.device = torch.device("cuda")


def test_held_out_strokes_are_scored_in_more_than_a_patch_on_a_cpu_and_a_card_learns_from_as_much():
    spec = TrainSpec(device="cpu")
    small = resolve(spec, PLANE, TWO)
    assert (small.patch, small.window) == ((1, 1, 64, 64), (1, 1, 160, 160))
    large = resolve(spec, PLANE, TWO, device=torch.device("cuda"))
    assert large.patch == large.window == small.window


def test_a_model_that_is_trained_further_decides_network_axes_and_intensities():
    model = model_of(steps=5)
    spec = TrainSpec(network=UNetSpec(width=8), dims=3, device="cpu")
    resolved = resolve(spec, PLANE, TWO, model)
    assert resolved.network == model.spec.network
    assert resolved.spec == continued(spec, model)
    assert (resolved.spec.network, resolved.spec.dims) == (None, 2)
    assert resolved.spec.intensity == model.spec.intensity
    more = resolve(spec, PLANE, Classes((1, 2, 7)), model).network
    assert more == replace(model.spec.network, out_channels=3, head="softmax")


@pytest.mark.parametrize(("steps", "seconds"), [(0, 0.0), (0, 2.0), (9, 2.0)])
def test_what_is_shown_first_is_what_was_shown_before(steps, seconds):
    network = replace(TINY, pixels=PixelSpec(scales=((1.0, 1.0),)), share=0.25)
    resolved = resolve(TrainSpec(device="cpu"), PLANE, TWO, model_of(network, steps=steps, seconds=seconds))
    assert resolved.first_share == (0.25 if steps else 1.0)
    assert resolved.further is (seconds > 0)
    assert resolved.selection.marked is (steps > 0)


@pytest.mark.parametrize(
    ("fields", "policy"),
    [
        ({}, SelectionPolicy(distilled=True)),
        ({"held_out": 0.0}, SelectionPolicy(distilled=True, trusting=True)),
        ({"soft_targets": 0.0}, SelectionPolicy()),
        ({"zero": "background"}, SelectionPolicy(trusting=True)),
        ({"instant": False}, SelectionPolicy()),
    ],
    ids=str,
)
def test_what_a_network_must_show(fields, policy):
    resolved = resolve(TrainSpec(device="cpu", **fields), PLANE, TWO)
    assert replace(resolved.selection, bfloat16=False) == policy
    assert resolved.selection.bfloat16 is resolved.bfloat16


@pytest.mark.parametrize(
    ("spec", "image", "model", "message"),
    [
        ({"patch": (32, 32), "dims": 3}, STACK, None, r"TrainSpec.patch: found \(32, 32\), expected 3 extents for a 3D"),
        ({"patch": (8, 32, 32)}, PLANE, model_of(), r"found \(8, 32, 32\), expected 2 extents for a 2D network"),
        ({}, PLANE, model_of(replace(TINY, in_channels=3)), "found 1 channels, the model expects 3; choose the"),
        ({"device": "gpu"}, PLANE, None, "TrainSpec.device: found 'gpu', expected one of auto, cpu, cuda, mps"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(spec, image, model, message):
    with pytest.raises(LimnError, match=message):
        resolve(TrainSpec(**spec), image, TWO, model)


@pytest.fixture
def asked(monkeypatch):
    """The names of the devices that any room asked for."""
    names, choose = [], device.choose_device
    for module in list(sys.modules.values()):
        if getattr(module, "choose_device", None) is choose:
            monkeypatch.setattr(
                module, "choose_device", lambda name="auto": names.append(name) or choose(name)
            )
    return names


def painted(*values):
    labels = np.zeros((64, 64), np.uint8)
    for row, value in enumerate(values):
        labels[6 + 8 * row, 4:60] = value
    return labels


SPEC = TrainSpec(steps=3, network=TINY, patch=(16, 16), device="cpu")


def test_a_run_asks_for_a_device_once(asked):
    image = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    train(image, painted(1, 2, 1, 2), SPEC)
    assert asked == ["cpu"]


def test_live_mode_asks_for_a_device_once_whatever_is_painted(asked, monkeypatch):
    for name in ("_LOOK", "_REST", "_APART", "_LEARNING"):
        monkeypatch.setattr(f"napari_limn.training.live.{name}", 0.0)
    image = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    labels = painted(1, 2)
    paint = Snapshot(labels)
    with closing(live_events(image, paint, SPEC)) as events:
        for value in (2, 3):  # more of a class, then a new one: a run of its own
            next(event for event in events if isinstance(event, Step))
            labels[40 + value, 4:60] = value
            paint.mark(((0, 64), (0, 64)))
            next(event for event in events if isinstance(event, Repainted) and event.counts)
        model = next(event for event in events if isinstance(event, Improved)).model
    assert model.spec.classes.values == (1, 2, 3)
    assert asked == ["cpu"]
