"""How far a network sees: receptive field, stride and legal sizes.

Why: all of it is computed from the operations of the traced network (see :mod:`napari_limn.network.graph`), once for each spec, and written
down nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, gcd, lcm
from typing import TYPE_CHECKING

from napari_limn.errors import LimnError
from napari_limn.network.graph import Graph, graph_of

if TYPE_CHECKING:
    from napari_limn.network.spec import UNetSpec


@dataclass(frozen=True, slots=True)
class Footprint:
    """How output and input line up along one axis, in input voxels."""

    step: int
    """Two tiles agree voxel for voxel only if their origins differ by a multiple of this: the coarsest stride."""
    halo: int
    """Context that an output block needs on each side if it begins and ends on multiples of `step`, such a multiple."""
    shrink: int
    """What the network cuts off each side (0 for padded convolutions)."""
    smallest: int
    """Smallest legal input, the others are whole steps larger; 1 for a padded UNet, which pads itself to any size."""


@lru_cache(maxsize=256)
def footprint(spec: UNetSpec) -> tuple[Footprint, ...]:
    """Compute the footprint of a U-Net along each of its axes.

    Examples
    --------
    >>> from napari_limn.network.spec import UNetSpec
    >>> footprint(UNetSpec(padding="valid", norm="none"))[0]
    Footprint(step=16, halo=92, shrink=92, smallest=188)
    """
    graph = graph_of(spec)
    footprints = (footprint_along(graph, axis) for axis in range(spec.ndim))
    return tuple(replace(f, smallest=1) if spec.padding == "same" else f for f in footprints)


def footprint_along(graph: Graph, axis: int) -> Footprint:
    """Compute the footprint of any traced network along an axis.

    Raises
    ------
    LimnError
        If the output is sampled otherwise than the input, or cut off unevenly: there is no voxel for a voxel.

    Examples
    --------
    >>> from torch import nn
    >>> from napari_limn.network.graph import trace
    >>> network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.MaxPool2d(2), nn.Upsample(scale_factor=2))
    >>> footprint_along(trace(network, 1, (64, 64)), 0)
    Footprint(step=2, halo=2, shrink=0, smallest=2)
    """
    strides = graph.strides(axis)
    if strides[-1] != 1:
        raise LimnError(f"found one output sample every {strides[-1]} voxels, expected one for each.")
    step = lcm(*(s.numerator for s in strides)) // gcd(*(s.denominator for s in strides))
    off = graph.cut_off(axis, graph.traced[axis])
    if off is None or off % 2:
        raise LimnError(f"found {off} voxels cut off in all, expected as many on each side.")
    shrink, whole = off // 2, range(1, graph.traced[axis] + 1)
    smallest = next(n for n in whole if graph.cut_off(axis, n) == off == graph.cut_off(axis, n + step))
    far = 1 << 20  # steps: beyond the reach of every border
    low, high = graph.needed(axis, far * step, (far + 1) * step)[0] or (0, 0)
    reach = max(far * step + shrink - low, high - (far + 1) * step - shrink, 0)
    return Footprint(step, shrink or step * ceil(reach / step), shrink, smallest)
