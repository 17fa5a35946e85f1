"""Which images a command names: files, folders, patterns, lists."""

from __future__ import annotations

import csv
import glob
from pathlib import Path
from typing import TYPE_CHECKING

from napari_limn.errors import LimnError
from napari_limn.files.paths import refuse_no_file
from napari_limn.volume.reading.choice import split_number
from napari_limn.volume.reading.open import TIFF_SUFFIXES, ZARR_SUFFIXES, images_at

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

LABELS = ".labels"
"""What the name of labels has before its suffix; no image of a folder has it."""

_METADATA = ("zarr.json", ".zgroup", ".zarray", ".zattrs")


def images_in(sources: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """List the images that paths, folders, patterns and lists name.

    Parameters
    ----------
    sources
        Each is the path of an image; a folder, for all TIFFs and Zarr folders in it (not in folders below, and no labels that
        :func:`labels_name` gave); a pattern with ``*``; or ``@LIST.csv``, a table with a column ``image`` or a file with one path
        a line, relative to where the list lies.

    Returns
    -------
    Each image once, in the order in which it was named; those of a folder by name.

    Raises
    ------
    LimnError
        If a source names nothing.
    """
    return list(dict.fromkeys(path for source in sources for path in _named_by(source)))


def each_image(path: Path) -> list[Path]:
    """List the paths of all images that lie in a path.

    A path with one alone, or one that cannot be read, is given back.
    """
    try:
        entries = images_at(path)
    except (LimnError, OSError):
        return [path]  # opening it says why
    return [entry.path for entry in entries] if len(entries) > 1 else [path]


def pairs_in(path: Path) -> list[tuple[Path, ...]]:
    """List images with their labels, from a table.

    Its columns are ``image`` and ``labels``.

    Raises
    ------
    LimnError
        If `path` is no such table.
    """
    return _table(path, ("image", "labels"))


def names_several(source: str | os.PathLike[str]) -> bool:
    """Return whether a source names any number of images."""
    path = Path(source)
    return _is_list(path) or (is_plain_folder(path) if path.exists() else glob.has_magic(str(path)))


def is_plain_folder(path: Path) -> bool:
    """Return whether a path is a folder that can hold images.

    No Zarr, and nothing that has the name of one.
    """
    named = path.suffix.lower() in (*TIFF_SUFFIXES, *ZARR_SUFFIXES)
    return path.is_dir() and not named and not any((path / name).exists() for name in _METADATA)


def labels_name(image: Path, suffix: str | None = None) -> str:
    """Return the name of the labels of an image.

    Parameters
    ----------
    image
        Its path.
    suffix
        ``".tif"`` or ``".ome.zarr"``; None for that of the image.

    Examples
    --------
    >>> labels_name(Path("cells 1.ome.tif")), labels_name(Path("a/b.zarr")), labels_name(Path("b.tiff"), ".ome.zarr")
    ('cells 1.labels.tif', 'b.labels.ome.zarr', 'b.labels.ome.zarr')
    """
    file, _ = split_number(image)
    own = ".ome.zarr" if file.suffix.lower() in ZARR_SUFFIXES or file.is_dir() else ".tif"
    return stem_of(image) + LABELS + (suffix or own)


def stem_of(image: Path) -> str:
    """Return the name of an image without what says its format.

    One of several has its number or its place in the folder behind.

    Examples
    --------
    >>> stem_of(Path("a.b.OME.tif")), stem_of(Path("c.d"))
    ('a.b', 'c.d')
    >>> stem_of(Path("a.ome.tif#2")), stem_of(Path("plate.zarr/A/1/0"))
    ('a_2', 'plate_A_1_0')
    """
    image, number = split_number(image)
    if number is not None:
        return f"{stem_of(image)}_{number}"
    name = image.name
    if image.suffix.lower() in (*TIFF_SUFFIXES, *ZARR_SUFFIXES):
        name = image.stem
        if name.lower().endswith(".ome"):
            name = name[: -len(".ome")]
    elif folder := next((above for above in image.parents if above.suffix.lower() in ZARR_SUFFIXES), None):
        name = "_".join((stem_of(folder), *image.relative_to(folder).parts))
    return name


def _named_by(source: str | os.PathLike[str]) -> Iterator[Path]:
    path = Path(source)
    if _is_list(path):
        yield from (row[0] for row in _table(Path(str(path)[1:]), ("image",)))
    elif is_plain_folder(path):
        yield from _any_of(
            [entry for entry in path.iterdir() if _is_image(entry)], path, "a TIFF or a .zarr folder in it"
        )
    elif not path.exists() and glob.has_magic(str(path)):
        matching = map(Path, glob.glob(str(path)))
        yield from _any_of([entry for entry in matching if _is_image(entry)], path, "an image of such a name")
    else:
        yield refuse_no_file(path)


def _any_of(images: list[Path], source: Path, expected: str) -> list[Path]:
    if not images:
        raise LimnError(f"{source}: found no image, expected {expected}; check the path.")
    return sorted(images, key=lambda path: (path.name.casefold(), path.name))


def _is_list(path: Path) -> bool:
    return str(path).startswith("@") and not path.exists()


def _is_image(path: Path) -> bool:
    """Return whether a name in a folder is that of an image.

    Hidden files are what other programs keep for themselves.
    """
    if path.name.startswith(".") or stem_of(path).endswith(LABELS):
        return False
    suffix = path.suffix.lower()
    return suffix in (ZARR_SUFFIXES if path.is_dir() else TIFF_SUFFIXES)


def _table(path: Path, columns: tuple[str, ...]) -> list[tuple[Path, ...]]:
    """Read paths from a list, relative to where it lies.

    The first line names its columns; where there is one alone and no name, every line is a path.
    """
    try:
        text = refuse_no_file(path).read_text("utf-8-sig")
    except OSError as error:
        raise LimnError(f"{path}: found no list there ({error.strerror}); check its path.") from error
    except UnicodeDecodeError as error:
        raise LimnError(f"{path}: found no text, expected a list as CSV in UTF-8.") from error
    rows = [row for row in csv.reader(text.splitlines()) if any(cell.strip() for cell in row)]
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    if set(columns) <= set(header):
        at = [header.index(column) for column in columns]
        rows = rows[1:]
    elif len(columns) == 1 and all(len(row) == 1 for row in rows):
        at = [0]
    else:
        raise LimnError(
            f"{path}: found {', '.join(header) or 'nothing'} in the first line, expected the names of columns, among them "
            f"{' and '.join(columns)}; name them there."
        )
    cells = [[row[n].strip() if n < len(row) else "" for n in at] for row in rows]
    if not rows or any("" in row for row in cells):
        raise LimnError(
            f"{path}: found a line without a path, expected {' and '.join(columns)} in each line."
        )
    return [tuple(path.parent / cell for cell in row) for row in cells]
