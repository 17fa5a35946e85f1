"""Runs that fail in one of their stages, are cancelled, or write to bad disks."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from pairwise import pairwise
from runs import (
    RUNS,
    SUFFIXES,
    Armed,
    blocks_in,
    failing_at,
    files,
    labels_of,
    set_up,
    undisturbed,
)  # fmt: skip
from torch import nn

from napari_limn.concurrency import Prefetch
from napari_limn.errors import LimnError
from napari_limn.events import drain
from napari_limn.inference import ledger as ledger_module
from napari_limn.inference.engines.evaluator import Evaluator
from napari_limn.inference.ledger import Ledger
from napari_limn.inference.pipeline import predict, prediction_events
from napari_limn.inference.streaming.kernels import Convolution
from napari_limn.inference.streaming.sweep import Sweep
from napari_limn.volume.volume import Volume
from napari_limn.volume.writing.array_output import ArrayOutput
from napari_limn.volume.writing.output import FileOutput
from napari_limn.volume.writing.pyramid import Target

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("no_thread_survives")


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
        # what reads is not ours: whatever it raises becomes a sentence
        kind = LimnError if place == "reading" else Odd
        with pytest.raises(kind, match="a reason") as caught:
            drain(run)
        assert isinstance(caught.value.__cause__ or caught.value, Odd)
    assert path is None or not path.exists()
    armed.armed = False
    assert np.array_equal(labels_of(predict(model, volume, path)), predict(model, volume))


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
