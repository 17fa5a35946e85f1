"""Recording a labels layer: what was painted, undone and redone.

A layer reports what a stroke changed, but not that it was undone, nor that a program wrote into its array. A recording
therefore keeps what the journal says the labels are, and whatever differs from that when it looks is written down, so that
the replayed journal is the layer, voxel by voxel, whatever happened to it.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_limn.annotation.journal.changes import Change, difference
from napari_limn.annotation.journal.format import Contents, Record, replay
from napari_limn.annotation.journal.history import History
from napari_limn.annotation.journal.pieces import StrokePiece, cells_around
from napari_limn.annotation.journal.sparse_labels import PaintStore
from napari_limn.annotation.legend import Legend
from napari_limn.errors import LimnError
from napari_limn.volume.boxes import Box, overlap, shifted, size_of, slices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_limn.annotation.journal.changes import Voxels
    from napari_limn.annotation.journal.format import RecordKind
    from napari_limn.annotation.journal.writer import Journal

_PROBED = 1 << 16  # voxels of a stroke that are compared at each look
_REMEMBERED = 200  # strokes; napari undoes at most 100, and redoes as many


class Recording:
    """The recording of one array of labels.

    Parameters
    ----------
    begin
        Makes the journal; called with the first record, so that a layer without paint leaves no file.
    base
        What the array holds now; it is written down with the first record.

    Attributes
    ----------
    known
        The labels that a replay of the journal gives.
    legend
        The table of classes; of a layer without paint it is not written down.
    trouble
        The sentence of a disk that refuses; empty if all is written.
    """

    def __init__(self, begin: Callable[[], Journal], base: Any) -> None:
        self.known = PaintStore(base.shape, base.dtype)
        self.history, self.trouble = History(), ""
        self.legend = self._written_legend = Legend()
        self.journal: Journal | None = None
        self._begin, self._count = begin, 0
        self._pending: list[Record] = []  # not in the journal yet
        # strokes that the layer itself can undo or redo; and whether the next of them may be another than the latest here
        self._undoable_in_layer, self._out_of_order = deque[Record](maxlen=_REMEMBERED), False
        if (change := difference(self.known, base)).size:
            self._take("base", change)

    @classmethod
    def resumed(cls, journal: Journal, contents: Contents) -> Recording:
        """Go on with a journal; :attr:`known` holds its labels."""
        recording = cls(lambda: journal, PaintStore(contents.header.shape, contents.header.dtype))
        recording.journal, recording._count = journal, len(contents.records)
        recording.known, recording.history = replay(contents), History.of(contents.records)
        recording.legend = recording._written_legend = contents.legend
        return recording

    @property
    def strokes(self) -> int:
        """Return the number of strokes, and other changes, there now."""
        return len(self.history.done)

    @property
    def count(self) -> int:
        """Return the number of records written so far, in all sessions."""
        return self._count

    @property
    def safe(self) -> bool:
        """Return whether all that was reported is on the disk itself."""
        if self.journal is None:
            return not self.strokes
        return not self._pending and self.journal.synced == self.journal.count

    def holds(self, data: Any) -> bool:
        """Return whether data, of whatever type, are what a replay gives."""
        return tuple(data.shape) == self.known.shape and not difference(self.known, data).size

    # ---- reported -------------------------------------------------------------------------------------------------
    def painted(self, parts: Sequence[StrokePiece]) -> None:
        """Write down a stroke that consists of `parts`, in their order.

        Where two meet, the later one counts.
        """
        if not parts:
            return
        change = Change.joined(
            self._painted_in(cell, [p for p in parts if size_of(overlap(p.box, cell))])
            for cell in cells_around([part.box for part in parts])
        )
        if change.size:
            self._undoable_in_layer.append(self._write_down("stroke", change))
        elif self.history.done:  # noticed while the brush was down; the layer can undo it all the same
            self._undoable_in_layer.append(self.history.done[-1])

    def _painted_in(self, cell: Box, parts: Sequence[StrokePiece]) -> Change:
        """Find what a stroke changes in a part of the volume."""
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
        """Write down the table of classes if it has changed.

        Until there is a stroke, it waits for that.
        """
        self.legend = legend
        if self.journal is not None or self.strokes:
            self._take_legend()
            self.write()

    def saved(self, path: str) -> None:
        """Write down that the labels were saved to a file.

        A file of their own, as they are now.
        """
        if self.journal is not None:
            self._take("saved", Change.joined([]), note=path)
            self.write()

    # ---- noticed -------------------------------------------------------------------------------------------------
    def look(self, data: Any) -> None:
        """Look for an undo or redo of the layer's own; cheap.

        The layer's data are compared with what is known where that would show.

        It is written down which stroke was undone or redone; anything else is an edit.
        """
        while self.history.done and self._turned(data, "undo", self.history.done[-1]):
            pass
        while self.history.undone and self._turned(data, "redo", self.history.undone[-1]):
            pass
        latest = [*self.history.done[-1:], *self.history.undone[-1:]]
        differs = any((_at(data, r.change.start) != self.known.take(r.change.start)).any() for r in latest)
        if differs or (
            self._out_of_order and any(self._differs(data, r.change) for r in self._undoable_in_layer)
        ):
            self.audit(data)

    def _turned(self, data: Any, kind: RecordKind, record: Record) -> bool:
        """Return whether a record was undone or redone.

        If so, it is written down.
        """
        change = record.change.reversed() if kind == "undo" else record.change
        if (_at(data, change.start[:1]) == self.known.take(change.start[:1])).all():
            return False
        if any((place.get(data) != new).any() for place, _, new in self._portions(change)):
            return False
        self._write_down(kind, change, record.number)
        return True

    def _differs(self, data: Any, change: Change) -> bool:
        """Return whether data differ from what is known at `change`.

        Of large ones the ends and middles of runs are enough.
        """
        if change.size > _PROBED:
            ends = [change.start, change.start + change.length // 2, change.start + change.length - 1]
            probes = np.concatenate(ends)[:: 1 + 3 * len(change.start) // _PROBED]
            return bool((_at(data, probes) != self.known.take(probes)).any())
        return any((place.get(data) != place.get(self.known)).any() for place, _, _ in self._portions(change))

    def _portions(self, change: Change) -> Iterator[tuple[Voxels, NDArray[Any], NDArray[Any]]]:
        return change.portions(self.known.shape, self.known.dtype)

    def audit(self, data: Any, kind: RecordKind = "edit") -> None:
        """Compare all of the layer's data, and write down what differs."""
        if (change := difference(self.known, data)).size:
            self._out_of_order = True
            self._write_down(kind, change)

    # ---- done here -----------------------------------------------------------------------------------------------
    def latest(self, kind: Literal["undo", "redo"]) -> Record | None:
        """Return the record that would be undone or redone next.

        In whichever session it was painted.
        """
        stack = self.history.done if kind == "undo" else self.history.undone
        return stack[-1] if stack else None

    def undoable_in_layer(self, record: Record) -> bool:
        """Return whether the layer itself may undo or redo this record."""
        return record in self._undoable_in_layer

    def turn(self, kind: Literal["undo", "redo"], data: Any) -> None:
        """Undo or redo the latest record in the layer's data.

        And write it down.
        """
        if (record := self.latest(kind)) is None:
            return
        change = record.change.reversed() if kind == "undo" else record.change
        for place, _, new in self._portions(change):
            place.put(data, new)
        self._out_of_order |= self.undoable_in_layer(record)
        self._write_down(kind, change, record.number)

    # ---- written -------------------------------------------------------------------------------------------------
    def _write_down(self, kind: RecordKind, change: Change, of: int = 0) -> Record:
        self._take_legend()
        record = self._take(kind, change, of)
        self.write()
        return record

    def _take_legend(self) -> None:
        if self.legend != self._written_legend:
            self._written_legend = self.legend
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
        """Write to the journal what is not in it.

        If the disk refuses, :attr:`trouble` says so and it is kept for later.
        """
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
        """End the recording, when everything is on the disk.

        Of a layer without paint nothing is.
        """
        if self.journal is not None or any(record.kind != "base" for record in self._pending):
            self.write()
        if self.journal is not None:
            with suppress(OSError):  # of a disk that went away; the lock is given back all the same
                self.journal.close()


def _at(data: Any, positions: NDArray[np.int64]) -> NDArray[Any]:
    """Return values of an array at positions."""
    values: NDArray[Any] = np.asarray(data[np.unravel_index(positions, data.shape)])
    return values
