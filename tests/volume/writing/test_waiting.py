"""What half-filled shards take, counted before a run, against what the writer keeps."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_limn.inference.planning.memory import MemoryBudget
from napari_limn.network.spec import UNetSpec
from napari_limn.volume.boxes import blocks, shape_of, shifted
from napari_limn.volume.writing import layout
from napari_limn.volume.writing.layout import make_layout
from napari_limn.volume.writing.pyramid import Pyramid
from napari_limn.volume.writing.waiting import Order, held_bytes, most_waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_limn.volume.boxes import Box, Grid


class _Nowhere:
    """A target that keeps nothing."""

    channels, dtype = 1, np.dtype("u1")

    def write(self, *_: Any) -> None: ...

    def sync(self, *_: Any) -> None: ...


def _boxes(grid: Grid, order: Order) -> Iterator[Box]:
    """Give the blocks as an engine does: frame by frame, there column by column."""
    names = "TZYX"
    framed, swept = order.axes[: order.frames], order.axes[order.frames :]
    ordered = [names.index(a) for a in order.axes]
    for frame in blocks(tuple(grid[names.index(a)] for a in framed), (1,) * len(framed)):
        window = tuple(grid[names.index(a)] for a in names if a in swept)
        for column in blocks(window, tuple(order.column[names.index(a)] for a in names if a in swept)):
            box = (*frame, *column)
            extent = shape_of(tuple(box[a] for a in ordered))
            for block in blocks(extent, tuple(order.block[a] for a in ordered)):
                moved = shifted(block, [-box[a][0] for a in ordered])
                yield tuple(moved[ordered.index(a)] for a in range(4))


def _held(levels: Any, order: Order) -> int:
    """Give zeros to the writer, and return the most bytes that it kept at a time."""
    pyramid = Pyramid(levels, [_Nowhere()], ())  # type: ignore[list-item]
    most = 0
    collect = pyramid._collect

    def looked(*given: Any) -> Any:
        nonlocal most
        whole = collect(*given)
        most = max(most, pyramid.buffered_bytes)
        return whole

    pyramid._collect = looked  # type: ignore[method-assign]
    zeros = np.zeros((1, *order.block), np.uint8)
    for box in _boxes(levels[0].shape, order):
        part = zeros[(slice(None), *(slice(0, n) for n in shape_of(box)))]
        pyramid.write(box, [part])
    assert pyramid.buffered_bytes == 0
    return most


def _case(seed: int, longest: int) -> tuple[Grid, Order]:
    rng = np.random.default_rng(seed)
    frames = int(rng.integers(1, 3))
    grid = [int(n) for n in rng.integers(1, longest, 4)]
    grid[0] = int(rng.integers(1, 3))
    block = [int(rng.integers(1, n + 1)) for n in grid]
    block[:frames] = [1] * frames
    column = [b * int(rng.integers(1, 4)) for b in block]
    column[:frames] = grid[:frames]
    swept = "TZYX"[frames:]
    axes = "TZYX"[:frames] + "".join(rng.permutation(list(swept)))
    t, z, y, x = grid
    return (t, z, y, x), Order(
        _grid(block), _grid(min(c, n) for c, n in zip(column, grid, strict=True)), axes, frames
    )


def _grid(values: Any) -> Grid:
    t, z, y, x = values
    return t, z, y, x


def _counts_what_is_kept(seed: int, longest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    grid, order = _case(seed, longest)
    monkeypatch.setattr(layout, "_SMALLEST", 40 * (1 + seed % 5))
    monkeypatch.setattr(layout, "_LARGEST", 900)
    levels, _ = make_layout(
        grid, order.block, (1.0, 1.0, 1.0), [1], order=order.axes, column=order.column,
        tile=(1, 2, 3, 4), count=1 + seed % 3,
    )  # fmt: skip
    held = _held(levels, order)
    # of two shards that end and begin by the same one, the first may be forgotten in time
    assert held <= most_waiting(levels, order) <= 1.5 * held


@pytest.mark.parametrize("seed", range(25))
def test_counts_what_the_writer_keeps(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _counts_what_is_kept(seed, 16, monkeypatch)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(1000, 1400))
def test_counts_what_the_writer_keeps_in_many_orders(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _counts_what_is_kept(seed, 24, monkeypatch)


def _network(ndim: int, width: int, depth: int) -> UNetSpec:
    return UNetSpec(width=width, factors=((2,) * ndim,) * depth)


PLANS = [
    (_network(3, 16, 3), (1, 256, 512, 512), 600),
    (_network(3, 16, 3), (1, 128, 768, 768), 600),
    (_network(3, 16, 3), (1, 128, 1024, 512), 500),
    (_network(3, 16, 4), (1, 192, 512, 512), 1200),
    (_network(3, 32, 3), (1, 256, 512, 400), 1000),
    (_network(3, 8, 3), (1, 300, 600, 500), 300),
    (_network(3, 8, 2), (2, 130, 520, 390), 220),
    (_network(3, 16, 2), (1, 500, 500, 150), 350),
    (_network(2, 32, 4), (1, 1, 8192, 8192), 450),
    (_network(2, 32, 4), (1, 2, 6000, 7000), 400),
    (_network(2, 16, 5), (1, 1, 9000, 12000), 400),
    (_network(2, 32, 3), (3, 1, 5000, 4000), 250),
]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("spec", "grid", "limit"), PLANS)
def test_a_plan_promises_what_is_kept(spec: UNetSpec, grid: Grid, limit: int) -> None:
    def laid(plan: Any) -> tuple[Any, Order]:
        order = Order(plan.block, plan.column or grid, plan.raster(spec.ndim), 4 - spec.ndim)
        spacing = (1.0, 1.0, 1.0)
        return make_layout(grid, plan.block, spacing, [1], order=order.axes, column=plan.column)[0], order

    plan = MemoryBudget(limit * 10**6, lambda plan: held_bytes(*laid(plan), [1])).plan(spec, grid)
    assert plan.column is not None, "the limit is so wide that there are no columns"
    levels, order = laid(plan)
    held, promised = _held(levels, order), held_bytes(levels, order, [1])
    compressed = 2 * max(prod(map(min, level.shard, level.shape)) for level in levels)
    assert held + compressed <= promised <= 1.3 * (held + compressed)
