"""What a Zarr folder holds besides its first image, and lacks."""

from __future__ import annotations

import os
from math import prod
from typing import TYPE_CHECKING, Any

from zarr.storage import LocalStore

from napari_limn.errors import LimnError
from napari_limn.volume.foreign import refuse_large_piece
from napari_limn.volume.reading.contents import not_there
from napari_limn.volume.volume import size_in_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import zarr

_COUNTED = 100_000  # files of chunks, which are listed within a moment
_MOST_VOXELS = 1 << 62  # that can be numbered
_DIGITS = 0.30103  # of a number, for each of its bits
_NO_SUCH_IMAGE = 1 << 40  # voxels of an image of which nothing is stored
_METADATA = {"zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"}


def refuse_claims(array: zarr.Array[Any], name: str) -> None:
    """Refuse an array whose metadata claim what nobody can read.

    Raises
    ------
    LimnError
        If one chunk would fill the memory, or the array is huge and nothing of it is stored.
    """
    refuse_large_piece(
        size_in_bytes(array.chunks, array.dtype), f"{name}: found a chunk", "save the image in smaller chunks"
    )
    voxels = prod(int(n) for n in array.shape)
    if voxels >= _MOST_VOXELS or (voxels > _NO_SUCH_IMAGE and _stored(array) == 0):
        raise LimnError(
            f"{name}: the metadata claim about 10^{int(voxels.bit_length() * _DIGITS)} voxels, which are not there; copy the folder again from its source."
        )


def never_written(array: zarr.Array[Any], name: str) -> list[str]:
    """Report the share of an image that is not stored.

    Nothing where that cannot be counted within a moment.
    """
    pieces = getattr(array, "shards", None) or array.chunks
    total = prod(-(-int(n) // int(m)) for n, m in zip(array.shape, pieces, strict=True))
    stored = _stored(array)
    if stored is None or stored >= total:
        return []
    return [not_there((total - stored) / total, name, array.fill_value)]


def _stored(array: zarr.Array[Any]) -> int | None:
    """Count the chunks or shards on the disk.

    None where they lie elsewhere, or are too many to count.
    """
    if not isinstance(array.store, LocalStore):
        return None
    count, folders = 0, [os.fspath(array.store.root / array.path)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.path)
                elif entry.name not in _METADATA and not entry.name.endswith(".partial"):
                    count += 1
        if count + len(folders) > _COUNTED:
            return None
    return count


def other_images(root: zarr.Group, image: zarr.Group, meta: Mapping[str, Any], name: str) -> Iterator[str]:
    """Yield a sentence where the folder holds several images."""
    if (count := len(meta["multiscales"])) > 1:
        yield f"{name}: found {count} images described in this folder; the first is used."
    if image.path != root.path and "/" not in image.path[len(root.path) :].strip("/"):
        series = [key for key, _ in root.groups() if key.isdecimal()]
        if len(series) > 1:
            yield (
                f"{name}: found {len(series)} images in this folder ({', '.join(sorted(series, key=int)[:5])}{', …' * (len(series) > 5)}); "
                f"{image.path} is used: choose the folder of another one to use it."
            )
