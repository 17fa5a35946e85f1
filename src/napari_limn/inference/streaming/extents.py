"""Extents that fit a network: asked for by plans and engines."""

from __future__ import annotations

from itertools import count
from math import ceil, prod
from typing import TYPE_CHECKING

from napari_limn.device import HEAP_BLOCK
from napari_limn.errors import LimnError
from napari_limn.network.footprint import Footprint, footprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_limn.network.spec import UNetSpec
    from napari_limn.volume.boxes import Grid

_READERS = 3
_IN_FLIGHT = 4_000_000  # values at most in parts that are being read


def swept_extent(spec: UNetSpec, grid: Grid) -> tuple[int, ...]:
    """Return the input extent of one pass over a frame.

    It is one that the network takes.
    """
    return tuple(fitting(n, f) for n, f in zip(grid[-spec.ndim :], footprint(spec), strict=True))


def fitting(n: int, foot: Footprint) -> int:
    """Return the smallest legal input that gives `n` voxels of output.

    Or more.
    """
    if not foot.shrink:
        return up(n, foot.step)
    return foot.smallest + up(max(0, n + 2 * foot.shrink - foot.smallest), foot.step)


def refuse_single_sample(spec: UNetSpec, grid: Grid, name: str) -> None:
    """Refuse an image of which a norm gets a single sample.

    Normalised by itself, nothing of it is left.

    Raises
    ------
    LimnError
        If the image called `name` is too small for it along every axis.
    """
    frame = tuple(enumerate(grid[-spec.ndim :]))
    if (
        not spec.isolates_channels
        or not spec.convolves
        or any(_coarsest(spec, axis, n) > 1 for axis, n in frame)
    ):
        return
    extent = " × ".join(str(n) for _, n in frame)
    least = [next(m for m in count(n) if _coarsest(spec, axis, m) > 1) for axis, n in frame]
    expected = " or ".join(f"{n} along {a}" for n, a in zip(least, "ZYX"[-spec.ndim :], strict=True))
    raise LimnError(
        f"{name}: found {extent} voxels, of which {spec.norm} normalisation gets a single sample at the coarsest level, "
        f"expected at least {expected}; choose a larger image, or train a network with batch normalisation."
    )


def _coarsest(spec: UNetSpec, axis: int, n: int) -> int:
    """Count the samples at the coarsest level along an axis.

    Of an image of extent `n`.
    """
    left = fitting(n, footprint(spec)[axis])
    for level in range(spec.depth + 1):
        left //= spec.factors[level - 1][axis] if level else 1
        left -= 2 * (spec.kernel(level)[axis] - 1) if spec.padding == "valid" else 0
    return left


def footprints_on_grid(spec: UNetSpec) -> tuple[Footprint, ...]:
    """Return the footprints along T, Z, Y and X.

    An axis that the network does not see has a footprint of one voxel.
    """
    own = footprint(spec)
    return (Footprint(1, 0, 0, 1),) * (4 - len(own)) + own


def readers(values: int) -> int:
    """Return how many parts are read at once.

    Several if they are small, so that they wait for a far disk together.
    """
    return max(1, min(_READERS, _IN_FLIGHT // max(1, values)))


def bank_gaps(extent: Sequence[int], values: float) -> float:
    """Return the values of features that leave gaps in the heap.

    All the `values` alive while features of `extent` were computed, if they lie in the heap; else 0.
    """
    return values if 4 * prod(extent) < HEAP_BLOCK else 0.0


def up(n: int, step: int) -> int:
    """Round up to a multiple of `step`."""
    return ceil(n / step) * step


def as_grid(values: Iterable[int]) -> Grid:
    """Return four values as a grid."""
    t, z, y, x = values
    return t, z, y, x


def too_little(memory: int, needed: int) -> LimnError:
    """Make the error for less memory than the smallest block needs."""
    return LimnError(
        f"found a memory limit of {memory / 1e9:.2f} GB, the smallest block of this network needs "
        f"{needed / 1e9:.2f} GB; give more with --memory, or train a narrower network."
    )
