"""What a prediction will cost, and in which blocks it runs.

Decided before anything runs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, prod
from typing import TYPE_CHECKING

from napari_limn.inference.engines.overlap import Line, kept_bytes, lines_of
from napari_limn.inference.planning.columns import LOOSE, OWN, cheapest_sweep
from napari_limn.inference.streaming.extents import (
    as_grid,
    bank_gaps,
    fitting,
    footprints_on_grid,
    readers,
    too_little,
    up,
)
from napari_limn.network.bank import bank_values, features_of
from napari_limn.network.pixels import bank_sizes
from napari_limn.volume.axes import GRID
from napari_limn.volume.boxes import Grid, blocks, count_blocks, shape_of, shifted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari_limn.network.footprint import Footprint
    from napari_limn.network.spec import UNetSpec
    from napari_limn.volume.boxes import Box

_LARGEST = {2: 1024, 3: 256}  # longer blocks gain little: the halo is then a few per cent of the work
_GAPS = 0.6  # of the room for features that the heap keeps while the network computes (benchmarks/memory.py)
_PLANES = 1 << 18  # pixels that make a forward pass worth its while; smaller planes go in together


@dataclass(frozen=True, slots=True)
class Plan:
    """Blocks of a prediction, and what they cost.

    Parameters
    ----------
    grid
        Extent (T, Z, Y, X) of the volume.
    block, halo
        Extent of a block of the output, and context read on each side of it, both (T, Z, Y, X); for blended blocks the
        halo is what the network sees, and the tiles are what is read.
    blocks
        How many there are.
    peak_bytes
        Memory that the run will need at most, beyond what the process has before it starts.
    limit
        What it may need.
    work
        Voxels that the network sees, per voxel of the volume: 1 without any overlap.
    swept
        Whether the blocks are those of a sweep, in which nothing is computed twice; otherwise they are tiles.
    exact
        Whether the stitched result equals one pass over the whole image.
    tile
        Extent (T, Z, Y, X) of tiles that overlap by half and are blended, of a network for which nothing is exact but
        one pass; the blocks are then half as long. None where nothing is blended.
    seconds
        Estimated time; None if nothing was measured.

    Examples
    --------
    >>> from napari_limn.network.spec import UNetSpec
    >>> str(make_plan(UNetSpec(), (1, 1, 512, 512), memory=2_000_000_000))
    '1 block of 1 × 1 × 512 × 512, 0.3 GB, exact'
    """

    grid: Grid
    block: Grid
    halo: Grid
    blocks: int
    peak_bytes: int
    limit: int
    work: float
    exact: bool
    swept: bool = False
    tile: Grid | None = None
    column: Grid | None = None
    seconds: float | None = None

    @property
    def blended(self) -> bool:
        """Tell whether blocks are made of tiles that overlap by half."""
        return self.tile is not None

    @property
    def boxes(self) -> Iterator[Box]:
        """Yield every block; those of a column end where it does."""
        for column in blocks(self.grid, self.column or self.grid):
            for box in blocks(shape_of(column), self.block):
                yield shifted(box, [-start for start, _ in column])

    def raster(self, ndim: int) -> str:
        """Name the axes in which blocks come, the outermost first.

        Parameters
        ----------
        ndim
            Axes that the network sees.
        """
        if not self.swept:
            return GRID
        seen = sorted(GRID[-ndim:], key=lambda a: -self.grid[GRID.index(a)])
        return GRID[:-ndim] + "".join(seen)

    def __str__(self) -> str:
        size = " × ".join(map(str, self.block))
        if self.tile is not None:
            size += f", from tiles of {' × '.join(map(str, self.tile))}, overlapped by half and blended"
        time = (
            ""
            if self.seconds is None
            else f", about {self.seconds:.0f} s"
            if self.seconds < 90
            else f", about {self.seconds / 60:.0f} min"
        )
        kind = "exact" if self.exact else "not exact: the normalisation depends on the tile"
        what = "block" if self.swept or self.blended or self.blocks == 1 else "tile"
        return f"{self.blocks} {what}{'s' if self.blocks > 1 else ''} of {size}, {self.peak_bytes / 1e9:.1f} GB{time}, {kind}"


def make_plan(spec: UNetSpec, grid: Grid, memory: int, itemsize: int = 4) -> Plan:
    """Plan the largest tiles that fit into `memory` bytes.

    Parameters
    ----------
    spec
        The network.
    grid
        Extent (T, Z, Y, X) of the volume.
    memory
        Bytes that the run may need.
    itemsize
        Bytes of a number in the precision of the run.

    Raises
    ------
    LimnError
        If not even the smallest block fits.
    """
    footprints = footprints_on_grid(spec)
    extent = [up(n, f.step) for n, f in zip(grid, footprints, strict=True)]
    largest = max(grid) if not spec.tile_exact else _LARGEST[spec.ndim]
    seen = [f.halo > 0 or (not spec.tile_exact and a >= 4 - spec.ndim) for a, f in enumerate(footprints)]
    core = [min(n, up(largest, f.step)) if s else 1 for n, f, s in zip(extent, footprints, seen, strict=True)]
    core = _shrunk(core, [f.step for f in footprints], memory, lambda core: _peak(spec, core, grid, itemsize))
    block = _even(core, grid, footprints)
    if spec.ndim == 2:
        block = _several_planes(spec, block, grid, memory, itemsize)
    halo = tuple(f.halo for f in footprints)
    whole_frames = all(b >= n for b, n, s in zip(block, grid, seen, strict=True) if s)
    return Plan(
        grid, block, as_grid(halo), count_blocks(grid, block), _peak(spec, block, grid, itemsize), memory,
        _work(grid, block, footprints), spec.tile_exact or whole_frames,
    )  # fmt: skip


def choose_plan(spec: UNetSpec, grid: Grid, memory: int, itemsize: int = 4) -> Plan:
    """Plan one pass where a frame fits; otherwise a sweep.

    For a network whose operations are not all local, one pass or tiles that are blended.

    Parameters and errors as of :func:`make_plan`.
    """
    if not spec.tile_exact:
        return make_blend(spec, grid, memory, itemsize)
    short = all(n <= _LARGEST[spec.ndim] for n in grid[-spec.ndim :])
    frame = as_grid((1,) * (4 - spec.ndim) + grid[-spec.ndim :])
    if short and _peak(spec, frame, grid, itemsize) <= memory:
        return make_plan(spec, grid, memory, itemsize)
    sweep = cheapest_sweep(spec, grid, memory, itemsize)
    column = None if sweep.column == grid else sweep.column
    return Plan(
        grid, sweep.block, (0, 0, 0, 0), sweep.blocks, sweep.peak_bytes, memory, sweep.work,
        exact=True, swept=True, column=column,
    )  # fmt: skip


def make_blend(spec: UNetSpec, grid: Grid, memory: int, itemsize: int = 4) -> Plan:
    """Plan one pass where a frame fits; otherwise tiles to blend.

    The largest tiles, overlapped by half, that fit into `memory` bytes.

    Parameters and errors as of :func:`make_plan`.
    """
    footprints = footprints_on_grid(spec)
    halo, seen = as_grid(tuple(f.halo for f in footprints)), [axis >= 4 - spec.ndim for axis in range(4)]
    block = as_grid(tuple(up(n, f.step) if s else 1 for n, f, s in zip(grid, footprints, seen, strict=True)))
    if _bare_peak(spec, block, grid, itemsize) <= memory:
        block = _several_planes(spec, block, grid, memory, itemsize) if spec.ndim == 2 else block
        peak, work = _bare_peak(spec, block, grid, itemsize), _work(grid, block, footprints)
        return Plan(grid, block, halo, count_blocks(grid, block), peak, memory, work, exact=True)
    lines = _largest_lines(spec, block, grid, memory, itemsize)
    tile, block = as_grid(tuple(line.tile for line in lines)), as_grid(tuple(line.cell for line in lines))
    peak = _bare_peak(spec, tile, grid, itemsize) + kept_bytes(lines, spec.out_channels)
    taken = [
        [_taken(stop - start, f) for start, stop in line.spans()]
        for line, f in zip(lines, footprints, strict=True)
    ]
    work = prod(map(sum, taken)) / prod(grid)
    return Plan(grid, block, halo, count_blocks(grid, block), peak, memory, work, exact=False, tile=tile)


def activation_values(spec: UNetSpec, seen: Sequence[int], itemsize: int = 4) -> float:
    """Count the numbers alive at the peak of a forward pass.

    Over `seen` (T, Z, Y, X): in the network, or before it in the classifier.
    """
    voxels = prod(seen)
    around = voxels * (2 * spec.in_channels + 2 * spec.out_channels)
    convolved = voxels * _convolved_values(spec) if spec.convolves else 0
    if spec.pixels is None or spec.share == 0:
        return around + convolved
    every = sum(bank_sizes(spec)) + features_of(spec.in_channels, spec.ndim)
    bank = _bank_values(spec, seen) * 4 / itemsize  # computed in float32
    gaps = _GAPS * bank_gaps(seen[-spec.ndim :], bank)
    return around + max(voxels * every + bank, convolved + gaps if convolved else 0)


def _convolved_values(spec: UNetSpec) -> float:
    """Count the numbers alive in the network itself.

    All node outputs live until the end; at the last node, its upsampled input, their concatenation with the skips and
    one more output of a convolution come on top; a gated skip, or what comes past the convolutions, too.
    """
    nodes = [(i, 0) for i in range(spec.depth + 1)] + list(spec.nodes())
    kept = sum(spec.channels(i) / prod(spec.stride(i, a) for a in range(spec.ndim)) for i, _ in nodes)
    more = (spec.skip == "attention") + (spec.block == "residual")
    return kept + spec.channels(0) * (len(spec.skips(0, spec.depth)) + 3 + more)


def _bank_values(spec: UNetSpec, seen: Sequence[int]) -> int:
    """Count the numbers alive while features of a scale are computed.

    Beside all features.
    """
    if spec.pixels is None:
        return 0
    extent = seen[-spec.ndim :]
    return prod(seen[: -spec.ndim]) * max(
        bank_values(extent, s, spec.in_channels) for s in spec.pixels.scales
    )


def network_bytes(spec: UNetSpec, block: Sequence[int], grid: Grid, itemsize: int) -> int:
    """Count the bytes of a block that are the network's activations.

    Over the block (T, Z, Y, X) and its halo.
    """
    return _activation_bytes(spec, _seen(spec, block, grid), itemsize)


def _activation_bytes(spec: UNetSpec, seen: Sequence[int], itemsize: int) -> int:
    return int(activation_values(spec, seen, itemsize) * itemsize * LOOSE)


def _seen(spec: UNetSpec, core: Sequence[int], grid: Grid) -> list[int]:
    """Return the extent of a block and its halo."""
    return [
        c + 2 * f.halo if f.shrink else min(c + 2 * f.halo, up(n, f.step))
        for c, f, n in zip(core, footprints_on_grid(spec), grid, strict=True)
    ]


def _peak(spec: UNetSpec, core: Sequence[int], grid: Grid, itemsize: int) -> int:
    """Count the bytes for one block.

    Activations over block and halo, the image as read and as scaled, the labels.
    """
    alone = all(c >= n for c, n in zip(core, grid, strict=True))
    return _bytes(spec, _seen(spec, core, grid), prod(core), itemsize, alone=alone)


def _bytes(spec: UNetSpec, seen: Sequence[int], labelled: int, itemsize: int, *, alone: bool) -> int:
    """Count the bytes for a block of which the network sees `seen`.

    As many voxels as `labelled` get a label; nothing is read ahead of a block alone.
    """
    values = prod(seen) * spec.in_channels
    image = 8 * labelled if alone else values * (4 + 12 * readers(values)) + 16 * labelled
    return _activation_bytes(spec, seen, itemsize) + image + OWN


def _shrunk(size: list[int], units: list[int], memory: int, peak: Callable[[list[int]], int]) -> list[int]:
    """Shorten the extent until its peak fits into `memory` bytes.

    In `units`, along its longest axis.
    """
    size = [*size]
    while (needed := peak(size)) > memory:
        axis = max(range(4), key=lambda a: size[a] if size[a] > units[a] else 0)
        if size[axis] <= units[axis]:
            raise too_little(memory, needed)
        size[axis] = max(units[axis], size[axis] * 3 // 4 // units[axis] * units[axis])
    return size


def _largest_lines(spec: UNetSpec, frame: Grid, grid: Grid, memory: int, itemsize: int) -> tuple[Line, ...]:
    """Lay the largest tiles that fit into `memory` bytes, evenly.

    One of them and the sums that are kept.
    """
    footprints = footprints_on_grid(spec)
    pairs = [2 * f.step if axis >= 4 - spec.ndim else 1 for axis, f in enumerate(footprints)]

    def laid(tile: list[int]) -> tuple[Line, ...]:
        """Lay as many tiles, overlapping by half as the stride allows."""
        even = [
            2 * up(ceil(n / ceil(n / (size // 2))), pair // 2) if pair > 1 and n > size else size
            for n, size, pair in zip(grid, tile, pairs, strict=True)
        ]
        return lines_of(grid, even, footprints, spec.ndim)

    def peak(tile: list[int]) -> int:
        lines = laid(tile)
        each = as_grid(tuple(line.tile for line in lines))
        return _bare_peak(spec, each, grid, itemsize) + kept_bytes(lines, spec.out_channels)

    most = [min(n, up(_LARGEST[spec.ndim], pair)) for n, pair in zip(frame, pairs, strict=True)]
    return laid(_shrunk(most, pairs, memory, peak))


def _bare_peak(spec: UNetSpec, tile: Grid, grid: Grid, itemsize: int) -> int:
    """Count the bytes for a tile without context.

    But for what the network cuts off.
    """
    given = [min(n, size) for n, size in zip(grid, tile, strict=True)]
    seen = [fitting(n, f) for n, f in zip(given, footprints_on_grid(spec), strict=True)]
    alone = all(size >= n for n, size in zip(grid, tile, strict=True))
    return _bytes(spec, seen, prod(given), itemsize, alone=alone)


def _taken(n: int, foot: Footprint) -> int:
    """Count the voxels that the network takes for `n` of output.

    Along an axis, without context.
    """
    return fitting(n, foot) if foot.shrink else n


def _even(core: list[int], grid: Grid, footprints: tuple[Footprint, ...]) -> Grid:
    """Make blocks about equal, as many as before."""
    counts = [ceil(n / c) for n, c in zip(grid, core, strict=True)]
    return as_grid(tuple(up(ceil(n / k), f.step) for n, k, f in zip(grid, counts, footprints, strict=True)))


def _several_planes(spec: UNetSpec, block: Grid, grid: Grid, memory: int, itemsize: int) -> Grid:
    """Put small planes together, as far as memory allows."""
    planes = max(1, min(grid[1], _PLANES // (block[2] * block[3])))
    while planes > 1 and _peak(spec, (1, planes, *block[2:]), grid, itemsize) > memory:
        planes //= 2
    return (1, planes, block[2], block[3])


def _work(grid: Grid, block: Grid, footprints: tuple[Footprint, ...]) -> float:
    """Return the voxels computed, over voxels of the volume.

    Each axis by itself, since blocks form a grid.
    """
    total = 1.0
    for n, b, f in zip(grid, block, footprints, strict=True):
        inner = f.shrink or f.halo
        spans = [
            min(n if not f.shrink else n + inner, s + b + inner)
            - (s - inner if f.shrink else max(0, s - inner))
            for s in range(0, n, b)
        ]
        total *= sum(spans) / n
    return total


def with_time(plan: Plan, seconds: float) -> Plan:
    """Return the plan with an estimate of its time."""
    return replace(plan, seconds=seconds)
