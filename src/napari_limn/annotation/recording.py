"""Journalling a labels layer: what was painted, undone and redone, told or found out by looking.

A layer tells what a stroke changed, but not that it was undone, nor that somebody wrote into its array. A recording
therefore keeps what the journal says the labels are, and whatever differs from that when it looks is written down, so that
the replayed journal is the layer, voxel by voxel, whatever happened to it.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_limn.annotation.changes import Change
from napari_limn.annotation.journal import Contents, Journal, Record, replay
from napari_limn.annotation.paint_store import PaintStore
from napari_limn.errors import LimnError
from napari_limn.volume.boxes import Box, blocks, slices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from napari_limn.annotation.journal import Kind

_SLAB = 1 << 22  # voxels that are compared at once
_REMEMBERED = 200  # strokes; napari undoes at most 100, and redoes as many

Painted = tuple["NDArray[np.int64]", "NDArray[Any]"]
"""Positions of voxels, which count through the whole array in C order, and the value of each."""


@dataclass(slots=True)
class History:
    """What can be undone, and what was undone and can be made again, the latest last."""

    done: list[Record] = field(default_factory=list)
    undone: list[Record] = field(default_factory=list)

    def take(self, record: Record) -> None:
        """Take note of a record."""
        match record.kind:
            case "undo":
                self.undone.append(self.done.pop())
            case "redo":
                self.done.append(self.undone.pop())
            case "stroke" | "edit" | "replace":
                self.done.append(record)
                self.undone.clear()

    @classmethod
    def of(cls, records: Iterable[Record]) -> History:
        """What the records of a journal leave to undo and to redo.

        Raises
        ------
        LimnError
            If they undo or redo what is not there.
        """
        history = cls()
        for record in records:
            turned = {"undo": history.done, "redo": history.undone}.get(record.kind)
            if turned is not None and (not turned or turned[-1].number != record.of):
                raise LimnError(
                    f"the journal says {record.kind} of record {record.of} in record {record.number}, expected the latest "
                    "one; it is damaged, take a copy of it from a backup."
                )
            history.take(record)
        return history


class Recording:
    """The recording of one array of labels.

    Parameters
    ----------
    begin
        Makes the journal; called with the first record, so that a layer that nobody paints on leaves no file.
    base
        What the array holds now; it is written down with the first record.

    Attributes
    ----------
    known
        The labels that a replay of the journal gives.
    trouble
        The sentence of a disk that refuses; empty if all is written.
    """

    def __init__(self, begin: Callable[[], Journal], base: Any) -> None:
        self.known = PaintStore(base.shape, base.dtype)
        self.history, self.trouble = History(), ""
        self.journal: Journal | None = None
        self._begin, self._count = begin, 0
        self._pending: list[Record] = []  # not in the journal yet
        self._told: deque[Record] = deque(
            maxlen=_REMEMBERED
        )  # strokes that the layer itself can undo or redo
        self._strayed = (
            False  # whether what the layer would undo next may be another one than the latest here
        )
        if (found := difference(self.known, base)).size:
            self._take("base", found)

    @classmethod
    def resumed(cls, journal: Journal, contents: Contents) -> Recording:
        """Go on with a journal; :attr:`known` holds its labels."""
        found = cls(lambda: journal, PaintStore(contents.header.shape, contents.header.dtype))
        found.journal, found._count = journal, len(contents.records)
        found.known, found.history = replay(contents), History.of(contents.records)
        return found

    @property
    def strokes(self) -> int:
        """Strokes, and other changes, that are there now."""
        return len(self.history.done)

    @property
    def count(self) -> int:
        """Records written down so far, of all sessions."""
        return self._count

    @property
    def safe(self) -> bool:
        """Whether all that was told is on the disk itself."""
        if self.journal is None:
            return not self.strokes
        return not self._pending and self.journal.synced == self.journal.count

    # ---- told ----------------------------------------------------------------------------------------------------
    def painted(self, parts: Sequence[Painted]) -> None:
        """Write down a stroke that consists of `parts`, in their order; where two meet, the later one counts."""
        positions = np.concatenate([_NONE, *(at for at, _ in parts)])
        new = np.concatenate([_NONE, *(values for _, values in parts)])
        if not (np.diff(positions) > 0).all():
            positions, last = np.unique(positions[::-1], return_index=True)
            new = new[::-1][last]
        change = Change.of(positions, self.known.take(positions).astype(np.int64), new)
        if change.size:
            self._told.append(self._tell("stroke", change))

    def saved(self, path: str) -> None:
        """Write down that the labels as they are now were saved to a file of their own."""
        if self.journal is not None:
            self._take("saved", Change.joined([]), note=path)
            self.write()

    # ---- found out -----------------------------------------------------------------------------------------------
    def look(self, data: Any) -> None:
        """Compare the layer's data with what is known where an undo or redo of the layer's own would show; cheap.

        It is written down which stroke was undone or redone; anything else is an edit.
        """
        while self.history.done and self._turned(data, "undo", self.history.done[-1]):
            pass
        while self.history.undone and self._turned(data, "redo", self.history.undone[-1]):
            pass
        latest = [*self.history.done[-1:], *self.history.undone[-1:]]
        amiss = any((_at(data, r.change.start) != self.known.take(r.change.start)).any() for r in latest)
        if amiss or (self._strayed and any(self._differs(data, r.change) for r in self._told)):
            self.audit(data)

    def _turned(self, data: Any, kind: Kind, record: Record) -> bool:
        """Whether a record was undone or redone; if so, it is written down."""
        change = record.change.reversed() if kind == "undo" else record.change
        if (_at(data, change.start[:1]) == self.known.take(change.start[:1])).all():
            return False
        if any((_at(data, at) != new.astype(self.known.dtype)).any() for at, _, new in change.pieces()):
            return False
        self._tell(kind, change, record.number)
        return True

    def _differs(self, data: Any, change: Change) -> bool:
        return any((_at(data, at) != self.known.take(at)).any() for at, _, _ in change.pieces())

    def audit(self, data: Any, kind: Kind = "edit") -> None:
        """Compare all of the layer's data with what is known, and write down what differs."""
        if (change := difference(self.known, data)).size:
            self._strayed = True
            self._tell(kind, change)

    # ---- done here -----------------------------------------------------------------------------------------------
    def latest(self, kind: Literal["undo", "redo"]) -> Record | None:
        """What would be undone or redone next, in whichever session it was painted."""
        stack = self.history.done if kind == "undo" else self.history.undone
        return stack[-1] if stack else None

    def is_told(self, record: Record) -> bool:
        """Whether the layer itself may undo or redo this record."""
        return record in self._told

    def turn(self, kind: Literal["undo", "redo"], data: Any) -> None:
        """Undo or redo the latest record in the layer's data, and write it down."""
        if (record := self.latest(kind)) is None:
            return
        change = record.change.reversed() if kind == "undo" else record.change
        for positions, _, new in change.pieces():
            data[np.unravel_index(positions, self.known.shape)] = new.astype(self.known.dtype)
        self._strayed |= self.is_told(record)
        self._tell(kind, change, record.number)

    # ---- written -------------------------------------------------------------------------------------------------
    def _tell(self, kind: Kind, change: Change, of: int = 0) -> Record:
        record = self._take(kind, change, of)
        self.write()
        return record

    def _take(self, kind: Kind, change: Change, of: int = 0, note: str = "") -> Record:
        self._count += 1
        record = Record(self._count, time.time(), kind, change, of, note)
        for positions, _, new in change.pieces():
            self.known.put(positions, new)
        self.history.take(record)
        self._pending.append(record)
        return record

    def write(self) -> None:
        """Write to the journal what is not in it; if the disk refuses, :attr:`trouble` says so and it is kept for later."""
        try:
            if self.journal is None:
                self.journal = self._begin()
            while self._pending:
                self.journal.add(self._pending[0])
                del self._pending[0]
            self.trouble = ""
        except LimnError as error:
            self.trouble = str(error)

    def close(self) -> None:
        """End the recording, when everything is on the disk."""
        if self.journal is not None:
            self.write()
            self.journal.close()


def painted_places(places: Sequence[NDArray[Any]], values: Any, shape: Sequence[int]) -> Painted:
    """A part of a stroke from an array of places for each axis, and values: one, or as many."""
    positions = np.ravel_multi_index([np.asarray(p) for p in places], tuple(shape)).astype(np.int64).ravel()
    return positions, np.broadcast_to(np.asarray(values).astype(np.int64).ravel(), positions.shape)


def painted_box(box: Box, mask: NDArray[np.bool_] | None, values: Any, shape: Sequence[int]) -> Painted:
    """A part of a stroke from a box, which of its voxels were painted (None: all), and values: one, or as many."""
    within = np.ones([b - a for a, b in box], bool) if mask is None else mask
    places = [p + start for p, (start, _) in zip(np.nonzero(within), box, strict=True)]
    return painted_places(places, values, shape)


def difference(known: PaintStore, data: Any) -> Change:
    """What makes `data`, an array of the extent of `known`, of it."""
    if isinstance(data, PaintStore):
        found = [_differing(known, data, box) for box in {*known.boxes(), *data.boxes()}]
        positions, old, new = (np.concatenate(a) for a in zip(*found, strict=True)) if found else 3 * (_NONE,)
        order = np.argsort(positions)
        return Change.of(positions[order], old[order], new[order])
    rows = prod(known.shape) and _SLAB
    block: list[int] = []
    for n in reversed(known.shape):  # whole lines of the last axes: such boxes are ascending, too
        block.insert(0, max(1, min(n, rows)))
        rows //= n
    return Change.joined(Change.of(*_differing(known, data, box)) for box in blocks(known.shape, block))


_NONE = np.zeros(0, np.int64)


def _differing(
    known: PaintStore, data: Any, box: Box
) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]:
    """Positions in a box where the two differ, ascending within the box, and both values."""
    old, new = known.read(box), np.asarray(data[slices(box)])
    differs = old != new
    if not differs.any():
        return _NONE, _NONE, _NONE
    places = [p + start for p, (start, _) in zip(np.nonzero(differs), box, strict=True)]
    positions = np.ravel_multi_index(places, known.shape).astype(np.int64)
    return positions, old[differs].astype(np.int64), new[differs].astype(np.int64)


def _at(data: Any, positions: NDArray[np.int64]) -> NDArray[Any]:
    """Values of an array at positions."""
    if isinstance(data, PaintStore):
        return data.take(positions)
    found: NDArray[Any] = np.asarray(data[np.unravel_index(positions, data.shape)])
    return found
