"""What a prediction will cost, and in which blocks it runs: decided before anything does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, prod
from typing import TYPE_CHECKING

from napari_limn.errors import LimnError
from napari_limn.inference.engines.overlap import Line, kept_bytes, lines_of
from napari_limn.inference.planning.columns import LOOSE, OWN, cheapest_sweep
from napari_limn.inference.streaming.extents import (
    Grid,
    bank_gaps,
    fitting,
    footprints_on_grid,
    on_grid,
    readers,
    too_little,
    up,
)
from napari_limn.network.bank import bank_values, features_of
from napari_limn.network.pixels import bank_sizes
from napari_limn.volume.boxes import count_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_limn.network.graph import Footprint
    from napari_limn.network.spec import UNetSpec

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
    >>> str(make_plan(UNetSpec(), (1, 1, 512, 512), limit=2_000_000_000))
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
        """Whether the blocks are made of tiles that overlap by half."""
        return self.tile is not None

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


def make_plan(spec: UNetSpec, grid: Grid, limit: int, itemsize: int = 4) -> Plan:
    """The largest blocks that fit into `limit` bytes.

    Parameters
    ----------
    spec
        The network.
    grid
        Extent (T, Z, Y, X) of the volume.
    limit
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
    core = _shrunk(core, [f.step for f in footprints], limit, lambda core: _peak(spec, core, grid, itemsize))
    block = _even(core, grid, footprints)
    if spec.ndim == 2:
        block = _several_planes(spec, block, grid, limit, itemsize)
    halo = tuple(f.halo for f in footprints)
    whole_frames = all(b >= n for b, n, s in zip(block, grid, seen, strict=True) if s)
    return Plan(
        grid, block, on_grid(halo), count_blocks(grid, block), _peak(spec, block, grid, itemsize), limit,
        _work(grid, block, footprints), spec.tile_exact or whole_frames,
    )  # fmt: skip


def choose_plan(spec: UNetSpec, grid: Grid, limit: int, itemsize: int = 4) -> Plan:
    """One pass where a frame fits into `limit` bytes; otherwise a sweep.

    For a network whose operations are not all local, one pass or tiles that are blended.

    Parameters and errors as of :func:`make_plan`.
    """
    if not spec.tile_exact:
        return make_blend(spec, grid, limit, itemsize)
    short = all(n <= _LARGEST[spec.ndim] for n in grid[-spec.ndim :])
    frame = on_grid((1,) * (4 - spec.ndim) + grid[-spec.ndim :])
    if short and _peak(spec, frame, grid, itemsize) <= limit:
        return make_plan(spec, grid, limit, itemsize)
    found = cheapest_sweep(spec, grid, limit, itemsize)
    column = None if found.column == grid else found.column
    return Plan(
        grid, found.block, (0, 0, 0, 0), found.blocks, found.peak_bytes, limit, found.work,
        exact=True, swept=True, column=column,
    )  # fmt: skip


def plan_beside(
    held: Callable[[Plan], int], spec: UNetSpec, grid: Grid, limit: int, itemsize: int = 4
) -> Plan:
    """As :func:`choose_plan`, where the output holds memory too; the plan's peak then includes it.

    Parameters
    ----------
    held
        Bytes that the output holds at most with the blocks of a plan.
    spec, grid, limit, itemsize
        And errors, as of :func:`choose_plan`.
    """
    room = peak = limit
    while True:
        try:
            found = choose_plan(spec, grid, room, itemsize)
        except LimnError as error:
            if room == limit:
                raise
            raise too_little(limit, peak) from error
        peak = found.peak_bytes + held(found)
        if peak <= limit:
            return replace(found, peak_bytes=peak, limit=limit)
        room = found.peak_bytes - 1  # the next smaller one; with its blocks the output may hold less, too


def make_blend(spec: UNetSpec, grid: Grid, limit: int, itemsize: int = 4) -> Plan:
    """One pass where a frame fits into `limit` bytes; otherwise the largest tiles, overlapped by half, that do.

    Parameters and errors as of :func:`make_plan`.
    """
    footprints = footprints_on_grid(spec)
    halo, seen = on_grid(tuple(f.halo for f in footprints)), [axis >= 4 - spec.ndim for axis in range(4)]
    block = on_grid(tuple(up(n, f.step) if s else 1 for n, f, s in zip(grid, footprints, seen, strict=True)))
    if _bare_peak(spec, block, grid, itemsize) <= limit:
        block = _several_planes(spec, block, grid, limit, itemsize) if spec.ndim == 2 else block
        peak, work = _bare_peak(spec, block, grid, itemsize), _work(grid, block, footprints)
        return Plan(grid, block, halo, count_blocks(grid, block), peak, limit, work, exact=True)
    lines = _largest_lines(spec, block, grid, limit, itemsize)
    tile, block = on_grid(tuple(line.tile for line in lines)), on_grid(tuple(line.cell for line in lines))
    peak = _bare_peak(spec, tile, grid, itemsize) + kept_bytes(lines, spec.out_channels)
    taken = [
        [_taken(stop - start, f) for start, stop in line.spans()]
        for line, f in zip(lines, footprints, strict=True)
    ]
    work = prod(map(sum, taken)) / prod(grid)
    return Plan(grid, block, halo, count_blocks(grid, block), peak, limit, work, exact=False, tile=tile)


def activation_values(spec: UNetSpec, seen: Sequence[int], itemsize: int = 4) -> float:
    """Numbers alive at the peak of a forward pass over `seen` (T, Z, Y, X): in the network, or before it in the classifier."""
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
    """Numbers alive in the network itself.

    All node outputs live until the end; at the last node, its upsampled input, their concatenation with the skips and
    one more output of a convolution come on top; a gated skip, or what comes past the convolutions, too.
    """
    nodes = [(i, 0) for i in range(spec.depth + 1)] + list(spec.nodes())
    kept = sum(spec.channels(i) / prod(spec.stride(i, a) for a in range(spec.ndim)) for i, _ in nodes)
    more = (spec.skip == "attention") + (spec.block == "residual")
    return kept + spec.channels(0) * (len(spec.skips(0, spec.depth)) + 3 + more)


def _bank_values(spec: UNetSpec, seen: Sequence[int]) -> int:
    """Numbers alive in the pixel classifier while the features of a scale are computed, beside all features."""
    if spec.pixels is None:
        return 0
    extent = seen[-spec.ndim :]
    return prod(seen[: -spec.ndim]) * max(
        bank_values(extent, s, spec.in_channels) for s in spec.pixels.scales
    )


def network_bytes(spec: UNetSpec, block: Sequence[int], grid: Grid, itemsize: int) -> int:
    """Bytes of the plan of a block (T, Z, Y, X) that are the network's activations, over the block and its halo."""
    return _activation_bytes(spec, _seen(spec, block, grid), itemsize)


def _activation_bytes(spec: UNetSpec, seen: Sequence[int], itemsize: int) -> int:
    return int(activation_values(spec, seen, itemsize) * itemsize * LOOSE)


def _seen(spec: UNetSpec, core: Sequence[int], grid: Grid) -> list[int]:
    """Extent (T, Z, Y, X) of what the network sees of a block and its halo."""
    return [
        c + 2 * f.halo if f.shrink else min(c + 2 * f.halo, up(n, f.step))
        for c, f, n in zip(core, footprints_on_grid(spec), grid, strict=True)
    ]


def _peak(spec: UNetSpec, core: Sequence[int], grid: Grid, itemsize: int) -> int:
    """Bytes for one block: activations over block and halo, the image as read and as scaled, the labels."""
    alone = all(c >= n for c, n in zip(core, grid, strict=True))
    return _bytes(spec, _seen(spec, core, grid), prod(core), itemsize, alone=alone)


def _bytes(spec: UNetSpec, seen: Sequence[int], labelled: int, itemsize: int, *, alone: bool) -> int:
    """Bytes for a block by what the network sees and how many voxels get a label; nothing is read ahead of one alone."""
    values = prod(seen) * spec.in_channels
    image = 8 * labelled if alone else values * (4 + 12 * readers(values)) + 16 * labelled
    return _activation_bytes(spec, seen, itemsize) + image + OWN


def _shrunk(size: list[int], units: list[int], limit: int, peak: Callable[[list[int]], int]) -> list[int]:
    """The extent, in `units`, shortened along its longest axis until its peak fits into `limit` bytes."""
    size = [*size]
    while (needed := peak(size)) > limit:
        axis = max(range(4), key=lambda a: size[a] if size[a] > units[a] else 0)
        if size[axis] <= units[axis]:
            raise too_little(limit, needed)
        size[axis] = max(units[axis], size[axis] * 3 // 4 // units[axis] * units[axis])
    return size


def _largest_lines(spec: UNetSpec, frame: Grid, grid: Grid, limit: int, itemsize: int) -> tuple[Line, ...]:
    """The largest tiles for a frame of which one and the sums that are kept fit into `limit` bytes, evenly laid."""
    footprints = footprints_on_grid(spec)
    pairs = [2 * f.step if axis >= 4 - spec.ndim else 1 for axis, f in enumerate(footprints)]

    def laid(tile: list[int]) -> tuple[Line, ...]:
        """As many tiles as of this extent, but overlapping by half as exactly as the stride allows."""
        even = [
            2 * up(ceil(n / ceil(n / (size // 2))), pair // 2) if pair > 1 and n > size else size
            for n, size, pair in zip(grid, tile, pairs, strict=True)
        ]
        return lines_of(grid, even, footprints, spec.ndim)

    def peak(tile: list[int]) -> int:
        lines = laid(tile)
        each = on_grid(tuple(line.tile for line in lines))
        return _bare_peak(spec, each, grid, itemsize) + kept_bytes(lines, spec.out_channels)

    most = [min(n, up(_LARGEST[spec.ndim], pair)) for n, pair in zip(frame, pairs, strict=True)]
    return laid(_shrunk(most, pairs, limit, peak))


def _bare_peak(spec: UNetSpec, tile: Grid, grid: Grid, itemsize: int) -> int:
    """Bytes for one tile with no more context than the network cuts off."""
    given = [min(n, size) for n, size in zip(grid, tile, strict=True)]
    seen = [fitting(n, f) for n, f in zip(given, footprints_on_grid(spec), strict=True)]
    alone = all(size >= n for n, size in zip(grid, tile, strict=True))
    return _bytes(spec, seen, prod(given), itemsize, alone=alone)


def _taken(n: int, foot: Footprint) -> int:
    """Voxels that the network takes along an axis for `n` of output without context."""
    return fitting(n, foot) if foot.shrink else n


def _even(core: list[int], grid: Grid, footprints: tuple[Footprint, ...]) -> Grid:
    """As many blocks as before, but all of about the same size."""
    counts = [ceil(n / c) for n, c in zip(grid, core, strict=True)]
    return on_grid(tuple(up(ceil(n / k), f.step) for n, k, f in zip(grid, counts, footprints, strict=True)))


def _several_planes(spec: UNetSpec, block: Grid, grid: Grid, limit: int, itemsize: int) -> Grid:
    """Put small planes together, as far as memory allows."""
    planes = max(1, min(grid[1], _PLANES // (block[2] * block[3])))
    while planes > 1 and _peak(spec, (1, planes, *block[2:]), grid, itemsize) > limit:
        planes //= 2
    return (1, planes, block[2], block[3])


def _work(grid: Grid, block: Grid, footprints: tuple[Footprint, ...]) -> float:
    """Voxels computed, over voxels of the volume; each axis by itself, since blocks form a grid."""
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
    """The plan with an estimate of its time."""
    return replace(plan, seconds=seconds)
