"""What a sweep keeps and computes: geometry only, without tensors or weights.

Plans ask here before anything runs; :class:`~napari_limn.inference.streaming.sweep.Sweep` runs the same schedule.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING

from napari_limn.inference.streaming.extents import bank_gaps
from napari_limn.network.bank import bank_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_limn.inference.streaming.schedule import SweepSchedule
    from napari_limn.inference.streaming.stages import Edge, Spans, Stage

_GAPS = 1.3  # of the room for features that the heap keeps, where blocks are of several extents (benchmarks/memory.py)


def most_kept(schedule: SweepSchedule) -> int:
    """Predict how many numbers are kept between blocks at most."""
    return sum(_margin(schedule, edge) for stage in schedule.stages for edge in stage.readers)


def planned_macs(schedule: SweepSchedule) -> int:
    """Predict the multiply-accumulates of a whole sweep."""
    return sum(round(each) for each in _macs(schedule))


def most_alive(schedule: SweepSchedule, itemsize: int = 4) -> int:
    """Predict how many numbers are in tensors at once at most.

    That is during the first block, which reads ahead, or during a later one.

    Parameters
    ----------
    schedule
        Of the sweep.
    itemsize
        Bytes of a number in the precision of the run.
    """
    places = product(*({0, min(1, along.blocks - 1)} for along in schedule.axes))
    kept = most_kept(schedule)
    return max(_alive(schedule, place, itemsize) + (kept if any(place) else 0) for place in places)


def _margin(schedule: SweepSchedule, edge: Edge) -> int:
    """Count the numbers that are kept of an edge.

    Its margin along each axis, over a block of the outer and all of the inner axes.
    """
    total, outer = 0, 1
    for place, axis in enumerate(schedule.order):
        inner = prod(schedule.axes[other].extent(edge.source) for other in schedule.order[place + 1 :])
        total += outer * schedule.axes[axis].margin(edge) * inner
        outer *= schedule.axes[axis].longest(edge)
    return total * schedule.stages[edge.source].op.channels


def _macs(schedule: SweepSchedule) -> Iterator[float]:
    """Yield the multiply-accumulates of each convolution."""
    for i, stage in enumerate(schedule.stages):
        if "conv" in stage.op.name:
            weight = prod(stage.op.named()["weight"].shape)
            samples = prod(along.extent(i) for along in schedule.axes)
            yield samples * weight * float(prod(m.stride for m in stage.op.intervals if m.stride < 1))


def _alive(schedule: SweepSchedule, block: tuple[int, ...], itemsize: int) -> int:
    """Count the numbers in tensors at once during a block.

    Without what was kept before it.
    """
    stages, fresh = schedule.stages, dict[int, int]()
    last = {edge.source: i for i, stage in enumerate(stages) for edge in stage.edges()}
    most, gaps = 0, 0.0
    for i, stage in enumerate(stages):
        spans = schedule.spans(i, block)
        made = prod(b - a for a, b in spans) * stage.op.channels
        read = _read(schedule, stage, spans)
        fresh[i] = made
        inner = _inner(schedule, stage, spans, itemsize) if stage.op.name == "gaussian_features" else 0
        gaps = max(gaps, _GAPS * bank_gaps([b - a for a, b in spans], inner))
        most = max(most, sum(fresh.values()) + (read if made else 0) + int(max(inner, gaps)))
        fresh = {source: size for source, size in fresh.items() if last.get(source, 0) > i}
    return most


def _read(schedule: SweepSchedule, stage: Stage, spans: Spans) -> int:
    """Count the numbers that a stage reads to compute `spans`."""
    needed = (axis.need(*span) for axis, span in zip(stage.op.intervals, spans, strict=True))
    channels = sum(schedule.stages[edge.source].op.channels for edge in stage.edges())
    return prod(high - low for low, high in needed) * channels


def _inner(schedule: SweepSchedule, stage: Stage, spans: Spans, itemsize: int) -> int:
    """Count the numbers alive while features are computed.

    In float32, whatever the network is in.
    """
    image = stage.operands[0][0].source  # where there is image has an edge of its own
    channels = schedule.stages[image].op.channels
    return bank_values([b - a for a, b in spans], stage.op.named()["sigma"], channels) * 4 // itemsize
