"""What a prediction finds under its names: only what is its own goes."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import tifffile
import torch
import zarr
from runs import PLANES, files, interrupted, model_of, set_up, undisturbed

from napari_limn.annotation.journal.export import saving_events
from napari_limn.errors import LimnError
from napari_limn.events import BlockDone, drain
from napari_limn.files.working import MARK, aside, unfinished
from napari_limn.inference.ledger import Ledger
from napari_limn.inference.pipeline import predict, prediction_events
from napari_limn.volume.volume import Volume

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("no_thread_survives")

SUFFIXES = [".tif", ".ome.zarr"]


@pytest.fixture
def run(patch):
    return set_up("tiled frames", patch)


def foreign(path, kind):
    """Something of a user's."""
    if kind == "file":
        path.write_text("all I have")
    elif kind == "link":
        (path.parent / "thesis").mkdir()
        path.symlink_to(path.parent / "thesis")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        (path / "deep").mkdir(parents=True)
        (path / "deep" / "thesis.txt").write_text("all of it")
        if kind == "mixed":
            zarr.create_group(path, zarr_format=3)


def snapshot(folder):
    return {(str(p.relative_to(folder)), p.read_bytes() if p.is_file() else None) for p in folder.rglob("*")}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kind", ["file", "folder", "mixed", "link", "pipe"])
@pytest.mark.parametrize("name", [".partial", ".replaced", ".run.jsonl"])
@pytest.mark.parametrize("suffix", [".tif", pytest.param(".ome.zarr", marks=pytest.mark.exhaustive)])
def test_what_is_not_ours_stays_whatever_its_name_and_one_sentence_says_so(
    tmp_path, run, suffix, name, kind, overwrite
):
    foreign(tmp_path / f"mine{suffix}{name}", kind)
    before = snapshot(tmp_path)
    with pytest.raises(LimnError, match=rf"mine{suffix}{name}: found .*move (it|that) away") as caught:
        predict(*run, tmp_path / f"mine{suffix}", overwrite=overwrite)
    assert "\n" not in str(caught.value)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("kind", ["folder", "mixed", "pipe"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_overwrite_replaces_no_folder_with_other_things_in_it(tmp_path, run, suffix, kind):
    path = tmp_path / f"mine{suffix}"
    foreign(path, kind)
    before = snapshot(tmp_path)
    for act in (
        lambda: predict(*run, path, overwrite=True),
        lambda: drain(saving_events(painted(), path, overwrite=True)),
    ):
        with pytest.raises(LimnError, match=rf"mine{suffix}: found .*choose another name"):
            act()
        assert snapshot(tmp_path) == before


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_overwrite_replaces_what_it_is_for(tmp_path, run, suffix):
    whole = undisturbed(*run, tmp_path / "whole", suffix)
    (tmp_path / "again").mkdir()
    path = tmp_path / "again" / whole.name
    if suffix == ".tif":
        path.write_text("a file")
    else:
        zarr.create_group(path, zarr_format=2).create_array("0/s", shape=(9, 9), chunks=(3, 3), dtype="u1")[
            :
        ] = 1
        (path / ".DS_Store").touch()
    predict(*run, path, overwrite=True)
    assert {n for n, _ in snapshot(path.parent)} == {n for n, _ in snapshot(whole.parent)}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_comes_while_a_run_computes_is_not_replaced_and_the_run_ends_when_it_has_gone(
    tmp_path, run, suffix, kind
):
    path = tmp_path / f"mine{suffix}"

    def come(event):
        if isinstance(event, BlockDone) and event.done == event.total:
            foreign(path, kind)

    with pytest.raises(LimnError, match=r"came there since the run began and is not replaced"):
        drain(prediction_events(*run, path), come)
    there = snapshot(path) if path.is_dir() else path.read_text()
    assert there
    with pytest.raises(LimnError, match="exists already"):
        predict(*run, path)
    path.rename(tmp_path / "away")
    heard = []
    assert drain(prediction_events(*run, path), heard.append) == path
    assert not any(isinstance(event, BlockDone) for event in heard)
    assert (
        snapshot(tmp_path / "away") if (tmp_path / "away").is_dir() else (tmp_path / "away").read_text()
    ) == there


def painted():
    return Volume.of(np.ones((5, 6), np.uint8))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_of_two_that_write_one_output_one_goes_on_and_the_other_says_why(tmp_path, run, suffix):
    path = tmp_path / f"mine{suffix}"
    first = saving_events(painted(), path)
    next(first)
    for other in (saving_events(painted(), path), prediction_events(*run, path)):
        with pytest.raises(LimnError, match=rf"mine{suffix}: another run is writing it; wait for that one"):
            drain(other)
    assert drain(first) == path
    with pytest.raises(LimnError, match=r"exists already"):
        drain(saving_events(painted(), path))


@pytest.mark.parametrize(("suffix", "name"), [(".tif", "tiled frames"), (".ome.zarr", "columns of volumes")])
def test_what_an_earlier_version_left_is_gone_on_with(tmp_path, patch, suffix, name):
    run = set_up(name, patch)
    whole = undisturbed(*run, tmp_path / "whole", suffix)
    (tmp_path / "again").mkdir()
    path = tmp_path / "again" / whole.name
    count = 1
    while not (Ledger.of(path).exists() and b"shards" in Ledger.of(path).read_bytes()):
        count += 4
        interrupted(prediction_events(*run, path), count)
    (unfinished(path) / MARK).unlink()  # earlier versions left none
    predict(*run, path)
    assert files(path.parent) == files(whole.parent)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_an_earlier_version_left_is_not_removed_if_there_is_any_doubt(tmp_path, run, suffix):
    path = tmp_path / f"mine{suffix}"
    interrupted(prediction_events(*run, path), 9)
    (unfinished(path) / MARK).unlink()
    before = snapshot(unfinished(path))
    with pytest.raises(LimnError, match="move it away"):
        predict(*run, path, overwrite=True)  # all of it would be lost
    (unfinished(path) / "thesis.txt").write_text("all of it")
    with pytest.raises(LimnError, match="move it away"):
        predict(*run, path)
    (unfinished(path) / "thesis.txt").unlink()
    assert snapshot(unfinished(path)) == before


def test_a_tiff_that_is_not_of_this_run_is_not_taken_for_it(tmp_path, run, monkeypatch):
    path = tmp_path / "mine.tif"

    def killed(*_args, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as at_the_end:
        at_the_end.setattr("napari_limn.volume.writing.tiff_output.give_name", killed)
        with pytest.raises(KeyboardInterrupt):
            predict(*run, path)
    tifffile.imwrite(path, np.ones((5, 6), np.uint8))
    before = path.read_bytes()
    with pytest.raises(LimnError, match="exists already"):
        predict(*run, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("what", ["model", "image"])
def test_an_output_of_other_settings_is_refused_before_anything_is_measured(tmp_path, run, monkeypatch, what):
    model, volume = run
    path = tmp_path / "mine.tif"
    predict(model, volume, path)
    other = model_of(PLANES, seed=5) if what == "model" else model
    if what == "image":
        data = np.array(volume.data)
        data += 1
        volume = Volume(data, volume.axes, volume.name)
    monkeypatch.setattr("napari_limn.inference.run.measured_precision", lambda *_: pytest.fail("measured"))
    field = {"model": "model", "image": "input"}[what]
    with pytest.raises(LimnError, match=f"the finished run had {field}"):
        predict(other, volume, path)


def test_an_output_that_exists_is_refused_before_pytorch_is_there(tmp_path):
    (tmp_path / "mine.tif").write_text("a file")
    code = (
        "import sys\n"
        "from napari_limn.cli import main\n"
        "assert main(['predict', 'no.limn', 'no.tif', '-o', sys.argv[1]]) == 1\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "mine.tif")], capture_output=True, text=True, check=True
    )
    assert done.stderr.endswith("mine.tif: exists already; choose another name, or say --overwrite.\n")


def test_what_a_killed_run_replaced_goes_when_the_next_one_has_its_name(tmp_path, run):
    path = tmp_path / "mine.ome.zarr"
    aside(path).mkdir()
    (aside(path) / MARK).touch()
    predict(*run, path)
    assert not aside(path).exists()
