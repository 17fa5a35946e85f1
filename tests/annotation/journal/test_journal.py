"""Whatever is done to a layer, its journal gives it back."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from journals import DEEDS, SHAPE, Layer, header, painted

from napari_limn.annotation.journal.changes import Change, difference
from napari_limn.annotation.journal.format import read_journal, replay
from napari_limn.annotation.journal.history import History
from napari_limn.annotation.journal.pieces import StrokePiece
from napari_limn.annotation.journal.recording import Recording
from napari_limn.annotation.journal.sparse_labels import PaintStore
from napari_limn.annotation.journal.writer import Journal
from napari_limn.annotation.legend import Legend
from napari_limn.errors import LimnError


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
