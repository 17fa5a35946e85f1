"""Where the paint is, and which of it is held out to score by."""

from __future__ import annotations

import itertools
import zlib
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from napari_limn.annotation.classes import refuse_negative
from napari_limn.volume.boxes import Box, blocks, slices

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_limn.annotation.classes import Zero
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
        """Only the paint that carries one of `values`."""
        keep = np.isin(self.value, values)
        return Paint(
            self.where[keep], self.value[keep], {v: n for v, n in self.counts.items() if v in values}
        )


def find_paint(labels: Volume, zero: Zero, seed: int = 0) -> Paint:
    """Scan a label volume block by block; the volume is never in memory as a whole.

    Of an array that knows where it is 0, only the rest is read, unless 0 is a class. Of more than some 2 million painted voxels an even
    random sample is remembered, and of each value about 16,000 at least.

    Raises
    ------
    LimnError
        For negative labels.
    """
    rng, counts = np.random.default_rng(seed), dict[int, int]()
    parts: list[_Part] = []
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
        if sum(len(part[0]) for part in parts) > 2 * _KEEP + _RARE * len(counts):
            share = _KEEP / sum(counts.values())
            parts = [_joined(parts, counts, share)]
    # what seemed rare in the first blocks need not be rare
    found, value, _ = _joined(parts, counts, _KEEP / max(_KEEP, sum(counts.values())))
    return _in_raster_order(found, value, counts)


def _joined(parts: list[_Part], counts: dict[int, int], share: float) -> _Part:
    """All parts (places, values, and a random number of each) as one, of which a share is kept."""
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
    """Which voxels are kept, by a random number (0–1) of each: an even share, and more of values with small counts."""
    keep = numbers < share
    if rare := {v: chance for v, n in counts.items() if (chance := _RARE / n) > share}:
        others = np.flatnonzero(~keep & np.isin(values, list(rare)))
        keep[others] = numbers[others] < [rare[int(v)] for v in values[others]]
    return keep


def _in_raster_order(where: NDArray[np.int32], value: NDArray[np.int64], counts: dict[int, int]) -> Paint:
    """Paint that was found box by box; boxes across the whole width are in order already."""
    step = np.diff(where, axis=0)
    first = step[np.arange(len(step)), (step != 0).argmax(axis=1)] if len(step) else step
    if (first > 0).all():
        return Paint(where, value, counts)
    order = np.lexsort(where.T[::-1])
    return Paint(where[order], value[order], counts)


def count_values(labels: Volume, most: int | None = None) -> dict[int, int]:
    """How often each value but 0 occurs in a volume; of more than `most` values, as far as it was read until they were met.

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
    """How often each value occurs.

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
    """Boxes and what is in them: those of `within`, or the whole volume a few millions of voxels at once."""
    _, _, y, x = labels.grid
    planes = max(1, _SCAN // (y * x))
    rows = max(1, min(y, _SCAN // x))
    for box in blocks(labels.grid, (1, planes, rows, x)) if within is None else within:
        yield box, labels.read(box)[0]


@dataclass(frozen=True, slots=True)
class HoldOut:
    """Regions whose paint scores a model and never trains it.

    Parameters
    ----------
    boxes
        Regions on the TZYX grid; disjoint.
    gap
        Voxels (T, Z, Y, X) around each region whose paint is left out of training too, so that the two do not touch.
    """

    boxes: tuple[Box, ...] = ()
    gap: tuple[int, int, int, int] = (0, 0, 0, 0)

    def excluded(self, where: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
        """Which of the places (N, 4) training must not see: those in a region or its gap."""
        return _inside(where, self.boxes, self.gap)

    def held(self, where: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
        """Which of the places (N, 4) score the model."""
        return _inside(where, self.boxes, (0, 0, 0, 0))

    def blank(self, box: Box, labels: NDArray[Any], fill: int) -> None:
        """Overwrite, in `labels` (…, T, Z, Y, X) at `box`, what training must not see."""
        for region in self.boxes:
            cut = [
                (max(a - g, c) - c, min(b + g, d) - c)
                for (a, b), g, (c, d) in zip(region, self.gap, box, strict=True)
            ]
            if all(a < b for a, b in cut):
                place: tuple[Any, ...] = (..., *slices(tuple(cut)))
                labels[place] = fill


def _inside(
    where: NDArray[np.integer[Any]], boxes: tuple[Box, ...], margin: tuple[int, ...]
) -> NDArray[np.bool_]:
    inside = np.zeros(len(where), bool)
    for box in boxes:
        low = [a - m for (a, _), m in zip(box, margin, strict=True)]
        high = [b + m for (_, b), m in zip(box, margin, strict=True)]
        inside |= ((where >= low) & (where < high)).all(axis=1)
    return inside


def hold_out(
    paint: Paint,
    cell: tuple[int, ...],
    gap: tuple[int, int, int, int],
    share: float = 0.1,
    most: int = 24,
    seed: int = 0,
) -> HoldOut:
    """Choose strokes that are held out.

    Parameters
    ----------
    paint
        What was painted.
    cell
        Extent (T, Z, Y, X), in voxels, of the pieces that filled areas are cut into; strokes stay whole.
    gap
        Width of the gap around the box of each held-out stroke, in voxels (T, Z, Y, X).
    share
        Part of each class's paint to hold out, 0–1.
    most
        Number of strokes at most (but one of each class): each costs a forward pass whenever the model is scored.

    Returns
    -------
    HoldOut
        Of a class that has none to spare, nothing. Empty where that leaves fewer than two classes: of one alone it is right to
        call everything so.

    Notes
    -----
    Whether a stroke is drawn depends on a hash of its own box: paint that is added elsewhere does not draw it anew, so
    a model that is trained further is scored by strokes that it has not been trained on. Where no stroke of a class
    is drawn, that of the smallest hash is taken. A stroke is passed over if its box overlaps another's, or if some
    class would keep less than half of its paint outside boxes and gaps.
    """
    if not len(paint.where):
        return HoldOut()
    pick = np.sort(np.random.default_rng(seed).permutation(len(paint.where))[:_JUDGED])
    where = paint.where[pick]
    values, classes = np.unique(paint.value[pick], return_inverse=True)

    def count(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
        return np.bincount(classes[mask], minlength=len(values))

    total = np.bincount(classes, minlength=len(values))
    lost, held = np.zeros(len(where), bool), np.zeros(len(where), bool)
    chosen: list[Box] = []
    boxes = stroke_boxes(where, classes, cell, whole=len(pick) == len(paint.where))
    for own, box in _in_turn(boxes, share, max(1, most // len(values)), seed):
        here, around = _inside(where, (box,), _NO_GAP), _inside(where, (box,), gap)
        drawn = _hash(box, seed) < share or not count(held)[own]
        if drawn and not (here & held).any() and (count(lost | around) <= total / 2).all():
            lost, held = lost | around, held | here
            chosen.append(box)
    return HoldOut(tuple(chosen), gap) if np.count_nonzero(count(held)) > 1 else HoldOut()


def hold_out_together(
    paints: Sequence[Paint],
    grids: Sequence[tuple[int, ...]],
    cell: tuple[int, ...],
    gap: tuple[int, int, int, int],
    share: float = 0.1,
    seed: int = 0,
) -> list[HoldOut]:
    """The same of several images of these extents (T, Z, Y, X), as if they were moments of one: an image with one object can spare none."""
    stops = np.cumsum([grid[0] for grid in grids])
    starts = np.concatenate([[0], stops[:-1]])
    where = [p.where + np.array([start, 0, 0, 0], np.int32) for p, start in zip(paints, starts, strict=True)]
    every = Paint(np.concatenate(where), np.concatenate([paint.value for paint in paints]), {})
    held: list[list[Box]] = [[] for _ in paints]
    for (first, last), *rest in hold_out(every, cell, gap, share, seed=seed).boxes:
        source = int(np.searchsorted(stops, first, side="right"))
        start = int(starts[source])
        held[source].append(((first - start, last - start), *rest))
    return [HoldOut(tuple(boxes), gap) for boxes in held]


_JUDGED = 300_000  # painted voxels by which the choice is made
_TRIES = 100  # strokes of a class that are tried for the one that must be had
_NO_GAP = (0, 0, 0, 0)


def _in_turn(boxes: list[tuple[int, Box]], share: float, most: int, seed: int) -> Iterator[tuple[int, Box]]:
    """Strokes by class, those of small hash first: at most `most` that are drawn, then some to choose one from."""
    ranked = sorted(boxes, key=lambda row: (row[0], _hash(row[1], seed)))
    for own, rows in itertools.groupby(ranked, key=lambda row: row[0]):
        drawn = 0
        for number, (_, box) in enumerate(rows):
            drawn += _hash(box, seed) < share
            if drawn > most or number == max(most, _TRIES):
                break
            yield own, box


def _hash(box: Box, seed: int) -> float:
    """A number in 0 … 1 that belongs to a box."""
    return zlib.crc32(repr((seed, box)).encode()) / 2**32


def stroke_boxes(
    where: NDArray[np.integer[Any]],
    classes: NDArray[np.integer[Any]],
    cell: tuple[int, ...],
    *,
    whole: bool = True,
) -> list[tuple[int, Box]]:
    """Class and box of each stroke: connected paint of one class, cut into cells where it is wider than two of them.

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
    """Lowest place and highest place + 1 of each group of places."""
    n = int(group.max(initial=-1)) + 1
    low = np.full((n, 4), np.iinfo(np.int64).max)
    high = np.zeros((n, 4), np.int64)
    np.minimum.at(low, group, where)
    np.maximum.at(high, group, where + 1)
    return low, high


def _connected(where: NDArray[np.integer[Any]], classes: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
    """Number of the connected component (26 neighbours in space, same class and time) of each place."""
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
    """The smallest box around places (N, 4), `margin` larger, inside a grid of `shape`."""
    low, high = where.min(axis=0) - margin, where.max(axis=0) + 1 + np.asarray(margin)
    return tuple((max(0, int(a)), min(n, int(b))) for a, b, n in zip(low, high, shape, strict=True))
