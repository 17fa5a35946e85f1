"""One door for everything that comes in: paths, arrays and volumes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import zarr
from zarr.storage import LocalStore

from napari_limn.arguments import checked
from napari_limn.errors import LimnError
from napari_limn.files.durable import fingerprint
from napari_limn.files.paths import refuse_no_file
from napari_limn.volume.axes import GRID, Axes, check_names
from napari_limn.volume.reading.choice import ImageEntry, chosen, split_number
from napari_limn.volume.reading.omezarr import images_in_zarr, open_zarr
from napari_limn.volume.reading.tiff import files_of, images_in_tiff, open_tiff
from napari_limn.volume.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIFF_SUFFIXES = (".tif", ".tiff")
ZARR_SUFFIXES = (".zarr",)
_METADATA = ("zarr.json", ".zarray", ".zattrs")
_BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # of a TIFF, and of a BigTIFF
_SEEN = (1, 1, 256, 256)  # voxels of an image without a file that distinguish it from others


@checked
def open_volume(source: Any, axes: str | Axes | None = None, image: int | str | None = None) -> Volume:
    """Open an image lazily.

    Parameters
    ----------
    source
        Path of a TIFF or of an OME-Zarr folder, any array-like, or a volume, which is returned as it is. ``"a.tif#2"`` is image 2
        of a file; an image of a folder has its own path, as ``"plate.zarr/A/1/0"``.
    axes
        Names such as ``"ZYX"`` in the order of the array, where the file says nothing or the wrong thing.
    image
        Number of the image, from 0, or its place in the folder, where several are there; see :func:`images_at`.

    Raises
    ------
    LimnError
        If nothing readable is there, the axes do not fit, or there are several images and none was chosen.

    Examples
    --------
    >>> import numpy as np
    >>> open_volume(np.zeros((4, 8, 8), np.uint8), axes="TYX").grid
    (4, 1, 8, 8)
    """
    if not isinstance(source, (str, PathLike)):
        if image is not None:
            raise LimnError(
                f"found image {image!r} chosen of an array, expected a path with several images; leave it out."
            )
        if isinstance(source, Volume):
            return source if axes is None else _renamed(source, axes)
        return Volume.of(source, axes)
    path, number = _existing(source)
    image = number if image is None else image
    asked = axes.names if isinstance(axes, Axes) else axes
    if not path.is_dir():
        return replace(open_tiff(path, asked, image), path=path)
    if image is not None:  # it has a path of its own, but where several are described together
        entry = chosen(images_in_zarr(path), image, path)
        path, image = split_number(entry.path)
    return replace(open_zarr(path, asked, image), path=path)


def images_at(path: str | PathLike[str]) -> tuple[ImageEntry, ...]:
    """List the images that a path holds; nothing of them is read.

    Parameters
    ----------
    path
        Of a TIFF, with one image or several series, or of a Zarr folder: an image, several described together, a plate, a well, or
        series as bioformats2raw writes them.

    Returns
    -------
    One entry an image, in their order. The `path` of each opens it alone.

    Raises
    ------
    LimnError
        If nothing readable is there.
    """
    place, number = _existing(path)
    entries = images_in_zarr(place) if place.is_dir() else images_in_tiff(place)
    return entries if number is None else (chosen(entries, number, place),)


def _existing(source: str | PathLike[str]) -> tuple[Path, int | None]:
    """Return the path of an image, and its number there.

    Raises
    ------
    LimnError
        If nothing is there, or nothing of a known format.
    """
    path, number = split_number(refuse_no_file(source))
    if not path.exists():
        raise LimnError(f"{path}: there is no such file or folder; check the spelling.")
    if path.is_dir() or is_tiff(path):
        return path, number
    if path.name.lower().endswith(".companion.ome"):
        raise LimnError(
            f"{path.name}: found the description of an OME-TIFF set, expected an image; choose a TIFF of the set."
        )
    raise LimnError(
        f"{path.name}: found suffix {path.suffix or '(none)'!r}, expected .tif, .tiff or a .zarr folder; "
        "export the image as OME-TIFF or OME-Zarr."
    )


def is_tiff(path: Path) -> bool:
    """Return whether a file is a TIFF, whatever its suffix.

    Slide scanners and microscopes call theirs ``.svs``, ``.lsm`` or ``.stk``. One with the suffix of a TIFF is meant to be one.
    """
    if path.suffix.lower() in TIFF_SUFFIXES:
        return True
    with path.open("rb") as file:
        return file.read(4) in _BEGINNINGS


def identity(volume: Volume) -> str:
    """Describe an image, so that another one is noticed.

    By shape and type, and of a file by its path, size and time of change.

    Of an OME-TIFF, all files of its set count; of a Zarr folder, the metadata and the times of change of the folders that hold its
    levels, labels in it do not. Of an image without a file, the voxels in its middle: two images of one size must not pass for each other.
    """
    parts = [f"{tuple(int(n) for n in volume.data.shape)} {volume.dtype} {volume.axes.names}"]
    if volume.path is None:
        middle = tuple(
            ((n - min(n, m)) // 2, (n + min(n, m)) // 2) for n, m in zip(volume.grid, _SEEN, strict=True)
        )
        parts.append(fingerprint(volume.read(middle).tobytes()))
    elif (path := volume.path).exists():
        parts.append(str(path.resolve()) + ("" if volume.part is None else f"#{volume.part}"))
        state = [
            f"{entry.name} {entry.stat().st_mtime_ns} {entry.stat().st_size}" for entry in _entries(volume)
        ]
        parts.append(state[0] if len(state) == 1 else fingerprint("\n".join(state).encode()))
    return ", ".join(parts)


def places_of(volume: Volume) -> Iterator[Path]:
    """Yield the files and folders that an image is read from.

    Its own, all of a set, and those of its arrays.
    """
    if volume.path is not None:
        yield volume.path
        if volume.path.is_file() and is_tiff(volume.path):
            with suppress(LimnError):  # another program may be able to read it
                yield from files_of(volume.path)
    for level in (volume.data, *volume.levels):
        if isinstance(level, zarr.Array) and isinstance(level.store, LocalStore):
            yield level.store.root / level.path


def _entries(volume: Volume) -> list[Path]:
    """List what changes on the disk when an image does.

    In the folder of an image labels come and go.
    """
    places = set(places_of(volume))
    if volume.path is not None and volume.path.is_dir():
        arrays = places - {volume.path} or places
        folders = {volume.path, *arrays, *(array.parent for array in arrays)}
        places = {*arrays, *(folder / name for folder in folders for name in _METADATA)}
    return sorted(place for place in places if place.exists())


def open_labels(source: Any, image: Volume) -> Volume:
    """Open labels that belong to `image`.

    Of the same extent, and with the image's axes where theirs say less.

    Raises
    ------
    LimnError
        If the labels are not whole numbers or do not fit the image.
    """
    labels = _labels_with_axes_of(image, source)
    refuse_fractions(labels)
    if labels.channels != 1 or labels.grid != image.grid:
        raise LimnError(
            f"{labels.name}: found labels of {GRID} size {labels.grid}"
            + (f" with {labels.channels} channels" if labels.channels > 1 else "")
            + f", expected {image.grid} like the image {image.name}; paint on a labels layer made for this image."
        )
    return labels


def refuse_fractions(labels: Volume) -> None:
    """Raise a LimnError if labels are not whole numbers."""
    if labels.dtype.kind not in "bui":
        raise LimnError(
            f"{labels.name}: found labels of type {labels.dtype}, expected whole numbers; save them as integers."
        )


def _labels_with_axes_of(image: Volume, source: Any) -> Volume:
    """Open labels, with the image's axes where their array fits them.

    Whatever the label file says.
    """
    axes = image.axes.without("C")
    if not isinstance(source, (str, PathLike, Volume)):
        return Volume.of(source, axes if getattr(source, "ndim", 0) == len(axes.names) else None, "labels")
    labels = open_volume(source)
    expected = tuple(n for n, a in zip(image.data.shape, image.axes.names, strict=True) if a != "C")
    return (
        replace(labels, axes=axes, place=labels.placement) if tuple(labels.data.shape) == expected else labels
    )


def _renamed(volume: Volume, axes: str | Axes) -> Volume:
    if isinstance(axes, Axes):
        return replace(volume, axes=axes)
    own = volume.axes
    return replace(volume, axes=Axes(check_names(axes.upper()), own.scale, own.units, own.translate))
