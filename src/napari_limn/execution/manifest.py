"""What became of the images of a folder, line by line.

``manifest.jsonl`` lies beside the labels. Its first line says with what they are computed; each line after it is written when the
labels of one image are on the disk under their name. Run again, what is still true is skipped. ``manifest.csv`` says the same as a
table. See :mod:`napari_limn.execution.folder` for the run.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from napari_limn.errors import LimnError
from napari_limn.files.durable import append_line, disk_faults, on_failure, open_alone, state_of, sync_folder
from napari_limn.files.working import whole_file
from napari_limn.specs import check_fields, from_json, parse_json, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

NAME = "manifest.jsonl"
TABLE = "manifest.csv"
VERSION = 1
"""Version of the format; a manifest of a newer one is refused."""

Status = Literal["done", "failed"]

_START = b'{"limn images":'


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What became of one image.

    Parameters
    ----------
    image
        Path as it was given.
    output
        Name of the labels in the folder.
    status
        ``"done"`` or ``"failed"``.
    identity
        What tells the image from others: path, size, time of change. Empty where it could not be opened.
    state
        What tells the labels from others; empty where there are none.
    message
        Why it failed, in one sentence.
    intensity
        How the image was scaled.
    computed
        In which precision, where, and with which library.
    seconds
        That it took.
    voxels
        Label value and number of its voxels, for each value but 0.
    """

    image: str
    output: str
    status: Status
    identity: str = ""
    state: str = ""
    message: str = ""
    intensity: str = ""
    computed: str = ""
    seconds: float = 0.0
    voxels: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)

    def holds(self, identity: str, folder: Path) -> bool:
        """Return whether the labels are still those of the image."""
        labels = folder / self.output
        return (
            self.status == "done"
            and self.identity == identity
            and labels.exists()
            and state_of(labels) == self.state
        )


class Manifest:
    """The manifest of a folder; make one with :meth:`open`.

    Attributes
    ----------
    entries
        Name of the labels → the last that was said of it.
    settings
        With what the labels are computed.
    """

    def __init__(self, path: Path, file: io.FileIO, settings: Mapping[str, Any]) -> None:
        self.path, self._file, self.settings = path, file, dict(settings)
        self.entries: dict[str, Entry] = {}

    @classmethod
    def open(
        cls,
        folder: Path,
        settings: Mapping[str, Any],
        *,
        undecided: str | None = None,
        overwrite: bool = False,
    ) -> Manifest:
        """Open the manifest of a folder, or begin one.

        Parameters
        ----------
        folder
            Where the labels go; it exists.
        settings
            Everything that decides the labels of an image: JSON.
        undecided
            Name of a setting that the manifest decides, if there is one; see :meth:`decide`.
        overwrite
            Begin again, whatever the manifest says.

        Raises
        ------
        LimnError
            If another run writes into the folder, or its labels were computed with other settings.
        """
        path = folder / NAME
        with disk_faults(path):
            if (file := open_alone(path)) is None:
                raise LimnError(
                    f"{folder}: another run is writing there; wait for that one, or choose another folder."
                )
            with on_failure(file.close):
                manifest = cls(path, file, json.loads(json.dumps(dict(settings))))
                data = file.read()
                if not _START.startswith(data[: len(_START)]):
                    raise LimnError(
                        f"{path}: found a file that is no manifest of labels, under the name that one needs; move it away, or "
                        "choose another folder."
                    )
                if overwrite or not manifest._resume(data, undecided):
                    manifest._begin()
        return manifest

    def add(self, entry: Entry) -> None:
        """Record what became of an image.

        On return that is on the disk.
        """
        with disk_faults(self.path):
            append_line(self._file, _line(to_json(entry)))
        self.entries[entry.output] = entry

    def decide(self, name: str, value: Any) -> None:
        """Record the setting that was left open, before the first image."""
        self.settings[name] = json.loads(json.dumps(value))
        self._begin()

    def write_table(self) -> Path:
        """Write the entries as ``manifest.csv``; return its path."""
        values = sorted({value for entry in self.entries.values() for value, _ in entry.voxels})
        text = io.StringIO(newline="")
        rows = csv.writer(text)
        rows.writerow(
            ["image", "labels", "status", "message", "seconds", *(f"voxels of {value}" for value in values)]
        )
        for entry in self.entries.values():
            voxels = dict(entry.voxels)
            counts = [voxels.get(value, 0) if entry.status == "done" else "" for value in values]
            shown = entry.output if entry.status == "done" else ""
            rows.writerow([entry.image, shown, entry.status, entry.message, f"{entry.seconds:.2f}", *counts])
        path = self.path.with_name(TABLE)
        with disk_faults(path), whole_file(path) as file:
            file.write(text.getvalue().encode())
        return path

    def close(self) -> None:
        """Leave the folder to other runs."""
        self._file.close()

    def __enter__(self) -> Manifest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _resume(self, data: bytes, undecided: str | None) -> bool:
        """Take over what the manifest says; False without a whole first line."""
        whole = data[: data.rfind(b"\n") + 1]
        if not whole:
            return False
        header, *rows = (_parsed(self.path, row, number) for number, row in enumerate(whole.splitlines(), 1))
        self._compare(header)
        if undecided is not None and undecided in header["settings"]:
            self.settings[undecided] = header["settings"][undecided]
        for number, row in enumerate(rows, 2):
            try:
                entry = from_json(Entry, row)
            except LimnError as error:
                raise LimnError(f"{self.path}: line {number}: {error}") from error
            self.entries[entry.output] = entry
        if len(whole) < len(data):  # a crash cut the last line off
            self._file.truncate(len(whole))
        self._file.seek(len(whole))
        return True

    def _compare(self, header: Mapping[str, Any]) -> None:
        """Refuse settings that differ from those of the manifest."""
        version, theirs = header.get("limn images"), header.get("settings")
        if version != VERSION or not isinstance(theirs, dict):
            raise LimnError(
                f"{self.path}: found a manifest of format {version!r}, this version knows {VERSION}; update napari-limn, or choose "
                "another folder."
            )
        for name in self.settings:
            if self.settings[name] != theirs.get(name):
                raise LimnError(
                    f"{self.path}: the labels in this folder were computed with {name} {theirs.get(name)!r}, found "
                    f"{self.settings[name]!r} now; choose another folder, or say --overwrite to compute all of them again."
                )

    def _begin(self) -> None:
        self.entries = {}
        self._file.seek(0)
        self._file.truncate()
        with disk_faults(self.path):
            append_line(self._file, _line({"limn images": VERSION, "settings": self.settings}))
            sync_folder(self.path.parent)


def _line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row, separators=(",", ":")).encode() + b"\n"


def _parsed(path: Path, row: bytes, number: int) -> dict[str, Any]:
    try:
        content = parse_json(row, "an object")
    except LimnError as error:
        raise LimnError(f"{path}: line {number}: {error}") from error
    if not isinstance(content, dict):
        raise LimnError(f"{path}: line {number}: found {type(content).__name__}, expected an object.")
    return content
