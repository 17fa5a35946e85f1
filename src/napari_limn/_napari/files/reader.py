"""The reader: TIFF and OME-Zarr, lazily, with axes, voxel size and units."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import dask.array as da
import numpy as np
import zarr

from napari_limn._napari.files.choose import choose_images
from napari_limn._napari.layers.facts import LayerFacts
from napari_limn._napari.layers.layers import PLAIN, colormap, named
from napari_limn._napari.layers.plain_text import literal, notify_warning
from napari_limn._napari.layers.words import in_window
from napari_limn.errors import LimnError
from napari_limn.files.paths import is_address
from napari_limn.volume.reading.choice import split_number
from napari_limn.volume.reading.lazy import lazy_levels
from napari_limn.volume.reading.mapped import MappedArray
from napari_limn.volume.reading.omezarr import channel_looks, is_zarr
from napari_limn.volume.reading.open import TIFF_SUFFIXES, ZARR_SUFFIXES, images_at, open_volume
from napari_limn.volume.reading.sampling import sample_values
from napari_limn.volume.volume import size_in_bytes
from napari_limn.volume.writing.zarr_output import PROBABILITIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_limn.volume.volume import ArrayLike, Volume

LayerData = tuple[Any, dict[str, Any], str]
_SIDE = 4096  # longest side of a chunk of a mapped file
_DIM = 128  # brightness of 8 bits that is half of all
_LOOKED_AT = 8  # pieces of an image, to see whether it is dim
_PIECE = 512  # about the longest side of a chunk of a Zarr, in planes


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """Return the reader, or None if it cannot read some path."""
    paths = [path] if isinstance(path, str) else path
    return read if paths and all(map(_is_readable, paths)) else None


def _is_readable(path: str) -> bool:
    """Return whether a path may be that of an image."""
    if is_address(path):
        return False
    file, _ = split_number(Path(path))
    return file.suffix.lower() in (*TIFF_SUFFIXES, *ZARR_SUFFIXES) or is_zarr(file)


def read(path: str | list[str]) -> list[LayerData]:
    """Read layers of one file or several.

    Only headers are read now, and small labels, since they may be painted on.
    """
    paths = [path] if isinstance(path, str) else path
    try:
        return [layer for p in paths for layer in _layers_of_all(Path(p))]
    except LimnError as error:
        raise LimnError(literal(in_window(str(error)))) from error  # napari shows it


def _layers_of_all(path: Path) -> list[LayerData]:
    """Read the layers of what the user chooses in a path.

    Of a path with one image there is nothing to choose.
    """
    name, entries = path.name.split(".")[0], images_at(path)
    if len(entries) < 2:
        return _layers_at(path, name)
    wanted = choose_images(path, entries)
    if not wanted:  # napari takes an empty list for a reader that failed
        return [(None,)]  # type: ignore[list-item]
    return [layer for e in wanted for layer in _layers_at(e.path, f"{name} {e.title or e.key}")]


def _layers_at(path: Path, name: str) -> list[LayerData]:
    """Read the layers of an image; labels come above their probabilities."""
    volume = open_volume(path)
    for note in volume.notes:
        notify_warning(in_window(note))
    below: list[LayerData] = []
    if volume.colors is not None and (chances := path / PROBABILITIES).is_dir():
        probabilities = open_volume(chances)
        below = layers_of(probabilities, f"{name} {PROBABILITIES}")
        most = 255 if probabilities.dtype == "uint8" else 1
        for (_, look, _), (title, color) in zip(below, channel_looks(chances), strict=False):
            look |= {"name": f"{name} {title}", "colormap": color, "contrast_limits": (0, most)}
    layers = layers_of(volume, name)
    limits = _dim_limits(volume) if layers[0][2] == "image" and "rgb" not in layers[0][1] else {}
    for channel, window in limits.items():
        layers[channel][1]["contrast_limits"] = window
    return [*below, *layers]


def layers_of(volume: Volume, name: str) -> list[LayerData]:
    """Give a volume as layer data.

    That is one layer a channel, one for colour, or a labels layer.
    """
    levels: list[Any] = [_lazy(level) for level in (volume.data, *volume.levels)]
    axes = volume.axes.without("C")
    look = {
        "name": name, "scale": axes.scale, "translate": axes.translate, "units": axes.units,
        "axis_labels": tuple(axes.names.lower()), "multiscale": len(levels) > 1,
    }  # fmt: skip
    if volume.colors is not None and volume.dtype.kind in "iu":
        if volume.levels and "C" not in volume.axes.names:
            levels = list(lazy_levels(volume, axes.names))  # of any size, and nothing remembered of it
        elif not volume.levels and size_in_bytes(volume.data.shape, volume.dtype) <= PLAIN:
            levels = [np.array(levels[0])]  # dask takes no fill, no click, and no undo of theirs
        if volume.colors:
            look["colormap"] = colormap(volume.colors)
        if volume.names:
            look |= named(volume.names)
        return [(_levels(levels), look, "labels")]
    if "C" not in volume.axes.names:
        return [(_levels(levels), look, "image")]
    if volume.axes.names[-1] == "C" and volume.channels in (3, 4) and volume.dtype == "uint8":
        return [(_levels(levels), look | {"rgb": True}, "image")]
    at, together = volume.axes.names.index("C"), LayerFacts(channels=uuid4().hex).to_metadata()
    return [
        (
            _levels([da.take(level, c, axis=at) for level in levels]),
            look | {"name": f"{name} [{c}]", "blending": "additive", "metadata": together},
            "image",
        )
        for c in range(volume.channels)
    ]


def _dim_limits(volume: Volume) -> dict[int, tuple[float, float]]:
    """Find contrast limits for dim channels of 8 bits.

    napari shows those over their whole range: what is darker than half of it can hardly be seen. A few small pieces are read.
    """
    if volume.dtype != "uint8":
        return {}
    with suppress(LimnError):  # what cannot be read is named when it is looked at
        low, high = np.percentile(sample_values(volume, _LOOKED_AT), (1, 99.9), axis=1)
        dim = {c: (float(a), float(b)) for c, (a, b) in enumerate(zip(low, high, strict=True)) if b < _DIM}
        return {c: (a, b) for c, (a, b) in dim.items() if b > a}
    return {}


def _levels(levels: list[Any]) -> Any:
    return levels if len(levels) > 1 else levels[0]


def _lazy(level: ArrayLike) -> Any:
    """Make a dask array over a level.

    Of a mapped file, one chunk is one plane, or a part of it of at most 4096 pixels a side.
    """
    if isinstance(level, MappedArray):
        planar = level.ndim - 2 - (level.shape[-1] in (3, 4) and level.ndim > 2)
        chunks = tuple(1 if i < planar else min(n, _SIDE) for i, n in enumerate(level.shape))
        return da.from_array(level, chunks=chunks, name=False)  # type: ignore[no-untyped-call]
    if isinstance(level, zarr.Array):  # dask's own choice is 128 MB, read whole for one slice
        chunks = tuple(
            min(n, c * max(1, _PIECE // c)) if i > level.ndim - 3 else c
            for i, (n, c) in enumerate(zip(level.shape, level.chunks, strict=True))
        )
        return da.from_array(level, chunks=chunks, name=False)  # type: ignore[no-untyped-call]
    return da.from_array(level, name=False)  # type: ignore[no-untyped-call]
