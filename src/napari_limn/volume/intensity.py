"""Intensity: a recipe in the model, numbers fitted once per volume.

They are never fitted per tile.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.concurrency import in_parallel
from napari_limn.errors import LimnError
from napari_limn.specs import check_fields
from napari_limn.volume.decoding.pieces import reading_bytes, rows_of_piece

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from napari_limn.volume.volume import Volume

_MOST = 1e6  # a scaled value is no larger: features take its fourth power, which float32 has to hold
_SAMPLE = 1 << 21
_SHARED_SAMPLE = 1 << 14  # voxels of each of several images
_IN_FLIGHT = 1 << 22  # voxels read at once, at most (or one plane)
_STRIP = 1 << 26  # bytes of a plane read at once, whatever the memory is limited to
_PLANES = 16


@dataclass(frozen=True, slots=True)
class IntensitySpec:
    """Recipe: which percentiles of a channel become 0 and 1.

    Parameters
    ----------
    low, high
        Percentiles, 0 ≤ low < high ≤ 100.
    """

    low: float = 1.0
    high: float = 99.0

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 <= self.low < self.high <= 100:
            raise LimnError(
                f"found percentiles {self.low:g} and {self.high:g}, expected 0 ≤ low < high ≤ 100."
            )


@dataclass(frozen=True, slots=True)
class Scaling:
    """Numbers fitted to one volume.

    Value `low` of each channel becomes 0 and `low + width` becomes 1. `notes` are sentences on what could not be read.
    """

    low: tuple[float, ...]
    width: tuple[float, ...]
    notes: tuple[str, ...] = field(default=(), repr=False, compare=False)

    def apply(self, part: NDArray[Any]) -> NDArray[np.float32]:
        """Scale `part`, channels first.

        Values that are not finite become 0, and none is more than a million either way.
        """
        tail = (-1,) + (1,) * (part.ndim - 1)
        # float32 holds whole numbers only up to 2**24
        kind: type[Any] = np.float32 if part.dtype == np.float32 or part.dtype.itemsize < 4 else np.float64
        low, width = np.asarray(self.low, kind).reshape(tail), np.asarray(self.width, kind).reshape(tail)
        with np.errstate(over="ignore", invalid="ignore"):
            values = part.astype(kind)  # a copy, and the only one
            values -= low
            values /= width
            scaled: NDArray[np.float32] = values.astype(np.float32, copy=False)
        if part.dtype.kind == "f":
            np.nan_to_num(scaled, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        if part.dtype.kind == "f" or part.dtype.itemsize > 2:
            np.clip(scaled, -_MOST, _MOST, out=scaled)
        return scaled


def fit_scaling(volume: Volume, spec: IntensitySpec | None = None) -> Scaling:
    """Fit the recipe to a sample of a volume.

    The sample is at most 16 planes, spread evenly over it.

    Deterministic: the same volume always gives the same numbers. A constant channel gets width 1. Where both percentiles are the same
    value, as of sparse signals on 0, those of all other values count, together with that one.

    Examples
    --------
    >>> from napari_limn.volume.volume import Volume
    >>> fit_scaling(Volume.of(np.arange(101.0).reshape(1, 101)), IntensitySpec(0, 100))
    Scaling(low=(0.0,), width=(100.0,))
    """
    refuse_no_intensities(volume)
    sample, notes = _sample(volume)
    return _fitted(sample, spec or IntensitySpec(), (*notes, *no_numbers(sample, volume.name)))


def fit_shared_scaling(volumes: Iterable[Volume], spec: IntensitySpec | None = None) -> Scaling:
    """Fit the recipe to several images at once.

    Of each, the same number of voxels counts, or all that it has.

    Parameters
    ----------
    volumes
        At least one, all with the same number of channels. They are sampled one after the other.
    spec
        The recipe; see :func:`fit_scaling`.
    """
    samples, notes = [], list[str]()
    for volume in volumes:
        refuse_no_intensities(volume)
        sample, unread = _sample(volume)
        notes += [*unread, *no_numbers(sample, volume.name)]
        samples.append(sample[:, :: max(1, -(-sample.shape[1] // _SHARED_SAMPLE))])
    return _fitted(np.concatenate(samples, axis=1), spec or IntensitySpec(), notes)


def _fitted(sample: NDArray[Any], spec: IntensitySpec, notes: Iterable[str]) -> Scaling:
    """Fit the recipe to a sample of shape (C, N)."""
    low, width = [], []
    for channel in sample:
        values = channel[np.isfinite(channel)]
        bounds = _bounds(values, spec)
        low.append(float(bounds[0]))
        width.append(float(np.clip(bounds[1] / 2 - bounds[0] / 2, 0, np.finfo(float).max / 2) * 2) or 1.0)
    return Scaling(tuple(low), tuple(width), tuple(notes))


def _bounds(values: NDArray[np.float64], spec: IntensitySpec) -> NDArray[np.float64]:
    """Compute the percentiles of finite values.

    Those of the rest where they are one value.
    """
    if not values.size:
        return np.zeros(2)
    bounds = np.percentile(values, [spec.low, spec.high])
    if bounds[0] == bounds[1] and (rest := values[values != bounds[0]]).size:
        low, high = np.percentile(rest, [spec.low, spec.high])
        bounds = np.array([min(low, bounds[0]), max(high, bounds[1])])
    return bounds


def refuse_no_intensities(volume: Volume) -> None:
    """Raise a LimnError for voxels that are neither whole nor real numbers."""
    if volume.dtype.kind not in "buif":
        raise LimnError(
            f"{volume.name}: found voxels of type {volume.dtype}, expected whole or real numbers; "
            "convert the image, for example to its magnitude."
        )


def no_numbers(values: NDArray[Any], name: str) -> list[str]:
    """Say which part of some voxels is NaN or infinite.

    Nothing where none is.

    Examples
    --------
    >>> no_numbers(np.array([1.0, 2.0]), "a.tif")
    []
    """
    count = values.size - np.count_nonzero(np.isfinite(values))
    if not count:
        return []
    return [
        f"{name}: found {share(count / values.size)} of the voxels without a finite number (NaN or infinite), expected "
        "intensities everywhere; they count as 0, like the darkest: fill them if that is wrong."
    ]


def share(part: float) -> str:
    """Write a share so that a small one is not nothing.

    Examples
    --------
    >>> share(0.081), share(0.0001), share(0.9999)
    ('8 %', 'less than 1 %', 'more than 99 %')
    """
    if 0 < part < 0.01:
        return "less than 1 %"
    return "more than 99 %" if 0.99 < part < 1 else f"{100 * part:.0f} %"


def _sample(volume: Volume) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Read a sample of shape (C, N).

    And say what cannot be read.

    Every so-many-th pixel of planes spread over T and Z.

    Raises
    ------
    LimnError
        If none of them can be read.
    """
    t, z, y, x = volume.grid
    planes = np.unique(np.linspace(0, t * z - 1, min(_PLANES, t * z)).round().astype(int))
    per_plane = max(1, _SAMPLE // len(planes))
    rows = max(1, min(y, (1 << 26) // x))  # of a gigantic plane only its middle rows are read
    step = max(1, int(np.ceil(np.sqrt(rows * x / per_plane))))
    first, last = (y - rows) // 2, (y + rows) // 2
    strip = step * max(1, _STRIP // (x * volume.channels * volume.dtype.itemsize * step))
    if reading_bytes(volume.data) and "Y" in volume.axes.names:
        # a large piece is decoded once, not once a strip
        strip = max(strip, -(-rows_of_piece(volume.data, volume.axes.names.index("Y")) // step) * step)

    def read(plane: int) -> NDArray[Any]:
        parts = []
        for start in range(first, last, strip):
            lines = start, min(start + strip, last)
            box = ((plane // z, plane // z + 1), (plane % z, plane % z + 1), lines, (0, x))
            parts.append(volume.read(box)[:, 0, 0, ::step, ::step].reshape(volume.channels, -1))
        return np.concatenate(parts, axis=1)

    together = max(1, min(len(planes), _IN_FLIGHT // (rows * x * volume.channels)))
    faults: list[LimnError] = []

    def tried(plane: int) -> NDArray[Any] | None:
        try:
            return read(plane)
        except LimnError as error:
            faults.append(error)
            return None

    parts = [part for part in in_parallel(tried, planes.tolist(), together) if part is not None]
    if not parts:
        raise faults[0]
    return np.concatenate(parts, axis=1).astype(np.float64), tuple(_unread(faults, len(planes)))


def _unread(faults: list[LimnError], count: int) -> Iterator[str]:
    """Say that planes are left out of the fit."""
    if faults:
        yield (
            f"found {len(faults)} of {count} planes, from which intensities are fitted, that cannot be read, and left them out; "
            f"a prediction stops where it comes to them: {faults[0]}"
        )
