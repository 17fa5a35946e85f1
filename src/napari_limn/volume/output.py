"""Label volumes going out: a numpy array, an OME-TIFF or an OME-Zarr, written block by block, each voxel once."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import tifffile
import zarr

from napari_limn.errors import LimnError
from napari_limn.volume.axes import GRID
from napari_limn.volume.boxes import slices
from napari_limn.volume.mapped import MappedArray
from napari_limn.volume.open import TIFF_SUFFIXES, ZARR_SUFFIXES
from napari_limn.volume.tiff import MARK
from napari_limn.volume.volume import size_in_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_limn.volume.axes import Axes
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.volume import RGBA, Volume


class LabelOutput(Protocol):
    """Where the labels of a prediction go."""

    def write(self, box: Box, labels: NDArray[Any]) -> None:
        """Write labels of shape (T, Z, Y, X) at `box` on the grid."""
        ...

    def finish(self) -> Any:
        """Declare the output complete; returns the array, or the path of the file."""
        ...


class ArrayOutput:
    """Labels into an array in the axes of the image: numpy, or anything that takes slices."""

    def __init__(self, image: Volume, array: Any) -> None:
        self.array, self._image = array, image

    def write(self, box: Box, labels: NDArray[Any]) -> None:
        """See :class:`LabelOutput`."""
        at = dict(zip(GRID, slices(box), strict=True))
        index = tuple(at[name] for name in self._image.axes.without("C").names)
        self.array[index] = self._image.squeezed(labels)

    def finish(self) -> Any:
        """The array."""
        return self.array


class FileOutput(ArrayOutput):
    """Labels into a file that carries the suffix ``.partial`` until it is complete."""

    def __init__(self, image: Volume, array: Any, partial: Path, path: Path) -> None:
        super().__init__(image, array)
        self._partial, self._path = partial, path

    def finish(self) -> Path:
        """Give the file its name."""
        remove(self._path)
        self._partial.rename(self._path)
        return self._path


class ZarrOutput(FileOutput):
    """An OME-Zarr whose metadata are written last."""

    def __init__(
        self, image: Volume, group: zarr.Group, array: Any, partial: Path, path: Path, ome: dict[str, Any]
    ) -> None:
        super().__init__(image, array, partial, path)
        self._group, self._ome = group, ome

    def finish(self) -> Path:
        """Write the metadata, then give the folder its name."""
        self._group.attrs["ome"] = self._ome
        return super().finish()


def labels_shape(image: Volume) -> tuple[int, ...]:
    """Shape of the labels of an image: its own without the channel axis."""
    return tuple(int(n) for n, a in zip(image.data.shape, image.axes.names, strict=True) if a != "C")


def in_memory(image: Volume, dtype: Any) -> ArrayOutput:
    """An output that is a numpy array of zeros."""
    return ArrayOutput(image, np.zeros(labels_shape(image), dtype))


def create_output(
    path: Path,
    image: Volume,
    dtype: Any,
    block: Sequence[int],
    colors: Mapping[int, RGBA],
    names: Mapping[int, str],
    *,
    overwrite: bool = False,
) -> LabelOutput:
    """Create a label file beside its final name.

    Parameters
    ----------
    path
        Ends in ``.tif``, ``.tiff`` or ``.zarr``.
    image
        Gives extent, axes, voxel size and units.
    dtype
        Integer type of a label.
    block
        Extent (T, Z, Y, X) of the blocks that are going to be written: the chunks of a Zarr.
    colors, names
        Of the label values; saved in the file.

    Raises
    ------
    LimnError
        If the file exists and `overwrite` is not set, the suffix is unknown, or the disk is too small.
    """
    suffix = path.suffix.lower()
    if suffix not in (*TIFF_SUFFIXES, *ZARR_SUFFIXES):
        raise LimnError(
            f"{path.name}: found suffix {suffix or '(none)'!r}, expected .tif or .ome.zarr for the labels."
        )
    refuse_existing(path, overwrite=overwrite)
    if not path.parent.is_dir():
        raise LimnError(f"{path.parent}: there is no such folder to write {path.name} into; create it first.")
    partial = path.with_name(path.name + ".partial")
    remove(partial)
    if suffix in TIFF_SUFFIXES:
        _refuse_small_disk(path, size_in_bytes(labels_shape(image), dtype))
        return FileOutput(image, _create_tiff(partial, image, dtype, colors), partial, path)
    group = zarr.create_group(partial, zarr_format=3)
    array = _create_array(group, image, dtype, block)
    return ZarrOutput(
        image, group, array, partial, path, _ome_metadata(image.axes.without("C"), path, colors, names)
    )


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Refuse to write over what is there.

    Raises
    ------
    LimnError
        If `path` exists and `overwrite` is not set.
    """
    if path.exists() and not overwrite:
        raise LimnError(f"{path}: exists already; choose another name, or say --overwrite.")


def remove(path: Path) -> None:
    """Remove a file or a Zarr folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _refuse_small_disk(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise LimnError(
            f"{path}: the labels need {needed / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB free; "
            "make room, or write a compressed .ome.zarr."
        )


def _create_tiff(partial: Path, image: Volume, dtype: Any, colors: Mapping[int, RGBA]) -> MappedArray:
    """An OME-TIFF full of zeros, voxel size also in the resolution tags."""
    axes = image.axes.without("C")
    shape = labels_shape(image)
    if np.dtype(dtype).kind not in "iu" or np.dtype(dtype).itemsize > 4:
        raise LimnError(
            f"{partial.stem}: found labels of type {np.dtype(dtype)}, OME-TIFF holds whole numbers of up to 32 bits; write .ome.zarr."
        )
    order = [axes.names.index(a) for a in GRID if a in axes.names]
    if order != sorted(order):
        raise LimnError(
            f"{image.name}: found axes {axes.names}, OME-TIFF needs their order to be {GRID}; write .ome.zarr."
        )
    metadata: dict[str, Any] = {
        "axes": axes.names,
        "Description": json.dumps({MARK: {int(v): list(c) for v, c in colors.items()}}),
    }
    for name, scale, unit in zip(axes.names, axes.scale, axes.units, strict=True):
        key = "TimeIncrement" if name == "T" else f"PhysicalSize{name}"
        if unit != "pixel":
            metadata |= {key: scale, f"{key}Unit": _OME_UNITS.get(unit, unit)}
    with tifffile.TiffWriter(partial, bigtiff=size_in_bytes(shape, dtype) > 3 << 30, ome=True) as writer:
        placed = writer.write(
            None, shape=shape, dtype=dtype, photometric="minisblack", metadata=metadata, returnoffset=True,
            align=np.dtype(dtype).itemsize, **_resolution(axes),
        )  # fmt: skip
    if placed is None:
        raise LimnError(f"{partial}: the TIFF cannot be laid out in one piece; write .ome.zarr.")
    return MappedArray(partial, shape, dtype, placed[0])


_OME_UNITS = {
    "micrometer": "µm",
    "nanometer": "nm",
    "millimeter": "mm",
    "centimeter": "cm",
    "meter": "m",
    "angstrom": "Å",
    "second": "s",
    "millisecond": "ms",
    "minute": "min",
    "hour": "h",
}
_CENTIMETRES = {
    "micrometer": 1e-4,
    "nanometer": 1e-7,
    "millimeter": 0.1,
    "centimeter": 1.0,
    "meter": 100.0,
    "angstrom": 1e-8,
}


def _resolution(axes: Axes) -> dict[str, Any]:
    """Resolution tags (pixels a centimetre) for readers that know no OME-XML."""
    sizes = {
        a: s * _CENTIMETRES[u]
        for a, s, u in zip(axes.names, axes.scale, axes.units, strict=True)
        if u in _CENTIMETRES
    }
    if not {"Y", "X"} <= set(sizes):
        return {}
    return {"resolution": (1 / sizes["X"], 1 / sizes["Y"]), "resolutionunit": "CENTIMETER"}


def _create_array(group: zarr.Group, image: Volume, dtype: Any, block: Sequence[int]) -> zarr.Array[Any]:
    """Level 0; one chunk is one block, so no two blocks ever share a chunk."""
    names = image.axes.without("C").names
    extent = dict(zip(GRID, block, strict=True))
    shape = labels_shape(image)
    chunks = tuple(min(extent[a], n) for a, n in zip(names, shape, strict=True))
    return group.create_array(
        "0", shape=shape, chunks=chunks, dtype=dtype, fill_value=0, dimension_names=[a.lower() for a in names]
    )


def _ome_metadata(
    axes: Axes, path: Path, colors: Mapping[int, RGBA], names: Mapping[int, str]
) -> dict[str, Any]:
    """Multiscale and image-label metadata of OME-NGFF 0.5."""
    kinds = {"T": "time"}
    listed = []
    for name, unit in zip(axes.names, axes.units, strict=True):
        entry = {"name": name.lower(), "type": kinds.get(name, "space")}
        listed.append(entry if unit == "pixel" else entry | {"unit": unit})
    transforms: list[dict[str, Any]] = [{"type": "scale", "scale": list(axes.scale)}]
    if any(axes.translate):
        transforms.append({"type": "translation", "translation": list(axes.translate)})
    dataset = {"path": "0", "coordinateTransformations": transforms}
    return {
        "version": "0.5",
        "multiscales": [{"name": path.name.split(".")[0], "axes": listed, "datasets": [dataset]}],
        "image-label": {
            "colors": [{"label-value": v, "rgba": [round(255 * x) for x in c]} for v, c in colors.items()],
            "properties": [{"label-value": v, "class": n} for v, n in names.items()],
        },
    }
