"""How a label volume is cut into shards and chunks, by level.

This is geometry only, nothing is written here.

A *shard* is one file. It is written once, when all its voxels are there, so it holds a whole number of blocks of the
run, or a block a whole number of shards. Inside, *chunks* are compressed one by one, so that little is read to look
at a place. What the half-filled shards of a run take is known before it begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import ceil, prod
from typing import TYPE_CHECKING, Any

from napari_limn.volume.axes import GRID
from napari_limn.volume.boxes import Box, Grid, clipped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SMALLEST, _LARGEST = 4 << 20, 16 << 20  # bytes of labels in a shard
_BUFFERS = 64 << 20  # bytes of half-filled shards, over all levels
_COARSEST = 512  # longest side of the last level
_THIN = 32  # sides that are not halved further
_PLANAR, _SOLID = (
    (1, 1, 256, 256),
    (1, 32, 64, 64),
)  # chunks of what is computed plane by plane, and of volumes


@dataclass(frozen=True, slots=True)
class Level:
    """One level of a pyramid on the TZYX grid.

    Parameters
    ----------
    shape
        Extent in voxels of this level.
    step
        Voxels of the next finer level for one of this one, along each axis; its first is the one that is kept.
    stride
        The same in voxels of level 0.
    shard, chunk
        Extent of a shard, and of a chunk inside it; both may reach beyond `shape`.

    Examples
    --------
    >>> level = Level((1, 1, 5, 9), (1, 1, 1, 1), (1, 1, 1, 1), (1, 1, 4, 4), (1, 1, 2, 2))
    >>> level.count, level.box(5)
    (6, ((0, 1), (0, 1), (4, 5), (8, 9)))
    """

    shape: Grid
    step: Grid
    stride: Grid
    shard: Grid
    chunk: Grid

    @property
    def counts(self) -> Grid:
        """Return the number of shards along each axis."""
        return _grid(-(-n // s) for n, s in zip(self.shape, self.shard, strict=True))

    @property
    def count(self) -> int:
        """Return the number of shards."""
        return prod(self.counts)

    def place(self, number: int) -> Grid:
        """Return the position of a shard among the others.

        They are numbered in raster order, X fastest.
        """
        position = []
        for count in reversed(self.counts):
            number, at = divmod(number, count)
            position.append(at)
        return _grid(reversed(position))

    def box(self, number: int) -> Box:
        """Return the voxels of this level that a shard holds."""
        starts = [at * s for at, s in zip(self.place(number), self.shard, strict=True)]
        return clipped(tuple((a, a + s) for a, s in zip(starts, self.shard, strict=True)), self.shape)

    def touching(self, box: Box) -> Iterator[int]:
        """Yield the numbers of the shards that share voxels with a box.

        None with an empty one.
        """
        if any(a >= b for a, b in box):
            return
        spans = [range(a // s, -(-b // s)) for (a, b), s in zip(box, self.shard, strict=True)]
        _, *inner = self.counts
        weights = [prod(inner[i:]) for i in range(4)]
        for place in product(*spans):
            yield sum(at * w for at, w in zip(place, weights, strict=True))


@dataclass(frozen=True, slots=True)
class Layout:
    """All levels of an output and what a voxel holds.

    Parameters
    ----------
    levels
        Finest first.
    dtype
        Of the labels, as numpy names it.
    probabilities
        ``"uint8"``, ``"float16"``, or None where there are none.
    classes
        Number of classes that have a probability; 0 where there are none.
    buffer_bytes
        Memory that half-filled shards take at most, and the one that is just being compressed.
    """

    levels: tuple[Level, ...]
    dtype: str
    probabilities: str | None
    classes: int
    buffer_bytes: int

    def __iter__(self) -> Iterator[Level]:
        return iter(self.levels)

    @property
    def summary(self) -> dict[str, Any]:
        """Describe, as flat text, which bytes lie in which file.

        It goes into the fingerprint of a run.
        """
        described = {
            f"level {number}": " ".join(
                f"{what} {'×'.join(map(str, getattr(level, what)))}"
                for what in ("shape", "stride", "shard", "chunk")
            )
            for number, level in enumerate(self.levels)
        }
        kinds = {"label type": self.dtype, "probabilities": f"{self.classes} of {self.probabilities}"}
        return kinds | described


def make_layout(
    grid: Grid,
    block: Sequence[int],
    spacing: tuple[float, float, float],
    itemsizes: Sequence[int],
    *,
    order: str = GRID,
    column: Grid | None = None,
    tile: Grid | None = None,
    count: int | None = None,
) -> tuple[tuple[Level, ...], int]:
    """Choose the levels of a pyramid.

    Returns them, and the bytes that its half-filled shards take at most.

    Parameters
    ----------
    grid
        Extent (T, Z, Y, X) of the labels.
    block
        Extent (T, Z, Y, X) of the blocks that are going to come, one after the other in raster order.
    spacing
        Voxel size along Z, Y and X: an axis much coarser than the others is halved later than they are.
    itemsizes
        Bytes of a voxel in each array that is written: labels first, then one for each probability.
    order
        Axes of the raster, the outermost loop first.
    column
        Extent of the columns that come one after the other, in each frame; None where there is one. What waits from one to the
        next is not in the bytes: :func:`~napari_limn.volume.writing.waiting.held_bytes` counts it.
    tile
        Chunk to aim at; by default flat ones for blocks of one plane.
    count
        Number of levels; by default as many as bring every side to 512 or less.
    """
    target = tile or (_SOLID if min(block[1], grid[1]) > 1 else _PLANAR)
    loops = [GRID.index(a) for a in order]
    given, units = list(map(Fraction, block)), list(map(Fraction, block))
    made: list[Level] = []
    step = stride = (1, 1, 1, 1)
    shape, waiting, largest = grid, 0, 0
    while True:
        width = [Fraction(c, s) for c, s in zip(column or grid, stride, strict=True)]
        shard, chunk = _cut(shape, given, target, itemsizes, loops, _BUFFERS >> (len(made) + 1), width)
        made.append(Level(shape, step, stride, shard, chunk))
        waiting += max(_waiting(shape, shard, units, loops), _inside(shape, units, given)) * sum(itemsizes)
        largest = max(largest, prod(map(min, shard, shape)) * max(itemsizes))
        if len(made) == count or (count is None and max(shape[1:]) <= _COARSEST):
            return tuple(made), waiting + 2 * largest
        step = _step(shape, stride, spacing, _THIN if count is None else 1)
        stride = _grid(a * b for a, b in zip(stride, step, strict=True))
        # what comes to the next level: shards of this one, as many at a time as one block completes
        given = [Fraction(s, f) if s > 1 else Fraction(1) for s, f in zip(shard, step, strict=True)]
        units = [max(g, u / f) for g, u, f in zip(given, units, step, strict=True)]
        shape = _grid(-(-n // f) for n, f in zip(shape, step, strict=True))


def picked(box: Box, step: Sequence[int]) -> Box:
    """Return the voxels of the next coarser level taken from a box.

    Those whose first voxel lies in it.
    """
    return tuple((-(-a // s), -(-b // s)) for (a, b), s in zip(box, step, strict=True))


def _step(shape: Grid, stride: Grid, spacing: tuple[float, float, float], thin: int) -> Grid:
    """Choose the axes that are halved next.

    Those about as finely sampled (within a factor of 2) as the finest.
    """
    sizes = {a: stride[a] * spacing[a - 1] for a in (1, 2, 3) if shape[a] > thin}
    finest = min(sizes.values(), default=0.0)
    return _grid(2 if a in sizes and sizes[a] < 2 * finest else 1 for a in range(4))


def _cut(
    shape: Grid,
    block: Sequence[Fraction],
    target: Grid,
    itemsizes: Sequence[int],
    loops: list[int],
    most: int,
    column: Sequence[Fraction],
) -> tuple[Grid, Grid]:
    """Choose shard and chunk.

    The shard begins as one that holds one block; it is cut down where too large, doubled where too small.
    """

    def waiting(shard: Sequence[int]) -> int:
        inside = _grid(min(n, ceil(c)) for n, c in zip(shape, column, strict=True))
        return _waiting(inside, shard, block, loops) + _astride(shape, shard, column)

    pairs = [_base(n, b, t) for n, b, t in zip(shape, block, target, strict=True)]
    shard, chunk = [s for s, _ in pairs], [c for _, c in pairs]
    while prod(shard) * itemsizes[0] > _LARGEST and shard != chunk:
        axis = max(range(4), key=lambda a: shard[a] // chunk[a])
        shard[axis] = _smaller(shard[axis] // chunk[axis], whole=block[axis] >= shape[axis]) * chunk[axis]
    while prod(shard) * itemsizes[0] < _SMALLEST:
        # along the axis with the fewest chunks, so that shards become round
        axes = sorted((a for a in range(4) if shard[a] < shape[a]), key=lambda a: (shard[a] // chunk[a], -a))
        options = (_grown(shard, chunk, shape, a) for a in axes)
        fitting = (o for o in options if waiting(o) * sum(itemsizes) <= most)
        if (larger := next(fitting, None)) is None:
            break
        shard = larger
    return _grid(shard), _grid(chunk)


def _base(n: int, given: Fraction, target: int) -> tuple[int, int]:
    """Choose the shard that holds one block along an axis.

    And chunks that divide it.
    """
    if given >= n:
        chunk = min(n, target)
        return -(-n // chunk) * chunk, chunk
    block = ceil(given)
    if chosen := _divisor(block, target):
        return block, chosen
    return -(-block // target) * target, target  # blocks of such an extent will straddle shards


def _divisor(block: int, target: int) -> int | None:
    """Return the divisor of an extent that suits best as a chunk.

    None if all are much smaller or larger than `target`.
    """
    divisors = [d for d in range(1, block + 1) if block % d == 0]
    below = max(d for d in divisors if d <= target)
    if below == block or 4 * below >= target:
        return below
    above = min(d for d in divisors if d > target)
    return above if above <= 4 * target else None


def _smaller(chunks: int, *, whole: bool) -> int:
    """Take about half as many chunks along an axis.

    A block still holds a whole number of shards then.
    """
    if whole:
        return -(-chunks // 2)
    return chunks // next((p for p in range(2, chunks + 1) if chunks % p == 0), 1)


def _grown(shard: list[int], chunk: list[int], shape: Grid, axis: int) -> list[int]:
    longest = -(-shape[axis] // chunk[axis]) * chunk[axis]
    return [min(2 * s, longest) if a == axis else s for a, s in enumerate(shard)]


def _waiting(shape: Grid, shard: Sequence[int], block: Sequence[Fraction], loops: Sequence[int]) -> int:
    """Count the voxels in half-filled shards, at most.

    A row of shards along the outermost axis on which they wait for blocks.
    """
    waits = [a for a in loops if not (block[a] >= shape[a] or block[a] % shard[a] == 0)]
    if not waits:
        return 0
    place = loops.index(waits[0])
    reach = [_reach(shape[a], shard[a], block[a]) for a in loops[: place + 1]]
    return prod(reach) * prod(shape[a] for a in loops[place + 1 :])


def _astride(shape: Grid, shard: Sequence[int], column: Sequence[Fraction]) -> int:
    """Count the voxels in shards that lie in two columns, at most."""
    voxels = 0
    for axis, (n, s, c) in enumerate(zip(shape, shard, column, strict=True)):
        if c < n and c % s != 0:
            before = [min(m, ceil(d)) for m, d in zip(shape[:axis], column[:axis], strict=True)]
            voxels += s * prod(before) * prod(shape[axis + 1 :])
    return voxels


def _reach(n: int, shard: int, block: Fraction) -> int:
    """Return the extent of the shards that one block touches.

    Along one axis.
    """
    if block % shard == 0 or shard % block == 0:
        return min(n, max(ceil(block), shard))
    return min(n, (block // shard + 2) * shard)


def _inside(shape: Grid, units: Sequence[Fraction], given: Sequence[Fraction]) -> int:
    """Count the voxels that wait while one block is taken in.

    At most, of a block that comes as several pieces.
    """
    if all(u <= g for u, g in zip(units, given, strict=True)):
        return 0
    return prod(min(n, ceil(u)) for n, u in zip(shape, units, strict=True))


def _grid(values: Any) -> Grid:
    t, z, y, x = values
    return t, z, y, x
