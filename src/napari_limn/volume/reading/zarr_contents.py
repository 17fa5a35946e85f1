"""Which images a Zarr folder holds, and what it lacks."""

from __future__ import annotations

import os
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import zarr
from zarr.storage import LocalStore

from napari_limn.errors import LimnError
from napari_limn.volume.foreign import refuse_large_piece
from napari_limn.volume.reading.choice import ImageEntry
from napari_limn.volume.reading.contents import not_there
from napari_limn.volume.volume import size_in_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_COUNTED = 100_000  # files of chunks, which are listed within a moment
_MEASURED = 200  # images whose extents are looked up; each takes some milliseconds
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


def ome_metadata(group: zarr.Group) -> Mapping[str, Any]:
    """OME metadata: under the key `ome` since 0.5, at the top before."""
    attributes = dict(group.attrs)
    ome = attributes.get("ome", attributes)
    return ome if isinstance(ome, dict) else {}


def images_below(group: zarr.Group, path: Path) -> tuple[ImageEntry, ...]:
    """List the images that a group holds, or describes.

    A single one has the path of the group.
    """
    meta = ome_metadata(group)
    if described := meta.get("multiscales"):
        if len(described) == 1:
            return (ImageEntry(path, "0", *_extent(group, described[0])),)
        return tuple(
            ImageEntry(
                path.with_name(f"{path.name}#{number}"),
                str(number),
                *_extent(group, image),
                str(image.get("name", "")),
            )
            for number, image in enumerate(described)
        )
    keys = list(_image_keys(group, meta))
    entries = tuple(
        ImageEntry(path / key, key, *(_extent_at(group, key) if number < _MEASURED else ((), "")))
        for number, key in enumerate(keys)
    )
    return (replace(entries[0], path=path),) if len(entries) == 1 else entries


def _image_keys(group: zarr.Group, meta: Mapping[str, Any]) -> Iterator[str]:
    """Yield where the images of a group lie below it."""
    if isinstance(plate := meta.get("plate"), dict):
        for well in plate.get("wells") or ():
            if isinstance(inner := group.get(str(well["path"])), zarr.Group):
                yield from (f"{well['path']}/{key}" for key in _image_keys(inner, ome_metadata(inner)))
    elif isinstance(well := meta.get("well"), dict):
        yield from (str(image["path"]) for image in well.get("images") or ())
    else:
        keys = [key for key, inner in group.groups() if ome_metadata(inner).get("multiscales")]
        yield from sorted(
            keys, key=lambda key: (not key.isdecimal(), int(key) if key.isdecimal() else 0, key)
        )


def _extent_at(group: zarr.Group, key: str) -> tuple[tuple[int, ...], str]:
    """Look up extent and axes of an image below a group."""
    inner = group.get(key)
    described = ome_metadata(inner).get("multiscales") if isinstance(inner, zarr.Group) else None
    return _extent(inner, described[0]) if described and isinstance(inner, zarr.Group) else ((), "")


def _extent(group: zarr.Group, image: Mapping[str, Any]) -> tuple[tuple[int, ...], str]:
    """Look up extent and axes of a described image.

    Nothing where its metadata are broken: opening it says what is wrong.
    """
    try:
        level = group[image["datasets"][0]["path"]]
        axes = "".join(str(axis.get("name", "?"))[:1].upper() for axis in image.get("axes") or ())
        return (tuple(map(int, level.shape)), axes) if isinstance(level, zarr.Array) else ((), "")
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        return (), ""
