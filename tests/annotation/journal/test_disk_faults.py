"""Journals on disks that are full, go away or lose a file: no stroke is lost, and the brush never waits."""

from __future__ import annotations

import errno
import os
import re
import time

import numpy as np
import pytest
from journals import SHAPE, Layer, full_disk, header, refuse

from napari_limn.annotation.journal.changes import Change
from napari_limn.annotation.journal.format import Record, read_journal, replay
from napari_limn.annotation.journal.recording import Recording
from napari_limn.annotation.journal.writer import Journal
from napari_limn.annotation.legend import Legend


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a.strokes.jsonl"
    data = np.zeros(SHAPE, np.uint8)
    recording = Recording(lambda: Journal.create(path, header()), data)
    layer, rng = Layer(data, recording), np.random.default_rng(0)

    with full_disk(monkeypatch):
        layer.stroke(rng)
        assert recording.journal is None
    layer.stroke(rng)
    with full_disk(monkeypatch):
        layer.stroke(rng)
        layer.undo(rng)
        assert re.match(r".*the disk is full; make room: the strokes stay in the layer", recording.trouble)
        assert not recording.safe
    layer.stroke(rng)
    assert recording.trouble == ""
    recording.close()
    assert recording.safe
    contents = read_journal(path)
    assert [r.kind for r in contents.records] == ["stroke", "stroke", "stroke", "undo", "stroke"]
    np.testing.assert_array_equal(np.asarray(replay(contents)), data)


def test_a_stroke_that_waits_for_the_disk_is_not_safe_even_if_all_others_are(tmp_path, monkeypatch):
    data = np.zeros(SHAPE, np.uint8)
    recording = Recording(lambda: Journal.create(tmp_path / "a.strokes.jsonl", header()), data)
    layer, rng = Layer(data, recording), np.random.default_rng(0)
    layer.stroke(rng)
    until = time.monotonic() + 20
    while not recording.safe:  # another thread syncs
        assert time.monotonic() < until
        time.sleep(0.01)
    with full_disk(monkeypatch):
        layer.stroke(rng)
        assert not recording.safe
    recording.close()
    assert recording.safe


def test_what_could_not_be_begun_while_painting_is_written_at_the_end(tmp_path, monkeypatch):
    path = tmp_path / "a.strokes.jsonl"
    data = np.ones(SHAPE, np.uint8)
    recording = Recording(lambda: Journal.create(path, header()), data)
    layer, rng = Layer(data, recording), np.random.default_rng(0)
    with full_disk(monkeypatch):
        layer.stroke(rng)
        layer.undo(rng)
        layer.stroke(rng)
        assert "the disk is full" in recording.trouble
    assert recording.journal is None
    recording.close()
    assert recording.trouble == ""
    assert recording.safe
    contents = read_journal(path)
    assert [r.kind for r in contents.records] == ["base", "stroke", "undo", "stroke"]
    np.testing.assert_array_equal(np.asarray(replay(contents)), data)


def test_a_disk_that_is_full_to_the_end_says_so_and_leaves_no_file(tmp_path, monkeypatch):
    data = np.zeros(SHAPE, np.uint8)
    recording = Recording(lambda: Journal.create(tmp_path / "a.strokes.jsonl", header()), data)
    monkeypatch.setattr("napari_limn.files.durable._write_whole", refuse)
    Layer(data, recording).stroke(np.random.default_rng(0))
    recording.close()
    assert "the disk is full" in recording.trouble
    assert not recording.safe
    assert os.name == "nt" or not list(tmp_path.iterdir())


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ENOTCONN])
def test_a_disk_that_went_away_never_reaches_the_brush_and_the_journal_is_given_back(
    tmp_path, monkeypatch, code
):
    def gone(*_, **__):
        raise OSError(code, os.strerror(code))

    path = tmp_path / "a.strokes.jsonl"
    data = np.zeros(SHAPE, np.uint8)
    recording = Recording(lambda: Journal.create(path, header()), data)
    layer, rng = Layer(data, recording), np.random.default_rng(0)
    layer.stroke(rng)
    with monkeypatch.context() as patch:
        patch.setattr("napari_limn.annotation.journal.writer.append_line", gone)
        layer.stroke(rng)
        assert recording.trouble == (
            f"the disk with the strokes does not answer ({os.strerror(code)}); connect it again."
        )
        recording.close()
    journal, contents = Journal.resume(path)
    journal.close()
    assert [record.kind for record in contents.records] == ["stroke"]


def test_a_layer_that_nobody_painted_on_leaves_no_file_whatever_it_held(tmp_path):
    path = tmp_path / "a.strokes.jsonl"
    data = np.ones(SHAPE, np.uint8)
    recording = Recording(lambda: Journal.create(path, header()), data)
    recording.keep_legend(Legend({1: "axon"}))
    recording.look(data)
    recording.close()
    assert not path.exists()


def moved(path):
    path.rename(path.with_name("away"))


def replaced(path):
    moved(path)
    path.write_bytes(b"another")


def removed(path):
    path.with_name("away").hardlink_to(path)
    path.unlink()


@pytest.mark.skipif(os.name == "nt", reason="a file that is open is not moved there")
@pytest.mark.parametrize("amiss", [moved, replaced, removed])
def test_a_journal_that_is_not_there_any_more_is_told_and_goes_on_once_it_is_back(tmp_path, amiss):
    path = tmp_path / "a.strokes.jsonl"
    data = np.zeros(SHAPE, np.uint8)
    recording = Recording(lambda: Journal.create(path, header()), data)
    layer, rng = Layer(data, recording), np.random.default_rng(0)
    layer.stroke(rng)
    amiss(path)
    whole = path.with_name("away").read_bytes()
    for _ in range(2):
        layer.stroke(rng)
        assert recording.trouble == (
            f"{path}: found no journal there any more, expected the one that is being written; put it back, "
            "or save the labels: the strokes stay in the layer, and are written with the next one."
        )
        assert not recording.safe
    assert path.with_name("away").read_bytes() == whole
    path.with_name("away").replace(path)
    layer.stroke(rng)
    assert recording.trouble == ""
    recording.close()
    assert recording.safe
    contents = read_journal(path)
    assert [r.kind for r in contents.records] == ["stroke"] * 4
    np.testing.assert_array_equal(np.asarray(replay(contents)), data)


def test_a_record_is_in_the_file_at_once_and_on_the_disk_soon(tmp_path, monkeypatch):
    path = tmp_path / "a.strokes.jsonl"
    real, synced = os.fsync, []
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(os.fstat(handle).st_size), real(handle)))
    with Journal.create(path, header()) as journal:
        journal.add(Record(1, 1.8e9, "stroke", Change.of(np.array([3]), np.zeros(1), np.ones(1))))
        size = path.stat().st_size
        assert len(read_journal(path).records) == 1
    assert synced[-1] == size
    assert journal.synced == 1
