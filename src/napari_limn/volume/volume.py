"""A volume: any array-like with axes, read box by box."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 checked evaluates annotations
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 checked evaluates annotations
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from napari_limn.arguments import check_record, checked
from napari_limn.errors import LimnError
from napari_limn.volume.axes import GRID, Axes, default_names
from napari_limn.volume.boxes import Box, contains, shape_of, slices, whole
from napari_limn.volume.decoding.pieces import read_pieces
from napari_limn.volume.foreign import foreign
from napari_limn.volume.placement import NEAR, Placement, distance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RGBA = tuple[float, float, float, float]


@runtime_checkable
class ArrayLike(Protocol):
    """What a volume needs of its data.

    numpy, zarr, dask, tensorstore and mapped files have it.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the extent along each axis."""
        ...

    @property
    def dtype(self) -> Any:
        """Return the type of a voxel."""
        ...

    def __getitem__(self, index: Any, /) -> Any: ...


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """An image or label volume that is read lazily.

    Parameters
    ----------
    data
        Array-like in the order of `axes`; never read as a whole by this package.
    axes
        Names, voxel size, units and origin.
    name
        Used in messages.
    levels
        Coarser copies of `data`, finest first, for display only.
    colors
        For a label volume: colour (RGBA, 0–1) of each label value; None for an intensity image.
    path
        Of the file or folder that it was opened from.
    names
        For a label volume: name of each label value, as far as the file says.
    notes
        What the file holds besides, and what is not known of it: a sentence each, to be shown once.
    place
        Where its voxels lie, where scale and origin do not say it all; of a layer, where it is seen.
    part
        Its number in `path`, where several images lie there.

    Examples
    --------
    >>> Volume.of(np.zeros((5, 6, 3))).read(((0, 1), (0, 1), (0, 5), (0, 6))).shape
    (3, 1, 1, 5, 6)
    """

    data: ArrayLike
    axes: Axes
    name: str = "array"
    levels: tuple[ArrayLike, ...] = ()
    colors: Mapping[int, RGBA] | None = field(default=None)
    path: Path | None = None
    names: Mapping[int, str] | None = None
    notes: tuple[str, ...] = ()
    place: Placement | None = field(default=None, repr=False)
    part: int | None = None

    def __post_init__(self) -> None:
        check_record(self)
        self._refuse_no_numbers()
        shape = tuple(self.data.shape)
        if len(shape) != len(self.axes.names):
            raise LimnError(
                f"{self.name}: found shape {shape} with axes {self.axes.names}, expected one axis for each dimension."
            )
        if 0 in shape:
            raise LimnError(
                f"{self.name}: found shape {shape}, expected at least one voxel along every axis."
            )

    def _refuse_no_numbers(self) -> None:
        """Refuse texts, dates, records and objects.

        And what is no type of NumPy.
        """
        kind = self.data.dtype
        with suppress(TypeError):
            if np.dtype(kind).kind in "biufc":
                return
        raise LimnError(
            f"{self.name}: found voxels of type {kind}, expected numbers in a type that NumPy knows; convert them, for example with "
            "numpy.asarray."
        )

    @classmethod
    @checked
    def of(cls, data: Any, axes: str | Axes | None = None, name: str = "array") -> Volume:
        """Wrap an array.

        `axes` such as ``"ZYX"`` are guessed from the number of dimensions where not given.
        """
        if not isinstance(data, ArrayLike):
            with foreign(lambda said: f"{name}: found no array ({said}), expected rows of one length.", name):
                data = np.asarray(data)
        if not isinstance(axes, Axes):
            axes = Axes.of(axes.upper() if axes else default_names(tuple(data.shape)))
        return cls(data, axes, name)

    @property
    def grid(self) -> tuple[int, int, int, int]:
        """Return the extent along T, Z, Y and X.

        1 where the volume has no such axis.
        """
        sizes = dict(zip(self.axes.names, self.data.shape, strict=True))
        t, z, y, x = (int(sizes.get(a, 1)) for a in GRID)
        return t, z, y, x

    @property
    def extent(self) -> tuple[int, ...]:
        """Return the extent along its own axes, without channels."""
        return tuple(int(n) for n, a in zip(self.data.shape, self.axes.names, strict=True) if a != "C")

    @property
    def placement(self) -> Placement:
        """Return where its voxels lie."""
        return Placement.of(self.axes) if self.place is None else self.place

    @property
    def channels(self) -> int:
        """Return the number of channels."""
        return int(self.data.shape[self.axes.names.index("C")]) if "C" in self.axes.names else 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the type of a voxel."""
        dtype: np.dtype[Any] = np.dtype(self.data.dtype)
        return dtype

    @property
    def nbytes(self) -> int:
        """Return the bytes of the whole volume.

        Computed in Python integers, so that absurd headers cannot overflow.
        """
        return size_in_bytes(tuple(self.data.shape), self.dtype)

    def read(self, box: Box) -> NDArray[Any]:
        """Read one box.

        Parameters
        ----------
        box
            On the TZYX grid, inside the volume.

        Returns
        -------
        array of shape (C, T, Z, Y, X), in the volume's own type, native byte order.

        Raises
        ------
        LimnError
            For a box outside the volume, or a file that cannot be decoded there.
        """
        if not contains(whole(self.grid), box):
            raise LimnError(f"{self.name}: box {box} leaves the volume of {GRID} size {self.grid}.")
        at, sizes = dict(zip(GRID, slices(box), strict=True)), (self.channels, *shape_of(box))
        index = tuple(at.get(name, slice(None)) for name in self.axes.names)
        with foreign(
            lambda said: f"{self.name}: the file is damaged or cut off, box {box} cannot be read ({said}).",
            self.name,
        ):
            part = np.asarray(read_pieces(self.data, index))
        names = "C" + GRID
        have = [self.axes.names.index(a) for a in names if a in self.axes.names]
        return part.astype(part.dtype.newbyteorder("="), copy=False).transpose(have).reshape(sizes)

    def written(self) -> list[Box] | None:
        """Return disjoint boxes outside of which every voxel is 0.

        On the TZYX grid; None where the array does not know any.
        """
        if (boxes := getattr(self.data, "boxes", None)) is None:
            return None
        named = (dict(zip(self.axes.names, box, strict=True)) for box in boxes())
        return [tuple(at.get(name, (0, 1)) for name in GRID) for at in named]

    def squeezed(self, grid_array: NDArray[Any]) -> NDArray[Any]:
        """Return a TZYX array in this volume's own axes, without channels."""
        names = self.axes.without("C").names
        missing = tuple(i for i, a in enumerate(GRID) if a not in names)
        order = [a for a in GRID if a in names]
        return np.squeeze(grid_array, axis=missing).transpose([order.index(a) for a in names])


def size_in_bytes(shape: Sequence[int], dtype: Any) -> int:
    """Compute the bytes of an array, in Python integers."""
    total = int(np.dtype(dtype).itemsize)
    for n in shape:
        total *= int(n)
    return total


class _Stacked:
    """Channels of several volumes as one lazy array.

    Channels first, then the axes of the first volume.
    """

    def __init__(self, parts: Sequence[Volume]) -> None:
        self.parts, self._first = tuple(parts), parts[0]
        self._names = self._first.axes.without("C").names
        sizes = dict(zip(GRID, self._first.grid, strict=True))
        self.shape = (sum(p.channels for p in parts), *(sizes[a] for a in self._names))
        self.dtype = np.result_type(*(p.dtype for p in parts))

    def __getitem__(self, index: tuple[slice, ...]) -> NDArray[Any]:
        at = dict(zip(self._names, index[1:], strict=True))
        box = tuple((at[a].start, at[a].stop) if a in at else (0, 1) for a in GRID)
        part = np.concatenate([p.read(box) for p in self.parts]).astype(self.dtype, copy=False)
        return np.stack([self._first.squeezed(channel) for channel in part])


def voxels_apart(one: Volume, other: Volume, *, shown: bool = False) -> float:
    """Return how far two volumes lie apart, in voxels of the other.

    Voxel is compared with voxel as :func:`~napari_limn.volume.reading.open.open_labels` matches them: one by one where the
    extents are the same, or else by the names of axes. A volume that says nothing of its place lies anywhere, unless it is `shown`.
    """
    ours, theirs = one.placement, other.placement
    if (ours.says_nothing or theirs.says_nothing) and not (shown or ours.shown or theirs.shown):
        return 0.0
    if one.extent == other.extent:
        return distance(ours, theirs, other.extent)
    both = "".join(a for a in theirs.names if a in ours.names)
    sizes = dict(zip(theirs.names, other.extent, strict=True))
    return distance(ours.along(both), theirs.along(both), [sizes[a] for a in both])


_PLAIN = (1.0, "pixel", 0.0)


def stack_channels(volumes: Sequence[Volume]) -> Volume:
    """Stack volumes of the same grid as the channels of one.

    In the order given; one volume is returned as it is.

    Raises
    ------
    LimnError
        If their grids differ, or lie in other places.
    """
    first = volumes[0]
    if len(volumes) == 1:
        return first
    for other in volumes[1:]:
        if other.grid != first.grid:
            raise LimnError(
                f"channels {first.name} and {other.name} differ in {GRID} size: found {first.grid} and {other.grid}, "
                "expected the same; choose channels of one image."
            )
        if (far := voxels_apart(other, first)) > NEAR:
            raise LimnError(
                f"channels {first.name} and {other.name}: found them {far:.3g} voxels apart, expected them in one place, since channels "
                f"count voxel by voxel; choose channels of one image, or give {other.name} the scale and position of {first.name}."
            )
    own = {a: i for i, a in enumerate(first.axes.names)}
    names = "C" + first.axes.without("C").names
    rows = [
        (first.axes.scale[own[a]], first.axes.units[own[a]], first.axes.translate[own[a]])
        if a in own
        else _PLAIN
        for a in names
    ]
    scale, units, translate = (tuple(column) for column in zip(*rows, strict=True))
    axes = Axes(names, scale, units, translate)
    notes = tuple(dict.fromkeys(note for volume in volumes for note in volume.notes))
    return Volume(
        _Stacked(volumes), axes, name=" + ".join(v.name for v in volumes), place=first.place, notes=notes
    )
