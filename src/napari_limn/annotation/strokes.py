"""Where the paint is, and which of it is held out to score by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.errors import LimnError
from napari_limn.volume.boxes import blocks, size_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_limn.annotation.classes import Zero
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.volume import Volume

_SCAN = 1 << 24  # voxels read at once
_KEEP = 1 << 21  # painted voxels remembered; of fuller masks an even random sample


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
        return Paint(self.where[keep], self.value[keep], {v: n for v, n in self.counts.items() if v in values})


def find_paint(labels: Volume, zero: Zero, seed: int = 0) -> Paint:
    """Scan a label volume block by block; the volume is never in memory as a whole.

    Raises
    ------
    LimnError
        For negative labels.
    """
    rng = np.random.default_rng(seed)
    where, value, counts = [], [], dict[int, int]()
    share = min(1.0, _KEEP / max(1, size_of(tuple((0, n) for n in labels.grid)))) if zero == "background" else 1.0
    for box, block in _scan(labels):
        painted = np.ones(block.shape, bool) if zero == "background" else block != 0
        for v, n in zip(*np.unique(block[painted], return_counts=True), strict=True):
            counts[int(v)] = counts.get(int(v), 0) + int(n)
        if share < 1:
            painted &= rng.random(block.shape, np.float32) < share
        where.append((np.argwhere(painted) + [start for start, _ in box]).astype(np.int32))
        value.append(block[painted].astype(np.int64))
    if counts and min(counts) < 0:
        raise LimnError(f"{labels.name}: found the negative label {min(counts)}, expected labels of 0 and above.")
    return Paint(np.concatenate(where), np.concatenate(value), counts)


def _scan(labels: Volume) -> Iterator[tuple[Box, NDArray[Any]]]:
    _, _, y, x = labels.grid
    planes = max(1, _SCAN // (y * x))
    rows = max(1, min(y, _SCAN // x))
    for box in blocks(labels.grid, (1, planes, rows, x)):
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
        """Overwrite, in `labels` (T, Z, Y, X) at `box`, what training must not see."""
        for region in self.boxes:
            cut = [(max(a - g, c) - c, min(b + g, d) - c) for (a, b), g, (c, d) in zip(region, self.gap, box, strict=True)]
            if all(a < b for a, b in cut):
                labels[tuple(slice(a, b) for a, b in cut)] = fill


def _inside(where: NDArray[np.integer[Any]], boxes: tuple[Box, ...], margin: tuple[int, ...]) -> NDArray[np.bool_]:
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
    share: float = 0.2,
    most: int = 24,
    seed: int = 0,
) -> HoldOut:
    """Choose cells of a grid over the volume whose paint is held out.

    Parameters
    ----------
    paint
        What was painted.
    cell, gap
        Extent of a cell and width of the gap around it, in voxels (T, Z, Y, X).
    share
        Part of each class's paint to hold out, 0–1, as far as cells allow.
    most
        Number of cells at most: each costs a forward pass whenever the model is scored.

    Returns
    -------
    HoldOut
        Empty where some class cannot be held out without losing more than half of its paint.

    Notes
    -----
    Greedy over cells in shuffled order: a cell is taken if a class that still lacks held-out paint has some there, and
    every class keeps half of its paint outside the cells and their gaps.
    """
    rng = np.random.default_rng(seed)
    pick = rng.permutation(len(paint.where))[:_JUDGED]
    where = paint.where[pick]
    values, classes = np.unique(paint.value[pick], return_inverse=True)

    def count(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
        return np.bincount(classes[mask], minlength=len(values))

    total = np.bincount(classes, minlength=len(values))
    cells = where // cell
    lost, held = np.zeros(len(where), bool), np.zeros(len(where), bool)
    chosen: list[Box] = []
    for place in _shuffled(np.unique(cells, axis=0), seed)[:_TRIES]:
        here = (cells == place).all(axis=1)
        if len(chosen) == most or not count(here)[count(held) < share * total].any():
            continue
        box = tuple((int(p * c), int((p + 1) * c)) for p, c in zip(place, cell, strict=True))
        would = lost | _inside(where, (box,), gap)
        if (count(would) <= total / 2).all():
            lost, held = would, held | here
            chosen.append(box)
    return HoldOut(tuple(chosen), gap) if count(held).all() else HoldOut()


def _shuffled(cells: NDArray[Any], seed: int) -> NDArray[Any]:
    """Cells in an order that depends on each cell alone: more paint elsewhere does not change which come first.

    A model that is trained further is so scored by strokes that it has not been trained on before.
    """
    mixed = (cells.astype(np.uint64) + np.uint64(seed + 1)) * np.array([73856093, 19349663, 83492791, 49979687], np.uint64)
    key = np.bitwise_xor.reduce(mixed, axis=1) * np.uint64(0x9E3779B97F4A7C15)
    return cells[np.argsort(key >> np.uint64(16), kind="stable")]


_TRIES = 400
_JUDGED = 100_000  # painted voxels by which the choice is made


def hull(where: NDArray[np.integer[Any]], margin: tuple[int, ...], shape: tuple[int, ...]) -> Box:
    """The smallest box around places (N, 4), `margin` larger, inside a grid of `shape`."""
    low, high = where.min(axis=0) - margin, where.max(axis=0) + 1 + np.asarray(margin)
    return tuple((max(0, int(a)), min(n, int(b))) for a, b, n in zip(low, high, shape, strict=True))
