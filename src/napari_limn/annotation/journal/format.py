"""The journal of strokes: an append-only file that gives the painted labels back, voxel by voxel.

One JSON document a line. The first, the header, says which image was painted on, and the extent, axes and type of the labels;
each line after it is one change: a number from 1, its time (UTC), its kind, the box around it, and its runs of voxels with the
values before and after (`annotation.changes`). A line of the kind `classes` changes no voxel: it holds the table of classes from
then on, names, colours and the meaning of 0; the last one counts. Every line ends with a checksum over itself and all lines before it, so that
nothing can be altered, lost or put elsewhere unnoticed; a last line that a crash cut off is dropped.
"""

from __future__ import annotations

import json
import os
import threading
import zlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_limn.annotation.journal.changes import Change
from napari_limn.annotation.journal.sparse_labels import PaintStore
from napari_limn.annotation.legend import Legend
from napari_limn.durable import (
    append_line,
    disk_faults,
    is_at,
    on_failure,
    open_alone,
    sync_folder,
)
from napari_limn.errors import LimnError
from napari_limn.specs import from_json, to_json
from napari_limn.volume.axes import Axes  # noqa: TC001 - revived from JSON by its annotation

if TYPE_CHECKING:
    import io
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType


VERSION = 1
"""Version of the format; a journal of a newer one is refused."""

SUFFIX = ".strokes.jsonl"

RecordKind = Literal["base", "stroke", "undo", "redo", "edit", "replace", "saved", "classes"]
"""What a person did: `base` is what a layer held before its first stroke, `replace` a whole new array, `edit` anything else."""

_CRC = len(b',"crc":"00000000"}\n')
_KEPT = "the strokes stay in the layer, and are written with the next one"


@dataclass(frozen=True, slots=True)
class Header:
    """What the strokes were painted on.

    Parameters
    ----------
    image
        Name of the image.
    path
        Of its file; empty where it has none.
    identity
        What tells an image without a file from others of its name; else empty.
    layer
        Name of the labels layer.
    shape, dtype
        Of the labels.
    axes
        Of the labels: names, voxel size, units and origin.
    """

    image: str
    path: str
    identity: str
    layer: str
    shape: tuple[int, ...]
    dtype: str
    axes: Axes

    def __post_init__(self) -> None:
        if len(self.shape) != len(self.axes.names) or np.dtype(self.dtype).kind not in "iu":
            raise LimnError(
                f"found labels of shape {self.shape} and type {self.dtype} with axes {self.axes.names}, "
                "expected an integer type and one axis for each dimension."
            )


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One change of the labels.

    Parameters
    ----------
    number
        From 1, without gaps.
    time
        When, in seconds since 1970.
    kind
        What the person did.
    change
        Which voxels, from which value to which.
    of
        Number of the record that an undo takes back, or a redo makes again; else 0.
    note
        Of `saved`: where to; else empty.
    legend
        Of `classes`: what they are called and how they look from now on; else None.
    """

    number: int
    time: float
    kind: RecordKind
    change: Change
    of: int = 0
    note: str = ""
    legend: Legend | None = None

    def line(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """As JSON, without its checksum."""
        stamp = datetime.fromtimestamp(self.time, UTC).isoformat(timespec="milliseconds")
        found: dict[str, Any] = {"n": self.number, "time": stamp.replace("+00:00", "Z"), "kind": self.kind}
        found |= {"of": self.of} if self.of else {}
        found |= {"note": self.note} if self.note else {}
        found |= {"classes": self.legend.to_json()} if self.legend is not None else {}
        return found | {"box": self.change.box(shape), "runs": self.change.encoded()}

    @classmethod
    def of_line(cls, found: Mapping[str, Any]) -> Record:
        """What :meth:`line` gave; KeyError, TypeError or ValueError for anything else."""
        when = datetime.fromisoformat(found["time"]).timestamp()
        return cls(
            int(found["n"]), when, found["kind"], Change.decoded(found["runs"]),
            int(found.get("of", 0)), str(found.get("note", "")),
            Legend.from_json(found["classes"]) if "classes" in found else None,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """What is in a journal: its header, its records, how many bytes of it are whole, and the checksum to go on with."""

    header: Header
    records: tuple[Record, ...]
    whole: int
    crc: int

    @property
    def legend(self) -> Legend:
        """The table of classes as it was last; empty if nobody named or coloured any."""
        return next((r.legend for r in reversed(self.records) if r.legend is not None), Legend())


def read_journal(path: Path) -> Contents:
    """Read a journal; a last line that is cut off is left out.

    Raises
    ------
    LimnError
        If it is no journal, of a newer version, or damaged anywhere but at its end.
    """
    with disk_faults(path):
        return _parsed(path.name, path.read_bytes())


def replay(contents: Contents, most: int | None = None) -> PaintStore:
    """The labels after all records, or after the first `most` of them, with the same bits as in the layer.

    Raises
    ------
    LimnError
        If a record does not follow from those before it.
    """
    store = PaintStore(contents.header.shape, contents.header.dtype)
    for record in contents.records[:most]:
        for place, old, new in record.change.portions(store.shape, store.dtype):
            if not np.array_equal(place.get(store), old):
                raise LimnError(
                    f"the journal says in record {record.number} that labels were what they were not before it; "
                    "it is damaged, take a copy of it from a backup."
                )
            place.put(store, new)
    return store


class Journal:
    """A journal that is being written.

    A record is in the file when :meth:`add` returns, so that it outlives the end of this process, however sudden; a
    thread sees to it that it soon outlives that of the computer.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
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
                line, crc = _sealed({"limn strokes": VERSION} | to_json(header), 0)
                with on_failure(partial(_remove, path)):
                    append_line(file, line)
                    sync_folder(path.parent)
        return cls(path, file, header, 0, crc)

    @classmethod
    def resume(cls, path: Path) -> tuple[Journal, Contents]:
        """Go on with a journal; what a crash left of its last line is cut off.

        Raises
        ------
        LimnError
            As :func:`read_journal`, and if another program writes it.
        """
        with disk_faults(path, _KEPT):
            file = _alone(path)
            with on_failure(file.close):
                found = _parsed(path.name, file.readall() or b"")
                file.truncate(found.whole)
                file.seek(found.whole)
        return cls(path, file, found.header, len(found.records), found.crc), found

    def add(self, record: Record) -> None:
        """Write the next record.

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
        line, crc = _sealed(record.line(self.header.shape), self._crc)
        with disk_faults(self.path, _KEPT):
            append_line(self._file, line, sync=False)
        self._crc = crc
        self.count += 1
        self._wake.set()

    def _sync(self) -> None:
        """Bring what was written to the disk itself, in a thread of its own: that may take longer than a hand waits."""
        closing = False
        while not closing:
            self._wake.wait()
            self._wake.clear()
            closing, count = self._closing, self.count
            with suppress(OSError):  # the next record tries again; the status tells how many are on the disk
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
    """Leave no empty file behind, where that is possible while it is open."""
    with suppress(OSError):
        path.unlink()


def _begin_anew(path: Path, file: io.FileIO) -> None:
    """Empty a file that holds nothing but what a crash left of a header."""
    if b"\n" in (file.readall() or b""):
        raise LimnError(f"{path}: exists already; move it away first.")
    file.seek(0)
    file.truncate()


def _alone(path: Path) -> io.FileIO:
    """The file, open for nobody else."""
    if (file := open_alone(path)) is None:
        raise LimnError(
            f"{path}: another window is writing this journal; close that one, or its labels layer."
        )
    return file


def _sealed(line: Mapping[str, Any], crc: int) -> tuple[bytes, int]:
    """A line with its checksum, and that checksum."""
    body = json.dumps(line, separators=(",", ":")).encode()[:-1]
    crc = zlib.crc32(body, crc)
    return body + b',"crc":"%08x"}\n' % crc, crc


def _parsed(name: str, data: bytes) -> Contents:
    whole = data.rfind(b"\n") + 1
    lines = data[:whole].splitlines(keepends=True)
    if not lines:
        raise LimnError(
            f"{name}: found no whole line, expected a journal of strokes; there is nothing in it."
        )
    found, crc = _unsealed(name, lines[0], 1, 0)
    version = found.pop("limn strokes", None)
    if not isinstance(version, int):
        raise LimnError(f"{name}: found no journal of strokes, expected one; check the name.")
    if version > VERSION:
        raise LimnError(
            f"{name}: found a journal of format {version}, this version knows up to {VERSION}; update napari-limn."
        )
    header, records = from_json(Header, found), []
    for number, line in enumerate(lines[1:], start=1):
        row, crc = _unsealed(name, line, number + 1, crc)
        try:
            records.append(Record.of_line(row))
        except (KeyError, TypeError, ValueError):
            raise _damage(name, number + 1) from None
        if records[-1].number != number:
            raise _damage(name, number + 1)
    return Contents(header, tuple(records), whole, crc)


def _unsealed(name: str, line: bytes, number: int, crc: int) -> tuple[dict[str, Any], int]:
    """What a line says, if its checksum is right; then it is what :func:`_sealed` wrote."""
    crc = zlib.crc32(line[:-_CRC], crc)
    if line[-_CRC:] != b',"crc":"%08x"}\n' % crc:
        raise _damage(name, number)
    found: dict[str, Any] = json.loads(line)
    del found["crc"]
    return found, crc


def _damage(name: str, number: int) -> LimnError:
    return LimnError(
        f"{name}: line {number} is damaged, expected a journal that only napari-limn has written to; "
        "take a copy of it from a backup."
    )
