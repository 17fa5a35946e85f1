"""Several images in one path, and the one that is meant.

A path such as ``a.ome.tif#2`` means image 2 of the file, counted from 0; an image of a Zarr folder has a path of its own, as
``plate.zarr/A/1/0``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_limn.errors import LimnError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_NUMBER = re.compile(r"(.+)#(\d{1,9})")
_LISTED = 5  # images that a sentence names


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """One image of a path.

    Parameters
    ----------
    path
        That means this image alone.
    key
        What chooses it among the others: its number, or its place in the folder.
    shape
        Extent along each axis; empty where that was not looked at, or cannot be read.
    axes
        Their letters.
    title
        Its name, where the file says one.
    """

    path: Path
    key: str
    shape: tuple[int, ...] = ()
    axes: str = ""
    title: str = ""

    def __str__(self) -> str:
        """Give key, extent and name.

        Examples
        --------
        >>> from pathlib import Path
        >>> str(ImageEntry(Path("a.tif#1"), "1", (4, 30, 40), "ZYX", "left"))
        '1: 4 × 30 × 40 “left”'
        """
        extent = " × ".join(map(str, self.shape))
        title = f"“{self.title}”" if self.title and self.title != self.key else ""
        return f"{self.key}: {f'{extent} {title}'.strip()}" if extent or title else self.key


def split_number(path: Path) -> tuple[Path, int | None]:
    """Take the number of an image off a path.

    A file that has such a name is meant itself.

    Examples
    --------
    >>> from pathlib import Path
    >>> file, number = split_number(Path("a.ome.tif#2"))
    >>> file.name, number, split_number(Path("a.tif"))[1]
    ('a.ome.tif', 2, None)
    """
    if (match := _NUMBER.fullmatch(path.name)) and not path.exists():
        return path.with_name(match[1]), int(match[2])
    return path, None


def chosen(entries: Sequence[ImageEntry], image: int | str | None, path: Path) -> ImageEntry:
    """Return the image that is meant.

    Parameters
    ----------
    entries
        All of the path.
    image
        Its number, its key, or None where there is one alone.
    path
        For the sentence.

    Raises
    ------
    LimnError
        If several are there and none was chosen, or the chosen one is not there. It lists them.
    """
    if image is None:
        if len(entries) == 1:
            return entries[0]
        raise several(entries, path)
    asked = str(image)
    for entry in entries:
        if entry.key == asked:
            return entry
    if asked.isdecimal() and int(asked) < len(entries):
        return entries[int(asked)]
    raise LimnError(
        f"{path.name}: found {asked!r} as the image to choose, expected one of {_listed(entries)}; choose one of these."
    )


def several(entries: Sequence[ImageEntry], path: Path) -> LimnError:
    """Make the error that lists the images of a path."""
    other = entries[-1].path
    return LimnError(
        f"{path.name}: found {len(entries)} images ({_listed(entries)}), expected one; choose one with --image "
        f"{entries[-1].key} or by its path, {other}."
    )


def _listed(entries: Sequence[ImageEntry]) -> str:
    more = ", …" if len(entries) > _LISTED else ""
    return ", ".join(map(str, entries[:_LISTED])) + more
