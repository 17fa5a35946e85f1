"""Where journals of strokes lie.

Beside their image, or in the user's own data folder.
"""

from __future__ import annotations

import os
import sys
import zlib
from contextlib import suppress
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from napari_limn.annotation.journal.format import SUFFIX, Contents, Header, is_torn_header, read_journal
from napari_limn.annotation.journal.writer import Journal
from napari_limn.errors import LimnError
from napari_limn.files.paths import portable_name
from napari_limn.volume.reading.open import identity
from napari_limn.volume.writing.array_output import labels_shape

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from napari_limn.volume.volume import Volume

_SHIPPED = Path(str(files("napari_limn")))  # sample images lie in here
_MOST = 1000  # journals of one image
_FIRST_LINE = 1 << 16  # bytes; none is longer


def header_for(image: Volume, path: Path | None, layer: str, dtype: str) -> Header:
    """Describe the image that is painted on.

    Parameters
    ----------
    image
        The image; its name counts, and of one without a file what is in it.
    path
        Of its file, if it has one.
    layer, dtype
        Name and type of the labels layer.
    """
    return Header(
        image.name, str(path or ""), "" if path else identity(image), layer, labels_shape(image), dtype,
        image.axes.without("C"),
    )  # fmt: skip


def journal_paths(header: Header) -> tuple[Path, Path]:
    """Return the paths of the first journal of an image.

    Beside it, and in the user's data folder.
    """
    image = Path(header.path or portable_name(header.image))
    mark = zlib.crc32((header.path or header.identity).encode(errors="surrogateescape"))
    ending = f"-{mark:08x}{SUFFIX}"
    own = user_folder() / portable_name(image.name, ending)
    earlier = user_folder() / (Path(header.path or header.image).name + ending)
    if os.path.exists(earlier):  # which is false for a name that is too long
        own = earlier
    beside = image.with_name(image.name + SUFFIX)
    shipped = _SHIPPED in image.parents
    return (beside if header.path and not shipped else own), own


def begin_journal(header: Header) -> Journal:
    """Begin a journal beside the image.

    Where that cannot be written to, in the user's data folder.

    Raises
    ------
    LimnError
        If neither takes it.
    """
    beside, own = journal_paths(header)
    if beside != own and os.access(beside.parent, os.W_OK):
        with suppress(LimnError, OSError):  # a disk that refuses after all
            return _begin_first(beside, header)
    _make(own.parent)
    return _begin_first(own, header)


def _begin_first(first: Path, header: Header) -> Journal:
    for path in _numbered(first):
        if not path.exists() or _is_empty(path):
            return Journal.create(path, header)
    raise LimnError(f"{first}: found {_MOST} journals of this image; move some of them away.")


def _numbered(first: Path) -> Iterator[Path]:
    """Yield ``NAME.strokes.jsonl``, ``NAME-2.strokes.jsonl``, …."""
    stem = first.name.removesuffix(SUFFIX)
    for number in range(1, _MOST):
        yield first.with_name(f"{stem}{f'-{number}' if number > 1 else ''}{SUFFIX}")


def _is_empty(path: Path) -> bool:
    """Return whether a journal holds no whole line.

    It may hold what a crash left of its first.
    """
    try:
        return path.stat().st_size < _FIRST_LINE and is_torn_header(path.read_bytes())
    except OSError:  # of another user, which is said where it is read
        return False


def _there(first: Path) -> list[Path]:
    """List the journals that exist, numbered from `first` on.

    Some may have been moved away.
    """
    with suppress(OSError):
        names = set(map(os.path.normcase, os.listdir(first.parent)))
        return [p for p in _numbered(first) if os.path.normcase(p.name) in names and not _is_empty(p)]
    return []


def found_journals(
    header: Header, skip: AbstractSet[Path] = frozenset()
) -> tuple[list[tuple[Path, Contents]], list[str]]:
    """List journals of an image that hold anything, the newest first.

    And a sentence about each that cannot be read.

    Those of `skip` are not looked at.
    """
    journals, refused = [], []
    for first in dict.fromkeys(journal_paths(header)):
        for path in _there(first):
            if path in skip:
                continue
            try:
                state = path.stat()
                contents = _read(path, state.st_mtime_ns, state.st_size)
            except LimnError as error:
                refused.append(str(error))
                continue
            if contents.records and _same_image(contents.header, header):
                journals.append((path, contents))
    return sorted(journals, key=lambda row: row[1].records[-1].time, reverse=True), refused


@lru_cache(maxsize=64)  # with fewer than there are, all would be read at each look, in the window's thread
def _read(path: Path, changed: int, size: int) -> Contents:
    """Read the journal as it was when it was changed last.

    A window looks for it whenever a layer comes or goes.
    """
    return read_journal(path)


def _same_image(one: Header, other: Header) -> bool:
    return (one.shape, one.axes.names, one.identity) == (other.shape, other.axes.names, other.identity)


def writable(path: Path) -> Path:
    """Return a path to keep something beside an image.

    In the user's data folder, which is made, where that is read-only.
    """
    if os.access(path.parent, os.W_OK):
        return path
    own = user_folder()
    _make(own)
    return own / path.name


def _make(folder: Path) -> None:
    """Make the user's data folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LimnError(
            f"{folder}: the folder for strokes cannot be made ({error.strerror}); make it writable."
        ) from error


def user_folder() -> Path:
    """Return the user's data folder for strokes.

    For images without a file, or in a folder that is read-only.
    """
    if sys.platform == "win32":
        root = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Application Support"
    else:
        root = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(root) / "napari-limn" / "strokes"
