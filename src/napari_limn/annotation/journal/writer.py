"""A journal that is being written.

Each record is in the file before the hand goes on.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from napari_limn.annotation.journal.format import Contents, is_torn_header, parsed, sealed, sealed_header
from napari_limn.errors import LimnError
from napari_limn.files.durable import append_line, disk_faults, is_at, on_failure, open_alone, sync_folder

if TYPE_CHECKING:
    import io
    from pathlib import Path
    from types import TracebackType

    from napari_limn.annotation.journal.format import Header, Record

_KEPT = "the strokes stay in the layer, and are written with the next one"


class Journal:
    """A journal that is being written.

    A record is in the file when :meth:`add` returns, so that it outlives the end of this process, however sudden; a
    thread sees to it that it soon outlives that of the computer.

    Examples
    --------
    >>> import numpy as np
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from napari_limn.annotation.journal.changes import Change
    >>> from napari_limn.annotation.journal.format import Header, Record, read_journal, replay
    >>> from napari_limn.volume.axes import Axes
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "cells.tif.strokes.jsonl"
    ...     header = Header("cells", "", "", "strokes", (8, 9), "uint8", Axes.of("YX"))
    ...     with Journal.create(path, header) as journal:
    ...         change = Change.of(np.array([10, 11]), np.zeros(2), np.ones(2))
    ...         journal.add(Record(1, 1.8e9, "stroke", change))
    ...     replay(read_journal(path))[1].tolist()
    [0, 1, 1, 0, 0, 0, 0, 0, 0]
    """

    def __init__(self, path: Path, file: io.FileIO, header: Header, count: int, crc: int) -> None:
        self.path, self.header = path, header
        self._file, self._crc = file, crc
        self.count = count
        """Records in the file."""
        self.synced = count
        """Records that are on the disk itself."""
        self._wake, self._closing = threading.Event(), False
        self._thread = threading.Thread(target=self._sync, name="limn-journal", daemon=True)
        self._thread.start()

    @classmethod
    def create(cls, path: Path, header: Header) -> Journal:
        """Begin a journal.

        Raises
        ------
        LimnError
            If there is a file of that name, another program writes it, or the disk refuses.
        """
        with disk_faults(path, _KEPT):
            file = _alone(path)
            with on_failure(file.close):
                _begin_anew(path, file)
                line, crc = sealed_header(header)
                with on_failure(partial(_remove, path)):
                    append_line(file, line)
                    sync_folder(path.parent)
        return cls(path, file, header, 0, crc)

    @classmethod
    def resume(cls, path: Path) -> tuple[Journal, Contents]:
        """Go on with a journal.

        What a crash left of its last line is cut off.

        Raises
        ------
        LimnError
            As :func:`read_journal`, and if another program writes it.
        """
        with disk_faults(path, _KEPT):
            file = _alone(path)
            with on_failure(file.close):
                contents = parsed(path.name, file.readall() or b"")
                file.truncate(contents.whole)
                file.seek(contents.whole)
        return cls(path, file, contents.header, len(contents.records), contents.crc), contents

    def add(self, record: Record) -> None:
        """Write the next record.

        A line is written before the hand goes on (some microseconds), so that the stroke outlives the
        process. A thread syncs it afterwards (any time at all on a network disk), so that it outlives the
        computer.

        Raises
        ------
        LimnError
            If the disk refuses: full, read-only, gone; or if the file was moved or removed. Nothing of the record is in it then.
        """
        if not is_at(self._file, self.path):
            raise LimnError(
                f"{self.path}: found no journal there any more, expected the one that is being written; "
                f"put it back, or save the labels: {_KEPT}."
            )
        line, crc = sealed(record.line(self.header.shape), self._crc)
        with disk_faults(self.path, _KEPT):
            append_line(self._file, line, sync=False)
        self._crc = crc
        self.count += 1
        self._wake.set()

    def _sync(self) -> None:
        """Bring what was written to the disk itself.

        In a thread of its own: that may take longer than a hand waits.
        """
        closing = False
        while not closing:
            self._wake.wait()
            self._wake.clear()
            closing, count = self._closing, self.count
            with suppress(OSError):  # the next record tries again; the status shows how many are on the disk
                os.fsync(self._file.fileno())
                self.synced = count

    def close(self) -> None:
        """End it, when everything is on the disk."""
        if not self._closing:
            self._closing = True
            self._wake.set()
            self._thread.join()
            self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _remove(path: Path) -> None:
    """Leave no empty file behind, where that is possible.

    It may not be, while it is open.
    """
    with suppress(OSError):
        path.unlink()


def _begin_anew(path: Path, file: io.FileIO) -> None:
    """Empty a file.

    It holds nothing but what a crash left of a header.
    """
    if not is_torn_header(file.readall() or b""):
        raise LimnError(f"{path}: exists already; move it away first.")
    file.seek(0)
    file.truncate()


def _alone(path: Path) -> io.FileIO:
    """Open the file for this writer only."""
    if (file := open_alone(path)) is None:
        raise LimnError(
            f"{path}: another window is writing this journal; close that one, or its labels layer."
        )
    return file
