"""What a prediction will cost, and in which blocks it runs: decided before anything does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, prod
from typing import TYPE_CHECKING

from napari_limn.errors import LimnError
from napari_limn.inference.sweep import Sweep
from napari_limn.network.graph import Footprint, footprint, graph_of
from napari_limn.volume.boxes import count_blocks

if TYPE_CHECKING:
    from napari_limn.network.spec import UNetSpec

Grid = tuple[int, int, int, int]

_FIXED = 180_000_000  # libraries' own buffers once a network has run, Zarr's threads and caches
_BETWEEN = 60_000_000  # what the allocator leaves unused between the many pieces that a sweep keeps
_SCRATCH = 1.3  # what convolutions need besides their inputs and outputs
_LARGEST = {2: 1024, 3: 256}  # longer blocks gain little: the halo is then a few per cent of the work
# blocks of a sweep along T, Z, Y and X, from those that fill the processor's caches best down
_SWEPT = {
    2: [(1, 1, n, 2 * n) for n in (256, 128, 64, 32, 16)],
    3: [(1, n, 4 * n, 4 * n) for n in (32, 16, 8, 4)],
}
_PLANES = 1 << 18  # pixels that make a forward pass worth its while; smaller planes go in together


@dataclass(frozen=True, slots=True)
class Plan:
    """Blocks of a prediction, and what they cost.

    Parameters
    ----------
    grid
        Extent (T, Z, Y, X) of the volume.
    block, halo
        Extent of a block of the output, and context read on each side of it, both (T, Z, Y, X).
    blocks
        How many there are.
    peak_bytes
        Memory that the run will need at most, beyond what the process has before it starts.
    limit
        What it may need.
    work
        Voxels that the network sees, per voxel of the volume: 1 without any overlap.
    swept
        Whether the blocks are those of one sweep, in which nothing is computed twice; otherwise they are tiles.
    exact
        Whether the stitched result equals one pass over the whole image.
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
    seconds: float | None = None

    def __str__(self) -> str:
        size = " × ".join(map(str, self.block))
        time = (
            ""
            if self.seconds is None
            else f", about {self.seconds:.0f} s"
            if self.seconds < 90
            else f", about {self.seconds / 60:.0f} min"
        )
        kind = "exact" if self.exact else "not exact: the normalisation depends on the tile"
        what = "block" if self.swept or self.blocks == 1 else "tile"
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
    feet = feet_on_grid(spec)
    extent = [_up(n, f.step) for n, f in zip(grid, feet, strict=True)]
    largest = max(grid) if not spec.tile_exact else _LARGEST[spec.ndim]
    core = [
        min(n, _up(largest, f.step)) if f.halo or f.shrink else 1 for n, f in zip(extent, feet, strict=True)
    ]
    while (peak := _peak(spec, core, feet, itemsize)) > limit:
        axis = max(range(4), key=lambda a: core[a] if core[a] > feet[a].step else 0)
        if core[axis] <= feet[axis].step:
            raise LimnError(
                f"found a memory limit of {limit / 1e9:.2f} GB, the smallest block of this network needs "
                f"{peak / 1e9:.2f} GB; raise the limit, or train a narrower network."
            )
        core[axis] = max(feet[axis].step, core[axis] * 3 // 4 // feet[axis].step * feet[axis].step)
    block = _even(core, grid, feet)
    if spec.ndim == 2:
        block = _several_planes(spec, block, grid, limit, itemsize)
    halo = tuple(f.halo for f in feet)
    whole_frames = all(b >= n for b, n, f in zip(block, grid, feet, strict=True) if f.halo)
    return Plan(
        grid, block, _grid(halo), count_blocks(grid, block), _peak(spec, block, feet, itemsize), limit,
        _work(grid, block, feet), spec.tile_exact or whole_frames,
    )  # fmt: skip


def choose_plan(spec: UNetSpec, grid: Grid, limit: int, itemsize: int = 4) -> Plan:
    """One pass where a frame fits into `limit` bytes; otherwise a sweep; tiles where what it keeps does not fit either.

    Parameters and errors as of :func:`make_plan`.
    """
    tiled = make_plan(spec, grid, limit, itemsize)
    at_once = all(b >= n for b, n in zip(tiled.block[-spec.ndim :], grid[-spec.ndim :], strict=True))
    if at_once or not spec.tile_exact:
        return tiled
    return make_sweep(spec, grid, limit, itemsize) or tiled


def make_sweep(spec: UNetSpec, grid: Grid, limit: int, itemsize: int = 4) -> Plan | None:
    """The sweep with the largest blocks that fit into `limit` bytes; None if not even the smallest do.

    Parameters as of :func:`make_plan`.
    """
    feet, extent = feet_on_grid(spec), swept_extent(spec, grid)
    frame = [f.step > 1 or f.halo > 0 for f in feet]
    for wanted in _SWEPT[spec.ndim]:
        block = _grid(tuple(
            min(_up(n, f.step), _up(w, f.step)) if seen else 1
            for n, w, f, seen in zip(grid, wanted, feet, frame, strict=True)
        ))  # fmt: skip
        kept = Sweep(graph_of(spec), {}, extent, block[-spec.ndim :]).most_kept()
        ahead = prod(b + f.halo for b, f in zip(block, feet, strict=True))  # as far as the first block reads
        peak = _bytes(spec, ahead, ahead, itemsize) + kept * itemsize + _BETWEEN
        if peak <= limit:
            work = prod(extent) / prod(grid[-spec.ndim :])
            return Plan(
                grid, block, (0, 0, 0, 0), count_blocks(grid, block), peak, limit, work, exact=True, swept=True
            )  # fmt: skip
    return None


def swept_extent(spec: UNetSpec, grid: Grid) -> tuple[int, ...]:
    """Extent of the input of one pass over a frame: one that the network takes."""
    return tuple(fitting(n, f) for n, f in zip(grid[-spec.ndim :], footprint(spec), strict=True))


def fitting(n: int, foot: Footprint) -> int:
    """Extent of the smallest input that the network takes and that gives `n` voxels of output or more."""
    if not foot.shrink:
        return _up(n, foot.step)
    return foot.smallest + _up(max(0, n + 2 * foot.shrink - foot.smallest), foot.step)


def feet_on_grid(spec: UNetSpec) -> tuple[Footprint, ...]:
    """Footprints along T, Z, Y and X; an axis that the network does not see has a footprint of one voxel."""
    own = footprint(spec)
    return (Footprint(1, 0, 0, 1),) * (4 - len(own)) + own


def activation_values(spec: UNetSpec) -> float:
    """Numbers alive at the peak of a forward pass, per voxel of the input.

    All node outputs live until the end; at the last node, its upsampled input, their concatenation with the skips and
    one more output of a convolution come on top.
    """
    nodes = [(i, 0) for i in range(spec.depth + 1)] + list(spec.nodes())
    kept = sum(spec.channels(i) / prod(spec.stride(i, a) for a in range(spec.ndim)) for i, _ in nodes)
    last = spec.channels(0) * (len(spec.skips(0, spec.depth)) + 3)
    return 2 * spec.in_channels + kept + last + 2 * spec.out_channels


def _peak(spec: UNetSpec, core: list[int] | Grid, feet: tuple[Footprint, ...], itemsize: int) -> int:
    """Bytes for one block: activations over block and halo, the image as read and as scaled, the labels."""
    return _bytes(spec, prod(c + 2 * f.halo for c, f in zip(core, feet, strict=True)), prod(core), itemsize)


def _bytes(spec: UNetSpec, seen: int, labelled: int, itemsize: int) -> int:
    """Bytes for a block by the voxels that the network sees and those that get a label."""
    image = seen * spec.in_channels * 16 + labelled * 16
    return int(seen * activation_values(spec) * itemsize * _SCRATCH + image) + _FIXED


def _even(core: list[int], grid: Grid, feet: tuple[Footprint, ...]) -> Grid:
    """As many blocks as before, but all of about the same size."""
    counts = [ceil(n / c) for n, c in zip(grid, core, strict=True)]
    return _grid(tuple(_up(ceil(n / k), f.step) for n, k, f in zip(grid, counts, feet, strict=True)))


def _several_planes(spec: UNetSpec, block: Grid, grid: Grid, limit: int, itemsize: int) -> Grid:
    """Put small planes together, as far as memory allows."""
    planes = max(1, min(grid[1], _PLANES // (block[2] * block[3])))
    feet = feet_on_grid(spec)
    while planes > 1 and _peak(spec, (1, planes, *block[2:]), feet, itemsize) > limit:
        planes //= 2
    return (1, planes, block[2], block[3])


def _work(grid: Grid, block: Grid, feet: tuple[Footprint, ...]) -> float:
    """Voxels computed, over voxels of the volume; each axis by itself, since blocks form a grid."""
    total = 1.0
    for n, b, f in zip(grid, block, feet, strict=True):
        inner = f.shrink or f.halo
        spans = [
            min(n if not f.shrink else n + inner, s + b + inner)
            - (s - inner if f.shrink else max(0, s - inner))
            for s in range(0, n, b)
        ]
        total *= sum(spans) / n
    return total


def _up(n: int, step: int) -> int:
    return ceil(n / step) * step


def _grid(values: tuple[int, ...]) -> Grid:
    t, z, y, x = values
    return t, z, y, x


def with_time(plan: Plan, seconds: float) -> Plan:
    """The plan with an estimate of its time."""
    return replace(plan, seconds=seconds)
