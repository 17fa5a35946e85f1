"""OME-Zarr 0.5 going out: sharded arrays first, metadata last.

An output is an image in its own right, without a copy of the image it was made from::

    NAME.ome.zarr/            an image: its levels are those of the labels, or of the probabilities where there are some
      probabilities/0 1 …     an image with one channel a class, if asked for
      labels/classes/0 1 …    the labels, an `image-label` of NAME.ome.zarr

The root names the arrays below it as its own levels, so nothing is stored twice and every path that a reader may open
(the root, ``labels``, ``labels/classes``, ``probabilities``) is valid. (https://ngff.openmicroscopy.org/0.5)
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import zarr
from zarr.codecs import ZstdCodec

from napari_limn.errors import LimnError
from napari_limn.files.durable import open_alone, sync_file, sync_folder
from napari_limn.volume.axes import GRID, Axes
from napari_limn.volume.reading.omezarr import MARK
from napari_limn.volume.reading.zarr_contents import ome_metadata
from napari_limn.volume.writing.pyramid import Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from napari_limn.files.working import WorkingFolder
    from napari_limn.volume.volume import RGBA, Volume
    from napari_limn.volume.writing.layout import Layout, Level

CLASSES = "classes"
"""Name of the labels in an output of their own."""

PROBABILITIES = "probabilities"
"""Name of the image of probabilities beside them, one channel a class."""

_PATIENCE = 10.0  # seconds that another run may take to change a list


def stored_axes(image: Volume) -> Axes:
    """Return the axes of an image's labels on disk.

    Its own without channels, time first, as OME-Zarr demands.
    """
    axes = image.axes.without("C")
    return _reordered(axes, "".join(sorted(axes.names, key=lambda a: a != "T")))


def with_channels(axes: Axes) -> Axes:
    """Return the same axes with a channel axis behind time."""
    more = Axes(axes.names + "C", (*axes.scale, 1.0), (*axes.units, "pixel"), (*axes.translate, 0.0))
    return _reordered(more, "".join(sorted(more.names, key=lambda a: "TC".find(a) % 3)))


def _reordered(axes: Axes, names: str) -> Axes:
    own = [axes.names.index(a) for a in names]
    return Axes(
        names,
        tuple(axes.scale[i] for i in own),
        tuple(axes.units[i] for i in own),
        tuple(axes.translate[i] for i in own),
    )


def open_target(
    folder: Path, layout: Layout, names: str, dtype: str, channels: int = 1, *, resume: bool
) -> Target:
    """Open the arrays of one multiscale image in `folder`.

    New ones, or those that an earlier run left.

    Raises
    ------
    LimnError
        If what is to be resumed is not there or is cut up in another way.
    """
    if not resume:
        group = zarr.create_group(folder, zarr_format=3)
        arrays = [_create(group, str(n), at, names, dtype, channels) for n, at in enumerate(layout.levels)]
        for number in range(len(arrays)):
            sync_file(folder / str(number) / "zarr.json")
            sync_folder(folder / str(number))
        return Target(arrays, names, folder)
    try:
        opened = [zarr.open_array(folder / str(n), mode="r+") for n in range(len(layout.levels))]
    except (OSError, ValueError, KeyError) as error:
        raise LimnError(
            f"{folder}: found no unfinished output to go on with; say --overwrite to start anew."
        ) from error
    for array, level in zip(opened, layout.levels, strict=True):
        expected = _cuts(level, names, channels)
        if (array.shape, array.shards, array.chunks, str(array.dtype)) != (*expected, dtype):
            raise LimnError(
                f"{folder}: found an unfinished output of extent {array.shape} in shards of {array.shards}, expected "
                f"{expected[0]} in {expected[1]}; say --overwrite to start anew."
            )
    return Target(opened, names, folder)


def _create(
    group: zarr.Group, name: str, level: Level, names: str, dtype: str, channels: int
) -> zarr.Array[Any]:
    shape, shards, chunks = _cuts(level, names, channels)
    return group.create_array(
        name, shape=shape, shards=shards, chunks=chunks, dtype=dtype, fill_value=0, dimension_names=list(names.lower()),
        compressors=ZstdCodec(checksum=True),  # damage is reported when a chunk is read, not shown as labels
    )  # fmt: skip


def _cuts(level: Level, names: str, channels: int) -> tuple[tuple[int, ...], ...]:
    """Return extents of a level, of its shards and chunks.

    In the axes of the array.
    """
    rows = ((level.shape, channels), (level.shard, 1), (level.chunk, 1))
    return tuple(tuple({"C": c, **dict(zip(GRID, row, strict=True))}[a] for a in names) for row, c in rows)


def seal_zarr(
    work: WorkingFolder,
    path: Path,
    layout: Layout,
    axes: Axes,
    colors: Mapping[int, RGBA],
    names: Mapping[int, str],
    *,
    replace: bool,
) -> Path:
    """Write the metadata of an output, then give it its name."""
    partial, title = work.path, path.name.split(".")[0]
    root = f"labels/{CLASSES}/"
    _describe(partial / "labels" / CLASSES, _label_image(layout, axes, CLASSES, colors, names))
    _describe(partial / "labels", {"version": "0.5", "labels": [CLASSES]})
    image = _multiscales(layout, axes, title, root)
    if layout.probabilities:
        full = with_channels(axes)
        omero = _omero(layout.probabilities, colors, names)
        _describe(partial / PROBABILITIES, _multiscales(layout, full, PROBABILITIES) | omero)
        image = _multiscales(layout, full, title, f"{PROBABILITIES}/") | omero
    _describe(partial, image, {MARK: {"labels": CLASSES}})
    work.move_to(path, replace=replace)
    return path


def seal_label(
    work: WorkingFolder,
    path: Path,
    layout: Layout,
    axes: Axes,
    colors: Mapping[int, RGBA],
    names: Mapping[int, str],
    *,
    replace: bool,
) -> Path:
    """Write the metadata of labels inside an image.

    Then give the folder its name and put that on the image's list.
    """
    _describe(work.path, _label_image(layout, axes, path.name, colors, names))
    work.move_to(path, replace=replace)
    list_labels(path.parent, path.name)
    return path


def list_labels(folder: Path, *names: str) -> None:
    """Put labels on the list of an image's labels.

    The folder of that list is made where there is none.

    Raises
    ------
    LimnError
        If others keep the list to themselves for too long.
    """
    folder.mkdir(exist_ok=True)
    with _alone(folder):
        group = zarr.open_group(folder, mode="a", zarr_format=3)
        listed = list(ome_metadata(group).get("labels") or ())
        _describe(
            folder, {"version": "0.5", "labels": [*listed, *(name for name in names if name not in listed)]}
        )
    sync_folder(folder.parent)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other run changes the list of `folder`.

    And keep others waiting meanwhile.
    """
    path, until = folder / ".list.lock", time.monotonic() + _PATIENCE
    while (file := open_alone(path)) is None:
        if time.monotonic() > until:
            raise LimnError(
                f"{folder}: another run has been changing the list of labels for {_PATIENCE} s; wait for it, then run "
                "the same command again."
            )
        time.sleep(_PATIENCE / 1000)
    try:
        yield
    finally:
        if os.name == "nt":
            file.close()  # no open file can be removed there
        with suppress(PermissionError, FileNotFoundError):  # of Windows, too, where another has it open
            if path.stat().st_size == 0:  # else it is not ours
                path.unlink()  # who waits for it will notice, and make another
        file.close()


def image_levels(image: Path) -> int:
    """Count the levels of the image that labels go into.

    Raises
    ------
    LimnError
        If it is no OME-Zarr 0.5 image.
    """
    try:
        group = zarr.open_group(image, mode="r")
        meta = ome_metadata(group)
        if group.metadata.zarr_format == 3 and meta["version"] == "0.5":
            return len(meta["multiscales"][0]["datasets"])
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        pass
    raise LimnError(
        f"{image}: found no OME-Zarr 0.5 image to write labels into, expected one; write them beside it, as .ome.zarr."
    )


def _describe(folder: Path, ome: Mapping[str, Any], more: Mapping[str, Any] | None = None) -> None:
    """Write the metadata of a group, durably."""
    group = zarr.open_group(folder, mode="a", zarr_format=3)
    group.attrs.update({"ome": dict(ome), **(more or {})})
    sync_file(folder / "zarr.json")
    sync_folder(folder)


def _multiscales(layout: Layout, axes: Axes, title: str, prefix: str = "") -> dict[str, Any]:
    """Return multiscale metadata of OME-NGFF 0.5.

    Nearest picking keeps the first voxel of a pair: no level is shifted.
    """
    kinds = {"T": "time", "C": "channel"}
    listed = []
    for name, unit in zip(axes.names, axes.units, strict=True):
        entry = {"name": name.lower(), "type": kinds.get(name, "space")}
        listed.append(entry if unit == "pixel" else entry | {"unit": unit})
    datasets = [
        {"path": f"{prefix}{number}", "coordinateTransformations": _transforms(axes, level)}
        for number, level in enumerate(layout.levels)
    ]
    return {
        "version": "0.5",
        "multiscales": [{"name": title, "type": "nearest", "axes": listed, "datasets": datasets}],
    }


def _transforms(axes: Axes, level: Level) -> list[dict[str, Any]]:
    stride = {"C": 1, **dict(zip(GRID, level.stride, strict=True))}
    scale = [size * stride[a] for a, size in zip(axes.names, axes.scale, strict=True)]
    transforms: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
    if any(axes.translate):
        transforms.append({"type": "translation", "translation": list(axes.translate)})
    return transforms


def _label_image(
    layout: Layout, axes: Axes, title: str, colors: Mapping[int, RGBA], names: Mapping[int, str]
) -> dict[str, Any]:
    rgba = [{"label-value": int(v), "rgba": [round(255 * x) for x in c]} for v, c in colors.items()]
    properties = [{"label-value": int(v), "class": n} for v, n in names.items()]
    label: dict[str, Any] = {"version": "0.5", "source": {"image": "../../"}}
    label |= {key: rows for key, rows in (("colors", rgba), ("properties", properties)) if rows}
    return _multiscales(layout, axes, title) | {"image-label": label}


def _omero(kind: str, colors: Mapping[int, RGBA], names: Mapping[int, str]) -> dict[str, Any]:
    """Return names and colours of the channels, which are the classes."""
    most = 255.0 if kind == "uint8" else 1.0
    window = {"min": 0.0, "max": most, "start": 0.0, "end": most}
    rgb = {v: "".join(f"{round(255 * x):02X}" for x in c[:3]) for v, c in colors.items()}
    return {
        "omero": {
            "channels": [
                {"label": n, "color": rgb.get(v, "FFFFFF"), "window": window, "active": True}
                for v, n in names.items()
            ]
        }
    }
