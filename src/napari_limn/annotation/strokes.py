"""Where the paint is."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from napari_limn.annotation.classes import refuse_negative
from napari_limn.volume.boxes import Box, blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_limn.annotation.classes import ZeroMeaning
    from napari_limn.volume.volume import Volume

    _Part = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float32]]

_SCAN = 1 << 22  # voxels read at once
_KEEP = 1 << 21  # painted voxels remembered; of fuller masks an even random sample
_RARE = 1 << 14  # but of each value about so many, if there are


@dataclass(frozen=True, slots=True, eq=False)
class Paint:
    """Painted voxels of one label volume.

    Parameters
    ----------
    where
        Integer array of shape (N, 4): places on the TZYX grid.
    value
        Integer array of shape (N,): the paint value at each.
    counts
        How many voxels carry each value, the ones not remembered in `where` included.
    """

    where: NDArray[np.int32]
    value: NDArray[np.int64]
    counts: dict[int, int]

    def among(self, values: tuple[int, ...]) -> Paint:
        """Keep only the paint that carries one of `values`."""
        keep = np.isin(self.value, values)
        return Paint(
            self.where[keep], self.value[keep], {v: n for v, n in self.counts.items() if v in values}
        )


def find_paint(labels: Volume, zero: ZeroMeaning, seed: int = 0) -> Paint:
    """Scan a label volume block by block.

    The volume is never in memory as a whole.

    Of an array that knows where it is 0, only the rest is read, unless 0 is a class. Of more than some 2 million painted voxels an even
    random sample is remembered, and of each value about 16,000 at least.

    Raises
    ------
    LimnError
        For negative labels.
    """
    rng, counts = np.random.default_rng(seed), dict[int, int]()
    parts: list[_Part] = []
    kept = 0  # voxels in them
    share = min(1.0, _KEEP / prod(labels.grid)) if zero == "background" else 1.0
    for box, block in _scan(labels, labels.written() if zero == "unlabelled" else None):
        flat = block.reshape(-1)  # along one axis, NumPy finds what is not 0 ten times as fast
        at = np.arange(flat.size) if zero == "background" else np.flatnonzero(flat)
        for v, n in tally(flat[at]).items():
            counts[v] = counts.get(v, 0) + n
        numbers = rng.random(at.size, np.float32)
        if share < 1:
            keep = _remembered(flat[at], numbers, counts, share)
            at, numbers = at[keep], numbers[keep]
        places = np.unravel_index(at, block.shape)
        where = np.column_stack([p + start for p, (start, _) in zip(places, box, strict=True)]).astype(
            np.int32
        )
        parts.append((where, flat[at].astype(np.int64), numbers))
        kept += len(where)
        if kept > 2 * _KEEP + _RARE * len(counts):
            share = _KEEP / sum(counts.values())
            parts = [_joined(parts, counts, share)]
            kept = len(parts[0][0])
    # what seemed rare in the first blocks need not be rare
    places_kept, value, _ = _joined(parts, counts, _KEEP / max(_KEEP, sum(counts.values())))
    return _in_raster_order(places_kept, value, counts)


def _joined(parts: list[_Part], counts: dict[int, int], share: float) -> _Part:
    """Join all parts, of which a share is kept.

    Each has places, values, and a random number of each.
    """
    where = np.concatenate([np.zeros((0, 4), np.int32), *(part[0] for part in parts)])
    value = np.concatenate([np.zeros(0, np.int64), *(part[1] for part in parts)])
    numbers = np.concatenate([np.zeros(0, np.float32), *(part[2] for part in parts)])
    if share == 1:
        return where, value, numbers
    keep = _remembered(value, numbers, counts, share)
    return where[keep], value[keep], numbers[keep]


def _remembered(
    values: NDArray[Any], numbers: NDArray[np.float32], counts: dict[int, int], share: float
) -> NDArray[np.bool_]:
    """Choose the voxels that are kept, by a random number each.

    The numbers are 0–1. An even share is kept, and more of values with small counts.
    """
    keep = numbers < share
    if rare := {v: chance for v, n in counts.items() if (chance := _RARE / n) > share}:
        others = np.flatnonzero(~keep & np.isin(values, list(rare)))
        keep[others] = numbers[others] < [rare[int(v)] for v in values[others]]
    return keep


def _in_raster_order(where: NDArray[np.int32], value: NDArray[np.int64], counts: dict[int, int]) -> Paint:
    """Sort paint that was found box by box.

    Boxes across the whole width are in order already.
    """
    step = np.diff(where, axis=0)
    first = step[np.arange(len(step)), (step != 0).argmax(axis=1)] if len(step) else step
    if (first > 0).all():
        return Paint(where, value, counts)
    order = np.lexsort(where.T[::-1])
    return Paint(where[order], value[order], counts)


def count_values(labels: Volume, most: int | None = None) -> dict[int, int]:
    """Count how often each value but 0 occurs in a volume.

    Of more than `most` values, as far as it was read until they were met.

    Raises
    ------
    LimnError
        For negative labels.
    """
    counts: dict[int, int] = {}
    for _, block in _scan(labels, labels.written()):
        flat = block.reshape(-1)
        for v, n in tally(flat[np.flatnonzero(flat)]).items():
            counts[v] = counts.get(v, 0) + n
        if most is not None and len(counts) > most:
            break
    return counts


def tally(values: NDArray[Any]) -> dict[int, int]:
    """Count how often each value occurs.

    Raises
    ------
    LimnError
        For negative values: labels are never negative.
    """
    refuse_negative(values)
    if values.dtype.itemsize <= 2:
        counts = np.bincount(values)
        return {int(v): int(counts[v]) for v in np.flatnonzero(counts)}
    return {int(v): int(n) for v, n in zip(*np.unique(values, return_counts=True), strict=True)}


def _scan(labels: Volume, within: list[Box] | None) -> Iterator[tuple[Box, NDArray[Any]]]:
    """Yield boxes and what is in them.

    Those of `within`, or the whole volume a few millions of voxels at once.
    """
    _, _, y, x = labels.grid
    planes = max(1, _SCAN // (y * x))
    rows = max(1, min(y, _SCAN // x))
    for box in blocks(labels.grid, (1, planes, rows, x)) if within is None else within:
        yield box, labels.read(box)[0]


def stroke_boxes(
    where: NDArray[np.integer[Any]],
    classes: NDArray[np.integer[Any]],
    cell: tuple[int, ...],
    *,
    whole: bool = True,
) -> list[tuple[int, Box]]:
    """Return class and box of each stroke.

    A stroke is connected paint of one class, cut into cells where it is wider than two of them.

    Parameters
    ----------
    where, classes
        Places (N, 4), in raster order, and class indices (N,).
    cell
        Extent of a cell, in voxels; along an axis where it is 1, nothing hangs together.
    whole
        False for a sample of the paint, in which nothing hangs together: then everything is cut into cells.
    """
    single = np.asarray(cell) == 1
    stroke = _connected(where, classes) if whole else classes
    wide = np.ones(int(stroke.max()) + 1, bool)
    if whole:
        low, high = _extents(where, stroke)
        wide = ((high - low > 2 * np.asarray(cell)) & ~single).any(axis=1)
    cut = np.where(wide[stroke][:, None] | single, where // cell, -1)
    _, first, piece = np.unique(
        np.column_stack([stroke, cut]), axis=0, return_index=True, return_inverse=True
    )
    low, high = _extents(where, piece.ravel())
    boxes = [tuple(zip(a, b, strict=True)) for a, b in zip(low.tolist(), high.tolist(), strict=True)]
    return list(zip(classes[first].tolist(), boxes, strict=True))


def _extents(where: NDArray[Any], group: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the lowest and highest place + 1 of each group."""
    n = int(group.max(initial=-1)) + 1
    low = np.full((n, 4), np.iinfo(np.int64).max)
    high = np.zeros((n, 4), np.int64)
    np.minimum.at(low, group, where)
    np.maximum.at(high, group, where + 1)
    return low, high


def _connected(where: NDArray[np.integer[Any]], classes: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
    """Give each place the number of its connected component.

    26 neighbours in space, same class and time.
    """
    size = where.max(axis=0).astype(np.int64) + 2
    weight = np.array([size[1] * size[2] * size[3], size[2] * size[3], size[3], 1])
    key = where.astype(np.int64) @ weight
    first, second = [], []
    for offset in itertools.product((0,), (0, 1), (-1, 0, 1), (-1, 0, 1)):
        if offset <= (0, 0, 0, 0):
            continue
        target = key + np.dot(offset, weight)
        place = np.searchsorted(key, target).clip(max=len(key) - 1)
        match = (key[place] == target) & (classes[place] == classes)
        first.append(np.flatnonzero(match))
        second.append(place[match])
    rows, columns = np.concatenate(first), np.concatenate(second)
    graph = coo_matrix((np.ones(len(rows), bool), (rows, columns)), shape=(len(key), len(key)))
    return connected_components(graph, directed=False)[1].astype(np.intp)


def hull(where: NDArray[np.integer[Any]], margin: tuple[int, ...], shape: tuple[int, ...]) -> Box:
    """Return the smallest box around places (N, 4).

    `margin` larger, inside a grid of `shape`.
    """
    low, high = where.min(axis=0) - margin, where.max(axis=0) + 1 + np.asarray(margin)
    return tuple((max(0, int(a)), min(n, int(b))) for a, b, n in zip(low, high, shape, strict=True))
