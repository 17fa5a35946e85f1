"""Which strokes are journalled and offered back, decided without a window."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.annotation.journal.history import History
from napari_limn.annotation.journal.pieces import StrokePiece
from napari_limn.annotation.journal.sparse_labels import PaintStore
from napari_limn.volume.volume import size_in_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_limn._napari.layers.facts import LayerFacts
    from napari_limn.annotation.journal.format import Contents
    from napari_limn.annotation.journal.recording import Recording

WATCHED = 1 << 30
"""Bytes of an array that the user added up to which it is compared with its journal."""


# ---- a stroke, as napari reports it ----------------------------------------------------------------------------------
def pieces_of(atom: Any) -> list[StrokePiece]:
    """Read a piece of a stroke as napari announces it.

    That is a box with a mask, or places with values before and after.
    """
    if len(atom) == 4:
        box = tuple((s.start, s.stop) for s in atom.slice_key)
        return [StrokePiece(box, atom.mask, atom.new_value)]
    places, _, values = atom
    return StrokePiece.at(
        [p.ravel() for p in np.broadcast_arrays(*places)], np.ravel(values) if np.ndim(values) else values
    )


def labels_before(data: NDArray[Any], atoms: Sequence[Any]) -> NDArray[Any]:
    """Give what a layer held before a stroke that it holds now."""
    before = data.copy()
    for atom in reversed(atoms):
        if len(atom) == 4:
            before[atom.slice_key][... if atom.mask is None else atom.mask] = atom.old_values
        else:
            before[atom[0]] = atom[1]
    return before


# ---- which layers, and for which image -------------------------------------------------------------------------------
def is_watched(data: Any) -> bool:
    """Return whether labels are in memory, and small enough to be compared."""
    return isinstance(data, PaintStore) or (isinstance(data, np.ndarray) and data.nbytes <= WATCHED)


def is_read_from_file(data: Any, multiscale: bool = False) -> bool:
    """Return whether labels are read from a file, and fit into memory."""
    lazy = not multiscale and not isinstance(data, (np.ndarray, PaintStore))
    return lazy and size_in_bytes(data.shape, data.dtype) <= WATCHED


# ---- sentences -------------------------------------------------------------------------------------------------------
def status_of(recording: Recording) -> str:
    """Say how many strokes there are, and whether they are safe."""
    if recording.trouble:
        return recording.trouble
    if recording.journal is None:
        return "No strokes yet; each one will be kept in a journal."
    count = strokes_in_words(recording.strokes)
    return f"{count}, {'all saved' if recording.safe else 'saving …'} in {recording.journal.path.name}"


def fate_of_paint(facts: LayerFacts, editable: bool) -> str:
    """Say what happens to paint on a layer that was computed here."""
    if facts.audit is not None:
        return "These are corrections of an audit, kept in no journal: they count when you press Accept corrected in Review."
    if facts.difference:
        return "This shows where two predictions differ. What is painted on it is kept nowhere; paint on one of the two."
    if not editable:
        return "This shows a prediction that cannot be painted on. Press New strokes layer and paint there."
    return (
        "This shows a prediction. Paint on it, and it is yours: kept in a journal, and replaced by no other."
    )


def strokes_in_words(count: int) -> str:
    """Count strokes in words.

    Examples
    --------
    >>> strokes_in_words(1), strokes_in_words(7)
    ('1 stroke', '7 strokes')
    """
    return f"{count} stroke{'' if count == 1 else 's'}"


# ---- journals that are in no layer -----------------------------------------------------------------------------------
def journal_to_offer(
    journals: Iterable[tuple[Path, Contents]], *, saved_too: bool
) -> tuple[Path, Contents] | None:
    """Choose the first journal with strokes that were not saved since.

    `saved_too` offers those that were saved as well.
    """
    for path, contents in journals:
        saved = contents.records[-1].kind == "saved"
        if (saved_too or not saved) and History.of(contents.records).done:
            return path, contents
    return None


def offer_sentence(path: Path, contents: Contents) -> str:
    """Say which strokes a journal holds."""
    last = contents.records[-1]
    when = datetime.fromtimestamp(last.time).astimezone()
    strokes = strokes_in_words(len(History.of(contents.records).done))
    saved = f" They were saved as {last.note}." if last.kind == "saved" else ""
    return f"{strokes} on this image, the last on {when:%d %B at %H:%M}, are in {path.name} and in no layer.{saved}"
