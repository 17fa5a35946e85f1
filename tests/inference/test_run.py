"""Whole runs: killed and taken up again, out of memory, failing in each of their stages, cancelled, on bad disks."""

from __future__ import annotations

import errno
import gc
import os
import shutil
import subprocess
import sys
import threading
import weakref
from itertools import product

import numpy as np
import pytest
import runs
import tifffile
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from pairwise import pairwise
from runs import (
    PLANES,
    RUNS,
    VOLUMES,
    blocks_in,
    files,
    image_of,
    interrupted,
    limits_of,
    model_of,
    plan_of,
    planned,
    set_up,
    small_shards,
    told,
)  # fmt: skip
from torch import nn

from napari_limn.concurrency import Prefetch
from napari_limn.errors import LimnError
from napari_limn.events import Noted, Planned, Warned, drain
from napari_limn.inference import ledger as ledger_module
from napari_limn.inference import pipeline as pipeline_module
from napari_limn.inference.engines.evaluator import Evaluator
from napari_limn.inference.engines.sweeping import SweepEngine
from napari_limn.inference.ledger import Ledger
from napari_limn.inference.pipeline import PredictSpec, predict, prediction_events
from napari_limn.inference.run import PredictionRun
from napari_limn.inference.streaming.kernels import Convolution
from napari_limn.inference.streaming.sweep import Sweep
from napari_limn.volume.intensity import fit_scaling
from napari_limn.volume.reading.open import open_volume
from napari_limn.volume.volume import Volume
from napari_limn.volume.writing import destination as homes
from napari_limn.volume.writing import zarr_output
from napari_limn.volume.writing.output import ArrayOutput, FileOutput
from napari_limn.volume.writing.pyramid import Target

torch.set_num_threads(1)

SUFFIXES = [".ome.zarr", ".tif"]
FULL = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes."


@pytest.fixture(autouse=True)
def _no_thread_survives():
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "limn"]


@pytest.fixture
def patch(monkeypatch):
    """Sets attributes for the time of a test; certificates, which are costly, say a word."""
    monkeypatch.setattr(pipeline_module, "certify", lambda *_: "measured")
    return monkeypatch.setattr


def undisturbed(model, volume, folder, suffix, **more):
    """The path of what a run writes into a folder of its own if nothing happens."""
    folder.mkdir()
    return predict(model, volume, folder / f"labels{suffix}", **more)


def failing_at(patch, owner, name, count, error):
    """Have a method raise at its `count`-th call; returns the calls so far."""
    calls, real = [], getattr(owner, name)

    def method(*args, **kwargs):
        calls.append(name)
        if len(calls) == count:
            raise error
        return real(*args, **kwargs)

    patch(owner, name, method)
    return calls


class Armed:
    """An image that raises at the `count`-th time that it is read from once it is armed."""

    def __init__(self, data, error, count=3):
        self._data, self._error, self._left, self.armed = data, error, count, False
        self.shape, self.dtype = data.shape, data.dtype

    def __getitem__(self, index):
        self._left -= self.armed
        if self.armed and self._left == 0:
            raise self._error
        return self._data[index]


# ---- killed and taken up again -----------------------------------------------------------------------------------


@pairwise(name=RUNS, suffix=SUFFIXES, strength=1)
def test_a_run_closed_at_any_moment_and_started_again_leaves_the_files_of_one_that_was_not(
    tmp_path, patch, name, suffix
):
    model, volume = set_up(name, patch)
    whole = undisturbed(model, volume, tmp_path / "whole", suffix)
    (tmp_path / "again").mkdir()
    path = tmp_path / "again" / whole.name
    rng = np.random.default_rng(list(RUNS).index(name))
    for _ in range(3):
        interrupted(prediction_events(model, volume, path), rng.integers(1, 12))
        assert not path.exists()
    heard = []
    assert drain(prediction_events(model, volume, path), heard.append) == path
    assert files(path.parent) == files(whole.parent)
    assert blocks_in(heard)[-1].done == blocks_in(heard)[-1].total
    if suffix == ".tif":
        assert np.array_equal(tifffile.imread(path), predict(model, volume))


@pairwise(
    name=["columns of a plane", "tiled volume", "blended planes"], kind=["uint8", "float16"], strength=1
)
def test_probabilities_are_the_same_after_an_interruption_too(tmp_path, patch, name, kind):
    model, volume = set_up(name, patch)
    spec = PredictSpec(probabilities=kind)
    whole = undisturbed(model, volume, tmp_path / "whole", ".ome.zarr", spec=spec)
    (tmp_path / "again").mkdir()
    path = tmp_path / "again" / whole.name
    for count in (5, 11):
        interrupted(prediction_events(model, volume, path, spec), count)
    assert predict(model, volume, path, spec) == path
    assert files(path.parent) == files(whole.parent)
    assert any(name.startswith("labels.ome.zarr/probabilities/") for name in files(path.parent))


@pairwise(name=RUNS, suffix=SUFFIXES[::-1], strength=1)
def test_a_run_that_goes_on_counts_from_where_it_was(tmp_path, patch, name, suffix):
    model, volume = set_up(name, patch)
    path = tmp_path / f"labels{suffix}"
    planned = next(prediction_events(model, volume, tmp_path / f"other{suffix}")).plan
    first = blocks_in(interrupted(prediction_events(model, volume, path), planned.blocks * 3 // 4))
    assert {event.total for event in first} == {planned.blocks}
    assert [event.done for event in first] == list(range(1, len(first) + 1))
    second = blocks_in(prediction_events(model, volume, path))
    assert {event.total for event in second} == {planned.blocks}
    assert [event.done for event in second][-1] == planned.blocks
    assert [event.done for event in second] == list(
        range(planned.blocks - len(second) + 1, planned.blocks + 1)
    )
    assert len(second) < planned.blocks


def test_reading_and_computing_agree_on_what_is_missing_while_that_changes():
    model, volume = model_of(PLANES), image_of("YX", (400, 70))
    ready = Evaluator(model, volume, fit_scaling(volume), torch.device("cpu"), torch.float32)

    def blocks(missing):
        engine = SweepEngine(ready, (1, 1, 16, 16), (1, 1, 400, 36))
        for box, logits in engine.batches(missing):
            yield box, logits.clone()

    expected, given = dict(blocks(lambda _: True)), []

    def missing(box):
        late = box[3][0] >= 36 and box[2][0] < 320  # most rows of the second column
        return not (late and given)

    found = {}
    for box, logits in blocks(missing):
        given.append(box)
        found[box] = logits
    assert {box for box in expected if missing(box)} == set(found)
    for box, logits in found.items():
        assert torch.equal(logits, expected[box])


@pytest.mark.skipif(os.name == "nt", reason="kills")
@pytest.mark.parametrize("times", [1, pytest.param(3, marks=pytest.mark.exhaustive)])
def test_a_process_killed_thrice_at_random_leaves_the_files_of_one_that_was_not(tmp_path, patch, times):
    model, volume = set_up("columns of volumes", patch)
    whole = undisturbed(model, volume, tmp_path / "whole", ".ome.zarr")
    (tmp_path / "again").mkdir()
    path, seed = tmp_path / "again" / whole.name, int.from_bytes(os.urandom(4))
    rng = np.random.default_rng(seed)
    for _ in range(times):
        with killable(path) as process:
            for _ in range(rng.integers(1, 25)):
                process.stdout.readline()
            process.kill()
    heard = []
    drain(prediction_events(model, volume, path), heard.append)
    assert files(path.parent) == files(whole.parent), f"with seed {seed}"


def killable(path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "import torch; torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "from runs import set_up\n"
        "from napari_limn.inference.pipeline import predict\n"
        "model, volume = set_up('columns of volumes', setattr)\n"
        "predict(model, volume, Path(sys.argv[1]), listen=lambda event: print(type(event).__name__, flush=True))\n"
    )
    command = [sys.executable, "-c", code, str(path), os.path.dirname(runs.__file__)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pairwise(
    suffix_and_step=[(".tif", "remove"), (".tif", "put_in_place"), (".ome.zarr", "put_in_place")],
    when=["before", "after"],
    overwrite=[False, True],
)
def test_a_run_killed_while_it_gives_the_file_its_name_ends_it_the_next_time(
    tmp_path, patch, monkeypatch, suffix_and_step, when, overwrite
):
    suffix, step = suffix_and_step
    model, volume = set_up("tiled frames", patch)
    whole = undisturbed(model, volume, tmp_path / "whole", suffix, overwrite=overwrite)
    (tmp_path / "again").mkdir()
    path = tmp_path / "again" / whole.name
    if overwrite:
        predict(model_of(PLANES, seed=5), volume, path)
    module = f"napari_limn.volume.writing.{'tiff' if suffix == '.tif' else 'zarr'}_output.{step}"
    owner, name = module.rsplit(".", 1)
    real = getattr(sys.modules[owner], name)

    def killed(*args):
        if when == "after":
            real(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as at_the_end:
        at_the_end.setattr(module, killed)
        with pytest.raises(KeyboardInterrupt):
            predict(model, volume, path, overwrite=overwrite)
    assert predict(model, volume, path) == path
    assert files(path.parent) == files(whole.parent)
    assert not list(path.parent.glob("*.replaced"))


@pytest.mark.parametrize("step", ["put_in_place", "list_labels"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_the_first_labels_inside_an_image_are_listed_even_if_the_run_was_killed_before(
    tmp_path, patch, monkeypatch, step, when
):
    image = zarr.create_group(tmp_path / "brain.ome.zarr", zarr_format=3)
    data = image.create_array("0", shape=(3, 40, 50), dtype="u2", dimension_names=list("zyx"))
    data[:] = np.random.default_rng(0).integers(0, 5000, data.shape)
    axes = [{"name": a, "type": "space"} for a in "zyx"]
    scale = [{"type": "scale", "scale": [2.0, 1.0, 1.0]}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    image.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    inside = tmp_path / "brain.ome.zarr" / "labels"
    real = getattr(zarr_output, step)

    def killed(*args):
        if step == "list_labels" and len(args) == 1:
            return real(*args)  # the list is made, empty, when the run begins
        if when == "after":
            real(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as at_the_end:
        for module in (zarr_output, homes):
            at_the_end.setattr(module, step, killed, raising=False)
        with pytest.raises(KeyboardInterrupt):
            predict(model_of(PLANES), tmp_path / "brain.ome.zarr", inside / "cells")
    assert predict(model_of(PLANES), tmp_path / "brain.ome.zarr", inside / "cells") == inside / "cells"
    assert zarr.open_group(inside, mode="r").attrs["ome"]["labels"] == ["cells"]
    yaozarrs = pytest.importorskip("yaozarrs")
    for path in (inside.parent, inside, inside / "cells"):
        assert yaozarrs.validate_zarr_store(str(path)).ome_version() == "0.5"


@pytest.mark.parametrize("before", [2, pytest.param(3, marks=pytest.mark.exhaustive)])
def test_a_run_goes_on_in_as_many_threads_as_it_began_with(tmp_path, patch, monkeypatch, before):
    model, volume = set_up("swept volume", patch)
    path, seen, batches = tmp_path / "labels.ome.zarr", [], SweepEngine.batches

    def spying(*args):
        return (seen.append(torch.get_num_threads()) or item for item in batches(*args))

    now = torch.get_num_threads()
    torch.set_num_threads(before)
    try:
        interrupted(prediction_events(model, volume, path), 4)
    finally:
        torch.set_num_threads(now)
    assert Ledger.recorded(path)["threads"] == before
    monkeypatch.setattr(SweepEngine, "batches", spying)
    for _ in prediction_events(model, volume, path):
        pass
    assert set(seen) == {before}
    assert torch.get_num_threads() == now


# ---- the same again, and other settings --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tiled frames", "blended planes"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_complete_is_said_to_be_so_without_computing_anything(
    tmp_path, patch, monkeypatch, name, suffix
):
    model, volume = set_up(name, patch)
    path = undisturbed(model, volume, tmp_path / "whole", suffix)
    before = files(path.parent)
    for costly in ("certify", "create_output"):
        monkeypatch.setattr(pipeline_module, costly, lambda *_, **__: pytest.fail("not needed"))
    heard = []
    assert drain(prediction_events(model, volume, path), heard.append) == path
    assert [type(event) for event in heard] == [Planned, Noted]
    assert heard[-1].message == f"{path}: is complete already, computed with the same settings."
    assert files(path.parent) == before


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_somebody_put_in_place_of_the_labels_does_not_pass_for_them(tmp_path, patch, suffix):
    model, volume = set_up("tiled frames", patch)
    path = undisturbed(model, volume, tmp_path / "whole", suffix)
    other = predict(model, image_of("TYX", volume.data.shape, seed=9), tmp_path / f"other{suffix}")
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    other.rename(path)
    with pytest.raises(LimnError, match=r"found it changed since the labels were written.*--overwrite\.$"):
        predict(model, volume, path)
    assert predict(model, volume, path, overwrite=True) == path
    assert predict(model, volume, path) == path


def test_the_first_labels_in_a_series_of_an_image_do_not_change_it(tmp_path, patch):
    model, volume = set_up("swept plane", patch)
    image, series = tmp_path / "scan.zarr", tmp_path / "scan.zarr" / "0"
    zarr.create_group(image, attributes={"ome": {"version": "0.5", "bioformats2raw.layout": 3}})
    steps = [{"type": "scale", "scale": [1.0, 1.0]}]
    axes = [{"name": a, "type": "space"} for a in "yx"]
    meta = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": steps}]}
    group = zarr.create_group(series, attributes={"ome": {"version": "0.5", "multiscales": [meta]}})
    group.create_array("0", shape=volume.data.shape, dtype="u2", chunks=(32, 32))[:] = volume.data
    path = predict(model, image, series / "labels" / "cells")
    np.testing.assert_array_equal(open_volume(path).data[:], predict(model, volume))


def test_voxels_that_change_in_place_are_noticed(tmp_path, patch):
    model, volume = set_up("swept plane", patch)
    image = zarr.create_array(tmp_path / "a.zarr", shape=volume.data.shape, dtype="u2", chunks=(32, 32))
    image[:] = volume.data
    path = tmp_path / "labels.ome.zarr"
    interrupted(prediction_events(model, tmp_path / "a.zarr", path), 9)
    image[:] = volume.data[::-1]
    with pytest.raises(LimnError, match="the unfinished run had input"):
        predict(model, tmp_path / "a.zarr", path)


@pytest.mark.parametrize("complete", [False, True])
def test_other_settings_are_refused_by_name_and_overwrite_starts_anew(tmp_path, patch, complete):
    model, volume = set_up("swept plane", patch)
    path, other = tmp_path / "labels.ome.zarr", model_of(PLANES, seed=7)
    run = prediction_events(model, volume, path)
    if complete:
        drain(run)
        kind, mend = "finished", "choose another name"
    else:
        interrupted(run, 9)
        kind, mend = "unfinished", "go on with the same settings"
    for field, changed in [
        ("model", {"model": other}),
        ("input", {"image": image_of("TYX", (1, 90, 70))}),
        ("input", {"image": image_of("YX", (90, 70), seed=3)}),  # other voxels of the same extent
        ("precision", {"spec": PredictSpec(precision="bfloat16")}),
        ("probabilities", {"spec": PredictSpec(probabilities="uint8")}),
    ]:
        before = files(tmp_path)
        with pytest.raises(LimnError, match=rf"the {kind} run had {field} .*{mend}, or say --overwrite"):
            predict(**{"model": model, "image": volume, "out": path} | changed)
        assert files(tmp_path) == before
    again = undisturbed(other, volume, tmp_path / "again", ".ome.zarr", overwrite=True)
    assert predict(other, volume, path, overwrite=True) == path
    assert files(path) == files(again)


def test_another_memory_limit_is_refused_but_none_takes_that_of_the_run(tmp_path, patch):
    model, volume = set_up("swept plane", patch)
    patch("napari_limn.inference.run.memory_limit", lambda memory, _: memory or 7_000_000)
    path = tmp_path / "labels.tif"
    interrupted(prediction_events(model, volume, path, PredictSpec(memory=3_000_000)), 9)
    with pytest.raises(LimnError, match="the unfinished run had memory 3000000, found 4000000 now"):
        predict(model, volume, path, PredictSpec(memory=4_000_000))
    assert predict(model, volume, path) == path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_journal_without_its_files_holds_nobody_up(tmp_path, patch, suffix):
    model, volume = set_up("tiled frames", patch)
    whole = undisturbed(model, volume, tmp_path / "whole", suffix)
    (tmp_path / "again").mkdir()
    path = tmp_path / "again" / whole.name
    Ledger.open(path, {"model": "quite another"}).close()
    assert predict(model, volume, path) == path
    assert files(path.parent) == files(whole.parent)


@pytest.mark.parametrize("again", ["journal alone", "overwrite", "files"])
def test_what_a_journal_says_counts_only_where_the_run_goes_on_from_it(tmp_path, patch, monkeypatch, again):
    model, volume = set_up("swept plane", patch)
    path, prepared, seen = tmp_path / "labels.ome.zarr", PredictionRun.prepared, []
    interrupted(prediction_events(model, volume, path, PredictSpec(precision="float32")), 9)
    if again == "journal alone":
        shutil.rmtree(path.with_name(path.name + ".partial"))
    monkeypatch.setattr(PredictionRun, "prepared", lambda *args: seen.append(args[-1]) or prepared(*args))
    assert predict(model, volume, path, overwrite=again == "overwrite") == path
    assert bool(seen[0]) == (again == "files")


@pytest.mark.parametrize("out", ["image.tif", "link.tif"])
def test_an_image_is_not_replaced_by_its_labels(tmp_path, monkeypatch, out):
    image = tmp_path / "image.tif"
    tifffile.imwrite(image, image_of("YX", (90, 70)).data)
    (tmp_path / "link.tif").symlink_to(image)
    before = files(tmp_path)
    monkeypatch.setattr(Volume, "read", lambda *_: pytest.fail("not to be read"))
    with pytest.raises(LimnError, match="the labels would replace an image; choose another name"):
        predict(model_of(PLANES), image, tmp_path / out, overwrite=True)
    assert files(tmp_path) == before


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_image_that_changes_meanwhile_gives_no_labels_that_are_called_whole(tmp_path, patch, suffix):
    model, image = set_up("tiled frames", patch)[0], tmp_path / "image.tif"
    tifffile.imwrite(image, image_of("TYX", (3, 40, 50)).data, metadata={"axes": "TYX"}, ome=True)
    path = tmp_path / f"labels{suffix}"
    run = told(prediction_events(model, image, path))
    for _ in range(4):
        next(run)
    os.utime(image, ns=(1, 1))
    with pytest.raises(
        LimnError, match=r"found it changed since the run began.*stay unfinished.*--overwrite\.$"
    ):
        list(run)
    assert not path.exists()
    with pytest.raises(LimnError, match="the unfinished run had input"):
        predict(model, image, path)
    assert predict(model, image, path, overwrite=True) == path


# ---- out of memory -----------------------------------------------------------------------------------------------


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
    at=[*product(PLACES, SUFFIXES), ("computing", None), ("reading", None)], count=[2, 5, 9], strength=1
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


# ---- errors of each stage ----------------------------------------------------------------------------------------


class Odd(Exception):  # noqa: N818
    pass


@pairwise(name=RUNS, place=["reading", "computing", "writing"], into=[None, ".ome.zarr"], strength=1)
def test_an_error_of_any_stage_comes_as_itself(tmp_path, patch, monkeypatch, name, place, into):
    model, volume = set_up(name, patch)
    armed = Armed(volume.data, Odd("a reason"))
    volume = Volume(armed, volume.axes)
    path = tmp_path / f"labels{into}" if into else None
    run = prediction_events(model, volume, path)
    next(run)
    with monkeypatch.context() as now:
        if place == "reading":
            armed.armed = True
        elif place == "computing":
            failing_at(now.setattr, Evaluator, "labels", 3, Odd("a reason"))
        else:
            owner = FileOutput if into else ArrayOutput
            failing_at(now.setattr, owner, "write", 3, Odd("a reason"))
        with pytest.raises(Odd, match="^a reason$"):
            drain(run)
    assert path is None or not path.exists()
    armed.armed = False
    assert np.array_equal(labels_of(predict(model, volume, path)), predict(model, volume))


def labels_of(found):
    return found if isinstance(found, np.ndarray) else np.asarray(open_volume(found).data[...])


def test_a_file_that_cannot_be_read_at_one_place_is_named_with_the_place(patch):
    model, volume = set_up("tiled frames", patch)
    armed = Armed(volume.data, OSError("bad sector"))
    run = prediction_events(model, Volume(armed, volume.axes, "image.tif"))
    next(run)
    armed.armed = True
    with pytest.raises(LimnError, match=r"image.tif: the file is damaged or cut off, box .* \(bad sector\)"):
        drain(run)


# ---- cancelling --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["swept plane", "columns of volumes", "tiled frames", "blended volume"])
def test_cancelling_waits_for_one_layer_at_most(patch, monkeypatch, name):
    model, volume = set_up(name, patch)
    held, closing, layers, close = threading.Event(), threading.Event(), [], Prefetch.close

    def closed(self):
        self._stop.set()
        closing.set()
        close(self)

    def counted(layer):
        def computed(*args):
            layers.append(closing.is_set())
            if len(layers) == 25:
                held.set()
                assert closing.wait(60)  # this layer lasts until somebody closes the run
            return layer(*args)

        return computed

    if name.startswith(("swept", "columns")):
        monkeypatch.setattr(Sweep, "_compute", counted(Sweep._compute))
    else:
        for kind in (nn.Conv2d, nn.Conv3d, Convolution):
            monkeypatch.setattr(kind, "forward", counted(kind.forward))
    monkeypatch.setattr(Prefetch, "close", closed)
    run = prediction_events(model, volume)
    for _ in run:
        if held.is_set():
            break
    run.close()
    assert len(layers) == 25


def test_who_waits_for_a_block_may_cancel_every_quarter_of_a_second(patch, monkeypatch):
    model, volume = set_up("swept plane", patch)
    asked, real = [], Prefetch.next_within

    def nothing_yet(self, seconds):
        asked.append(seconds)
        return None if len(asked) < 4 else real(self, 60)

    monkeypatch.setattr(Prefetch, "next_within", nothing_yet)
    events = prediction_events(model, volume)
    kinds = [type(next(events)).__name__ for _ in range(4)]
    events.close()
    assert kinds[:1] == ["Planned"]
    assert "Working" in kinds
    assert min(asked) == 0.25


# ---- disks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("owner", [Target, Ledger])
def test_a_disk_that_is_full_is_said_to_be_and_the_run_goes_on_once_there_is_room(
    tmp_path, patch, monkeypatch, suffix, owner
):
    model, volume = set_up("swept frames", patch)
    whole = undisturbed(model, volume, tmp_path / "whole", suffix)
    (tmp_path / "again").mkdir()
    path = tmp_path / "again" / whole.name
    with monkeypatch.context() as now:
        if owner is Target:
            failing_at(now.setattr, Target, "write", 7, OSError(errno.ENOSPC, "No space left on device"))
        else:
            failing_at(
                now.setattr, ledger_module, "append_line", 4, OSError(errno.ENOSPC, "No space left on device")
            )
        with pytest.raises(LimnError, match="the disk is full; make room: what was finished stays"):
            predict(model, volume, path)
    heard = []
    drain(prediction_events(model, volume, path), heard.append)
    assert files(path.parent) == files(whole.parent)
    assert len(blocks_in(heard)) < blocks_in(heard)[-1].total


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small disk")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_small_disk_that_runs_full_is_gone_on_with_once_there_is_room(tmp_path, patch, suffix):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"mounting is not permitted: {mounted.stderr.strip()}")
    try:
        model, volume = set_up("swept frames", patch)
        whole = undisturbed(model, volume, tmp_path / "whole", suffix)
        ballast, path = disk / "ballast", disk / "out" / whole.name
        path.parent.mkdir()
        ballast.write_bytes(bytes((1 << 20) - 24 * 1024))
        with pytest.raises(LimnError, match="the disk is full; make room: what was finished stays"):
            predict(model, volume, path)
        ballast.unlink()
        assert predict(model, volume, path) == path
        assert files(path.parent) == files(whole.parent)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    "where", ["napari_limn.inference.ledger._locked", "napari_limn.volume.writing.output.open_target"]
)
def test_a_folder_that_cannot_be_written_into_is_said_to_be_read_only(tmp_path, patch, where):
    model, volume = set_up("tiled frames", patch)
    owner, name = where.rsplit(".", 1)
    failing_at(patch, sys.modules[owner], name, 1, OSError(errno.EROFS, "Read-only file system"))
    with pytest.raises(LimnError, match=r"labels.ome.zarr.*: the disk is read-only; make it writable"):
        predict(model, volume, tmp_path / "labels.ome.zarr")
    assert not (tmp_path / "labels.ome.zarr").exists()


# ---- any image, in any blocks ------------------------------------------------------------------------------------


@st.composite
def cases(draw):
    factors, kind = (
        draw(st.sampled_from([PLANES, VOLUMES])),
        draw(st.sampled_from(["swept", "tiled", "blended"])),
    )
    least = 5 if kind == "blended" else 1  # an instance norm needs two samples on the coarsest level
    grid = draw(
        st.tuples(st.integers(1, 2), st.integers(2, 9), st.integers(least, 30), st.integers(least, 30))
    )
    block = (
        1,
        1 if factors == PLANES else 2 * draw(st.integers(1, 3)),
        *(4 * draw(st.integers(1, 4)) for _ in "YX"),
    )
    column = None
    if kind == "swept" and draw(st.booleans()):
        axis = draw(st.sampled_from([2, 3]))
        column = tuple(4 * draw(st.integers(1, 5)) if a == axis else n for a, n in enumerate(grid))
        column = tuple(map(min, column, grid))
    return factors, grid, kind, block, column


@given(cases(), st.sampled_from(SUFFIXES), st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_a_file_holds_what_memory_holds_whatever_the_image_and_the_blocks(
    tmp_path_factory, case, suffix, cut
):
    factors, grid, kind, block, column = case
    with pytest.MonkeyPatch.context() as now:
        now.setattr(pipeline_module, "certify", lambda *_: "measured")
        model = model_of(factors, norm="instance" if kind == "blended" else "batch")
        volume = image_of("TZYX", grid)
        planned(now.setattr, plan_of(model, grid, kind, block, column))
        small_shards(now.setattr)
        path = tmp_path_factory.mktemp("any") / f"labels{suffix}"
        interrupted(prediction_events(model, volume, path), cut)
        written = labels_of(predict(model, volume, path))
        assert np.array_equal(written.squeeze(), predict(model, volume).squeeze())  # a TIFF drops axes of one


@given(
    st.sampled_from([("YX", PLANES, (61, 45)), ("ZYX", VOLUMES, (9, 30, 25))]),
    st.floats(0, 1),
    st.sampled_from(SUFFIXES),
)
@settings(max_examples=10, deadline=None)
def test_a_file_holds_what_memory_holds_under_any_limit(tmp_path_factory, case, share, suffix):
    axes, factors, shape = case
    model, volume = model_of(factors), image_of(axes, shape)
    path = tmp_path_factory.mktemp("any") / f"labels{suffix}"
    limits = limits_of(model, volume, path)
    spec = PredictSpec(memory=limits[round(share * (len(limits) - 1))])
    assert np.array_equal(labels_of(predict(model, volume, path, spec)), predict(model, volume))
