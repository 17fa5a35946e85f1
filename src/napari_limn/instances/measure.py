"""Measurements that add up over blocks, pieces and basins.

What is summed are whole numbers wherever it can be, so that no result depends on the blocks. Sums may pass 2^63 and come out right:
what counts is centred before it is used, and whole numbers that wrap around do so again on the way back.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.instances.components import scan_places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_limn.volume.boxes import Box

PRODUCTS = tuple(combinations_with_replacement(range(3), 2))
"""Axes of the second moments: ZZ, ZY, ZX, YY, YX, XX."""

_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Intensities:
    """Sums over the intensities of regions, channel by channel.

    Attributes
    ----------
    total, squares
        Of the values less `pivot`, and of their squares (C, N); whole numbers for images of whole numbers.
    least, most
        Least and greatest value (C, N).
    pivot
        Near the values of each channel (C,); with it squares of large values lose nothing.
    """

    total: NDArray[Any]
    squares: NDArray[Any]
    least: NDArray[Any]
    most: NDArray[Any]
    pivot: NDArray[Any]

    @classmethod
    def none(cls, count: int, pivot: NDArray[Any]) -> Intensities:
        """Begin with nothing for `count` regions."""
        shape = (len(pivot), count)
        extremes = np.finfo(np.float64) if pivot.dtype.kind == "f" else np.iinfo(np.int64)
        zeros = np.zeros(shape, pivot.dtype)
        return cls(
            zeros,
            zeros.copy(),
            np.full(shape, extremes.max, pivot.dtype),
            np.full(shape, extremes.min, pivot.dtype),
            pivot,
        )

    def add(self, at: NDArray[np.int64], other: Intensities) -> None:
        """Add regions of others, each to the one that `at` names."""
        for channel in range(len(self.pivot)):
            np.add.at(self.total[channel], at, other.total[channel])
            np.add.at(self.squares[channel], at, other.squares[channel])
            np.minimum.at(self.least[channel], at, other.least[channel])
            np.maximum.at(self.most[channel], at, other.most[channel])


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over the voxels of regions (N of them), which add up.

    Attributes
    ----------
    count
        Voxels of each region.
    first
        First voxel in the scan of the volume.
    first_moments
        Sums of coordinates Z, Y and X, in voxels (3, N).
    second_moments
        Sums of their products (6, N), in the order of :data:`PRODUCTS`.
    low, high
        Bounding box (3, N), half open.
    inner_faces
        Faces along Z, Y and X between two voxels of the region (3, N).
    intensities
        Of the image, if there is one.
    probability
        Sum of the probability of the region's own class, if it is known (N,).
    """

    count: NDArray[np.int64]
    first: NDArray[np.int64]
    first_moments: NDArray[np.int64]
    second_moments: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    inner_faces: NDArray[np.int64]
    intensities: Intensities | None = None
    probability: NDArray[np.int64] | None = None

    @classmethod
    def none(cls, count: int, pivot: NDArray[Any] | None = None, *, probability: bool = False) -> Sums:
        """Begin with nothing for `count` regions."""
        return cls(
            np.zeros(count, np.int64),
            np.full(count, _NEVER),
            np.zeros((3, count), np.int64),
            np.zeros((len(PRODUCTS), count), np.int64),
            np.full((3, count), _NEVER),
            np.zeros((3, count), np.int64),
            np.zeros((3, count), np.int64),
            None if pivot is None else Intensities.none(count, pivot),
            np.zeros(count, np.int64) if probability else None,
        )

    def add(self, at: NDArray[np.int64], other: Sums) -> None:
        """Add regions of others, each to the one that `at` names."""
        np.add.at(self.count, at, other.count)
        np.minimum.at(self.first, at, other.first)
        for mine, theirs in (
            (self.first_moments, other.first_moments),
            (self.second_moments, other.second_moments),
            (self.inner_faces, other.inner_faces),
        ):
            for row, more in zip(mine, theirs, strict=True):
                np.add.at(row, at, more)
        for axis in range(3):
            np.minimum.at(self.low[axis], at, other.low[axis])
            np.maximum.at(self.high[axis], at, other.high[axis])
        if self.intensities is not None and other.intensities is not None:
            self.intensities.add(at, other.intensities)
        if self.probability is not None and other.probability is not None:
            np.add.at(self.probability, at, other.probability)

    def rows(self, start: int) -> Sums:
        """Return the sums of all regions from one on."""
        bright = self.intensities
        if bright is not None:
            bright = Intensities(
                bright.total[:, start:], bright.squares[:, start:], bright.least[:, start:], bright.most[:, start:],
                bright.pivot,
            )  # fmt: skip
        return Sums(
            self.count[start:], self.first[start:], self.first_moments[:, start:], self.second_moments[:, start:],
            self.low[:, start:], self.high[:, start:], self.inner_faces[:, start:], bright,
            None if self.probability is None else self.probability[start:],
        )  # fmt: skip

    def regrouped(self, at: NDArray[np.int64], count: int) -> Sums:
        """Add up regions that belong together.

        Parameters
        ----------
        at
            The new region of each.
        count
            How many there are then.
        """
        pivot = None if self.intensities is None else self.intensities.pivot
        sums = Sums.none(count, pivot, probability=self.probability is not None)
        sums.add(at, self)
        return sums


@dataclass(frozen=True, slots=True)
class Runs:
    """The voxels of a block as runs of one label.

    Most runs are long, so that sums over them are quick, and exact.
    """

    labels: NDArray[np.int64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, labels: NDArray[np.uint32]) -> Runs:
        """Find the runs of a block (Z, Y, X)."""
        rows = labels.reshape(-1, labels.shape[-1])
        change = np.ones(rows.shape, bool)
        np.not_equal(rows[:, 1:], rows[:, :-1], out=change[:, 1:])
        starts = np.flatnonzero(change)
        values = labels.ravel()[starts]
        stops = np.append(starts[1:], labels.size)
        there = values > 0
        return cls(values[there].astype(np.int64), starts[there], stops[there], labels.shape)

    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return Z, Y and first X of each run."""
        row, x = np.divmod(self.starts, self.shape[2])
        z, y = np.divmod(row, self.shape[1])
        return z, y, x

    def reduced(self, reduce: np.ufunc, values: NDArray[Any]) -> NDArray[Any]:
        """Reduce a flat array over each run."""
        edges = np.stack([self.starts, self.stops], axis=1).ravel()
        if len(edges) and edges[-1] == len(values):
            edges = edges[:-1]
        reduced: NDArray[Any] = reduce.reduceat(values, edges)[::2] if len(edges) else values[:0]
        return reduced


def sums_of(
    labels: NDArray[np.uint32],
    count: int,
    box: Box,
    shape: Sequence[int],
    image: NDArray[Any] | None = None,
    pivot: NDArray[Any] | None = None,
    probability: NDArray[np.integer[Any]] | None = None,
) -> Sums:
    """Sum over each region of a block.

    Parameters
    ----------
    labels
        Region at each voxel (Z, Y, X), from 1 to `count`; 0 for none.
    count
        Number of regions; row 0 of the sums stands for none, so they have one row more.
    box, shape
        Place of the block in the TZYX grid, and the extent of that.
    image
        Intensities (C, Z, Y, X).
    pivot
        Near the intensities of each channel.
    probability
        Of the region's class at each voxel, as whole numbers.
    """
    sums = Sums.none(count + 1, pivot if image is not None else None, probability=probability is not None)
    runs = Runs.of(labels)
    at, length = runs.labels, runs.stops - runs.starts
    np.minimum.at(sums.first, at, scan_places(runs.starts, box, shape))
    np.add.at(sums.count, at, length)
    origin = [start for start, _ in box[1:]]
    places = [place + o for place, o in zip(runs.places(), origin, strict=True)]
    _add_moments(sums, at, length, places)
    for axis, place in enumerate(places):
        np.minimum.at(sums.low[axis], at, place)
        np.maximum.at(sums.high[axis], at, place + (length if axis == 2 else 1))
    _add_inner_faces(sums, labels, at, length)
    if image is not None and sums.intensities is not None:
        _add_intensities(sums.intensities, runs, image)
    if probability is not None and sums.probability is not None:
        np.add.at(sums.probability, at, runs.reduced(np.add, probability.ravel().astype(np.int64)))
    return sums


def _add_moments(
    sums: Sums, at: NDArray[np.int64], length: NDArray[np.int64], places: Sequence[NDArray[np.int64]]
) -> None:
    z, y, x = places
    along = length * x + length * (length - 1) // 2  # sum of X over the run
    last = x + length - 1
    squares = _sum_of_squares(last) - _sum_of_squares(x - 1)
    for axis, first in enumerate((length * z, length * y, along)):
        np.add.at(sums.first_moments[axis], at, first)
    products = (length * z * z, length * z * y, along * z, length * y * y, along * y, squares)
    for row, product in zip(sums.second_moments, products, strict=True):
        np.add.at(row, at, product)


def _sum_of_squares(n: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum the squares from 1 to n; n may be −1."""
    total: NDArray[np.int64] = n * (n + 1) * (2 * n + 1) // 6
    return total


def _add_inner_faces(
    sums: Sums, labels: NDArray[np.uint32], at: NDArray[np.int64], length: NDArray[np.int64]
) -> None:
    np.add.at(sums.inner_faces[2], at, length - 1)
    for axis, (one, other) in enumerate(((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1]))):
        same = one == other
        same &= one > 0
        sums.inner_faces[axis] += np.bincount(one[same], minlength=len(sums.count))


def _add_intensities(sums: Intensities, runs: Runs, image: NDArray[Any]) -> None:
    kind = sums.total.dtype
    for channel, pivot in enumerate(sums.pivot):
        values = image[channel].ravel().astype(kind)
        np.minimum.at(sums.least[channel], runs.labels, runs.reduced(np.minimum, values))
        np.maximum.at(sums.most[channel], runs.labels, runs.reduced(np.maximum, values))
        values -= pivot
        np.add.at(sums.total[channel], runs.labels, runs.reduced(np.add, values))
        np.square(values, out=values)
        np.add.at(sums.squares[channel], runs.labels, runs.reduced(np.add, values))


def add_seam_faces(
    sums: Sums, ours: NDArray[np.integer[Any]], theirs: NDArray[np.integer[Any]], step: Sequence[int]
) -> None:
    """Count the faces inside regions that lie between two blocks.

    Parameters
    ----------
    sums
        What they are added to.
    ours, theirs
        Regions on both sides, voxel by voxel.
    step
        From the one side to the other, along one axis.
    """
    axis = next(a for a in range(3) if step[a])
    same = ours[(ours == theirs) & (ours > 0)]
    np.add.at(sums.inner_faces[axis], same.astype(np.int64), 1)
