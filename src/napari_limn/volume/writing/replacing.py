"""What an output may replace.

A file, or a Zarr store with nothing else in it, and only when that is asked for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_limn.errors import LimnError
from napari_limn.files.paths import refuse_unportable
from napari_limn.files.working import MARK, aside, is_ours, is_there, refuse_foreign, unfinished

if TYPE_CHECKING:
    from pathlib import Path

_NODES = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
# metadata, chunks of both formats, what is left of one that was being written, and what desktops leave in each folder
_PARTS = re.compile(
    r"(zarr\.json|\.zgroup|\.zarray|\.zattrs|\.zmetadata|c|\d+([./]\d+)*)(\.[0-9a-f]+\.partial)?"
    r"|\.list\.lock|\.DS_Store|Thumbs\.db|desktop\.ini|" + re.escape(MARK)
)


def refuse_existing(path: Path, *, overwrite: bool, file: bool = False) -> None:
    """Refuse a name that a result cannot have.

    Or that something else has.

    Parameters
    ----------
    path
        Of the result.
    overwrite
        Whether a file or a Zarr store may be replaced.
    file
        Whether the result is a file, which replaces no folder.

    Raises
    ------
    LimnError
        If there is something of that name, and `overwrite` is not set, or it is neither a file nor an unmixed Zarr store; and
        for a name that not every system can store.
    """
    refuse_unportable(path)
    if not is_there(path):
        return
    if not overwrite:
        raise LimnError(f"{path}: exists already; choose another name, or say --overwrite.")
    if path.is_symlink() or path.is_file():
        return
    if not path.is_dir():
        raise LimnError(f"{path}: found a device or pipe, expected a file to replace; choose another name.")
    if file:
        raise LimnError(f"{path}: found a folder, expected a file to replace; choose another name.")
    if any(path.iterdir()) and not any((path / name).is_file() for name in _NODES):
        raise LimnError(
            f"{path}: found a folder that is no Zarr store, which is not replaced; choose another name."
        )
    if (foreign := foreign_part(path)) is not None:
        raise LimnError(
            f"{path}: found {foreign.relative_to(path)} in it, which is no part of a Zarr store, so it is not replaced; "
            "move that away, or choose another name."
        )


def foreign_part(folder: Path) -> Path | None:
    """Find an entry that is no part of a Zarr store.

    Folders count as parts where they are arrays, groups, chunks or on the way to one.
    """
    for entry in sorted(folder.iterdir()):
        part = _PARTS.fullmatch(entry.name)
        if not entry.is_dir() or entry.is_symlink():
            if not part:
                return entry
        elif (inside := foreign_part(entry)) is not None:
            return inside
    return None


def refuse_foreign_work(path: Path, *, known: bool = False) -> None:
    """Refuse an output whose working names other things have.

    Parameters
    ----------
    path
        Of the output.
    known
        Whether a journal says that a run was working there. Then a folder without a mark, of an earlier version, is that
        run's, if it holds nothing but parts of a Zarr store.

    Raises
    ------
    LimnError
        If there is anything that is not ours.
    """
    refuse_foreign(aside(path))
    if not (known and is_known(unfinished(path))):
        refuse_foreign(unfinished(path))


def is_known(folder: Path) -> bool:
    """Say whether a folder is ours or of earlier versions."""
    if not folder.is_dir() or folder.is_symlink():
        return False
    return is_ours(folder) or foreign_part(folder) is None
