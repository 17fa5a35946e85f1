"""OME-TIFF going out: tiled, compressed, made from a staged Zarr.

It is made once all its voxels are there.

A TIFF is a list of pages in order, blocks come in any; so they wait on disk, not in memory.
"""

from __future__ import annotations

import json
import os
from hashlib import file_digest, sha256
from itertools import product
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import tifffile
import zarr

from napari_limn.errors import LimnError
from napari_limn.files.durable import sync_file
from napari_limn.files.working import discard, give_name
from napari_limn.volume.axes import CENTIMETRES, GRID
from napari_limn.volume.reading.tiff import MARK, NAMES, ORIGIN
from napari_limn.volume.volume import size_in_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_limn.files.working import WorkingFolder
    from napari_limn.volume.axes import Axes
    from napari_limn.volume.volume import RGBA, Volume

TILE = (1, 1, 256, 256)
"""Extent (T, Z, Y, X) of a tile, and of what is compressed in one piece while the labels are staged."""

_WHOLE = ".labels.tif"  # in the folder of the staged labels, until it has its name
_AT_ONCE = 4 << 20  # bytes that are compressed together
_CLASSIC = (
    3 << 30
)  # labels up to this many bytes fit a TIFF that old readers read, however badly they compress


def refuse_unfit_tiff(path: Path, image: Volume, dtype: Any) -> None:
    """Refuse labels that OME-TIFF cannot hold.

    Raises
    ------
    LimnError
        For types beyond 32 bits, and for images whose axes come in another order than TZYX.
    """
    kind, names = np.dtype(dtype), image.axes.without("C").names
    if kind.kind not in "iu" or kind.itemsize > 4:
        raise LimnError(
            f"{path.name}: found labels of type {kind}, OME-TIFF holds whole numbers of up to 32 bits; write .ome.zarr."
        )
    if list(names) != sorted(names, key=GRID.index):
        raise LimnError(
            f"{image.name}: found axes {names}, OME-TIFF needs their order to be {GRID}; write .ome.zarr."
        )


def seal_tiff(
    work: WorkingFolder,
    path: Path,
    axes: Axes,
    colors: Mapping[int, RGBA],
    names: Mapping[int, str],
    *,
    replace: bool,
) -> Path:
    """Turn staged labels into a TIFF with its final name.

    What was staged is removed.

    Memory is that of one row of tiles.
    """
    if not is_sealed(work.path, path):
        labels = zarr.open_array(work.path / "0", mode="r")
        new, tile = work.path / _WHOLE, _tile(labels)
        # zlib, since everything reads it; no predictor, with which labels become 10-15 % larger
        with tifffile.TiffWriter(
            new, bigtiff=size_in_bytes(labels.shape, labels.dtype) > _CLASSIC, ome=True
        ) as writer:
            writer.write(
                _tiles(labels, tile), shape=labels.shape, dtype=labels.dtype, tile=tile, photometric="minisblack",
                compression="zlib", metadata=_metadata(axes, colors, names) | {"UUID": _uuid(work.path)}, buffersize=_AT_ONCE,
                maxworkers=min(4, os.cpu_count() or 1), **_resolution(axes),
            )  # fmt: skip
        sync_file(new)
        give_name(new, path, replace=replace)
    if os.name == "nt":
        work.close()  # no folder can be moved there with an open file in it
    discard(work.path, path)  # so that who is killed here leaves all of it, or nothing of that name
    work.close()
    return path


def is_sealed(partial: Path, path: Path) -> bool:
    """Say whether a TIFF was made from staged labels.

    By a run that was killed before it could remove them.
    """
    if path.is_symlink() or not path.is_file() or not (partial / "0").is_dir():
        return False
    try:
        with tifffile.TiffFile(path) as tiff:
            return f"urn:uuid:{_uuid(partial)}" in (tiff.ome_metadata or "")
    except Exception:  # noqa: BLE001 - tifffile raises anything on a file of another kind
        return False


def _uuid(partial: Path) -> str:
    """Make an identifier from the labels.

    A run that was interrupted so ends with the same file.
    """
    digest = sha256()
    for path in sorted(
        path for path in partial.rglob("*") if path.is_file() and not path.name.startswith(".")
    ):
        with path.open("rb") as file:
            digest.update(
                path.relative_to(partial).as_posix().encode() + file_digest(file, "sha256").digest()
            )
    return str(UUID(bytes=digest.digest()[:16], version=5))


def _tile(labels: zarr.Array[Any]) -> tuple[int, int]:
    """Choose the extent of a tile.

    Multiples of 16, as TIFF demands, no larger than needed.
    """
    height, width = (min(most, -(-n // 16) * 16) for n, most in zip(labels.shape[-2:], TILE[2:], strict=True))
    return height, width


def _tiles(labels: zarr.Array[Any], tile: tuple[int, int]) -> Iterator[NDArray[Any]]:
    """Yield all tiles of all pages in the order of the file.

    At the borders they are filled up with zeros.
    """
    *pages, height, width = labels.shape
    for page in product(*(range(n) for n in pages)):
        for top in range(0, height, tile[0]):
            at: tuple[int | slice, ...] = (*page, slice(top, top + tile[0]))
            row = np.asarray(labels[at])
            padded = np.zeros((tile[0], -(-width // tile[1]) * tile[1]), labels.dtype)
            padded[: len(row), :width] = row
            for left in range(0, width, tile[1]):
                yield np.ascontiguousarray(padded[:, left : left + tile[1]])


def _metadata(axes: Axes, colors: Mapping[int, RGBA], names: Mapping[int, str]) -> dict[str, Any]:
    """Return axes, voxel size and units for the OME-XML.

    Colours, names and origin stand in its description.
    """
    looks: dict[str, Any] = {
        MARK: {int(v): list(c) for v, c in colors.items()},
        NAMES: {int(v): n for v, n in names.items()},
    }
    if away := {name: at for name, at in zip(axes.names, axes.translate, strict=True) if at}:
        looks[ORIGIN] = away
    metadata: dict[str, Any] = {
        "axes": axes.names,
        "Description": json.dumps(looks),
    }
    for name, scale, unit in zip(axes.names, axes.scale, axes.units, strict=True):
        key = "TimeIncrement" if name == "T" else f"PhysicalSize{name}"
        # OME has pixels in space, not in time; that they are of extent 1 goes without saying
        if unit != "pixel" or (name != "T" and scale != 1):
            metadata |= {key: scale, f"{key}Unit": _OME_UNITS.get(unit, unit)}
    return metadata


_OME_UNITS = {
    "micrometer": "µm",
    "nanometer": "nm",
    "millimeter": "mm",
    "centimeter": "cm",
    "meter": "m",
    "angstrom": "Å",
    "inch": "in",
    "second": "s",
    "millisecond": "ms",
    "minute": "min",
    "hour": "h",
}


def _resolution(axes: Axes) -> dict[str, Any]:
    """Return resolution tags (pixels a centimetre).

    For readers that know no OME-XML.
    """
    sizes = {
        a: s * CENTIMETRES[u]
        for a, s, u in zip(axes.names, axes.scale, axes.units, strict=True)
        if u in CENTIMETRES
    }
    if not {"Y", "X"} <= set(sizes):
        return {}
    return {"resolution": (1 / sizes["X"], 1 / sizes["Y"]), "resolutionunit": "CENTIMETER"}
