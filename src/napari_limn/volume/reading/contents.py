"""What a TIFF holds besides an image, and lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tifffile

from napari_limn.volume.intensity import share

if TYPE_CHECKING:
    from collections.abc import Iterator

_ORIENTATION = 274  # tag
_TURNED = {
    2: "mirrored", 3: "upside down", 4: "upside down and mirrored", 5: "turned and mirrored", 6: "turned to the right",
    7: "turned and mirrored", 8: "turned to the left",
}  # fmt: skip
_LOOKED_AT = 2000  # pages whose tables of tiles are looked through


def contents_of(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, name: str) -> Iterator[str]:
    """Yield sentences on what an image does not show."""
    yield from _between(tif, series, name)
    if tif.is_ome and "<BinaryOnly" in (tif.ome_metadata or ""):
        yield f"{name}: found one file of a set whose description lies in another file; only the planes of this file are shown."
    yield from _never_written(series, name)
    page = series.keyframe
    if turned := _TURNED.get(page.tags.valueof(_ORIENTATION, 1)):
        yield f"{name}: found an image to be shown {turned}; it is shown and used as it is stored."
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE and not _is_ramp(page.colormap):
        yield (
            f"{name}: found indexed colour, numbers of colours in a table; they are taken as intensities, which they are not: "
            "convert the image to grey or RGB."
        )


def _between(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, name: str) -> Iterator[str]:
    """Report that pages of other images lie between its planes."""
    if len(tif.series) < 2:
        return
    pages = [page.index for page in series.pages if page is not None and page.parent is tif]
    numbers = [number for number in pages if isinstance(number, int)]
    if numbers and numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        yield (
            f"{name}: found pages of other sizes between the planes of this image, which count on without them; if a plane is "
            "missing, save the image again."
        )


def _never_written(series: tifffile.TiffPageSeries, name: str) -> Iterator[str]:
    """Report tiles and strips that are not in the file."""
    if series.dataoffset is not None:
        return  # one piece
    tables = [page.databytecounts for page in series.pages[:_LOOKED_AT] if page is not None]
    lacking, total = sum(table.count(0) for table in map(tuple, tables)), sum(map(len, tables))
    if lacking:
        yield not_there(lacking / total, name, 0)


def not_there(part: float, name: str, value: object) -> str:
    """Say that a share of the voxels is not in the file.

    `value`: what they are read as.
    """
    return (
        f"{name}: found {share(part)} of the voxels never written, which are read as {value}; if they should be there, copy or save the "
        "image again."
    )


def _is_ramp(colormap: np.ndarray | None) -> bool:
    """Return whether numbers of a table of colours are intensities.

    That is so for a grey one that rises or falls.
    """
    if colormap is None:
        return True
    red, green, blue = np.asarray(colormap, np.int64)
    steps = np.diff(red)
    return bool((red == green).all() and (red == blue).all() and ((steps >= 0).all() or (steps <= 0).all()))
