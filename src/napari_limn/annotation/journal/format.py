"""The format of the journal of strokes, and how to read it.

It is an append-only file that gives the painted labels back, voxel by voxel.

One JSON document a line. The first, the header, says which image was painted on, and the extent, axes and type of the labels;
each line after it is one change: a number from 1, its time (UTC), its kind, the box around it, and its runs of voxels with the
values before and after (`annotation.changes`). A line of the kind `classes` changes no voxel: it holds the table of classes from
then on, names, colours and the meaning of 0; the last one counts. Every line ends with a checksum over itself and all lines before it, so that
nothing can be altered, lost or put elsewhere unnoticed; a last line that a crash cut off is dropped.
"""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_limn.annotation.journal.changes import Change
from napari_limn.annotation.journal.sparse_labels import PaintStore
from napari_limn.annotation.legend import Legend
from napari_limn.errors import LimnError
from napari_limn.files.durable import disk_faults
from napari_limn.files.paths import refuse_no_file
from napari_limn.specs import from_json, parse_json, to_json
from napari_limn.volume.axes import Axes  # noqa: TC001 - revived from JSON by its annotation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


VERSION = 1
"""Version of the format; a journal of a newer one is refused."""

SUFFIX = ".strokes.jsonl"

_START = b'{"limn strokes":'

RecordKind = Literal["base", "stroke", "undo", "redo", "edit", "replace", "saved", "classes"]
"""What the user did: `base` is what a layer held before its first stroke, `replace` a whole new array, `edit` anything else."""

_CRC = len(b',"crc":"00000000"}\n')


_WHOLE_NUMBERS = re.compile(r"[<>|=]?[iu][1248]|u?int(8|16|32|64)")
_LONGEST = 1 << 40  # voxels along an axis


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
        What distinguishes an image without a file from others of its name; else empty.
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
        sizes = all(0 < n < _LONGEST for n in self.shape)
        if (
            len(self.shape) != len(self.axes.names)
            or not sizes
            or _WHOLE_NUMBERS.fullmatch(self.dtype) is None
        ):
            raise LimnError(
                f"found labels of shape {self.shape} and type {self.dtype} with axes {self.axes.names}, "
                "expected an integer type, and one axis and an extent of 1 or more for each dimension."
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
        What the user did.
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
        """Return it as JSON, without its checksum."""
        stamp = datetime.fromtimestamp(self.time, UTC).isoformat(timespec="milliseconds")
        row: dict[str, Any] = {"n": self.number, "time": stamp.replace("+00:00", "Z"), "kind": self.kind}
        row |= {"of": self.of} if self.of else {}
        row |= {"note": self.note} if self.note else {}
        row |= {"classes": self.legend.to_json()} if self.legend is not None else {}
        return row | {"box": self.change.box(shape), "runs": self.change.encoded()}

    @classmethod
    def of_line(cls, row: Mapping[str, Any]) -> Record:
        """Read what :meth:`line` gave.

        KeyError, TypeError or ValueError for anything else.
        """
        when = datetime.fromisoformat(row["time"]).timestamp()
        return cls(
            int(row["n"]), when, row["kind"], Change.decoded(row["runs"]),
            int(row.get("of", 0)), str(row.get("note", "")),
            Legend.from_json(row["classes"]) if "classes" in row else None,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """What is in a journal.

    Its header, its records, how many bytes of it are whole, and the checksum to go on with.
    """

    header: Header
    records: tuple[Record, ...]
    whole: int
    crc: int

    @property
    def legend(self) -> Legend:
        """Return the table of classes as it was last.

        Empty if none was named or coloured.
        """
        return next((r.legend for r in reversed(self.records) if r.legend is not None), Legend())


def read_journal(path: Path) -> Contents:
    """Read a journal; a last line cut off is left out.

    Raises
    ------
    LimnError
        If it is no journal, of a newer version, or damaged anywhere but at its end.
    """
    with disk_faults(path):
        return parsed(path.name, refuse_no_file(path).read_bytes())


def replay(contents: Contents, most: int | None = None) -> PaintStore:
    """Rebuild the labels after all records, or the first `most`.

    With the same bits as in the layer.

    Raises
    ------
    LimnError
        If a record does not follow from those before it.
    """
    store = PaintStore(contents.header.shape, contents.header.dtype)
    for record in contents.records[:most]:
        try:
            _repeat(record, store)
        except LimnError:
            raise
        except Exception as error:  # whatever a change says, it is damaged if it cannot be made
            raise LimnError(
                f"record {record.number} of the journal is no change of these labels; it is damaged, take a copy of it from a backup."
            ) from error
    return store


def _repeat(record: Record, store: PaintStore) -> None:
    for place, old, new in record.change.portions(store.shape, store.dtype):
        if not np.array_equal(place.get(store), old):
            raise LimnError(
                f"record {record.number} of the journal begins with other labels than those before it left; "
                "it is damaged, take a copy of it from a backup."
            )
        place.put(store, new)


def sealed_header(header: Header) -> tuple[bytes, int]:
    """Write the first line of a journal.

    Returns its bytes with their checksum, and that checksum.
    """
    return sealed({"limn strokes": VERSION} | to_json(header), 0)


def is_torn_header(data: bytes) -> bool:
    """Say whether this is all that a crash left of a header.

    Nothing, or the first part of a line that begins as headers do.
    """
    return b"\n" not in data and _START.startswith(data[: len(_START)])


def sealed(line: Mapping[str, Any], crc: int) -> tuple[bytes, int]:
    """Write a line with a checksum over all until there.

    That of the lines before is `crc`. Returns the bytes, and the new checksum.
    """
    body = json.dumps(line, separators=(",", ":")).encode()[:-1]
    crc = zlib.crc32(body, crc)
    return body + b',"crc":"%08x"}\n' % crc, crc


def parsed(name: str, data: bytes) -> Contents:
    """Read a journal from its bytes; errors as of :func:`read_journal`."""
    whole = data.rfind(b"\n") + 1
    lines = data[:whole].splitlines(keepends=True)
    if not lines:
        raise LimnError(
            f"{name}: found no whole line, expected a journal of strokes; there is nothing in it."
        )
    first, crc = _unsealed(name, lines[0], 1, 0)
    version = first.pop("limn strokes", None)
    if not isinstance(version, int):
        raise LimnError(f"{name}: found no journal of strokes, expected one; check the name.")
    if version > VERSION:
        raise LimnError(
            f"{name}: found a journal of format {version}, this version knows up to {VERSION}; update napari-limn."
        )
    try:
        header, records = from_json(Header, first), list[Record]()
    except LimnError as error:
        raise LimnError(f"{name}: line 1: {error}") from error
    for number, line in enumerate(lines[1:], start=1):
        row, crc = _unsealed(name, line, number + 1, crc)
        try:
            records.append(Record.of_line(row))
        except Exception as error:  # whatever a line says, it is damaged if it is no record
            raise _damage(name, number + 1) from error
        if records[-1].number != number:
            raise _damage(name, number + 1)
    return Contents(header, tuple(records), whole, crc)


def _unsealed(name: str, line: bytes, number: int, crc: int) -> tuple[dict[str, Any], int]:
    """Read a line, if its checksum is right.

    Then it is what :func:`sealed` wrote.
    """
    crc = zlib.crc32(line[:-_CRC], crc)
    if line[-_CRC:] != b',"crc":"%08x"}\n' % crc:
        raise _damage(name, number)
    try:
        row = parse_json(line, "a record")
    except LimnError as error:
        raise _damage(name, number) from error
    if not isinstance(row, dict):
        raise _damage(name, number)
    row.pop("crc", None)
    return row, crc


def _damage(name: str, number: int) -> LimnError:
    return LimnError(
        f"{name}: line {number} is damaged, expected a journal that only napari-limn has written to; "
        "take a copy of it from a backup."
    )
