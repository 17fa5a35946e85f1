"""A layer that is painted on as napari does it, its journal, and disks that refuse it."""

from __future__ import annotations

import errno
from collections import deque
from contextlib import contextmanager

import numpy as np

from napari_limn.annotation.journal.format import Header
from napari_limn.annotation.journal.pieces import StrokePiece
from napari_limn.annotation.journal.recording import Recording
from napari_limn.annotation.journal.sparse_labels import PaintStore
from napari_limn.annotation.journal.writer import Journal
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
