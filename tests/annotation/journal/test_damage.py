"""Journals that are damaged, of another program, of another version, or open elsewhere."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journals import header, painted, refuse
from locks import windows_locks

from napari_limn.annotation.journal.format import read_journal, replay, sealed
from napari_limn.annotation.journal.writer import Journal
from napari_limn.errors import LimnError


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_damage_is_refused_in_one_sentence(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("journal") / "a.strokes.jsonl"
    painted(path, ["stroke", "stroke", "replace", "stroke"], data.draw(st.integers(0, 9)), sparse=False)
    whole = path.read_bytes()
    kind = data.draw(st.sampled_from(["bit", "lost", "swapped"]))
    lines = whole.splitlines(keepends=True)
    if kind == "bit":
        at = data.draw(st.integers(0, len(whole) - 2).filter(lambda i: whole[i : i + 1] != b"\n"))
        changed = bytearray(whole)
        changed[at] ^= 1 << data.draw(st.integers(0, 6))
        if b"\n" in changed[at : at + 1]:
            return
        path.write_bytes(changed)
    elif kind == "lost":
        del lines[data.draw(st.integers(1, len(lines) - 2))]
        path.write_bytes(b"".join(lines))
    else:
        lines[1], lines[2] = lines[2], lines[1]
        path.write_bytes(b"".join(lines))
    with pytest.raises(LimnError, match=r"^a.strokes.jsonl: line \d+ is damaged, .*backup\.$"):
        read_journal(path)


def test_records_are_numbered_without_gaps(tmp_path):
    path = tmp_path / "a.strokes.jsonl"
    painted(path, ["stroke", "stroke"], 0, sparse=False)
    first, second, third = path.read_bytes().splitlines(keepends=True)
    body = json.loads(third) | {"n": 3}
    line, _ = sealed({key: body[key] for key in body if key != "crc"}, int(json.loads(second)["crc"], 16))
    path.write_bytes(first + second + line)
    with pytest.raises(LimnError, match=r"^a.strokes.jsonl: line 3 is damaged, .*backup\.$"):
        read_journal(path)


def test_a_record_that_does_not_follow_from_those_before_is_refused(tmp_path):
    path = tmp_path / "a.strokes.jsonl"
    painted(path, ["stroke", "stroke"], 0, sparse=False)
    contents = read_journal(path)
    twice = replace(contents, records=contents.records[:1] * 2)
    with pytest.raises(
        LimnError, match="record 1 of the journal begins with other labels than those before it left"
    ):
        replay(twice)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", "found no whole line"),
        (b"half a head", "found no whole line"),
        (b"hello\n", "line 1 is damaged"),
    ],
)
def test_what_is_no_journal_is_refused(tmp_path, text, sentence):
    path = tmp_path / "a.strokes.jsonl"
    path.write_bytes(text)
    with pytest.raises(LimnError, match=sentence):
        read_journal(path)


def test_a_newer_format_and_another_file_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.strokes.jsonl"
    with monkeypatch.context() as patch:
        patch.setattr("napari_limn.annotation.journal.format.VERSION", 2)
        Journal.create(path, header()).close()
    with pytest.raises(LimnError, match="format 2, this version knows up to 1; update"):
        read_journal(path)
    with pytest.raises(LimnError, match="exists already"):
        Journal.create(path, header())


def test_a_header_that_a_crash_cut_off_is_in_nobodys_way(tmp_path):
    path = tmp_path / "a.strokes.jsonl"
    path.write_bytes(b'{"limn strokes":1,"im')
    Journal.create(path, header()).close()
    assert read_journal(path).header == header()


@pytest.mark.skipif(os.name == "nt", reason="a file that is open is not removed there")
@pytest.mark.parametrize("left", [None, b'{"limn strokes":1,"im'])
@pytest.mark.parametrize("at_fault", ["files.durable._write_whole", "annotation.journal.writer.sync_folder"])
def test_a_header_that_cannot_be_written_leaves_no_file(tmp_path, monkeypatch, left, at_fault):
    path = tmp_path / "a.strokes.jsonl"
    if left:
        path.write_bytes(left)
    with monkeypatch.context() as patch:
        patch.setattr(f"napari_limn.{at_fault}", refuse)
        with pytest.raises(LimnError, match="the disk is full; make room"):
            Journal.create(path, header())
    assert not list(tmp_path.iterdir())
    Journal.create(path, header()).close()
    assert read_journal(path).header == header()


@pytest.mark.parametrize("system", ["own", "windows"])
def test_two_windows_do_not_write_one_journal(tmp_path, monkeypatch, system):
    if system == "windows":
        windows_locks(monkeypatch)
    path = tmp_path / "a.strokes.jsonl"
    with Journal.create(path, header()), pytest.raises(LimnError, match="another window is writing"):
        Journal.resume(path)
