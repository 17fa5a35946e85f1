"""What decides the last bits: one output comes from one kind of machine, unless the user allows others."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from runs import SUFFIXES, files, interrupted, set_up, undisturbed

from napari_limn._napari.layers.words import in_window
from napari_limn.errors import LimnError
from napari_limn.events import Noted, Warned, drain
from napari_limn.inference.ledger import NUMERICS, Ledger
from napari_limn.inference.numerics import numerics
from napari_limn.inference.pipeline import PredictSpec, predict, prediction_events

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("no_thread_survives")

CPU = torch.device("cpu")
MIXED = PredictSpec(mixed=True)


@pytest.fixture
def elsewhere(monkeypatch):
    """Pretends that this machine has other instructions, or another PyTorch."""

    def pretended(what):
        if what == "torch":
            monkeypatch.setattr(torch, "__version__", "1.99")
        else:
            monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "OTHER")

    return pretended


def test_a_variable_that_takes_instructions_away_shows(monkeypatch):
    before = numerics(CPU, torch.float32)
    assert before["torch"] == torch.__version__
    assert torch.backends.cpu.get_cpu_capability() in before["processor"]
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx2")
    assert numerics(CPU, torch.float32)["processor"] == f"{before['processor']} ONEDNN_MAX_CPU_ISA=AVX2"


def test_matrix_units_count_only_where_they_compute(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    plain, low = (numerics(CPU, dtype)["processor"] for dtype in (torch.float32, torch.bfloat16))
    assert low == f"{plain} AMX"


@pytest.mark.parametrize("newer", [False, True])
def test_of_a_card_its_name_and_how_it_computes_count(monkeypatch, newer):
    cudnn = SimpleNamespace(allow_tf32=True, deterministic=False, version=lambda: 91002)
    if newer:
        cudnn.conv = SimpleNamespace(fp32_precision="ieee")
    monkeypatch.setattr(torch.backends, "cudnn", cudnn)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "A card")
    found = numerics(torch.device("cuda"), torch.float32)
    assert found == {
        "torch": torch.__version__, "card": "A card", "cuDNN": 91002, "TF32": "ieee" if newer else "True", "deterministic": False,
    }  # fmt: skip
    assert {*found, *numerics(CPU, torch.float32)} == {*NUMERICS}


@pytest.mark.parametrize("what", ["processor", "torch"])
def test_a_run_of_another_machine_is_refused_before_anything_is_measured(
    tmp_path, patch, monkeypatch, elsewhere, what
):
    model, volume = set_up("swept plane", patch)
    path = tmp_path / "labels.ome.zarr"
    interrupted(prediction_events(model, volume, path), 9)
    before = files(tmp_path)
    elsewhere(what)
    monkeypatch.setattr("napari_limn.inference.run.measured_precision", lambda *_: pytest.fail("measured"))
    with pytest.raises(LimnError, match=rf"had {what} '.*', found .* go on where that is the same") as error:
        predict(model, volume, path)
    assert files(tmp_path) == before
    assert ", say --mixed to allow labels that differ where two classes tie, or say --over" in str(
        error.value
    )
    assert in_window(str(error.value)).endswith(
        "go on where that is the same, or tick Overwrite under More to start anew."
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_mixed_goes_on_and_notes_what_else_computed(tmp_path, patch, elsewhere, suffix):
    model, volume = set_up("swept plane", patch)
    whole = undisturbed(model, volume, tmp_path / "whole", suffix)
    (tmp_path / "again").mkdir()
    path = tmp_path / "again" / whole.name
    interrupted(prediction_events(model, volume, path), 9)
    began, heard = Ledger.recorded(path), []
    elsewhere("processor")
    interrupted(prediction_events(model, volume, path, MIXED), 5)
    drain(prediction_events(model, volume, path, MIXED), heard.append)
    assert [e for e in heard if isinstance(e, Warned) and "labels may differ where two classes tie" in str(e)]
    assert Ledger.recorded(path) == began
    rows = [json.loads(line) for line in Ledger.of(path).read_text().splitlines()]
    assert [r["value"] for r in rows if r.get("note") == "mixed"] == [[numerics(CPU, torch.float32)]]
    assert (files(path) == files(whole)) if suffix == ".ome.zarr" else path.read_bytes() == whole.read_bytes()


def test_mixed_changes_nothing_where_the_machine_is_the_same(tmp_path, patch):
    model, volume = set_up("swept plane", patch)
    path, heard = tmp_path / "labels.ome.zarr", []
    interrupted(prediction_events(model, volume, path), 9)
    drain(prediction_events(model, volume, path, MIXED), heard.append)
    assert not [e for e in heard if isinstance(e, Warned) and "tie" in str(e)]
    assert '"mixed"' not in Ledger.of(path).read_text()


def test_what_is_whole_is_so_on_any_machine(tmp_path, patch, elsewhere):
    model, volume = set_up("swept plane", patch)
    path, heard = tmp_path / "labels.ome.zarr", []
    predict(model, volume, path)
    elsewhere("processor")
    assert drain(prediction_events(model, volume, path), heard.append) == path
    assert [e for e in heard if isinstance(e, Noted) and "is complete already" in str(e)]
    assert predict(model, volume, path, overwrite=True) == path
    assert "OTHER" in Ledger.recorded(path)["processor"]
