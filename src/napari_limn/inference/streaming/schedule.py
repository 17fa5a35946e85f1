"""When a sweep computes what: along one axis, how far every layer has come after each block."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_limn.inference.streaming.stages import Edge, Stage

FAR = 1 << 62


class Schedule:
    """How far the stages of a sweep have come along one axis, before the first block and after each one.

    Parameters
    ----------
    stages
        Of the network, in the order of computation.
    axis
        Of the network.
    sizes
        Extent of every stage's output along the axis, over the whole image.
    block
        Extent of a block of the output.
    window
        The part of the output that is wanted; of the layers before, only what it needs is computed.
    """

    def __init__(
        self, stages: Sequence[Stage], axis: int, sizes: Sequence[int], block: int, window: tuple[int, int]
    ) -> None:
        self._stages, self._axis, self._sizes = stages, axis, sizes
        low, high = window
        self.ends = [self._begins(low)]
        for stop in range(low + block, high + block, block):
            reached = self._reached(min(stop, high))
            self.ends.append([max(a, b) for a, b in zip(self.ends[-1], reached, strict=True)])

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return len(self.ends) - 1

    def span(self, stage: int, block: int) -> tuple[int, int]:
        """What a stage computes in a block."""
        return self.ends[block][stage], self.ends[block + 1][stage]

    def extent(self, stage: int) -> int:
        """What a stage computes in all blocks."""
        return self.ends[-1][stage] - self.ends[0][stage]

    def starts(self, stage: int, edge: Edge) -> list[int]:
        """First sample of an edge that `stage` still needs, in each block; none after the last."""
        return [*(self._first(stage, edge, ends[stage]) for ends in self.ends[:-1]), FAR]

    def margin(self, edge: Edge) -> int:
        """Samples of an edge that are kept from one block to the next, at most."""
        reached = (ends[edge.source] for ends in self.ends[1:-1])
        starts = edge.starts[self._axis][1:-1]
        return max([0, *(a - b for a, b in zip(reached, starts, strict=True))])

    def longest(self, edge: Edge) -> int:
        """Samples of an edge that go out of use with one block, at most."""
        begin, end = self.ends[0][edge.source], self.ends[-1][edge.source]
        firsts = [*edge.starts[self._axis][:-1], end]
        return max(b - max(a, begin) for a, b in pairwise(firsts))

    def needed_from(self, block: int) -> list[int]:
        """The first block in which each stage is computed when only `block` and those after it are wanted.

        Every span is computed as it always is, or not at all, so that results are the same to the last bit.
        """
        found = [self.blocks] * len(self._stages)
        found[-1] = block
        for i in reversed(range(len(self._stages))):
            if found[i] == self.blocks:
                continue
            for edge in self._stages[i].edges():
                first = max(0, self._first(i, edge, self.ends[found[i]][i]))
                holds = bisect_right(self.ends, first, key=lambda ends, s=edge.source: ends[s]) - 1  # type: ignore[misc]
                found[edge.source] = min(found[edge.source], max(0, holds))
        return found

    def _begins(self, low: int) -> list[int]:
        """First sample of every stage that the output from `low` on needs."""
        found = [FAR] * len(self._stages)
        found[-1] = low
        for i in reversed(range(len(self._stages))):
            for edge in self._stages[i].edges():
                found[edge.source] = min(found[edge.source], max(0, self._first(i, edge, found[i])))
        return found

    def _reached(self, high: int) -> list[int]:
        """How far every stage must have come for the output up to `high`."""
        found = [0] * len(self._stages)
        found[-1] = high
        for i in reversed(range(len(self._stages))):
            if found[i]:
                last = self._stages[i].op.intervals[self._axis].need(0, found[i])[1]
                for edge in self._stages[i].edges():
                    far = min(last + edge.shift[self._axis], self._sizes[edge.source])
                    found[edge.source] = max(found[edge.source], far)
        return found

    def _first(self, stage: int, edge: Edge, sample: int) -> int:
        """First sample of an edge that `sample` of a stage needs; may lie before the border."""
        return (
            self._stages[stage].op.intervals[self._axis].need(sample, sample + 1)[0] + edge.shift[self._axis]
        )
