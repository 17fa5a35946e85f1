from __future__ import annotations

import errno
import itertools
import json
import os
import re
from collections import deque
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from locks import windows_locks

from napari_limn.annotation.journal.changes import Change, difference
from napari_limn.annotation.journal.format import Header, Record, read_journal, replay, sealed
from napari_limn.annotation.journal.history import History
from napari_limn.annotation.journal.pieces import StrokePiece
from napari_limn.annotation.journal.recording import Recording
from napari_limn.annotation.journal.sparse_labels import PaintStore
from napari_limn.annotation.journal.writer import Journal
from napari_limn.annotation.legend import Legend
from napari_limn.errors import LimnError
from napari_limn.volume.axes import Axes

SHAPE = (3, 7, 8)


def header(shape=SHAPE, dtype="uint8"):
    return Header("cells", "/data/cells.tif", "", "strokes", shape, dtype, Axes.of("TZYX"[-len(shape) :]))


def refuse(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


@contextmanager
def full_disk(monkeypatch):
    """Nothing more can be written to journals for a while."""
    with monkeypatch.context() as patch:
        patch.setattr("napari_limn.annotation.journal.writer.append_line", refuse)
        yield


class Layer:
    """What napari's labels layer does: strokes that are told, undo and redo that are not."""

    def __init__(self, data, recording):
        self.data, self.recording = data, recording
        self.done, self.undone = deque(maxlen=100), []

    def stroke(self, rng, *, seen=False):
        parts, item = [], []
        for _ in range(rng.integers(1, 4)):
            box = [sorted(rng.choice(n + 1, 2, replace=False).tolist()) for n in self.data.shape]
            box = tuple((a, b) for a, b in box)
            at = tuple(slice(a, b) for a, b in box)
            value = int(rng.integers(0, 4))
            mask = (rng.random([b - a for a, b in box]) < 0.7) & (np.asarray(self.data[at]) != value)
            if not mask.any():
                continue
            region = np.array(self.data[at])
            item.append((at, mask, region[mask], value))
            region[mask] = value
            self.data[at] = region
            if seen:
                self.recording.look(self.data)
            parts.append(StrokePiece(box, None if mask.all() else mask, value))
        if parts:
            self.recording.painted(parts)
            self.done.append(item)
            self.undone.clear()

    def stroke_seen_halfway(self, rng):
        """The layer is shown anew, by a moved slider say, while the brush is down."""
        self.stroke(rng, seen=True)

    def undo(self, rng):
        self._replay(self.done, self.undone, back=True)

    def redo(self, rng):
        self._replay(self.undone, self.done, back=False)

    def _replay(self, source, target, *, back):
        if not source:
            return
        item = source.pop()
        target.append(item)
        for at, mask, old, new in reversed(item) if back else item:
            region = np.array(self.data[at])
            region[mask] = old if back else new
            self.data[at] = region
        self.recording.look(self.data)

    def write(self, rng):
        """Somebody writes into the array, and it is seen at the next audit."""
        self.data[0, int(rng.integers(7))] = int(rng.integers(4))
        self.recording.audit(self.data)

    def replace(self, rng):
        new = rng.integers(0, 3, self.data.shape)
        self.data[...] = new.astype(self.data.dtype)
        self.recording.audit(self.data, "replace")

    def undo_from_the_journal(self, rng):
        self.recording.turn("undo", self.data)

    def redo_from_the_journal(self, rng):
        self.recording.turn("redo", self.data)


DEEDS = (
    "stroke",
    "stroke",
    "stroke_seen_halfway",
    "undo",
    "redo",
    "write",
    "replace",
    "undo_from_the_journal",
    "redo_from_the_journal",
)


def painted(path, deeds, seed, sparse, dtype="uint8", base=0.0):
    """A layer, its recording closed, and the array after each record."""
    rng = np.random.default_rng(seed)
    data = PaintStore(SHAPE, dtype, (1, 3, 4)) if sparse else np.zeros(SHAPE, dtype)
    data[...] = (rng.random(SHAPE) < base).astype(dtype)
    recording = Recording(lambda: Journal.create(path, header(dtype=dtype)), data)
    layer, states = Layer(data, recording), {}
    for deed in deeds:
        getattr(layer, deed)(rng)
        states[recording.journal.count if recording.journal else 0] = np.array(data)
    recording.close()
    return layer, states


@given(
    deeds=st.lists(st.sampled_from(DEEDS), min_size=1, max_size=14),
    seed=st.integers(0, 2**31),
    sparse=st.booleans(),
    base=st.sampled_from([0.0, 0.3]),
)
@example(deeds=["replace", "stroke_seen_halfway", "write", "undo"], seed=0, sparse=False, base=0.0)
@settings(max_examples=120, deadline=None)
def test_whatever_is_done_to_a_layer_the_journal_gives_it_back(tmp_path_factory, deeds, seed, sparse, base):
    path = tmp_path_factory.mktemp("journal") / "cells.tif.strokes.jsonl"
    layer, _ = painted(path, deeds, seed, sparse, base=base)
    if layer.recording.journal is None:
        assert not path.exists()
        return
    contents = read_journal(path)
    np.testing.assert_array_equal(np.asarray(replay(contents)), np.asarray(layer.data))
    again = History.of(contents.records)
    assert [r.number for r in again.done] == [r.number for r in layer.recording.history.done]
    assert [r.number for r in again.undone] == [r.number for r in layer.recording.history.undone]


@given(
    deeds=st.lists(st.sampled_from(DEEDS), min_size=2, max_size=6),
    seed=st.integers(0, 2**31),
    share=st.floats(0, 1),
)
@settings(max_examples=60, deadline=None)
def test_torn_at_any_byte_what_is_whole_replays_and_goes_on(tmp_path_factory, deeds, seed, share):
    path = tmp_path_factory.mktemp("journal") / "cells.tif.strokes.jsonl"
    layer, states = painted(path, deeds, seed, sparse=False)
    if layer.recording.journal is None:
        return
    data = path.read_bytes()
    first = data.index(b"\n") + 1
    path.write_bytes(data[: first + round(share * (len(data) - first))])
    contents = read_journal(path)
    count = len(contents.records)
    assert count == path.read_bytes().count(b"\n") - 1
    if count in states:
        np.testing.assert_array_equal(np.asarray(replay(contents)), states[count])
    journal, resumed = Journal.resume(path)
    recording = Recording.resumed(journal, resumed)
    data = np.asarray(recording.known).copy()
    Layer(data, recording).stroke(np.random.default_rng(1))
    recording.close()
    np.testing.assert_array_equal(np.asarray(replay(read_journal(path))), data)


@given(seed=st.integers(0, 2**31), cell=st.integers(1, 4), count=st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_strokes_by_places_however_far_apart(seed, cell, count):
    rng = np.random.default_rng(seed)
    data = np.zeros(SHAPE, np.uint8)
    recording = Recording(lambda: (_ for _ in ()).throw(LimnError("no disk")), data)
    places = [rng.integers(0, n, count) for n in SHAPE]
    values = rng.integers(0, 3, count)
    data[tuple(places)] = values
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_limn.annotation.journal.pieces._CELL", cell)
        patch.setattr("napari_limn.annotation.journal.pieces._DENSE", 1)
        patch.setattr("napari_limn.annotation.journal.changes._DENSE", 1)
        recording.painted(StrokePiece.at(places, values))
    np.testing.assert_array_equal(np.asarray(recording.known), data)


def test_two_voxels_at_the_ends_of_a_volume_do_not_fill_the_memory():
    store = PaintStore((1000, 4096, 4096))
    recording = Recording(lambda: (_ for _ in ()).throw(LimnError("no disk")), store)
    recording.painted(StrokePiece.at([np.array([0, 999]), np.array([0, 4095]), np.array([0, 4095])], 7))
    assert recording.known[999, 4095, 4095] == recording.known[0, 0, 0] == 7
    assert recording.trouble == "no disk"


def test_an_undo_that_is_not_told_is_found_out_and_named(tmp_path):
    path = tmp_path / "a.strokes.jsonl"
    layer, _ = painted(path, ["stroke", "stroke", "undo", "undo", "redo", "stroke"], 0, sparse=False)
    kinds = [(r.kind, r.of) for r in read_journal(path).records]
    assert kinds == [("stroke", 0), ("stroke", 0), ("undo", 2), ("undo", 1), ("redo", 1), ("stroke", 0)]
    assert [r.number for r in layer.recording.history.done] == [1, 6]


def test_what_a_layer_held_before_is_written_with_the_first_stroke_and_is_not_undone(tmp_path):
    path = tmp_path / "a.strokes.jsonl"
    layer, _ = painted(path, ["stroke", "undo", "undo_from_the_journal"], 6, sparse=False, base=0.4)
    records = read_journal(path).records
    assert [r.kind for r in records] == ["base", "stroke", "undo"]
    assert np.asarray(layer.data).any()
    data = np.ones((4, 5), np.uint8)
    idle = Recording(lambda: pytest.fail("nobody painted"), data)
    idle.look(data)
    idle.close()


def test_undo_reaches_into_an_earlier_session(tmp_path):
    path = tmp_path / "a.strokes.jsonl"
    painted(path, ["stroke", "stroke"], 6, sparse=True)
    recording = Recording.resumed(*Journal.resume(path))
    layer = Layer(recording.known.copy(), recording)
    for _ in range(3):
        layer.undo_from_the_journal(None)
    recording.close()
    assert not np.asarray(layer.data).any()
    assert [r.kind for r in read_journal(path).records] == ["stroke", "stroke", "undo", "undo"]


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
@pytest.mark.parametrize("at_fault", ["durable._write_whole", "annotation.journal.writer.sync_folder"])
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


legends = st.builds(
    Legend,
    st.dictionaries(st.integers(1, 9), st.text(min_size=1, max_size=8), max_size=4),
    st.dictionaries(st.integers(1, 9), st.tuples(*[st.floats(0, 1)] * 4), max_size=4),
    st.sampled_from(["unlabelled", "background"]),
)


@given(legends)
def test_a_table_of_classes_goes_through_text_and_comes_back(legend):
    assert Legend.from_json(json.loads(json.dumps(legend.to_json()))) == legend


@given(
    deeds=st.lists(st.one_of(legends, st.sampled_from(DEEDS)), min_size=1, max_size=14),
    seed=st.integers(0, 2**31),
    lost=st.integers(0, 3),
)
@settings(max_examples=120, deadline=None)
def test_the_table_of_classes_is_in_the_journal_as_it_was_last(tmp_path_factory, deeds, seed, lost):
    path = tmp_path_factory.mktemp("journal") / "cells.tif.strokes.jsonl"
    data, rng, written = np.zeros(SHAPE, np.uint8), np.random.default_rng(seed), {0: Legend()}
    recording = Recording(lambda: Journal.create(path, header()), data)
    layer = Layer(data, recording)
    for deed in deeds:
        before = recording.count
        if isinstance(deed, Legend):
            recording.keep_legend(deed)
        else:
            getattr(layer, deed)(rng)
        # a table that waited for a stroke comes before it
        written |= dict.fromkeys(range(before + 1, recording.count + 1), recording.legend)
    recording.close()
    if recording.journal is None:
        assert not path.exists(), "nobody painted"
        return
    contents = read_journal(path)
    assert contents.legend == recording.legend
    np.testing.assert_array_equal(np.asarray(replay(contents)), data)
    tables = [r.legend for r in contents.records if r.kind == "classes"]
    assert all(one != other for one, other in itertools.pairwise([Legend(), *tables])), "said twice"
    lines = path.read_bytes().splitlines(keepends=True)
    whole = max(1, len(lines) - lost)
    path.write_bytes(b"".join(lines[:whole]) + b'{"n":')  # torn amid the next line
    journal, found = Journal.resume(path)
    resumed = Recording.resumed(journal, found)
    assert resumed.legend == found.legend == written.get(whole - 1, Legend())
    resumed.keep_legend(resumed.legend)
    resumed.close()
    assert path.read_bytes() == b"".join(lines[:whole])


def test_a_journal_from_before_there_was_a_table_of_classes_is_read(tmp_path):
    path = tmp_path / "a.strokes.jsonl"
    layer, _ = painted(path, ["stroke", "stroke"], 0, sparse=False)
    assert b"classes" not in path.read_bytes()
    assert read_journal(path).legend == Legend()
    recording = Recording.resumed(*Journal.resume(path))
    recording.keep_legend(Legend({1: "axon"}))
    recording.close()
    contents = read_journal(path)
    assert [r.kind for r in contents.records] == ["stroke", "stroke", "classes"]
    assert contents.legend.names == {1: "axon"}
    np.testing.assert_array_equal(np.asarray(replay(contents)), layer.data)


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


@given(seed=st.integers(0, 2**31), at_once=st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_changes_come_back_from_text_voxel_by_voxel(seed, at_once):
    rng = np.random.default_rng(seed)
    old, new = rng.integers(0, 3, (2, *SHAPE))
    change = Change.of(np.arange(old.size), old.ravel(), new.ravel())
    again = Change.decoded(change.encoded())
    result = old.ravel().copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_limn.annotation.journal.changes._AT_ONCE", at_once)
        for positions, before, after in again.pieces():
            assert (result[positions] == before).all()
            result[positions] = after
    np.testing.assert_array_equal(result, new.ravel())
    assert change.size == (old != new).sum()
    places = np.argwhere(old != new)
    box = change.box(SHAPE)
    if len(places):
        assert all(
            a <= low and high < b for (a, b), low, high in zip(box, places.min(0), places.max(0), strict=True)
        )


@given(seed=st.integers(0, 2**31), values=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_runs_of_a_box_are_as_long_as_they_can_be_within_a_row(seed, values):
    rng = np.random.default_rng(seed)
    low = [int(rng.integers(0, n + 1)) for n in SHAPE]
    box = tuple((a, int(rng.integers(a, n + 1))) for a, n in zip(low, SHAPE, strict=True))
    extent = [b - a for a, b in box]
    old, new = rng.integers(0, values, (2, *extent)).astype("uint8")
    change = Change.between(old, new, box, SHAPE)
    runs = []
    for place in np.argwhere(old != new):
        at, pair = np.ravel_multi_index(place + low, SHAPE), (old[tuple(place)], new[tuple(place)])
        if runs and place[-1] and runs[-1][0] + runs[-1][1] == at and runs[-1][2] == pair:
            runs[-1][1] += 1
        else:
            runs.append([at, 1, pair])
    found = zip(change.start, change.length, zip(change.old, change.new, strict=True), strict=True)
    assert [list(run) for run in found] == runs


@given(
    seed=st.integers(0, 2**31), slab=st.integers(1, 60), dtype=st.sampled_from(["uint8", "int32", "uint64"])
)
@settings(max_examples=40, deadline=None)
def test_a_difference_is_found_whatever_is_compared_at_once(seed, slab, dtype):
    rng = np.random.default_rng(seed)
    old, new = np.iinfo(dtype).max - rng.integers(0, 2, (2, *SHAPE)).astype(dtype)
    known = PaintStore(SHAPE, dtype, (2, 3, 3))
    known[...] = old
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_limn.annotation.journal.changes._SLAB", slab)
        change = difference(known, new)
    for positions, _, after in change.pieces():
        known.put(positions, after)
    np.testing.assert_array_equal(np.asarray(known), new)
    starts = change.start
    assert (np.diff(starts) > 0).all()
