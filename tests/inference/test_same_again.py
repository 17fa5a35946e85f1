"""The same run again, and one with other settings."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
import tifffile
import torch
import zarr
from runs import (
    PLANES,
    SUFFIXES,
    files,
    image_of,
    interrupted,
    model_of,
    set_up,
    told,
    undisturbed,
)  # fmt: skip

from napari_limn.errors import LimnError
from napari_limn.events import Noted, Planned, drain
from napari_limn.inference import pipeline as pipeline_module
from napari_limn.inference.ledger import Ledger
from napari_limn.inference.pipeline import PredictSpec, predict, prediction_events
from napari_limn.inference.run import PredictionRun
from napari_limn.volume.reading.open import open_volume
from napari_limn.volume.volume import Volume

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("no_thread_survives")


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
