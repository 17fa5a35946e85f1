"""Objects from end to end: files, names, resuming."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy.ndimage import generate_binary_structure, label

import napari_limn as limn
from napari_limn.cli import main
from napari_limn.events import BlockDone, Noted, Writing
from napari_limn.files.working import unfinished
from napari_limn.instances import blocks
from napari_limn.instances.spec import least_voxels
from napari_limn.volume.axes import Axes

FULL = generate_binary_structure(2, 2)
OFF = limn.ObjectSpec(split=None)


@pytest.fixture
def small(monkeypatch):
    """Blocks of 16 × 16, so that a small image has many."""
    monkeypatch.setattr(blocks, "_FLAT", (1, 1, 16, 16))


def cells(side=64, seed=0):
    """A label image of three classes, with a few small objects."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((side, side))
    values = np.ones((side, side), np.uint8)
    for number in range(18):
        cy, cx = rng.integers(0, side, 2)
        values[(y - cy) ** 2 + (x - cx) ** 2 <= rng.integers(2, 40)] = 2 + number % 2
    return values


def labelled(values, names=None, unit="pixel", size=1.0):
    names = {1: "background", 2: "nucleus", 3: "debris"} if names is None else names
    return limn.Volume(values, Axes.of("YX", (size, size), (unit, unit)), "cells", names=names)


@pytest.mark.usefixtures("small")
def test_objects_of_a_class_by_name_are_those_of_scipy():
    values = cells()
    found = limn.objects(labelled(values), spec=limn.ObjectSpec(classes=("nucleus",), split=None))
    np.testing.assert_array_equal(found.labels, label(values == 2, FULL)[0])
    assert found.table["class_name"].tolist() == ["nucleus"] * len(found.table)
    np.testing.assert_array_equal(found.table["num_pixels"], np.bincount(found.labels.ravel())[1:])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("names", "values", "classes"),
    [
        ({1: "Background", 2: "nucleus", 3: "debris"}, cells(), {2, 3}),
        ({1: "nucleus", 2: "background", 3: "debris"}, cells(), {1, 3}),
        ({}, cells(), {2, 3}),
        ({}, np.where(cells() == 2, 255, 0).astype(np.uint8), {255}),
        ({7: "cell"}, np.where(cells() == 2, 7, 0).astype(np.uint8), {7}),
    ],
)
def test_without_a_class_all_but_background_or_the_lowest_value(names, values, classes):
    found = limn.objects(labelled(values, names), spec=OFF)
    assert set(found.table["class"].tolist()) == classes
    assert set(np.unique(values[found.labels > 0]).tolist()) == classes


@pytest.mark.parametrize(
    ("labels", "spec", "sentence"),
    [
        (
            labelled(cells()),
            limn.ObjectSpec(classes=("nuclei",)),
            "nuclei.*expected one of 1 \\(background\\), 2",
        ),
        (np.ones((4, 4), np.uint8), OFF, "no class but background"),
        (np.arange(10_000).reshape(100, 100), OFF, "more than 32 values"),
        (np.ones((4, 4)), OFF, "whole numbers"),
        (labelled(cells()), limn.ObjectSpec(smallest="20um2"), "no voxel size"),
        (labelled(cells(), unit="micrometer"), limn.ObjectSpec(smallest="20um3"), "2 dimensions"),
        (labelled(cells()), limn.ObjectSpec(smallest="many"), "found a smallest size of 'many'"),
        (labelled(cells()), limn.ObjectSpec(split="fit"), "no objects to fit"),
    ],
)
def test_what_cannot_be_done_is_said(labels, spec, sentence):
    with pytest.raises(limn.LimnError, match=sentence):
        limn.objects(labels, spec=spec)


@pytest.mark.parametrize(
    ("text", "unit", "size", "voxels"),
    [
        ("20um2", "micrometer", 0.5, 80),
        ("20 µm²", "micrometer", 0.5, 80),
        ("20um2", "nanometer", 500.0, 80),
        ("0.1um^2", "micrometer", 0.5, 1),
        ("12", "pixel", 1.0, 12),
        ("12 px", "micrometer", 0.5, 12),
        (7, "pixel", 1.0, 7),
    ],
)
def test_the_smallest_size_in_voxels(text, unit, size, voxels):
    assert least_voxels(text, labelled(cells(8), unit=unit, size=size)) == voxels


@pytest.mark.parametrize("split", [None, 0.8])
def test_no_object_at_all_is_an_empty_table(tmp_path, split):
    labels, out = labelled(np.ones((9, 9), np.uint8)), tmp_path / "none.ome.zarr"
    found = limn.objects(
        labels, np.zeros((9, 9)), out, limn.ObjectSpec(split=split), table=tmp_path / "t.csv"
    )
    assert len(found.table) == 0
    assert not np.asarray(limn.open_volume(out).data).any()
    assert (tmp_path / "t.csv").read_text().count("\n") == 1


@pytest.mark.usefixtures("small")
def test_small_objects_go_and_intensities_are_measured():
    values, image = cells(), np.random.default_rng(1).integers(0, 255, (64, 64)).astype(np.uint8)
    spec = limn.ObjectSpec(classes=(2,), split=None, smallest=12)
    found = limn.objects(values, image, spec=spec)
    assert found.table["num_pixels"].min() >= 12
    for number in range(1, len(found.table) + 1):
        assert found.table["intensity_sum"][number - 1] == image[found.labels == number].sum()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["objects.ome.zarr", "objects.tif"])
@pytest.mark.parametrize("split", [None, 0.8])
def test_files_hold_what_arrays_do(tmp_path, name, split):
    labels, spec = labelled(cells(), unit="micrometer", size=0.5), limn.ObjectSpec(split=split)
    heard = []
    found = limn.objects(labels, None, tmp_path / name, spec, table=tmp_path / "t.csv", listen=heard.append)
    expected = limn.objects(labels, spec=spec)
    opened = limn.open_volume(found.labels)
    np.testing.assert_array_equal(np.asarray(opened.data), expected.labels)
    assert opened.axes.scale == (0.5, 0.5)
    assert opened.names[1] in ("nucleus", "debris")
    assert opened.dtype == (np.uint16 if name.endswith("tif") else np.uint32)
    rows = list(csv.reader((tmp_path / "t.csv").open()))
    assert rows[0][:5] == ["label", "class", "class_name", "num_pixels", "area [um2]"]
    area = [float(row[4]) for row in rows[1:]]
    assert area == expected.table["area"].tolist()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, f"{name}.run.jsonl", "t.csv"])
    done = [event for event in heard if isinstance(event, BlockDone)]
    assert [event.done for event in done] == list(range(1, done[0].total + 1))
    assert sum(isinstance(event, Writing) for event in heard) == 1
    again = []
    assert limn.objects(labels, None, tmp_path / name, spec, listen=again.append).table is None
    assert [type(event) for event in again] == [Noted]
    with pytest.raises(limn.LimnError, match="t.csv: exists already|split"):
        limn.objects(labels, None, tmp_path / name, limn.ObjectSpec(split=0.5), table=tmp_path / "t.csv")
    (tmp_path / "t.csv").unlink()
    limn.objects(labels, None, tmp_path / name, spec, table=tmp_path / "t.csv")
    assert [float(row[4]) for row in list(csv.reader((tmp_path / "t.csv").open()))[1:]] == area


SCRIPT = """
import os, signal, sys
import numpy as np
from napari_limn.instances import blocks
from napari_limn.volume.writing import layout, output
blocks._FLAT = (1, 1, 16, 16)
layout._PLANAR, layout._SMALLEST, layout._LARGEST, layout._COARSEST = (1, 1, 16, 16), 1024, 1024, 32
from napari_limn.files import durable
calls, most = 0, int(sys.argv[2])
sync = os.fsync
def fsync(handle):
    global calls
    calls += 1
    if calls == most:
        os.kill(os.getpid(), signal.SIGKILL)
    sync(handle)
os.fsync = fsync
import napari_limn as limn
from napari_limn.cli import main
folder = sys.argv[1]
spec = limn.ObjectSpec(split=None if sys.argv[3] == "off" else 0.8)
limn.objects(f"{folder}/labels.tif", None, f"{folder}/out.ome.zarr", spec, table=f"{folder}/out.csv")
print(calls)
"""


def killed_at(folder, call, split):
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), str(call), split],
        capture_output=True,
        text=True,
        check=False,
    )


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "out.ome.zarr.run.jsonl"
    }


def kill_again_and_again(folder, split, count):
    """Kill a run at `count` places, the same command each time; what is left is that of a run in one go."""
    (folder / "one").mkdir()
    (folder / "many").mkdir()
    for name in ("one", "many"):
        tifffile.imwrite(folder / name / "labels.tif", cells(96))
    done = killed_at(folder / "one", 0, split)
    assert done.returncode == 0, done.stderr
    total = int(done.stdout.split()[-1])
    killed = 0
    for place in range(count):
        at = max(3, total * (place + 1) // (count + 2))
        result = killed_at(folder / "many", at - (at * place) // (place + 2), split)
        killed += result.returncode == -signal.SIGKILL
        assert result.returncode in (0, -signal.SIGKILL), result.stderr
    last = killed_at(folder / "many", 0, split)
    assert last.returncode == 0, last.stderr
    assert killed
    ours, theirs = tree(folder / "many"), tree(folder / "one")
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []


@pytest.mark.skipif(os.name == "nt", reason="no signals there")
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path):
    kill_again_and_again(tmp_path, "on", 1)


@pytest.mark.exhaustive
@pytest.mark.skipif(os.name == "nt", reason="no signals there")
@pytest.mark.parametrize("split", ["on", "off"])
def test_a_run_killed_ten_times_goes_on_to_the_same_bytes(tmp_path, split):
    kill_again_and_again(tmp_path, split, 10)


def test_an_output_that_was_closed_amid_goes_on(tmp_path, small):
    out, labels = tmp_path / "out.ome.zarr", tmp_path / "labels.tif"
    tifffile.imwrite(labels, cells())
    run = limn.object_events(labels, None, out, OFF)
    for event in run:
        if isinstance(event, BlockDone) and event.done == 20:
            break
    run.close()
    assert unfinished(out).is_dir()
    assert not out.exists()
    with pytest.raises(limn.LimnError, match="split"):
        limn.objects(labels, None, out, limn.ObjectSpec(split=0.7))
    found = limn.objects(labels, None, out, OFF)
    np.testing.assert_array_equal(
        np.asarray(limn.open_volume(out).data), limn.objects(cells(), spec=OFF).labels
    )
    assert len(found.table) == len(limn.objects(cells(), spec=OFF).table)


def test_what_is_refused_leaves_nothing_behind(tmp_path):
    with pytest.raises(limn.LimnError, match="nuclei"):
        limn.objects(labelled(cells()), None, tmp_path / "out.tif", limn.ObjectSpec(classes=("nuclei",)))
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_makes_objects_of_labels_and_of_a_model(tmp_path, capsys):
    image, labels, model = tmp_path / "i.tif", tmp_path / "l.ome.zarr", tmp_path / "m.limn"
    tifffile.imwrite(image, cells(40) * 60)
    network = limn.UNetSpec(width=2, factors=((2, 2),))
    classes = limn.Classes((1, 2), names=("background", "nucleus"))
    from napari_limn.network.unet import UNet

    limn.Model(limn.ModelSpec(network=network, classes=classes), UNet(network)).save(model)
    limn.predict(model, image, labels, limn.PredictSpec(probabilities="uint8"))
    options = ("--class", "nucleus", "--split", "0.7", "--min-size", "3", "--json", "--quiet")
    for source, name in ((labels, "a"), (model, "b")):
        out, table = tmp_path / f"{name}.ome.zarr", tmp_path / f"{name}.csv"
        assert main([*map(str, ("objects", source, image, "-o", out, "--table", table)), *options]) == 0
        said = json.loads(capsys.readouterr().out)
        assert (said["output"], said["table"]) == (str(out), str(table))
        assert len(table.read_text().splitlines()) == said["objects"] + 1
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert "probability_mean" in (tmp_path / "a.csv").read_text()
    ours, theirs = (np.asarray(limn.open_volume(tmp_path / f"{name}.ome.zarr").data) for name in "ab")
    np.testing.assert_array_equal(ours, theirs)
    assert main(["objects", str(model), str(image), "-o", str(tmp_path / "c.tif"), "--class", "nuclei"]) == 1
    assert "expected one of 1 (background), 2 (nucleus)" in capsys.readouterr().err
    assert main(["objects", str(labels), "-o", str(tmp_path / "c.tif"), "--split", "often"]) == 2
    assert not list(tmp_path.glob("c.tif*"))


@pytest.mark.parametrize("name", ["t.txt", "missing/t.csv"])
def test_a_table_that_cannot_be_is_refused_first(tmp_path, name):
    with pytest.raises(limn.LimnError, match=Path(name).name):
        limn.objects(tmp_path / "no.tif", table=tmp_path / name)
