"""Which strokes are held out of training, to score by."""

from __future__ import annotations

import itertools
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.annotation.strokes import Paint, stroke_boxes
from napari_limn.volume.boxes import Box, overlap, size_of, slices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

_CONSIDERED = 300_000  # painted voxels by which the choice is made
_TRIES = 100  # strokes of a class that are tried for the one that is needed
_NO_GAP = (0, 0, 0, 0)


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
        """Say which voxels (N, 4) training must not see.

        Those in a region or its gap.
        """
        return _inside(where, self.boxes, self.gap)

    def held(self, where: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
        """Say which of the voxels (N, 4) score the model."""
        return _inside(where, self.boxes, _NO_GAP)

    def meets(self, box: Box) -> bool:
        """Say whether a box shares voxels with a region."""
        return any(size_of(overlap(box, region)) for region in self.boxes)

    def blank(self, box: Box, labels: NDArray[Any], fill: int) -> None:
        """Overwrite what training must not see.

        In `labels` (…, T, Z, Y, X) at `box`.
        """
        for region in self.boxes:
            cut = [
                (max(a - g, c) - c, min(b + g, d) - c)
                for (a, b), g, (c, d) in zip(region, self.gap, box, strict=True)
            ]
            if all(a < b for a, b in cut):
                place: tuple[Any, ...] = (..., *slices(tuple(cut)))
                labels[place] = fill


@dataclass(frozen=True, slots=True, eq=False)
class PriorHoldOut:
    """What a training held out until now, and what was painted.

    `where` are the painted voxels (N, 4).
    """

    held: HoldOut
    where: NDArray[np.int32]

    def trained(self, where: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Say on which of the voxels (M, 4) it was trained."""
        seen = self.where[~self.held.excluded(self.where)]
        size = np.maximum(_beyond(seen), _beyond(where))
        ours, theirs = (np.ravel_multi_index(tuple(each.T), tuple(size)) for each in (seen, where))
        return np.isin(theirs, ours)


def _beyond(where: NDArray[np.int32]) -> NDArray[np.int64]:
    """Give the extent (T, Z, Y, X) that holds voxels (N, 4)."""
    extent: NDArray[np.int64] = where.max(axis=0, initial=0).astype(np.int64) + 1
    return extent


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
    before: PriorHoldOut | None = None,
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
    before
        What was painted, and held out of it, for the same training until now.

    Returns
    -------
    HoldOut
        Of a class that has none to spare, nothing. Empty where that leaves fewer than two classes: of one alone it is right to
        call everything so.

    Notes
    -----
    Whether a stroke is drawn depends on a hash of its own box: paint that is added elsewhere does not draw it anew, so
    a model that is trained further is scored by strokes that it has not been trained on. A stroke that was painted on has
    another box; where `before` is known, it stays held out, and one that was trained on is not drawn. Where no stroke of a class
    is drawn, that of the smallest hash is taken. A stroke is passed over if its box overlaps another's, or if some
    class would keep less than half of its paint outside boxes and gaps.
    """
    if not len(paint.where):
        return HoldOut()
    voxels = _Considered(paint, seed, before)
    lost, held = np.zeros(len(voxels.where), bool), np.zeros(len(voxels.where), bool)
    half = voxels.count(~held) / 2
    chosen: list[Box] = []
    strokes = _in_turn(voxels.strokes(cell), share, max(1, most // voxels.kinds), voxels.rank)
    rows = [(voxels.trained(own, box), own, box) for own, box in strokes]
    for learnt, own, box in sorted(rows, key=lambda row: row[0]):  # what was trained on comes last
        here, around = _inside(voxels.where, (box,), _NO_GAP), _inside(voxels.where, (box,), gap)
        drawn = (voxels.rank(box) < share and not learnt) or not voxels.count(held)[own]
        if drawn and not (here & held).any() and (voxels.count(lost | around) <= half).all():
            lost, held = lost | around, held | here
            chosen.append(box)
    return HoldOut(tuple(chosen), gap) if np.count_nonzero(voxels.count(held)) > 1 else HoldOut()


class _Considered:
    """Painted voxels by which the choice is made.

    All, or so many of them drawn at random.
    """

    def __init__(self, paint: Paint, seed: int, before: PriorHoldOut | None) -> None:
        pick = np.sort(np.random.default_rng(seed).permutation(len(paint.where))[:_CONSIDERED])
        self.where, self._complete = paint.where[pick], len(pick) == len(paint.where)
        values, self._classes = np.unique(paint.value[pick], return_inverse=True)
        self.kinds, self._seed, self._before = len(values), seed, before
        self._trained = None if before is None else before.trained(self.where)

    def count(self, mask: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Count the voxels of a mask, class by class."""
        return np.bincount(self._classes[mask], minlength=self.kinds)

    def rank(self, box: Box) -> float:
        """Give the number by which a stroke is drawn: the smallest first."""
        if self._before is not None and self._before.held.meets(box):
            return 0.0
        return _hash(box, self._seed)

    def trained(self, own: int, box: Box) -> bool:
        """Say whether a stroke of a class was trained on."""
        if self._trained is None:
            return False
        return bool(self._trained[_inside(self.where, (box,), _NO_GAP) & (self._classes == own)].any())

    def strokes(self, cell: tuple[int, ...]) -> list[tuple[int, Box]]:
        """Find strokes: the number of their class, and their box."""
        return stroke_boxes(self.where, self._classes, cell, whole=self._complete)


def hold_out_together(
    paints: Sequence[Paint],
    grids: Sequence[tuple[int, ...]],
    cell: tuple[int, ...],
    gap: tuple[int, int, int, int],
    share: float = 0.1,
    seed: int = 0,
    before: Sequence[PriorHoldOut] | None = None,
) -> list[HoldOut]:
    """Choose strokes of several images, as if these were one.

    They count as moments of one, with `grids` as extents (T, Z, Y, X): an image with one object can spare none.
    """
    stops = np.cumsum([grid[0] for grid in grids])
    starts = np.concatenate([[0], stops[:-1]]).tolist()
    where = [_later(paint.where, start) for paint, start in zip(paints, starts, strict=True)]
    every = Paint(np.concatenate(where), np.concatenate([paint.value for paint in paints]), {})
    known = None if before is None else _together(before, starts, gap)
    held: list[list[Box]] = [[] for _ in paints]
    for (first, last), *rest in hold_out(every, cell, gap, share, seed=seed, before=known).boxes:
        source = int(np.searchsorted(stops, first, side="right"))
        start = starts[source]
        held[source].append(((first - start, last - start), *rest))
    return [HoldOut(tuple(boxes), gap) for boxes in held]


def _together(
    before: Sequence[PriorHoldOut], starts: Sequence[int], gap: tuple[int, int, int, int]
) -> PriorHoldOut:
    """Join what was known of several images, as of moments of one."""
    boxes = [
        ((first + start, last + start), *rest)
        for each, start in zip(before, starts, strict=True)
        for (first, last), *rest in each.held.boxes
    ]
    where = [_later(each.where, start) for each, start in zip(before, starts, strict=True)]
    return PriorHoldOut(HoldOut(tuple(boxes), gap), np.concatenate(where))


def _later(where: NDArray[np.int32], moments: int) -> NDArray[np.int32]:
    return where + np.array([moments, 0, 0, 0], np.int32)


def _in_turn(
    boxes: list[tuple[int, Box]], share: float, most: int, rank: Callable[[Box], float]
) -> Iterator[tuple[int, Box]]:
    """List strokes by class, those of small rank first.

    At most `most` that are drawn, then some to choose one from.
    """
    ranked = sorted(boxes, key=lambda row: (row[0], rank(row[1])))
    for own, rows in itertools.groupby(ranked, key=lambda row: row[0]):
        drawn = 0
        for number, (_, box) in enumerate(rows):
            drawn += rank(box) < share
            if drawn > most or number == max(most, _TRIES):
                break
            yield own, box


def _hash(box: Box, seed: int) -> float:
    """Give a number in 0 … 1 that belongs to a box."""
    return zlib.crc32(repr((seed, box)).encode()) / 2**32
