"""Runs that are killed and taken up again leave the files of one that was not."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import runs
import tifffile
import torch
import zarr
from pairwise import pairwise
from runs import (
    PLANES,
    RUNS,
    SUFFIXES,
    blocks_in,
    files,
    image_of,
    interrupted,
    model_of,
    set_up,
    undisturbed,
)  # fmt: skip

from napari_limn.events import drain
from napari_limn.files import working
from napari_limn.inference.engines.evaluator import Evaluator
from napari_limn.inference.engines.sweeping import SweepEngine
from napari_limn.inference.ledger import Ledger
from napari_limn.inference.pipeline import PredictSpec, predict, prediction_events
from napari_limn.volume.intensity import fit_scaling
from napari_limn.volume.writing import destination as homes
from napari_limn.volume.writing import zarr_output

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("no_thread_survives")


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
    suffix_and_step=[
        (".tif", "volume.writing.tiff_output.give_name"),
        (".tif", "volume.writing.tiff_output.discard"),
        (".tif", "files.working.remove"),
        (".ome.zarr", "files.working.give_name"),
        (".ome.zarr", "files.working.clear_aside"),
        (".ome.zarr", "files.working.unmark"),
    ],
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
    module = f"napari_limn.{step}"
    owner, name = module.rsplit(".", 1)
    real = getattr(sys.modules[owner], name)

    def killed(*args, **options):
        if when == "after":
            real(*args, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as at_the_end:
        at_the_end.setattr(module, killed)
        with pytest.raises(KeyboardInterrupt):
            predict(model, volume, path, overwrite=overwrite)
    assert predict(model, volume, path) == path
    assert files(path.parent) == files(whole.parent)
    assert not list(path.parent.glob("*.replaced"))


@pytest.mark.parametrize("step", ["give_name", "list_labels"])
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
    real = getattr(working if step == "give_name" else zarr_output, step)

    def killed(*args, **options):
        if step == "list_labels" and len(args) == 1:
            return real(*args)  # the list is made, empty, when the run begins
        if when == "after":
            real(*args, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as at_the_end:
        for module in (zarr_output, homes, working):
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
