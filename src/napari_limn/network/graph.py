"""Geometry of a U-Net, exactly and from its definition: where samples lie, how far they see, which sizes are legal.

Every figure is in voxels of the input and along one axis. The samples of a node at level l lie `stride(l)` apart;
`first_samples` says where the first one lies, as a fraction, since pooling centres fall between voxels.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_limn.network.spec import UNetSpec


@dataclass(frozen=True, slots=True)
class Footprint:
    """How output and input of a network line up along one axis, in voxels of the input.

    Parameters
    ----------
    step
        Two tiles agree voxel for voxel only if their origins differ by a multiple of this: the coarsest stride.
    halo
        Context that an output block needs on each side if it begins and ends on multiples of `step`; such a multiple
        itself.
    shrink
        What the network cuts off each side (0 for padded convolutions).
    smallest
        Smallest legal input; the legal ones are ``smallest + k * step`` (any size from 1 for padded convolutions,
        which pad themselves).
    """

    step: int
    halo: int
    shrink: int
    smallest: int


def footprint(spec: UNetSpec) -> tuple[Footprint, ...]:
    """Footprint along each axis of the network.

    Examples
    --------
    >>> from napari_limn.network.spec import UNetSpec
    >>> footprint(UNetSpec(padding="valid", norm="none"))[0]
    Footprint(step=16, halo=92, shrink=92, smallest=188)
    """
    one = _valid_footprint if spec.padding == "valid" else _padded_footprint
    return tuple(one(spec, axis) for axis in range(spec.ndim))


def _valid_footprint(spec: UNetSpec, axis: int) -> Footprint:
    step = spec.stride(spec.depth, axis)
    shrink = int(first_samples(spec, axis)[0, spec.depth])
    sizes = range(2 * shrink + 1, 2 * shrink + step + 1)
    return Footprint(step, shrink, shrink, next(n for n in sizes if _divides(spec, axis, n)))


def _divides(spec: UNetSpec, axis: int, size: int) -> bool:
    """Whether every pooling of a network without padding divides evenly."""
    for level in range(spec.depth):
        size -= 2 * (spec.kernel(level)[axis] - 1)
        if size % spec.factors[level][axis]:
            return False
        size //= spec.factors[level][axis]
    return True


def _padded_footprint(spec: UNetSpec, axis: int) -> Footprint:
    step = spec.stride(spec.depth, axis)
    low, high = _needed(spec, axis, 0, step)
    return Footprint(step, step * ceil(max(-low, high - step) / step), 0, 1)


def _needed(spec: UNetSpec, axis: int, low: int, high: int) -> tuple[int, int]:
    """Hull of the input that the output interval [low, high) depends on: down the deepest path, and up again.

    Two convolutions a level widen it on both ways. Every other path is shorter: a nested network has more nodes a
    level, but each step to the left in its triangle takes the place of one step down, where strides are wider.
    """
    for level in range(spec.depth):
        factor, reach = spec.factors[level][axis], spec.kernel(level)[axis] - 1
        low, high = floor(Fraction(low - reach, factor)), ceil(Fraction(high + reach, factor))
    reach = spec.kernel(spec.depth)[axis] - 1
    low, high = low - reach, high + reach
    for level in reversed(range(spec.depth)):
        factor, reach = spec.factors[level][axis], spec.kernel(level)[axis] - 1
        low, high = low * factor - reach, high * factor + reach
    return low, high


def first_samples(spec: UNetSpec, axis: int) -> dict[tuple[int, int], Fraction]:
    """Where the first sample of every node (level, column) lies; crops of skips follow from the differences."""
    shrink = [
        (k[axis] - 1 if spec.padding == "valid" else 0) for k in map(spec.kernel, range(spec.depth + 1))
    ]
    at: dict[tuple[int, int], Fraction] = {}
    start = Fraction(0)
    for level in range(spec.depth + 1):
        start += shrink[level] * spec.stride(level, axis)
        at[level, 0] = start
        if level < spec.depth:
            start += Fraction((spec.factors[level][axis] - 1) * spec.stride(level, axis), 2)
    for level, column in spec.nodes():
        at[level, column] = _upsampled(spec, axis, at, level, column) + shrink[level] * spec.stride(
            level, axis
        )
    return at


def _upsampled(
    spec: UNetSpec, axis: int, at: dict[tuple[int, int], Fraction], level: int, column: int
) -> Fraction:
    """First sample of what is upsampled into node (level, column)."""
    return at[spec.below(level, column)] - Fraction(
        (spec.factors[level][axis] - 1) * spec.stride(level, axis), 2
    )


def crops(spec: UNetSpec, level: int, column: int) -> tuple[tuple[int, ...], ...]:
    """Samples cut off the start of each skip into node (level, column), one tuple of axes a skip."""
    at = [first_samples(spec, axis) for axis in range(spec.ndim)]
    found = []
    for skip in spec.skips(level, column):
        offsets = [
            (_upsampled(spec, axis, at[axis], level, column) - at[axis][skip]) / spec.stride(level, axis)
            for axis in range(spec.ndim)
        ]
        found.append(tuple(int(o) for o in offsets))
    return tuple(found)
