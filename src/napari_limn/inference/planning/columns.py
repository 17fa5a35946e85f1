"""In which blocks and columns to sweep, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod
from typing import TYPE_CHECKING

import torch

from napari_limn.inference.streaming.cost import most_alive, planned_macs
from napari_limn.inference.streaming.extents import (
    as_grid,
    footprints_on_grid,
    readers,
    swept_extent,
    too_little,
    up,
)
from napari_limn.inference.streaming.schedule import SweepSchedule
from napari_limn.network.folding import folded
from napari_limn.network.graph import graph_of, trace
from napari_limn.network.unet import UNet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_limn.network.graph import Graph
    from napari_limn.network.spec import UNetSpec
    from napari_limn.volume.boxes import Grid

# measured by benchmarks/memory.py; threads and caches of Zarr are in it
OWN = 120_000_000  # bytes that libraries hold for themselves once a network ran
_SLACK = {4: 60_000_000, 2: 15_000_000}  # bytes more that the heap holds in a sweep, by the bytes of a number
_SMALL = 16_000_000  # bytes of tensors below which the heap holds no more than them
# blocks of a sweep along T, Z, Y and X, and what a voxel costs in them: the smaller, the more there is to put together
_SWEPT = {
    2: [((1, 1, n, 2 * n), cost) for n, cost in ((256, 1.0), (128, 1.15), (64, 1.5), (32, 2.3), (16, 4.0))],
    3: [((1, n, 4 * n, 4 * n), cost) for n, cost in ((32, 1.0), (16, 1.6), (8, 3.0), (4, 6.0))],
}
_IN_PLACE = frozenset({"relu", "sigmoid", "narrow", "dropout", "contiguous"})
_COLUMNS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)  # cuts of each axis but the one swept along
LOOSE = 1.05
"""What the heap holds, over what is in use (benchmarks/memory.py)."""


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """A sweep in blocks and columns, and what it costs.

    Extents are along T, Z, Y and X.

    Parameters
    ----------
    block, column
        Their extents; a column of the whole grid is none.
    blocks
        Number of blocks.
    peak_bytes
        Memory at most.
    work
        Multiply-accumulates, over those of one pass over every frame.
    time
        In arbitrary units.
    """

    block: Grid
    column: Grid
    blocks: int
    peak_bytes: int
    work: float
    time: float


@lru_cache(256)
def cheapest_sweep(spec: UNetSpec, grid: Grid, memory: int, itemsize: int = 4) -> SweepPlan:
    """Choose the fastest sweep that fits into `memory` bytes.

    Large blocks take least; where what they keep does not fit, the frame is cut into columns, each with a sweep of its own
    that computes what it needs of its neighbours again.

    Parameters
    ----------
    spec
        The network, with local operations only.
    grid
        Extent (T, Z, Y, X) of the volume.
    memory
        Bytes that the run may need.
    itemsize
        Bytes of a number in the precision of the run.

    Raises
    ------
    LimnError
        If not even the smallest block in the narrowest column fits.
    """
    best, least = None, 0
    for block, cost in _swept_blocks(spec, grid):
        if best is not None and best.time <= cost:
            break
        for sweep in _in_columns(spec, grid, block, cost, itemsize):
            least = min(least or sweep.peak_bytes, sweep.peak_bytes)
            if sweep.peak_bytes <= memory:
                best = sweep if best is None or sweep.time < best.time else best
                break
    if best is None:
        raise too_little(memory, least)
    return best


def _in_columns(spec: UNetSpec, grid: Grid, block: Grid, cost: float, itemsize: int) -> Iterator[SweepPlan]:
    """Yield sweeps in blocks of one extent, in ever more columns."""
    for column in dict.fromkeys(_column(spec, grid, cuts, block) for cuts in _COLUMNS):
        work = _swept_work(spec, grid, block, column)
        count = prod(
            sum(-(-min(c, n - start) // b) for start in range(0, n, c))
            for n, b, c in zip(grid, block, column, strict=True)
        )
        peak = _swept_peak(spec, grid, block, column, itemsize)
        yield SweepPlan(block, column, count, peak, work, cost * work)


def _swept_blocks(spec: UNetSpec, grid: Grid) -> Iterator[tuple[Grid, float]]:
    """Yield blocks to choose from, and what a voxel costs in each."""
    seen = [f.step > 1 or f.halo > 0 for f in footprints_on_grid(spec)]
    for wanted, cost in _SWEPT[spec.ndim]:
        yield as_grid(tuple(
            min(up(n, f.step), up(w, f.step)) if s else 1
            for n, w, f, s in zip(grid, wanted, footprints_on_grid(spec), seen, strict=True)
        )), cost  # fmt: skip


def _column(spec: UNetSpec, grid: Grid, cuts: int, block: Grid) -> Grid:
    """Cut all axes but the longest into about so many parts.

    Of the axes that the network sees. Columns end on blocks, and on many of them at once, so that few shards of the output lie in
    two columns, also on its coarser levels.
    """
    footprints = footprints_on_grid(spec)
    seen = [a for a, f in enumerate(footprints) if f.step > 1 or f.halo > 0]
    along = max(seen, key=lambda a: grid[a])
    # a short axis is cut less: every cut computes a margin of the same width again
    widest = max((grid[a] for a in seen if a != along), default=1)
    column = list(grid)
    for axis in seen:
        if axis != along and cuts > 1:
            parts = max(1, round(cuts * grid[axis] / widest))
            column[axis] = min(grid[axis], up(part := -(-grid[axis] // parts), _unit(part, block[axis])))
    return as_grid(tuple(column))


def _unit(part: int, block: int) -> int:
    """Return multiples of the extent of a block.

    Twice, four times …, half of a part at most.
    """
    while 4 * block <= part:
        block *= 2
    return block


def least_alive(spec: UNetSpec, grid: Grid) -> int:
    """Count the numbers in tensors at once at most in one pass.

    Over a frame of `grid`; each is forgotten after its last reader.
    """
    graph, _ = _without_data(spec)
    sizes = [graph.sizes(axis, n) or [] for axis, n in enumerate(swept_extent(spec, grid))]
    place = list(range(len(graph.ops)))  # of what an operation gives: its own, or that of what it changes
    last: dict[int, int] = {}
    for i, op in enumerate(graph.ops):
        if op.name in _IN_PLACE:
            place[i] = place[op.inputs[0]]
        last |= {place[source]: i for source in op.inputs}
    most, alive = 0, dict[int, int]()
    for i, op in enumerate(graph.ops):
        if place[i] == i:
            alive[i] = prod(along[i] for along in sizes) * op.channels
        most = max(most, sum(alive.values()))
        alive = {source: size for source, size in alive.items() if last.get(source, i) > i}
    return most


@lru_cache(64)
def _without_data(spec: UNetSpec) -> tuple[Graph, int]:
    """Trace the network as it is computed; count its weights.

    Norms are folded.
    """
    with torch.device("meta"):
        network = folded(UNet(spec))
    graph = trace(network, spec.in_channels, graph_of(spec).traced)
    weights = dict(network.named_parameters()) | dict(network.named_buffers())
    return graph, sum(weight.numel() for weight in weights.values())


def _schedules(spec: UNetSpec, grid: Grid, block: Grid, column: Grid) -> Iterator[tuple[SweepSchedule, int]]:
    """Yield the different sweeps over columns, and how often each comes.

    They differ at a border and amid others.
    """
    ndim, extent, (graph, _) = spec.ndim, swept_extent(spec, grid), _without_data(spec)
    each = []
    for n, c in zip(grid[-ndim:], column[-ndim:], strict=True):
        spans = [(start, min(start + c, n)) for start in range(0, n, c)]
        inner = spans[1:-1]
        each.append(
            [(s, 1) for s in spans]
            if len(spans) < 4
            else [(spans[0], 1), (inner[0], len(inner)), (spans[-1], 1)]
        )
    for window in product(*each):
        box, count = tuple(span for span, _ in window), prod(k for _, k in window)
        yield SweepSchedule(graph, extent, block[-ndim:], box), count


def _swept_work(spec: UNetSpec, grid: Grid, block: Grid, column: Grid) -> float:
    """Return the multiply-accumulates of a frame, over those of one pass."""
    ndim, extent = spec.ndim, swept_extent(spec, grid)
    once = planned_macs(SweepSchedule(_without_data(spec)[0], extent, extent))
    done = sum(count * planned_macs(each) for each, count in _schedules(spec, grid, block, column))
    return done / once * prod(extent) / prod(grid[-ndim:]) if spec.padding == "same" else done / once


def _swept_peak(spec: UNetSpec, grid: Grid, block: Grid, column: Grid, itemsize: int) -> int:
    """Count the bytes of a sweep.

    Tensors, the image as read, labels, weights, libraries.
    """
    values = max(most_alive(each, itemsize) for each, _ in _schedules(spec, grid, block, column))
    seen = prod(b + f.halo + f.shrink for b, f in zip(block, footprints_on_grid(spec), strict=True))
    # of a part that is being read, what came and what is scaled; of those that wait, the latter; the first block reads more
    reading = readers(spec.in_channels * prod(block))
    image = spec.in_channels * (12 * seen + (16 * reading + 8) * prod(block))
    slack = min(max(0, values * itemsize - _SMALL), _SLACK[itemsize])
    return (
        int(values * itemsize * LOOSE) + image + prod(block) * 24 + _without_data(spec)[1] * 12 + slack + OWN
    )
