"""The reader: TIFF and OME-Zarr, lazily, with axes, voxel size and units."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da

from napari_limn._napari.layers import colormap
from napari_limn.volume.mapped import MappedArray
from napari_limn.volume.open import TIFF_SUFFIXES, ZARR_SUFFIXES, open_volume

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_limn.volume.volume import ArrayLike, Volume

LayerData = tuple[Any, dict[str, Any], str]
_SIDE = 4096  # longest side of a chunk of a mapped file


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """The reader for these paths, or None if one of them is nothing for it."""
    known = (*TIFF_SUFFIXES, *ZARR_SUFFIXES)
    paths = [path] if isinstance(path, str) else path
    return read if paths and all(Path(p).suffix.lower() in known for p in paths) else None


def read(path: str | list[str]) -> list[LayerData]:
    """Layers of one file or several; nothing but headers is read now."""
    paths = [path] if isinstance(path, str) else path
    return [layer for p in paths for layer in layers_of(open_volume(p), Path(p).name.split(".")[0])]


def layers_of(volume: Volume, name: str) -> list[LayerData]:
    """A volume as layer data: one layer a channel, one for colour, or a labels layer."""
    levels = [_lazy(level) for level in (volume.data, *volume.levels)]
    axes = volume.axes.without("C")
    look = {
        "name": name, "scale": axes.scale, "translate": axes.translate, "units": axes.units,
        "axis_labels": tuple(axes.names.lower()), "multiscale": len(levels) > 1,
    }  # fmt: skip
    if volume.colors is not None and volume.dtype.kind in "iu":
        return [
            (
                _levels(levels),
                look | ({"colormap": colormap(volume.colors)} if volume.colors else {}),
                "labels",
            )
        ]
    if "C" not in volume.axes.names:
        return [(_levels(levels), look, "image")]
    if volume.axes.names[-1] == "C" and volume.channels in (3, 4) and volume.dtype == "uint8":
        return [(_levels(levels), look | {"rgb": True}, "image")]
    at = volume.axes.names.index("C")
    return [
        (
            _levels([da.take(level, c, axis=at) for level in levels]),
            look | {"name": f"{name} [{c}]", "blending": "additive"},
            "image",
        )
        for c in range(volume.channels)
    ]


def _levels(levels: list[Any]) -> Any:
    return levels if len(levels) > 1 else levels[0]


def _lazy(level: ArrayLike) -> Any:
    """A dask array over a level; of a mapped file, one chunk is (at most 4096 pixels a side of) one plane."""
    if isinstance(level, MappedArray):
        planar = level.ndim - 2 - (level.shape[-1] in (3, 4) and level.ndim > 2)
        chunks = tuple(1 if i < planar else min(n, _SIDE) for i, n in enumerate(level.shape))
        return da.from_array(level, chunks=chunks, name=False)  # type: ignore[no-untyped-call]
    return da.from_array(level, name=False)  # type: ignore[no-untyped-call]
