"""Where an output goes, and what may be in its way."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_limn.errors import LimnError
from napari_limn.files.durable import disk_faults
from napari_limn.files.paths import refuse_unportable
from napari_limn.files.working import clear_aside, unmark
from napari_limn.volume.axes import GRID
from napari_limn.volume.reading.omezarr import open_zarr
from napari_limn.volume.reading.open import TIFF_SUFFIXES, ZARR_SUFFIXES, places_of
from napari_limn.volume.writing.zarr_output import CLASSES, image_levels, list_labels

if TYPE_CHECKING:
    from napari_limn.volume.volume import Volume

_LABEL_NAME = re.compile(
    r"(?!\.|__|zarr\.json$)[A-Za-z0-9_.-]{1,64}"
)  # what is left out has a meaning in a Zarr


@dataclass(frozen=True, slots=True)
class Destination:
    """What a path means.

    The format, the folder that must exist, where the labels lie, and the levels prescribed.
    """

    kind: Literal["tiff", "zarr", "label"]
    folder: Path
    labels: str = "."
    levels: int | None = None


def destination_of(path: Path) -> Destination:
    """Read what the path of an output means; nothing is made.

    Raises
    ------
    LimnError
        For a suffix that is not known, a name that not every system can store, or labels of an image that takes none.
    """
    image = path.parent.parent
    if path.parent.name == "labels" and any(
        (image / n).is_file() for n in ("zarr.json", ".zgroup", ".zattrs")
    ):
        if not _LABEL_NAME.fullmatch(path.name) or path.name.endswith(".partial"):
            raise LimnError(
                f"{path.name!r}: found a name that not every system can store, expected 1 to 64 of the letters "
                "A-Z a-z 0-9 _ . - for labels inside an image."
            )
        refuse_unportable(path)
        return Destination("label", image, levels=image_levels(image))
    suffix = path.suffix.lower()
    if suffix in TIFF_SUFFIXES:
        return Destination("tiff", path.parent, levels=1)
    if suffix in ZARR_SUFFIXES:
        return Destination("zarr", path.parent, f"labels/{CLASSES}")
    raise LimnError(
        f"{path.name}: found suffix {suffix or '(none)'!r}, expected .tif or .ome.zarr for the labels."
    )


def make_folder(path: Path) -> None:
    """Make the folder of labels inside an image, which are its first.

    Raises
    ------
    LimnError
        If there is no folder for any other output, or `path` is none.
    """
    if path.parent.is_dir():
        return
    if destination_of(path).kind != "label":
        raise LimnError(f"{path.parent}: there is no such folder to write {path.name} into; create it first.")
    with disk_faults(path):
        list_labels(path.parent)


def clear_up(path: Path) -> None:
    """Do what is left for an output that has got its name."""
    clear_aside(path)
    if path.is_dir():
        unmark(path)
    if destination_of(path).kind == "label":
        list_labels(path.parent, path.name)


def refuse_misplaced(path: Path, image: Volume) -> None:
    """Refuse a path where labels would destroy an image.

    Or lie in one of another size; only metadata are read.

    Raises
    ------
    LimnError
        If `path` is the image or holds it, lies inside it elsewhere than in its ``labels``, or lies in the labels of an
        image of another grid; and as :func:`destination_of`.
    """
    refuse_replacing(path, image)
    destination = destination_of(path)
    if destination.kind != "label":
        return
    other = open_zarr(destination.folder)
    if image.grid != other.grid and _extents(image) != _extents(other):
        raise LimnError(
            f"{path}: found labels of {GRID} size {image.grid} for the image {destination.folder.name} of size {other.grid}, "
            "expected the same; choose a name outside of that image, which ends in .ome.zarr."
        )


def refuse_replacing(path: Path, image: Volume) -> None:
    """Refuse a path where labels would replace an image.

    This part of :func:`refuse_misplaced` holds for any image, also one that the labels are not of.

    Raises
    ------
    LimnError
        If `path` is the image or holds it, or lies inside it elsewhere than in its ``labels``; and as :func:`destination_of`.
    """
    inside = destination_of(path).kind == "label"
    for place in places_of(image):
        if _lies_in(place, path):
            raise LimnError(
                f"{path}: found {place} there, the labels would replace an image; choose another name."
            )
        if not inside and _lies_in(path, place):
            raise LimnError(
                f"{path}: found a name inside the image {place}, expected one outside of it, or IMAGE/labels/NAME of an "
                "OME-Zarr image; choose another name."
            )


def _lies_in(path: Path, outer: Path) -> bool:
    """Return whether a path is another or lies in it.

    The files decide, which may have several names.
    """
    path = Path(os.path.realpath(path))  # which does not fail where links lead in a circle
    return outer.exists() and any(p.exists() and p.samefile(outer) for p in (path, *path.parents))


def _extents(image: Volume) -> list[int]:
    """List the extents in the order of the array.

    Whatever a user calls its axes.
    """
    return [int(n) for n, a in zip(image.data.shape, image.axes.names, strict=True) if a != "C" and n > 1]
