"""Journalling a labels layer: what was painted, undone and redone, told or found out by looking.

A layer tells what a stroke changed, but not that it was undone, nor that somebody wrote into its array. A recording
therefore keeps what the journal says the labels are, and whatever differs from that when it looks is written down, so that
the replayed journal is the layer, voxel by voxel, whatever happened to it.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_limn.annotation.journal.changes import Change
from napari_limn.annotation.journal.format import Contents, Journal, Record, replay
from napari_limn.annotation.journal.sparse_labels import PaintStore
from napari_limn.annotation.legend import Legend
from napari_limn.errors import LimnError
from napari_limn.volume.boxes import Box, blocks, overlap, shape_of, shifted, size_of, slices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_limn.annotation.journal.changes import Place
    from napari_limn.annotation.journal.format import RecordKind

_SLAB = 1 << 22  # voxels that are compared at once
_CELL = 256  # voxels along the sides of the pieces that a wide stroke is looked at in
_DENSE = 8  # times as many voxels as were painted may lie in a box that is looked at as a whole
_PROBED = 1 << 16  # voxels of a stroke that are compared at each look
_REMEMBERED = 200  # strokes; napari undoes at most 100, and redoes as many


@dataclass(frozen=True, slots=True, eq=False)
class StrokePiece:
    """A piece of a stroke.

    Parameters
    ----------
    box
        Where it lies.
    mask
        Which voxels of the box were painted; None for all.
    values
        Their new value: one, or as many as there are.
    """

    box: Box
    mask: NDArray[np.bool_] | None
    values: Any

    @classmethod
    def at(cls, places: Sequence[NDArray[Any]], values: Any) -> list[StrokePiece]:
        """Pieces from an array of places for each axis, and their value, one or as many; of a place named twice the last counts."""
        spread = np.broadcast_to(np.asarray(values), places[0].shape)
        cells = np.stack([p // s for p, s in zip(places, _sides(len(places)), strict=True)], axis=1)
        _, which = np.unique(cells, axis=0, return_inverse=True)
        order = np.argsort(which.ravel(), kind="stable")
        cuts = np.flatnonzero(np.diff(which.ravel()[order])) + 1
        return [cls._of_cell([p[g] for p in places], spread[g]) for g in np.split(order, cuts) if len(g)]

    @classmethod
    def _of_cell(cls, places: list[NDArray[Any]], values: NDArray[Any]) -> StrokePiece:
        box = tuple((int(p.min()), int(p.max()) + 1) for p in places)
        within = tuple(p - a for p, (a, _) in zip(places, box, strict=True))
        mask, spread = np.zeros(shape_of(box), bool), np.zeros(shape_of(box), values.dtype)
        mask[within], spread[within] = True, values
        return cls(box, mask, spread[mask])

    def write(self, labels: NDArray[Any], origin: Sequence[int]) -> None:
        """Write it into an array of labels that begins at `origin`."""
        part = labels[slices(shifted(self.box, origin))]
        part[... if self.mask is None else self.mask] = self.values


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
    legend
        The table of classes; of a layer that nobody paints on it is not written down.
    trouble
        The sentence of a disk that refuses; empty if all is written.
    """

    def __init__(self, begin: Callable[[], Journal], base: Any) -> None:
        self.known = PaintStore(base.shape, base.dtype)
        self.history, self.trouble = History(), ""
        self.legend = self._told_legend = Legend()
        self.journal: Journal | None = None
        self._begin, self._count = begin, 0
        self._pending: list[Record] = []  # not in the journal yet
        # strokes that the layer itself can undo or redo; and whether the next of them may be another than the latest here
        self._told, self._strayed = deque[Record](maxlen=_REMEMBERED), False
        if (found := difference(self.known, base)).size:
            self._take("base", found)

    @classmethod
    def resumed(cls, journal: Journal, contents: Contents) -> Recording:
        """Go on with a journal; :attr:`known` holds its labels."""
        found = cls(lambda: journal, PaintStore(contents.header.shape, contents.header.dtype))
        found.journal, found._count = journal, len(contents.records)
        found.known, found.history = replay(contents), History.of(contents.records)
        found.legend = found._told_legend = contents.legend
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

    def holds(self, data: Any) -> bool:
        """Whether data, of whatever type, are what a replay gives."""
        return tuple(data.shape) == self.known.shape and not difference(self.known, data).size

    # ---- told ----------------------------------------------------------------------------------------------------
    def painted(self, parts: Sequence[StrokePiece]) -> None:
        """Write down a stroke that consists of `parts`, in their order; where two meet, the later one counts."""
        if not parts:
            return
        change = Change.joined(
            self._painted_in(cell, [p for p in parts if size_of(overlap(p.box, cell))])
            for cell in _cells([part.box for part in parts])
        )
        if change.size:
            self._told.append(self._tell("stroke", change))
        elif self.history.done:  # found out while the brush was down; the layer can undo it all the same
            self._told.append(self.history.done[-1])

    def _painted_in(self, cell: Box, parts: Sequence[StrokePiece]) -> Change:
        """What a stroke changes in a part of the volume."""
        around = tuple(
            (min(spans)[0], max(b for _, b in spans))
            for spans in zip(cell, *(p.box for p in parts), strict=True)
        )
        origin = [start for start, _ in around]
        old = self.known.read(around)
        new = old.copy()
        for part in parts:
            part.write(new, origin)
        inner = slices(shifted(cell, origin))
        return Change.between(
            np.ascontiguousarray(old[inner]), np.ascontiguousarray(new[inner]), cell, self.known.shape
        )

    def keep_legend(self, legend: Legend) -> None:
        """Write down the table of classes if it is another than before; until there is a stroke, it waits for that."""
        self.legend = legend
        if self.journal is not None or self.strokes:
            self._take_legend()
            self.write()

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

    def _turned(self, data: Any, kind: RecordKind, record: Record) -> bool:
        """Whether a record was undone or redone; if so, it is written down."""
        change = record.change.reversed() if kind == "undo" else record.change
        if (_at(data, change.start[:1]) == self.known.take(change.start[:1])).all():
            return False
        if any((place.get(data) != new).any() for place, _, new in self._portions(change)):
            return False
        self._tell(kind, change, record.number)
        return True

    def _differs(self, data: Any, change: Change) -> bool:
        """Whether data and what is known differ where `change` was; of large ones the ends and middles of runs are enough."""
        if change.size > _PROBED:
            ends = [change.start, change.start + change.length // 2, change.start + change.length - 1]
            probes = np.concatenate(ends)[:: 1 + 3 * len(change.start) // _PROBED]
            return bool((_at(data, probes) != self.known.take(probes)).any())
        return any((place.get(data) != place.get(self.known)).any() for place, _, _ in self._portions(change))

    def _portions(self, change: Change) -> Iterator[tuple[Place, NDArray[Any], NDArray[Any]]]:
        return change.portions(self.known.shape, self.known.dtype)

    def audit(self, data: Any, kind: RecordKind = "edit") -> None:
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
        for place, _, new in self._portions(change):
            place.put(data, new)
        self._strayed |= self.is_told(record)
        self._tell(kind, change, record.number)

    # ---- written -------------------------------------------------------------------------------------------------
    def _tell(self, kind: RecordKind, change: Change, of: int = 0) -> Record:
        self._take_legend()
        record = self._take(kind, change, of)
        self.write()
        return record

    def _take_legend(self) -> None:
        if self.legend != self._told_legend:
            self._told_legend = self.legend
            self._take("classes", Change.joined([]), legend=self.legend)

    def _take(
        self, kind: RecordKind, change: Change, of: int = 0, note: str = "", legend: Legend | None = None
    ) -> Record:
        self._count += 1
        record = Record(self._count, time.time(), kind, change, of, note, legend)
        for place, _, new in self._portions(change):
            place.put(self.known, new)
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
        except OSError as error:  # a share or a stick that went away
            self.trouble = f"the disk with the strokes does not answer ({error.strerror}); connect it again."

    def close(self) -> None:
        """End the recording, when everything is on the disk; of a layer that nobody painted on nothing is."""
        if self.journal is not None or any(record.kind != "base" for record in self._pending):
            self.write()
        if self.journal is not None:
            with suppress(OSError):  # of a disk that went away; the lock is given back all the same
                self.journal.close()


def _cells(boxes: Sequence[Box]) -> list[Box]:
    """Disjoint boxes that cover `boxes` together: their hull, or where that is mostly empty, the parts of it that are not."""
    hull = tuple((min(a for a, _ in spans), max(b for _, b in spans)) for spans in zip(*boxes, strict=True))
    if size_of(hull) <= max(_DENSE * sum(map(size_of, boxes)), _CELL**2):
        return [hull]
    sides, found = _sides(len(hull)), set[tuple[int, ...]]()
    for box in boxes:
        ranges = [range(a // s, -(-b // s)) for (a, b), s in zip(box, sides, strict=True)]
        found.update(itertools.product(*ranges))
    cells = (tuple((k * s, k * s + s) for k, s in zip(key, sides, strict=True)) for key in sorted(found))
    return [overlap(cell, hull) for cell in cells]


def _sides(ndim: int) -> list[int]:
    """Extent of such a part: a square of the last two axes."""
    return [_CELL if i >= ndim - 2 else 1 for i in range(ndim)]


def difference(known: PaintStore, data: Any) -> Change:
    """What makes `data`, an array of the extent of `known`, of it."""
    if isinstance(data, PaintStore):
        boxes: Iterable[Box] = {*known.boxes(), *(cell for box in data.boxes() for cell in known.cells(box))}
    else:
        boxes = blocks(known.shape, _slab(known.shape))
    return Change.joined(
        Change.between(known.read(box), np.ascontiguousarray(data[slices(box)]), box, known.shape)
        for box in boxes
    )


def _slab(shape: Sequence[int]) -> list[int]:
    """Extent of the boxes in which an array is compared: whole lines of its last axes, a few million voxels."""
    room, found = _SLAB, list[int]()
    for n in reversed(shape):
        found.insert(0, max(1, min(n, room)))
        room //= n
    return found


def _at(data: Any, positions: NDArray[np.int64]) -> NDArray[Any]:
    """Values of an array at positions."""
    found: NDArray[Any] = np.asarray(data[np.unravel_index(positions, data.shape)])
    return found
