"""OpenVINO in PyTorch's place: the same logits, chosen by measurement, kept by a run that goes on, and never in the way."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pairwise import pairwise
from runs import PLANES, VOLUMES, files, image_of, interrupted, model_of, plan_of, planned, small_shards
from torch import nn

from napari_limn.errors import LimnError
from napari_limn.events import Noted, drain
from napari_limn.inference.engines import openvino as vino
from napari_limn.inference.engines.blocks import BlockEngine
from napari_limn.inference.engines.evaluator import Evaluator
from napari_limn.inference.engines.openvino import CompiledNetwork, NotCompiledError
from napari_limn.inference.ledger import Ledger
from napari_limn.inference.measured import precision as precision_module
from napari_limn.inference.measured import runtime
from napari_limn.inference.measured.runtime import Runtime
from napari_limn.inference.pipeline import PredictSpec, predict, prediction_events
from napari_limn.inference.planning.columns import LOOSE, least_alive
from napari_limn.inference.planning.plan import network_bytes
from napari_limn.inference.run import PredictionRun
from napari_limn.network.folding import folded
from napari_limn.network.footprint import footprint
from napari_limn.network.spec import CHOICES, UNetSpec
from napari_limn.network.unet import UNet
from napari_limn.volume.boxes import blocks
from napari_limn.volume.intensity import fit_scaling
from napari_limn.volume.writing.array_output import in_memory

if not vino.version():  # not pytest.importorskip, which would import it with its telemetry
    pytest.skip("OpenVINO is not installed", allow_module_level=True)
torch.set_num_threads(1)

CPU = torch.device("cpu")
FAMILY = {key: CHOICES[key] for key in ("padding", "down", "up", "skip", "norm")}
# keeps oneDNN from what the processor has, and OpenVINO only half: bfloat16 is then float32, group norms may crash it
CAPPED = "ONEDNN_MAX_CPU_ISA" in os.environ
HAS_AVX2 = torch.backends.cpu.get_cpu_capability() != "DEFAULT" and not CAPPED
BFLOAT16 = pytest.mark.skipif(
    CAPPED or "BF16" not in vino.openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"),
    reason="OpenVINO computes in bfloat16 on processors that have it only, and not where ONEDNN_MAX_CPU_ISA keeps it from it",
)


@pytest.fixture
def patch(monkeypatch):
    return monkeypatch.setattr


@pytest.fixture
def eager(patch):
    """Measure whatever the image, and take OpenVINO however fast it is."""
    for name, value in {"_WORTH": 0, "_LEAST": 0.0, "_FASTER": 0.0}.items():
        patch(runtime, name, value)


def network_of(spec, seed=0):
    torch.manual_seed(seed)
    network = UNet(spec)
    for weight in network.parameters():
        if weight.ndim == 1:
            weight.data.uniform_(0.1, 0.5)
    return folded(network)


def tiled(patch, factors=PLANES, shape=(3, 40, 50), block=(1, 1, 40, 50), **more):
    """Model and image of a run that computes whole frames."""
    axes = "TYX" if len(block) - len(factors[0]) == 2 else "ZYX"
    model, volume = model_of(factors, **more), image_of(axes, shape)
    planned(patch, replace(plan_of(model, volume.grid, "tiled", block), limit=1 << 30))
    small_shards(patch)
    return model, volume


def notes_of(run):
    heard = []
    drain(run, heard.append)
    return [event.message for event in heard if isinstance(event, Noted)]


# ---- the same logits ---------------------------------------------------------------------------------------------


@pairwise(
    ndim=[2, 3],
    end=zip(CHOICES["head"], CHOICES["block"], strict=True),  # the one is behind the other
    **FAMILY,
    most=3,
)
def test_logits_are_those_of_torch_for_the_whole_family(ndim, end, padding, down, up, skip, norm):
    if norm == "group" and CAPPED:
        pytest.skip(
            "OpenVINO crashes at group norms where ONEDNN_MAX_CPU_ISA is set, not on a processor like that"
        )
    head, block = end
    spec = UNetSpec(
        width=3, factors=((2,) * ndim,) * 2, padding=padding, down=down, up=up, skip=skip, norm=norm, head=head,
        block=block, in_channels=2,
    )  # fmt: skip
    network = network_of(spec)
    more = 0 if padding == "valid" else 9  # no multiple of the stride: it pads itself
    size = tuple(f.smallest + more + axis * bool(more) for axis, f in enumerate(footprint(spec)))
    batch = torch.randn(2, 2, *size)
    with torch.inference_mode():
        try:
            compiled = CompiledNetwork(network, 2, size)
        except RuntimeError:  # then PyTorch computes, which another test shows
            if HAS_AVX2:
                raise
            pytest.skip("OpenVINO takes this network on processors with AVX2 only")
        expected, found = network(batch), compiled(batch)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-4 * max(1, expected.std())


@BFLOAT16
def test_bfloat16_is_as_near_to_float32_as_that_of_torch():
    network = network_of(UNetSpec(width=4, factors=PLANES))
    batch = torch.randn(1, 1, 40, 48)
    with torch.inference_mode():
        exact = network(batch)
        low = network.bfloat16()
        torchs, ours = low(batch.bfloat16()), CompiledNetwork(low, 1, (40, 48))(batch.bfloat16())
    assert ours.dtype == torch.float32
    assert (ours - exact).abs().max() <= 1.5 * (torchs - exact).abs().max()
    assert (ours - exact).abs().max() > 1e-4  # it was not computed in float32


def test_every_value_is_written_and_the_same_bits_come_from_every_build():
    network, batch = network_of(UNetSpec(width=3, factors=VOLUMES)), torch.randn(1, 1, 6, 20, 17)
    first = CompiledNetwork(network, 1, (6, 20, 17))
    out = torch.full((1, 2, 6, 20, 17), torch.nan)
    first._pass(batch, out)
    assert not out.isnan().any()
    assert torch.equal(first(batch), out)
    assert torch.equal(CompiledNetwork(network, 1, (6, 20, 17))(batch), out)


def test_it_holds_weights_of_its_own():
    network, batch = network_of(UNetSpec(width=3, factors=PLANES)), torch.randn(1, 1, 16, 16)
    serving = CompiledNetwork(network, 1, (16, 16))
    before = serving(batch).clone()
    for weight in network.parameters():
        weight.data *= 2
    assert torch.equal(serving(batch), before)


@pytest.mark.parametrize("padding", CHOICES["padding"])
def test_blocks_of_an_image_are_those_of_torch_also_where_the_last_are_smaller(patch, padding):
    model, volume = tiled(patch, shape=(2, 40, 50), block=(1, 1, 16, 24))
    model = model if padding == "same" else valid_model()
    ready = Evaluator(model, volume, fit_scaling(volume), CPU, torch.float32)
    plan = plan_of(model, volume.grid, "tiled", (1, 1, 16, 24))
    ours, theirs = BlockEngine(ready, runtime.compiled(ready, plan)), BlockEngine(ready)
    for box in blocks(volume.grid, plan.block):
        with torch.inference_mode():
            assert np.allclose(ours.logits(box), theirs.logits(box), atol=1e-4)


def valid_model():
    model = model_of(PLANES)
    spec = UNetSpec(width=3, factors=PLANES, out_channels=3, padding="valid")
    return type(model)(replace(model.spec, network=spec), UNet(spec).eval())


def test_a_check_that_raises_stops_a_pass(patch):
    patch(vino, "_BEAT", 0)
    network, batch = network_of(UNetSpec(width=16, factors=PLANES)), torch.randn(1, 1, 512, 512)

    def cancelled():
        raise InterruptedError

    serving = CompiledNetwork(network, 1, (512, 512), cancelled)
    with pytest.raises(InterruptedError):
        serving(batch)
    serving._check = int
    with torch.inference_mode():
        assert torch.allclose(serving(batch), network(batch), atol=1e-4)


# ---- chosen by measurement ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(("factors", "shape", "block"), [
    (PLANES, (3, 40, 50), (1, 1, 40, 50)), (VOLUMES, (7, 33, 30), (1, 7, 33, 30)),
])  # fmt: skip
def test_it_computes_where_it_is_faster_and_the_labels_are_the_same(patch, factors, shape, block):
    model, volume = tiled(patch, factors, shape, block)
    notes = notes_of(prediction_events(model, volume))
    assert any("computing with OpenVINO" in note and "the same labels" in note for note in notes)
    found = predict(model, volume)
    patch(runtime, "_WORTH", 1e9)
    assert np.array_equal(found, predict(model, volume))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(("change", "said"), [
    ({"_FASTER": 1e9}, "× as fast as PyTorch"), ({"_NEAR": -1.0}, "other labels"),
])  # fmt: skip
def test_where_it_is_slower_or_gives_other_logits_torch_computes(patch, change, said):
    model, volume = tiled(patch)
    for name, value in change.items():
        patch(runtime, name, value)
    (note,) = [note for note in notes_of(prediction_events(model, volume)) if "OpenVINO" in note]
    assert "computing with PyTorch" in note
    assert said in note


def test_logits_that_are_no_numbers_are_not_the_same():
    logits = torch.randn(1, 3, 8, 8)
    assert runtime._same(logits.clone(), logits)
    assert not runtime._same(torch.full_like(logits, torch.nan), logits)


@BFLOAT16
@pytest.mark.usefixtures("eager")
def test_bfloat16_must_give_the_labels_of_float32(patch):
    model, volume = tiled(patch)
    spec = PredictSpec(precision="bfloat16")
    patch(runtime, "AGREEMENT", 0.0)
    assert any(
        "of float32's labels" in note for note in notes_of(prediction_events(model, volume, spec=spec))
    )
    patch(runtime, "AGREEMENT", 1.1)
    (note,) = [note for note in notes_of(prediction_events(model, volume, spec=spec)) if "OpenVINO" in note]
    assert "computing with PyTorch" in note


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    "error",
    [NotCompiledError("fold is not known here."), RuntimeError("Check failed\nno kernel"), TypeError("x")],
)
def test_what_it_does_not_take_is_computed_by_torch_with_a_note(patch, error):
    model, volume = tiled(patch)
    expected = predict(model, volume)

    def refused(*_):
        raise error

    patch(vino, "_model", refused)
    (note,) = [note for note in notes_of(prediction_events(model, volume)) if "OpenVINO" in note]
    assert "computing with PyTorch" in note
    assert str(error).splitlines()[-1] in note
    assert np.array_equal(predict(model, volume), expected)


def test_bfloat16_is_refused_where_the_processor_has_none(patch):
    """OpenVINO would compute in float32, and not say so."""
    ov = vino.openvino()

    class Older(ov.Core):
        def get_property(self, device, name):
            found = super().get_property(device, name)
            return [one for one in found if one != "BF16"] if name == "OPTIMIZATION_CAPABILITIES" else found

    patch(ov, "Core", Older)
    network = network_of(UNetSpec(width=2, factors=PLANES))
    CompiledNetwork(network, 1, (16, 16))
    with pytest.raises(NotCompiledError, match="does not compute in bfloat16"):
        CompiledNetwork(network.bfloat16(), 1, (16, 16))


def test_an_operation_that_is_not_known_is_refused():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Tanh())
    with pytest.raises(NotCompiledError, match="tanh"):
        CompiledNetwork(network, 1, (8, 8))


@pytest.mark.usefixtures("eager")
def test_sweeps_blends_and_plans_without_room_stay_with_torch(patch):
    model, volume = model_of(PLANES), image_of("YX", (90, 70))
    for kind, limit in (("swept", 1 << 30), ("tiled", 1_000_000)):
        planned(patch, plan_of(model, volume.grid, kind, (1, 1, 16, 16), limit=limit))
        run = PredictionRun.prepared(
            model, volume, PredictSpec(device="cpu"), in_memory(volume, np.uint8), {}
        )
        assert run.runtime == Runtime()


@pytest.mark.usefixtures("eager")
def test_its_memory_is_in_the_plan(patch):
    model, volume = tiled(patch)
    plan = plan_of(model, volume.grid, "tiled", (1, 1, 40, 50), limit=10**6)
    planned(patch, replace(plan, limit=1 << 30))
    run = PredictionRun.prepared(model, volume, PredictSpec(device="cpu"), in_memory(volume, np.uint8), {})
    assert run.runtime.openvino
    spec = model.spec.network
    assert run.plan.peak_bytes == run.runtime.peak_bytes(spec, plan, 4)
    least, most = least_alive(spec, (1, 1, 40, 50)), network_bytes(spec, plan.block, plan.grid, 4)
    assert run.plan.peak_bytes == plan.peak_bytes + run.runtime.own_bytes + int(4 * least * LOOSE) - most
    # tiles at the border have another extent, and are PyTorch's
    smaller = plan_of(model, volume.grid, "tiled", (1, 1, 16, 24), limit=10**6)
    least = least_alive(spec, (1, 1, 16, 24))
    expected = smaller.peak_bytes + run.runtime.own_bytes + int(4 * least * LOOSE)
    assert run.runtime.peak_bytes(spec, smaller, 4) == expected > runtime._OWN
    assert Runtime().peak_bytes(spec, plan, 4) == plan.peak_bytes


# ---- a run that goes on computes as it began ---------------------------------------------------------------------


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("first", ["openvino", "torch"])
def test_a_run_that_goes_on_keeps_the_choice_whatever_would_be_chosen_now(tmp_path, patch, first):
    model, volume = tiled(patch, shape=(8, 40, 50))
    patch(runtime, "_FASTER", 0.0 if first == "openvino" else 1e9)
    (tmp_path / "whole").mkdir()
    whole = predict(model, volume, tmp_path / "whole" / "labels.ome.zarr")
    (tmp_path / "again").mkdir()
    path = tmp_path / "again" / "labels.ome.zarr"
    interrupted(prediction_events(model, volume, path), 6)
    assert not path.exists()
    assert Ledger.recorded(path)["runtime"].split()[0] == first
    patch(runtime, "_FASTER", 1e9 if first == "openvino" else 0.0)  # now it would be the other one
    calls = served_calls(patch)
    predict(model, volume, path)
    assert bool(calls) == (first == "openvino")
    assert files(path.parent) == files(whole.parent)


def served_calls(patch):
    calls, real = [], CompiledNetwork.__call__

    def counted(self, batch):
        calls.append(len(batch))
        return real(self, batch)

    patch(CompiledNetwork, "__call__", counted)
    return calls


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("now", ["", "2099.1.0"])
def test_without_the_openvino_that_it_began_with_a_run_is_refused_by_name(tmp_path, patch, now):
    model, volume = tiled(patch, shape=(8, 40, 50))
    path = tmp_path / "labels.ome.zarr"
    interrupted(prediction_events(model, volume, path), 6)
    patch(runtime, "version", lambda: now)
    with pytest.raises(
        LimnError, match=r"had runtime 'openvino .*' now; go on with the same settings, or say --overwrite"
    ):
        predict(model, volume, path)


# ---- never in the way --------------------------------------------------------------------------------------------


SMALL = """
import sys
import numpy as np
import napari_limn as limn
from napari_limn.network.unet import UNet
from napari_limn.inference.measured import runtime
spec = limn.ModelSpec(network=limn.UNetSpec(width=2), classes=limn.Classes((3, 7)))
limn.predict(limn.Model(spec, UNet(spec.network)), np.zeros((64, 64), np.uint8))
assert not {"openvino", "openvino_telemetry"} & set(sys.modules), "loaded for a small image"
assert runtime.version()
assert "openvino" in sys.modules and "openvino_telemetry" not in sys.modules
"""


def test_it_is_loaded_only_when_it_may_compute_and_then_tells_nobody(tmp_path):
    env = {key: value for key, value in os.environ.items() if key != "CI"}  # there telemetry is off anyway
    env |= {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    subprocess.run([sys.executable, "-c", SMALL], check=True, env=env)
    assert not [path for path in Path(tmp_path).rglob("*") if "intel" in path.name or "openvino" in path.name]


def test_where_it_is_not_installed_nothing_is_measured(patch):
    patch(runtime, "find_spec", lambda _: None)
    patch(runtime, "_compared", None)
    patch(runtime, "_WORTH", 0)
    model, volume = tiled(patch)
    assert predict(model, volume).shape == (3, 40, 50)


def test_runs_of_seconds_are_not_worth_loading_it(patch):
    patch(runtime, "_WORTH", 0)
    patch(runtime, "version", None)  # calling it would fail
    model, volume = tiled(patch)
    assert not [note for note in notes_of(prediction_events(model, volume)) if "OpenVINO" in note]
    assert precision_module.AGREEMENT == runtime.AGREEMENT
