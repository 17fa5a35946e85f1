"""What a run has finished, in a journal beside the output.

The run goes on from it. What is done is known from here, never from the files: a chunk of zeros is not stored, so a missing file
does not mean missing work. See docs/design/0004-outputs-and-resuming.md.

One JSON document a line. The first says the format and the settings (the *fingerprint*); each line after it is written
when shards are on the disk for good, so what a crash leaves is at worst a last line that is cut off, and that is dropped.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from napari_limn.errors import LimnError
from napari_limn.files.durable import (
    append_line,
    disk_faults,
    on_failure,
    open_alone,
    sync_folder,
)
from napari_limn.files.working import is_there, whole_file
from napari_limn.specs import parse_json
from napari_limn.volume.writing.destination import destination_of
from napari_limn.volume.writing.replacing import refuse_existing, refuse_foreign_work

if TYPE_CHECKING:
    import io
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from types import TracebackType

VERSION = 1
"""Version of the format; a journal of a newer one is refused."""

SUFFIX = ".run.jsonl"

NUMERICS = ("torch", "processor", "card", "cuDNN", "TF32", "deterministic")
"""Fields of a fingerprint that decide the last bits of a result only."""

_MOST_SHARDS = 1 << 32
_START = b'{"limn run":'
_FOREIGN = "found no journal of a run under the name that it needs; move that away, or choose another name for the output."
_LIKE_THAT = "go on where that is the same, say --mixed to allow labels that differ where two classes tie"


class Ledger:
    """The journal of one run; make one with :meth:`open`.

    Attributes
    ----------
    path
        Of the journal.
    done
        Numbers of the shards that are finished.
    notes
        What :meth:`note` recorded, the last of each key.
    finished
        Whether the run came to its end.
    state
        What tells its output from others; empty before.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     output = Path(folder) / "labels.ome.zarr"
    ...     with Ledger.open(output, {"model": "a1b2"}) as ledger:
    ...         ledger.add([0, 1])
    ...     with Ledger.open(output, {"model": "a1b2"}) as ledger:
    ...         print(sorted(ledger.done), ledger.finished)
    [0, 1] False
    """

    def __init__(self, path: Path, file: io.FileIO, fingerprint: Mapping[str, Any]) -> None:
        self.path, self._file, self._fingerprint = path, file, dict(fingerprint)
        self._done: set[int] = set()
        self.notes: dict[str, Any] = {}
        self.finished, self.state = False, ""

    @staticmethod
    def of(output: Path) -> Path:
        """Return where the journal of an output lies."""
        return output.with_name(output.name + SUFFIX)

    @classmethod
    def recorded(cls, output: Path) -> dict[str, Any]:
        """Read the fingerprint in the journal of an output.

        Empty where there is none that can be read.
        """
        try:
            with cls.of(output).open("rb") as file:
                header = parse_json(file.readline(), "the journal of a run")
        except (OSError, LimnError):
            return {}
        fingerprint = header.get("fingerprint") if isinstance(header, dict) else None
        return fingerprint if isinstance(fingerprint, dict) else {}

    @classmethod
    def open(cls, output: Path, fingerprint: Mapping[str, Any], *, overwrite: bool = False) -> Ledger:
        """Open the journal of an output, or begin one.

        Parameters
        ----------
        output
            Path of the label file; the journal lies beside it as ``NAME.run.jsonl``.
        fingerprint
            Everything that decides the labels: field → text or number. Compared with that of the journal.
        overwrite
            Begin again, whatever the journal says.

        Raises
        ------
        LimnError
            If another run writes this output, the journal belongs to other settings or is none, or the disk refuses.
        """
        path = cls.of(output)
        with disk_faults(path):
            file = _locked(path)
            with on_failure(file.close):
                ledger = cls(path, file, json.loads(json.dumps(dict(fingerprint))))
                data = file.read()
                _refuse_foreign(path, data)
                if overwrite or not ledger._resume(data):
                    ledger._begin()
        return ledger

    @classmethod
    def refuse_other(cls, output: Path, known: Mapping[str, Any]) -> None:
        """Refuse a run of other settings, before all are known.

        Parameters
        ----------
        output
            Path of the label file, whose journal says with which settings it was begun, as :meth:`recorded`.
        known
            Those fields of the fingerprint that are decided.

        Raises
        ------
        LimnError
            If the journal has others.
        """
        first, *rows = cls.of(output).read_bytes().splitlines()
        header = _parsed(cls.of(output).name, first, 1)
        theirs = {field: _fingerprint_in(header).get(field) for field in known}
        _refuse_differing(
            cls.of(output), header | {"fingerprint": theirs}, known, finished=_is_finished(rows)
        )

    @classmethod
    def is_finished(cls, output: Path) -> bool:
        """Tell whether the journal of an output says that it is complete."""
        try:
            return _is_finished(cls.of(output).read_bytes().splitlines())
        except OSError:
            return False

    @property
    def done(self) -> frozenset[int]:
        """Return the numbers of the shards that are finished."""
        return frozenset(self._done)

    def add(self, shards: Iterable[int]) -> None:
        """Record shards that are on the disk for good.

        On return the record is, too.
        """
        if new := sorted(set(shards) - self._done):
            self._append({"shards": new})
            self._done.update(new)

    def note(self, key: str, value: Any) -> None:
        """Keep a note for a run that goes on: JSON only.

        Such as a smaller memory limit.
        """
        self._append({"note": key, "value": value})
        self.notes[key] = value

    def finish(self, state: str = "") -> None:
        """Record that the output is complete.

        The journal shrinks to a few lines, in one step.
        """
        lines = [self._header(), *({"note": k, "value": v} for k, v in self.notes.items())]
        with disk_faults(self.path):
            if os.name == "nt":
                self._file.close()  # no open file can be replaced there
            with whole_file(self.path) as file:
                for row in [*lines, {"finished": len(self._done), "state": state}]:
                    file.write(_line(row))
        self.finished, self.state = True, state
        self.close()

    def restart(self, fingerprint: Mapping[str, Any] | None = None) -> None:
        """Begin again, under the same settings or others."""
        if fingerprint is not None:
            self._fingerprint = json.loads(json.dumps(dict(fingerprint)))
        self._begin()

    def close(self) -> None:
        """Release the output for other runs."""
        self._file.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- reading -------------------------------------------------------------------------------------------------
    def _resume(self, data: bytes) -> bool:
        """Take over what the journal says; False without a whole first line."""
        whole = data[: data.rfind(b"\n") + 1]
        if not whole:
            return False
        header, *rows = whole.splitlines()
        _refuse_differing(
            self.path, _parsed(self.path.name, header, 1), self._fingerprint, finished=_is_finished(rows)
        )
        for number, row in enumerate(rows, start=2):
            self._take(_parsed(self.path.name, row, number), number)
        if len(whole) < len(data):
            self._file.truncate(len(whole))
        self._file.seek(len(whole))
        return True

    def _take(self, row: Mapping[str, Any], number: int) -> None:
        match row:
            case {"shards": list(shards)} if all(map(_is_number, shards)):
                self._done.update(shards)
            case {"note": str(key), "value": value}:
                self.notes[key] = value
            case {"finished": int(count)} if 0 <= count <= _MOST_SHARDS and not isinstance(count, bool):
                self.finished, self.state = True, str(row.get("state", ""))
                self._done.update(range(count))
            case _:
                raise LimnError(
                    f"{self.path.name}: found {', '.join(row) or 'nothing'} in line {number}, expected shards or notes; "
                    "update napari-limn, or say --overwrite to start anew."
                )

    # ---- writing -------------------------------------------------------------------------------------------------
    def _header(self) -> dict[str, Any]:
        return {"limn run": VERSION, "fingerprint": self._fingerprint}

    def _begin(self) -> None:
        self._done, self.notes = set(), {}
        self.finished, self.state = False, ""
        self._file.seek(0)
        self._file.truncate()
        self._append(self._header())
        sync_folder(self.path.parent)

    def _append(self, row: Mapping[str, Any]) -> None:
        with disk_faults(self.path):
            append_line(self._file, _line(row))


def _refuse_differing(
    path: Path, header: Mapping[str, Any], fingerprint: Mapping[str, Any], *, finished: bool
) -> None:
    """Refuse a journal of a newer format, or of other settings."""
    version = header.get("limn run")
    if not isinstance(version, int):
        raise LimnError(
            f"{path.name}: found no journal of a run, expected one; move that file away, or say --overwrite."
        )
    if version > VERSION:
        raise LimnError(
            f"{path.name}: found a journal of format {version}, this version knows up to {VERSION}; "
            "update napari-limn, or say --overwrite to start anew."
        )
    theirs = _fingerprint_in(header)
    kind, remedy = (
        ("finished", "choose another name") if finished else ("unfinished", "go on with the same settings")
    )
    for field in (*fingerprint, *theirs):
        before, now = theirs.get(field), fingerprint.get(field)
        if before != now:
            way = _LIKE_THAT if field in NUMERICS else remedy
            raise LimnError(
                f"{path.name}: the {kind} run had {field} {before!r}, found {now!r} now; {way}, "
                "or say --overwrite to start anew."
            )


def _is_finished(rows: Iterable[bytes]) -> bool:
    return any(row.startswith(b'{"finished"') for row in rows)


def refuse_taken(path: Path, *, overwrite: bool) -> None:
    """Refuse an output whose names other things have.

    Quick: no model and no image are opened. See :func:`prediction_events` for what is refused later.

    Raises
    ------
    LimnError
        If the output exists and is not to be replaced, or something that is not ours has a name that the run works under.
    """
    kind = destination_of(path).kind
    _refuse_foreign_ledger(Ledger.of(path))
    recorded = Ledger.recorded(path)
    refuse_foreign_work(path, known=bool(recorded) and not overwrite)
    if overwrite or not recorded:
        refuse_existing(path, overwrite=overwrite, file=kind == "tiff")


def _refuse_foreign_ledger(path: Path) -> None:
    if path.is_file():
        with path.open("rb") as file:
            _refuse_foreign(path, file.read(len(_START)))
    elif is_there(path):
        raise LimnError(f"{path}: {_FOREIGN}")


def _refuse_foreign(path: Path, data: bytes) -> None:
    """Refuse what does not begin as journals of runs do.

    A crash may have cut it off.
    """
    if not _START.startswith(data[: len(_START)]):
        raise LimnError(f"{path}: {_FOREIGN}")


def _line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row, separators=(",", ":")).encode() + b"\n"


def _locked(path: Path) -> io.FileIO:
    """Open a journal for reading and writing, and for nobody else."""
    if (file := open_alone(path)) is None:
        name = path.name.removesuffix(SUFFIX)
        raise LimnError(
            f"{path.with_name(name)}: another run is writing it; wait for that one, or choose another name."
        )
    return file


def _parsed(name: str, row: bytes, number: int) -> dict[str, Any]:
    """Read one line of a journal."""
    with suppress(LimnError):
        content = parse_json(row, "an object")
        if isinstance(content, dict):
            return content
    raise LimnError(
        f"{name}: found no JSON object in line {number}, expected the journal of a run; say --overwrite to start anew."
    )


def _fingerprint_in(header: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings that a header holds, if any."""
    fingerprint = header.get("fingerprint")
    return fingerprint if isinstance(fingerprint, dict) else {}


def _is_number(value: object) -> bool:
    """Return whether a value can be the number of a shard."""
    return type(value) is int and 0 <= value < _MOST_SHARDS
