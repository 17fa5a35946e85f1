"""Which strokes are journalled, for which image, and which journal is offered back."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from napari_limn._napari.layers.facts import LayerFacts
from napari_limn._napari.painting import journalling
from napari_limn._napari.painting.journalling import (
    fate_of_paint,
    is_read_from_file,
    is_watched,
    journal_to_offer,
    labels_before,
    offer_sentence,
    pieces_of,
    status_of,
    strokes_in_words,
)
from napari_limn.annotation.journal.sparse_labels import PaintStore

Painted = namedtuple("Painted", "slice_key mask old_values new_value")


# ---- strokes ---------------------------------------------------------------------------------------------------------
def strokes(seed):
    """Labels before, after, and what napari reports of two strokes that cross."""
    rng = np.random.default_rng(seed)
    before = rng.integers(0, 3, (12, 15)).astype(np.uint8)
    data, atoms = before.copy(), []
    for value, key in ((4, np.s_[2:7, 3:9]), (5, np.s_[5:9, 1:12])):
        mask = rng.random(data[key].shape) < 0.6
        atoms.append(Painted(key, mask, data[key][mask], value))
        data[key][mask] = value
    places = (np.array([0, 11, 6]), np.array([0, 14, 6]))
    atoms.append((places, data[places], np.uint8(6)))
    data[places] = 6
    whole = Painted(np.s_[0:2, 0:2], None, data[:2, :2].copy(), 7)
    data[:2, :2] = 7
    return before, data, [*atoms, whole]


@pytest.mark.parametrize("seed", range(3))
def test_pieces_of_a_stroke_give_what_is_there_and_what_was_there_before(seed):
    before, after, atoms = strokes(seed)
    np.testing.assert_array_equal(labels_before(after, atoms), before)
    painted = before.copy()
    for piece in (piece for atom in atoms for piece in pieces_of(atom)):
        piece.write(painted, (0, 0))
    np.testing.assert_array_equal(painted, after)


# ---- layers ----------------------------------------------------------------------------------------------------------
def test_labels_in_memory_are_journalled_and_those_of_a_file_are_read_first(monkeypatch):
    array, store = np.zeros((4, 5), np.uint8), PaintStore((4, 5), np.uint8)
    lazy = SimpleNamespace(shape=(4, 5), dtype=np.dtype(np.uint8))
    assert [is_watched(data) for data in (array, store, lazy)] == [True, True, False]
    assert [is_read_from_file(data) for data in (array, store, lazy)] == [False, False, True]
    assert not is_read_from_file(lazy, multiscale=True)
    monkeypatch.setattr(journalling, "WATCHED", 19)
    assert [is_watched(data) for data in (array, store)] == [False, True]
    assert not is_read_from_file(lazy)


# ---- sentences -------------------------------------------------------------------------------------------------------
def recording(strokes=0, safe=True, trouble="", journal="a.strokes.jsonl"):
    path = SimpleNamespace(path=Path(journal)) if journal else None
    return SimpleNamespace(strokes=strokes, safe=safe, trouble=trouble, journal=path)


def test_the_status_says_whether_strokes_are_safe():
    assert status_of(recording(3)) == "3 strokes, all saved in a.strokes.jsonl"
    assert status_of(recording(1, safe=False)) == "1 stroke, saving … in a.strokes.jsonl"
    assert status_of(recording(journal="")).startswith("No strokes yet")
    assert status_of(recording(3, trouble="the disk is full.")) == "the disk is full."
    assert (strokes_in_words(0), strokes_in_words(1)) == ("0 strokes", "1 stroke")


@pytest.mark.parametrize(
    ("facts", "editable", "sentence"),
    [
        (LayerFacts(audit="digest"), True, "kept in no journal: they count when you press"),
        (LayerFacts(difference=("a", "b")), True, "kept nowhere"),
        (LayerFacts(model="m"), False, "cannot be painted on"),
        (LayerFacts(model="m"), True, "Paint on it, and it is yours"),
    ],
)
def test_what_happens_to_paint_on_what_was_computed(facts, editable, sentence):
    assert sentence in fate_of_paint(facts, editable)


# ---- journals that are in no layer -----------------------------------------------------------------------------------
def record(number, kind, of=0, note=""):
    return SimpleNamespace(number=number, kind=kind, of=of, note=note, time=0.0)


def contents(*records):
    return SimpleNamespace(records=list(records))


PAINTED = contents(record(1, "stroke"), record(2, "stroke"))
UNDONE = contents(record(1, "stroke"), record(2, "undo", of=1))
SAVED = contents(record(1, "stroke"), record(2, "saved", note="out.tif"))


def test_the_first_journal_with_strokes_is_offered():
    journals = [(Path("undone"), UNDONE), (Path("saved"), SAVED), (Path("painted"), PAINTED)]
    assert journal_to_offer(journals, saved_too=False) == (Path("painted"), PAINTED)
    assert journal_to_offer(journals, saved_too=True) == (Path("saved"), SAVED)
    assert journal_to_offer(journals[:1], saved_too=True) is None
    assert journal_to_offer([], saved_too=True) is None


def test_an_offer_says_how_many_strokes_and_where_they_were_saved():
    sentence = offer_sentence(Path("folder/a.strokes.jsonl"), PAINTED)
    assert sentence.startswith("2 strokes on this image, the last on ")
    assert sentence.endswith("are in a.strokes.jsonl and in no layer.")
    assert offer_sentence(Path("a"), SAVED).endswith("They were saved as out.tif.")
