"""What is no file is refused at once, wherever a path is given."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_limn import LimnError, Model, open_volume
from napari_limn.annotation.journal.files import begin_journal, header_for, journal_paths
from napari_limn.annotation.journal.format import read_journal
from napari_limn.cli import main
from napari_limn.files.paths import portable_name, refuse_no_file, refuse_unportable
from napari_limn.volume.volume import Volume
from napari_limn.volume.writing.destination import destination_of

READERS = {"image": open_volume, "model": Model.load, "journal": read_journal}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pipes with a name in a folder")
def test_pipes_sockets_and_devices_are_never_waited_for(tmp_path, reader):
    suffix = {"image": ".tif", "model": ".limn", "journal": ".strokes.jsonl"}[reader]
    os.mkfifo(pipe := tmp_path / f"a{suffix}")
    with pytest.raises(LimnError, match="found a pipe, expected a file or folder"):
        READERS[reader](pipe)
    (tmp_path / f"b{suffix}").symlink_to("/dev/zero")
    with pytest.raises(LimnError, match="found a device"):
        READERS[reader](tmp_path / f"b{suffix}")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        with pytest.raises(LimnError, match="found a socket"):
            refuse_no_file(tmp_path / "s")


@pytest.mark.parametrize("reader", READERS)
def test_links_that_lead_nowhere_say_so(tmp_path, reader):
    (tmp_path / "a.tif").symlink_to(tmp_path / "b.tif")
    with pytest.raises(LimnError, match=r"found a link that leads to no file \(.*b\.tif\)"):
        READERS[reader](tmp_path / "a.tif")
    (tmp_path / "b.tif").symlink_to(tmp_path / "a.tif")
    with pytest.raises(LimnError, match="found a link that leads to no file"):
        READERS[reader](tmp_path / "a.tif")


@pytest.mark.parametrize(
    "address", ["https://host/a.ome.zarr", "s3://bucket/a.zarr", "gs://b/a.tif", "file:///tmp/a.tif"]
)
def test_addresses_have_a_sentence_of_their_own(address, capsys):
    with pytest.raises(LimnError, match="found an address, .* copy it to a disk first"):
        open_volume(address)
    assert main(["info", address]) == 1
    assert "found an address" in capsys.readouterr().err


def test_an_empty_name_and_one_with_a_zero_are_refused():
    for name in ("", "a\0b"):
        with pytest.raises(LimnError, match="as the name of a file"):
            open_volume(name)


def test_names_that_are_not_there_are_the_readers_business(tmp_path):
    assert refuse_no_file(tmp_path / "none.tif") == tmp_path / "none.tif"
    with pytest.raises(LimnError, match="there is no such file or folder; check the spelling"):
        open_volume(tmp_path / "none.tif")


UNPORTABLE = [
    "CON", "con.tif", "Nul.ome.zarr", "aux.limn", "PRN", "COM1.tif", "lpt9.tif", "COM¹.tif", "a:b.tif", "a?.tif", "a*.tif",
    'a".tif', "a<b.tif", "a|b.tif", "a\\b.tif", "a\nb.tif", "a\x1b[0m.tif", "a.tif.", "a.tif ", "x" * 201 + ".tif", "ä" * 101,
]  # fmt: skip


@pytest.mark.parametrize("name", UNPORTABLE)
def test_names_that_not_every_system_can_store_are_refused_and_made_safe(tmp_path, name):
    with pytest.raises(LimnError, match="expected one that every system can store; choose another name"):
        refuse_unportable(tmp_path / name)
    refuse_unportable(tmp_path / portable_name(name))


@pytest.mark.parametrize(
    "name",
    [
        "a.tif",
        "console.tif",
        "con-1.tif",
        "COM10.tif",
        "a b.ome.zarr",
        "Zelle ä.tif",
        ".hidden.tif",
        "auxiliary",
    ],
)
def test_other_names_stay_as_they_are(tmp_path, name):
    refuse_unportable(tmp_path / name)
    assert portable_name(name) == name


def test_a_name_and_its_suffix_are_no_longer_than_a_name():
    for letter in "Wé🧠\udce9":
        name = portable_name(letter * 400, ".limn")
        assert name.endswith(".limn")
        refuse_unportable(Path(name))


@pytest.mark.parametrize(
    "command",
    [
        ["predict", "none.limn", "none.tif", "-o", "aux.tif"],
        ["train", "none.tif", "none.tif", "-o", "nul.limn"],
        ["info", "none.limn", "--figure", "con.svg"],
        ["journal", "replay", "none.strokes.jsonl", "-o", "a:b.tif"],
    ],
)
def test_results_have_no_such_names_in_any_verb(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(command) == 1
    assert "expected one that every system can store" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["CON", "nul.txt", "a.", ".zattrs", ".", "zarr.json", "__a", "a b", "a:b", "a" * 65]
)
def test_labels_in_a_zarr_have_no_name_with_a_meaning(tmp_path, name):
    zarr.create_group(tmp_path / "a.zarr")
    with pytest.raises(
        LimnError, match=r"expected (1 to 64 of the letters|one that every system)|found suffix"
    ):
        destination_of(tmp_path / "a.zarr/labels" / name)
    with pytest.raises(LimnError, match=r"found no OME-Zarr 0\.5 image"):  # behind the name
        destination_of(tmp_path / "a.zarr/labels/cells-2.v1")


@pytest.mark.parametrize("name", ["a:b", "a/b", "CON", "../x", "", "é" * 300, "x" * 300, "a\nb"])
def test_journals_of_images_without_a_file_have_safe_names_and_are_found_again(tmp_path, name, monkeypatch):
    monkeypatch.setattr("napari_limn.annotation.journal.files.user_folder", lambda: tmp_path)
    header = header_for(Volume.of(np.zeros((4, 5), np.uint8), name=name), None, "labels", "uint8")
    begin_journal(header).close()
    (path,) = tmp_path.iterdir()
    refuse_unportable(path)
    assert path in journal_paths(header)


def test_the_journal_that_an_earlier_version_named_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_limn.annotation.journal.files.user_folder", lambda: tmp_path)
    header = header_for(Volume.of(np.zeros((4, 5), np.uint8), name="a: b"), None, "labels", "uint8")
    now = journal_paths(header)[1]
    earlier = now.with_name(now.name.replace("a_ b", "a: b"))
    earlier.touch()
    assert earlier in journal_paths(header)


def test_results_replace_no_folder_and_links_in_a_circle_are_no_crash(tmp_path, capsys):
    (tmp_path / "a.tif").mkdir()
    (tmp_path / "a.limn").mkdir()
    assert main(["predict", "none.limn", "none.tif", "-o", str(tmp_path / "a.tif"), "--overwrite"]) == 1
    assert main(["info", str(tmp_path / "a.limn")]) == 1
    said = capsys.readouterr().err
    assert "a.tif: found a folder, expected a file to replace" in said
    assert "a.limn: found a folder, expected a .limn model file" in said
    assert not list((tmp_path / "a.tif").iterdir())
