"""What is no file is refused at once, wherever a path is given."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from napari_limn import LimnError, Model, open_volume
from napari_limn.annotation.journal.format import read_journal
from napari_limn.cli import main
from napari_limn.files.paths import file_name_for, refuse_no_file

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


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("cells.tif", "cells.tif"), ("a/b", "a_b"), ("..", "unnamed"), ("", "unnamed"), ("nul\0", "nul_"), ("two\nlines", "two_lines"),
        ("<b>x</b>", "_b_x__b_"), ("C:\\new", "C__new"), (" a. ", "a"), ("שלום", "שלום"), ("\udce9", "_"),
    ],
)  # fmt: skip
def test_a_file_name_for_a_text(text, name):
    assert file_name_for(text) == name


def test_a_file_name_for_a_long_text_can_be_stored():
    for letter in "Wé🧠":
        assert 170 < len(file_name_for(letter * 400).encode()) <= 180
