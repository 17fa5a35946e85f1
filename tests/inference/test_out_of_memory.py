"""Runs that lack memory go on in smaller blocks."""

from __future__ import annotations

import gc
import weakref
from itertools import product

import numpy as np
import pytest
import torch
from pairwise import pairwise
from runs import (
    FULL,
    SUFFIXES,
    blocks_in,
    failing_at,
    files,
    interrupted,
    plan_of,
    planned,
    set_up,
    told,
    undisturbed,
)  # fmt: skip

from napari_limn.errors import LimnError
from napari_limn.events import Warned, drain
from napari_limn.inference.engines.evaluator import Evaluator
from napari_limn.inference.pipeline import predict, prediction_events
from napari_limn.volume.reading.open import open_volume
from napari_limn.volume.volume import Volume
from napari_limn.volume.writing.pyramid import Target

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("no_thread_survives")


def shrinking(patch, *, smaller=True):
    """A model and a volume with a plan and, under less memory, a smaller one whose blocks straddle its shards."""
    model, volume = set_up("swept volume", patch)
    patch(
        "napari_limn.volume.writing.layout._SMALLEST", 4000
    )  # several blocks each, so that some are half filled
    plans = [plan_of(model, volume.grid, "swept", (1, 4, 16, 16), limit=900_000_000)]
    if smaller:
        plans.append(plan_of(model, volume.grid, "swept", (1, 4, 8, 8), limit=860_000_000))
    planned(patch, *plans)
    return model, volume


def without_memory(folder):
    """Files but for what the journal says of the memory."""
    return {name: data for name, data in files(folder).items() if not name.endswith(".jsonl")}


PLACES = {
    "computing": (Evaluator, "labels", lambda: RuntimeError(FULL)),
    "reading": (Volume, "read", MemoryError),
    "writing": (Target, "write", MemoryError),
    "syncing": (Target, "sync", MemoryError),
}


@pairwise(  # an array is not written in shards
    at=[*product(PLACES, SUFFIXES), ("computing", None), ("reading", None)], count=[2, 5, 7], strength=1
)
def test_a_run_that_lacks_memory_goes_on_in_smaller_blocks_to_the_same_labels(
    tmp_path, patch, monkeypatch, at, count
):
    place, suffix = at
    model, volume = shrinking(patch)
    owner, name, error = PLACES[place]
    expected = predict(model, volume)
    whole = undisturbed(model, volume, tmp_path / "whole", suffix) if suffix else None
    (tmp_path / "again").mkdir()
    path = tmp_path / "again" / whole.name if suffix else None
    run, heard = prediction_events(model, volume, path), []
    heard.append(next(run))
    with monkeypatch.context() as now:
        calls = failing_at(now.setattr, owner, name, count, error())
        found = drain(run, heard.append)
    assert len(calls) >= count
    [warned] = [event.message for event in heard if isinstance(event, Warned)]
    assert warned.startswith("the memory did not suffice; going on with ")
    assert "1 × 4 × 8 × 8" in warned
    last = blocks_in(heard)[-1]
    assert last.done == last.total
    if suffix is None:
        assert np.array_equal(found, expected)
        return
    assert np.array_equal(np.asarray(open_volume(path).data[...]), expected)
    assert without_memory(path.parent) == without_memory(whole.parent)


def test_a_run_that_lacked_memory_and_was_killed_goes_on_in_the_smaller_blocks(tmp_path, patch, monkeypatch):
    model, volume = shrinking(patch)
    whole = undisturbed(model, volume, tmp_path / "whole", ".ome.zarr")
    (tmp_path / "again").mkdir()
    path = tmp_path / "again" / whole.name
    with monkeypatch.context() as now:
        failing_at(now.setattr, Evaluator, "labels", 6, RuntimeError(FULL))
        heard = interrupted(prediction_events(model, volume, path), 14)
    assert any(isinstance(event, Warned) for event in heard)
    heard = []
    drain(prediction_events(model, volume, path), heard.append)
    assert {event.box[3][1] - event.box[3][0] for event in blocks_in(heard)} <= {8, 4}
    assert without_memory(path.parent) == without_memory(whole.parent)


def test_where_no_smaller_blocks_are_left_that_is_said_with_numbers(tmp_path, patch, monkeypatch):
    model, volume = shrinking(patch, smaller=False)
    with monkeypatch.context() as now:
        failing_at(now.setattr, Evaluator, "labels", 4, RuntimeError(FULL))
        with pytest.raises(LimnError) as said:
            predict(model, volume, tmp_path / "labels.ome.zarr")
    assert str(said.value) == (
        "array: found less memory than the 0.90 GB that blocks of 1 × 4 × 16 × 16 need, and this network has no smaller ones; "
        "close other programs, or train a narrower network."
    )
    assert predict(model, volume, tmp_path / "labels.ome.zarr").exists()  # it goes on once there is room


def test_what_did_not_fit_is_free_before_the_run_goes_on(patch, monkeypatch):
    model, volume = shrinking(patch)
    alive, real = [], Evaluator.labels

    def labels(self, logits):
        if not any(isinstance(each, weakref.ref) and each() is self for each in alive[:1]):
            alive.append(weakref.ref(self))
        alive.append(weakref.ref(logits))
        if len(alive) == 5:
            raise RuntimeError(FULL)
        return real(self, logits)

    monkeypatch.setattr(Evaluator, "labels", labels)
    gc.collect()
    gc.disable()
    try:
        run = told(prediction_events(model, volume))
        while not isinstance(next(run), Warned):
            pass
        assert [ref() for ref in alive[:5] if ref() is not None] == []
        run.close()
    finally:
        gc.enable()
