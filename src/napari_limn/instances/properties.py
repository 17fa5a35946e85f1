"""Properties of objects from their sums, in physical units.

Names and definitions are those of :func:`skimage.measure.regionprops_table` wherever it has them; it needs the whole volume in memory,
sums do not. Others are described here:

- `elongation`: 1 − minor ÷ major axis; 0 for a ball, near 1 for a thread.
- `perimeter_faces`, `surface_faces`: total extent of the voxel sides where an object ends, also at the border of the image. It adds
  up exactly, and is larger than that of a smooth outline: for a disc 4 ÷ π times, for a ball 1.5 times.
- `touches_border`: whether an object reaches the border of the image, so that a part of it may be missing.
- `probability_mean`: mean probability of the object's class.
- `intensity_sum`: sum of all intensities.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.instances.measure import PRODUCTS
from napari_limn.instances.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_limn.instances.measure import Intensities, Sums
    from napari_limn.volume.volume import Volume

CERTAIN = 65535
"""A probability of 1 in the sums, where they are whole numbers."""

Columns = dict[str, "NDArray[Any]"]


def properties(
    sums: Sums, volume: Volume, classes: NDArray[np.int64], names: Mapping[int, str] | None = None
) -> Table:
    """Compute the properties of objects.

    Parameters
    ----------
    sums
        Of the objects 1, 2, …; without a row for none.
    volume
        The labels: extent, voxel size and units.
    classes
        Class of each object.
    names
        Names of the classes, as far as known.
    """
    spatial = slice(1 if volume.grid[1] == 1 else 0, 3)
    spacing = np.asarray(volume.axes.spacing)
    columns: Columns = {"label": np.arange(1, len(classes) + 1)}
    if volume.grid[0] > 1:
        columns["frame"] = sums.first // prod(volume.grid[1:])
    columns["class"] = classes
    if names:
        columns["class_name"] = np.array([names.get(int(v), "") for v in classes], object)
    columns |= _extents(sums, volume, spatial)
    columns |= _shapes(_covariances(sums, spacing)[:, spatial, spatial])
    columns |= _boundaries(sums, volume, spacing, flat=spatial.start == 1)
    if sums.probability is not None:
        columns["probability_mean"] = sums.probability / (CERTAIN * sums.count)
    if sums.intensities is not None:
        columns |= _intensities(sums.intensities, sums.count)
    unit = volume.axes.units[volume.axes.names.index("X")]
    return Table(columns, _units(columns, unit, 3 - spatial.start))


def _extents(sums: Sums, volume: Volume, spatial: slice) -> Columns:
    spacing = np.asarray(volume.axes.spacing)[spatial]
    columns: Columns = {"num_pixels": sums.count, "area": sums.count * float(prod(spacing.tolist()))}
    for number, (total, size) in enumerate(zip(sums.first_moments[spatial], spacing, strict=True)):
        columns[f"centroid-{number}"] = total / sums.count * size
    corners = (*sums.low[spatial], *sums.high[spatial])
    return columns | {f"bbox-{number}": corner for number, corner in enumerate(corners)}


def _covariances(sums: Sums, spacing: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return covariances of the coordinates (N, 3, 3), in physical units.

    Centred in whole numbers first: then nothing is lost, however far from the origin an object lies.
    """
    n, totals = sums.count, sums.first_moments
    middle = totals // n
    rest = (totals - n * middle) / n
    matrix = np.empty((len(n), 3, 3))
    for (i, j), total in zip(PRODUCTS, sums.second_moments, strict=True):
        centred = total - middle[i] * totals[j] - middle[j] * totals[i] + n * middle[i] * middle[j]
        matrix[:, i, j] = matrix[:, j, i] = (centred / n - rest[i] * rest[j]) * spacing[i] * spacing[j]
    return matrix


def _shapes(covariances: NDArray[np.float64]) -> Columns:
    """Return the axes of the ellipse or ellipsoid with the same moments."""
    ndim = covariances.shape[1]
    spread = np.linalg.eigvalsh(covariances).clip(0)
    scale = 4.0 if ndim == 2 else np.sqrt(20)
    minor, major = scale * np.sqrt(spread[:, 0]), scale * np.sqrt(spread[:, -1])
    share = np.divide(minor, major, out=np.ones_like(major), where=major > 0)
    columns = {"axis_major_length": major, "axis_minor_length": minor, "elongation": 1 - share}
    if ndim == 2:
        columns["eccentricity"] = np.sqrt(1 - share**2)
        columns["orientation"] = _orientations(covariances)
    return columns


def _orientations(covariances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the angles between rows and major axes, −π/2 to π/2."""
    across, difference = covariances[:, 0, 1], covariances[:, 0, 0] - covariances[:, 1, 1]
    tilted = np.where(across > 0, np.pi / 4, -np.pi / 4)
    return np.where(difference == 0, tilted, np.arctan2(2 * across, difference) / 2)


def _boundaries(sums: Sums, volume: Volume, spacing: NDArray[np.float64], *, flat: bool) -> Columns:
    sides = (
        [spacing[2], spacing[1]] if flat else [prod(np.delete(spacing, axis).tolist()) for axis in range(3)]
    )
    axes = range(1 if flat else 0, 3)
    outer = [2 * (sums.count - sums.inner_faces[axis]) for axis in axes]
    name = "perimeter_faces" if flat else "surface_faces"
    border = np.zeros(len(sums.count), bool)
    for axis in axes:
        border |= (sums.low[axis] == 0) | (sums.high[axis] == volume.grid[axis + 1])
    return {
        name: np.sum([faces * side for faces, side in zip(outer, sides, strict=True)], axis=0),
        "touches_border": border,
    }


def _intensities(sums: Intensities, count: NDArray[np.int64]) -> Columns:
    columns: Columns = {}
    for channel, pivot in enumerate(sums.pivot):
        total, end = sums.total[channel], f"-{channel}" if len(sums.pivot) > 1 else ""
        middle = total // count if pivot.dtype.kind == "i" else np.zeros_like(total)
        rest = (total - count * middle) / count
        centred = sums.squares[channel] - 2 * middle * total + count * middle * middle
        columns[f"intensity_mean{end}"] = pivot + (middle + rest)
        columns[f"intensity_std{end}"] = np.sqrt((centred / count - rest**2).clip(0))
        columns[f"intensity_min{end}"] = sums.least[channel]
        columns[f"intensity_max{end}"] = sums.most[channel]
        columns[f"intensity_sum{end}"] = total + count * pivot
    return columns


def _units(columns: Columns, unit: str, ndim: int) -> dict[str, str]:
    """Return the unit of each column that has one."""
    powers = {
        "area": ndim, "axis_major_length": 1, "axis_minor_length": 1, "perimeter_faces": 1, "surface_faces": 2,
        **{name: 1 for name in columns if name.startswith("centroid")},
    }  # fmt: skip
    there = {name: power for name, power in powers.items() if name in columns}
    units = {name: f"{unit}{power if power > 1 else ''}" for name, power in there.items()}
    return units | {name: "pixel" for name in columns if name.startswith("bbox")}
