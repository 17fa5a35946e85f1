from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_limn.annotation.journal.export import saving_events
from napari_limn.annotation.journal.files import (
    begin_journal,
    found_journals,
    header_for,
    journal_paths,
    user_folder,
)
from napari_limn.annotation.journal.format import read_journal, replay
from napari_limn.annotation.journal.pieces import StrokePiece
from napari_limn.annotation.journal.recording import Recording
from napari_limn.annotation.journal.sparse_labels import PaintStore
from napari_limn.annotation.journal.writer import Journal
from napari_limn.annotation.legend import Legend
from napari_limn.cli import main
from napari_limn.events import BlockDone, drain
from napari_limn.volume.axes import Axes
from napari_limn.volume.boxes import whole
from napari_limn.volume.reading.open import open_volume
from napari_limn.volume.volume import Volume

AXES = Axes("ZYX", (2.0, 0.5, 0.5), ("micrometer",) * 3, (0.0, 1.0, 2.0))
USER_FOLDER = user_folder
BOX = ((1, 2), (10, 20), (30, 40))


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "napari_limn.annotation.journal.files.user_folder", lambda: tmp_path / "own" / "strokes"
    )


def image(seed=0):
    data = np.random.default_rng(seed).integers(0, 255, (3, 40, 50), np.uint8)
    return Volume(data, AXES, "cells")


def painted(header):
    """A journal of two strokes, the second undone."""
    recording = Recording(lambda: begin_journal(header), PaintStore(header.shape))
    recording.painted([StrokePiece(BOX, None, 2)])
    recording.painted([StrokePiece(((0, 1), (0, 5), (0, 5)), None, 1)])
    recording.turn("undo", recording.known.copy())
    recording.close()
    return recording.journal.path


def test_a_journal_lies_beside_its_image_and_is_found_again(tmp_path):
    header = header_for(image(), tmp_path / "cells.tif", "strokes", "uint8")
    first, second = painted(header), painted(header)
    assert (first.name, second.name) == ("cells.tif.strokes.jsonl", "cells.tif-2.strokes.jsonl")
    found, refused = found_journals(header)
    assert [path for path, _ in found] == [second, first]
    assert refused == []
    other = header_for(Volume(np.zeros((3, 40, 51)), AXES, "cells"), tmp_path / "cells.tif", "s", "uint8")
    assert found_journals(other) == ([], [])
    first.write_bytes(b"damaged\n")
    assert "line 1 is damaged" in found_journals(header)[1][0]


@pytest.mark.parametrize("left", [b"", b'{"limn strokes":1,"im'])
def test_what_a_crash_left_of_a_journal_is_begun_anew(tmp_path, left):
    header = header_for(image(), tmp_path / "cells.tif", "strokes", "uint8")
    journal_paths(header)[0].write_bytes(left)
    assert found_journals(header) == ([], [])
    path = painted(header)
    assert [file.name for file in tmp_path.iterdir()] == [path.name] == ["cells.tif.strokes.jsonl"]
    assert [p for p, _ in found_journals(header)[0]] == [path]


def test_journals_are_found_behind_others_that_were_moved_away_or_hold_nothing(tmp_path):
    header = header_for(image(), tmp_path / "cells.tif", "strokes", "uint8")
    one, two, three = (painted(header) for _ in range(3))
    far = three.rename(tmp_path / "cells.tif-12.strokes.jsonl")
    one.rename(tmp_path / "elsewhere")
    (tmp_path / "cells.tif-5.strokes.jsonl").touch()
    (tmp_path / "cells.tif-7.strokes.jsonl").write_bytes(b'{"limn')
    found, refused = found_journals(header)
    assert [path for path, _ in found] == [far, two]
    assert refused == []
    assert [path for path, _ in found_journals(header, {far})[0]] == [two]
    assert painted(header) == one
    assert [path for path, _ in found_journals(header)[0]] == [one, far, two]


def test_after_a_full_disk_one_journal_holds_all_strokes(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    header = header_for(image(), tmp_path / "cells.tif", "strokes", "uint8")
    recording = Recording(lambda: begin_journal(header), PaintStore(header.shape))
    with monkeypatch.context() as patch:
        patch.setattr("napari_limn.files.durable._write_whole", refuse)
        for y in range(4):
            recording.painted([StrokePiece(((1, 2), (y, y + 1), (0, 9)), None, 1 + y)])
            assert "the disk is full" in recording.trouble
    recording.painted([StrokePiece(BOX, None, 7)])
    recording.close()
    assert recording.trouble == ""
    assert [file.name for file in tmp_path.rglob("*.jsonl")] == ["cells.tif.strokes.jsonl"]
    ((path, contents),) = found_journals(header)[0]
    assert path == tmp_path / "cells.tif.strokes.jsonl"
    assert [r.kind for r in contents.records] == ["stroke"] * 5
    np.testing.assert_array_equal(np.asarray(replay(contents)), np.asarray(recording.known))


def test_images_without_a_file_are_told_apart_by_what_is_in_them(tmp_path):
    one, other = (header_for(image(seed), None, "strokes", "uint8") for seed in (0, 1))
    path = painted(one)
    assert path.parent == tmp_path / "own" / "strokes"
    assert [p for p, _ in found_journals(one)[0]] == [path]
    assert found_journals(other) == ([], [])


def test_an_image_whose_name_is_no_utf_8_has_a_journal_too(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.tif")
    beside, own = journal_paths(header_for(image(), path, "strokes", "uint8"))
    assert beside.parent == tmp_path
    assert own.name.startswith("caf_.tif-"), "on every system"


@pytest.mark.parametrize(
    "name",
    ["nul\0here", "//host/share/x", "", ".", "/", "W" * 400, "🧠" * 80, "a\nb", "<img src=x>", "C:\\a"],
)
def test_an_image_without_a_file_may_be_called_anything(name):
    header = header_for(replace(image(), name=name), None, "strokes", "uint8")
    path = painted(header)
    assert [p for p, _ in found_journals(header)[0]] == [path]


def test_where_the_folder_of_the_image_refuses_the_journal_goes_to_the_users_own(tmp_path):
    header = header_for(image(), tmp_path / "no such folder" / "cells.tif", "strokes", "uint8")
    path = painted(header)
    assert path.parent == tmp_path / "own" / "strokes"
    assert [p for p, _ in found_journals(header)[0]] == [path]


@pytest.mark.parametrize(
    ("platform", "inside"),
    [("linux", "share"), ("win32", "share"), ("darwin", "home/Library/Application Support")],
)
def test_each_system_has_its_own_folder(tmp_path, monkeypatch, platform, inside):
    monkeypatch.setattr("sys.platform", platform)
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "share"))
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    assert USER_FOLDER() == tmp_path / inside / "napari-limn" / "strokes"


def test_nothing_is_written_beside_the_shipped_samples():
    from napari_limn import samples

    header = header_for(image(), samples.PAINTED.image, "strokes", "uint8")
    assert samples.PAINTED.image.parent not in {path.parent for path in journal_paths(header)}


def test_replay_on_the_command_line(tmp_path, capsys):
    path = painted(header_for(image(), tmp_path / "cells.tif", "strokes", "uint8"))
    expected = np.zeros((3, 40, 50), np.uint8)
    expected[1, 10:20, 30:40] = 2
    for name in ("labels.tif", "labels.ome.zarr"):
        assert main(["journal", "replay", str(path), "-o", str(tmp_path / name)]) == 0
        labels = open_volume(tmp_path / name)
        np.testing.assert_array_equal(np.squeeze(labels.read(whole(labels.grid))), expected)
        assert labels.axes.scale == (2.0, 0.5, 0.5)
        assert labels.axes.units == ("micrometer",) * 3
    capsys.readouterr()
    assert main(["journal", "replay", str(path), "-o", str(tmp_path / "labels.tif")]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["journal", "replay", str(path)]) == 1
    assert "expected -o OUT.tif" in capsys.readouterr().err


def test_a_replay_does_not_replace_the_image_that_was_painted_on(tmp_path, capsys):
    path = tmp_path / "cells.tif"
    tifffile.imwrite(path, np.full((3, 40, 50), 700, np.uint16))
    before = path.read_bytes()
    painted(header_for(image(), path, "strokes", "uint8"))
    journal = path.with_name("cells.tif.strokes.jsonl")
    assert main(["journal", "replay", str(journal), "-o", str(path), "--overwrite"]) == 1
    assert "the labels would replace an image" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_info_on_the_command_line(tmp_path, capsys):
    path = painted(header_for(image(), tmp_path / "cells.tif", "strokes", "uint8"))
    with path.open("ab") as file:
        file.write(b'{"n":4,"ti')
    assert main(["journal", "info", str(path), "--json"]) == 0
    *text, last = capsys.readouterr().out.splitlines()
    found = json.loads(last)
    assert found["kinds"] == {"stroke": 2, "undo": 1}
    assert (found["undo"], found["redo"], found["values"], found["torn"]) == (1, 1, {"2": 100}, 10)
    assert "3 records (2 stroke, 1 undo)" in text[1]
    assert "cut off by a crash" in text[-1]


def test_names_and_colours_are_in_what_is_rebuilt_and_told(tmp_path, capsys):
    path = painted(header_for(image(), tmp_path / "cells.tif", "strokes", "uint8"))
    recording = Recording.resumed(*Journal.resume(path))
    recording.keep_legend(Legend({2: "axon", 7: "fat"}, {2: (0.0, 0.0, 1.0, 1.0)}, "background"))
    recording.close()
    for name in ("labels.tif", "labels.ome.zarr"):
        assert main(["journal", "replay", str(path), "-o", str(tmp_path / name)]) == 0
        labels = open_volume(tmp_path / name)
        assert labels.names == {2: "axon"}
        np.testing.assert_allclose(labels.colors[2], (0, 0, 1, 1), atol=0.01)
    capsys.readouterr()
    assert main(["journal", "info", str(path), "--json"]) == 0
    *text, last = capsys.readouterr().out.splitlines()
    assert text[-3:] == [
        "  value 2, “axon”: 100 voxels",
        "  value 7, “fat”: 0 voxels",
        "  0 means background",
    ]
    assert json.loads(last)["classes"]["names"] == {"2": "axon", "7": "fat"}


def test_saving_that_is_cancelled_leaves_no_file(tmp_path):
    store = PaintStore((3, 2000, 3000))
    store[1, 5:9, 5:9] = 3
    run = saving_events(Volume(store, AXES, "strokes"), tmp_path / "labels.ome.zarr")
    assert isinstance(next(run), BlockDone)
    run.close()
    assert not list(tmp_path.iterdir())
    path = drain(saving_events(Volume(store, AXES, "strokes"), tmp_path / "labels.tif", {3: (1, 0, 0, 1)}))
    np.testing.assert_array_equal(tifffile.imread(path), np.asarray(store))
    assert open_volume(path).colors[3][:3] == pytest.approx((1, 0, 0))


def test_a_saved_journal_says_so(tmp_path):
    path = painted(header_for(image(), tmp_path / "cells.tif", "strokes", "uint8"))
    recording = Recording.resumed(*Journal.resume(path))
    recording.saved("labels.tif")
    recording.close()
    last = read_journal(path).records[-1]
    assert (last.kind, last.note, last.change.size) == ("saved", "labels.tif", 0)


def test_a_journal_that_may_not_be_read_hides_no_other_and_its_number_is_not_taken(tmp_path, monkeypatch):
    header = header_for(image(), tmp_path / "cells.tif", "strokes", "uint8")
    theirs, own = painted(header), painted(header)
    read = Path.read_bytes

    def refuse(path):
        if path == theirs:
            raise PermissionError(errno.EACCES, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert own in [path for path, _ in found_journals(header, skip={theirs})[0]]
    with begin_journal(header) as third:
        assert third.path not in (theirs, own)
