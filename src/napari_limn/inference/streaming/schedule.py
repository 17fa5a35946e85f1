"""When a sweep computes what: geometry only, without tensors or weights."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise, product
from typing import TYPE_CHECKING

from napari_limn.inference.streaming.stages import stages_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_limn.inference.streaming.stages import Edge, Spans, Stage
    from napari_limn.network.graph import Graph

FAR = 1 << 62


class AxisSchedule:
    """How far each stage has come along one axis, block by block.

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
        """Return the number of blocks."""
        return len(self.ends) - 1

    def span(self, stage: int, block: int) -> tuple[int, int]:
        """Return what a stage computes in a block."""
        return self.ends[block][stage], self.ends[block + 1][stage]

    def extent(self, stage: int) -> int:
        """Return how much a stage computes in all blocks."""
        return self.ends[-1][stage] - self.ends[0][stage]

    def starts(self, stage: int, edge: Edge) -> list[int]:
        """Return the first sample of an edge still needed, per block.

        By `stage`; none is needed after the last block.
        """
        return [*(self._first(stage, edge, ends[stage]) for ends in self.ends[:-1]), FAR]

    def margin(self, edge: Edge) -> int:
        """Return how many samples of an edge are kept between blocks.

        At most.
        """
        reached = (ends[edge.source] for ends in self.ends[1:-1])
        starts = edge.starts[self._axis][1:-1]
        return max([0, *(a - b for a, b in zip(reached, starts, strict=True))])

    def longest(self, edge: Edge) -> int:
        """Return how many samples of an edge one block uses up.

        At most.
        """
        begin, end = self.ends[0][edge.source], self.ends[-1][edge.source]
        firsts = [*edge.starts[self._axis][:-1], end]
        return max(b - max(a, begin) for a, b in pairwise(firsts))

    def needed_from(self, block: int) -> list[int]:
        """Return the first block in which each stage is computed.

        To give `block` and those after it.

        Every span is computed as it always is, or not at all, so that results are the same to the last bit. Other pieces
        would give other last bits, and a resumed run would differ.
        """
        begin = [self.blocks] * len(self._stages)
        begin[-1] = block
        for i in reversed(range(len(self._stages))):
            if begin[i] == self.blocks:
                continue
            for edge in self._stages[i].edges():
                first = max(0, self._first(i, edge, self.ends[begin[i]][i]))
                holds = bisect_right(self.ends, first, key=lambda ends, s=edge.source: ends[s]) - 1  # type: ignore[misc]
                begin[edge.source] = min(begin[edge.source], max(0, holds))
        return begin

    def _begins(self, low: int) -> list[int]:
        """Return the first sample that the output needs of every stage.

        From `low` on.
        """
        first = [FAR] * len(self._stages)
        first[-1] = low
        for i in reversed(range(len(self._stages))):
            for edge in self._stages[i].edges():
                first[edge.source] = min(first[edge.source], max(0, self._first(i, edge, first[i])))
        return first

    def _reached(self, high: int) -> list[int]:
        """Return how far every stage must have come.

        For the output up to `high`.
        """
        reached = [0] * len(self._stages)
        reached[-1] = high
        for i in reversed(range(len(self._stages))):
            if reached[i]:
                last = self._stages[i].op.intervals[self._axis].need(0, reached[i])[1]
                for edge in self._stages[i].edges():
                    far = min(last + edge.shift[self._axis], self._sizes[edge.source])
                    reached[edge.source] = max(reached[edge.source], far)
        return reached

    def _first(self, stage: int, edge: Edge, sample: int) -> int:
        """Return the first sample of an edge that `sample` needs.

        It may lie before the border.
        """
        return (
            self._stages[stage].op.intervals[self._axis].need(sample, sample + 1)[0] + edge.shift[self._axis]
        )


class SweepSchedule:
    """What every layer computes in every block of a sweep.

    Attributes
    ----------
    stages
        The layers, in the order of computation.
    sizes
        Extent of every stage's output over the whole image, one tuple a stage.
    axes
        One schedule an axis.
    order
        Axes from the outermost loop inwards: the longest axis of the image first, since what is kept spans the others.

    Parameters
    ----------
    graph
        Of the network, local operations only.
    extent
        Of the input along each axis of the network; one that the network takes.
    block
        Of the output along each axis.
    window
        The part of the output that is wanted, one (start, stop) an axis; the whole where not given. What lies outside is
        only computed as far as the window needs it.

    Raises
    ------
    NotStreamableError
        For an operation that no sweep is written for; it is named.
    """

    def __init__(
        self, graph: Graph, extent: Sequence[int], block: Sequence[int], window: Spans | None = None
    ) -> None:
        self.stages = stages_of(graph)
        sizes = [graph.sizes(axis, n) or [] for axis, n in enumerate(extent)]
        self.sizes = [tuple(each[stage.index] for each in sizes) for stage in self.stages]
        window = window or tuple((0, n) for n in self.output)
        self.axes = [
            AxisSchedule(self.stages, axis, [size[axis] for size in self.sizes], block[axis], window[axis])
            for axis in range(len(extent))
        ]
        self.order = sorted(range(len(extent)), key=lambda axis: -extent[axis])
        for i, stage in enumerate(self.stages):
            for edge in stage.edges():
                edge.starts = [along.starts(i, edge) for along in self.axes]

    @property
    def output(self) -> tuple[int, ...]:
        """Return the extent of the output over the whole image."""
        return self.sizes[-1]

    @property
    def rows(self) -> int:
        """Return the number of blocks along the outermost loop."""
        return self.axes[self.order[0]].blocks

    def spans(self, stage: int, block: tuple[int, ...]) -> Spans:
        """Return what a stage computes in a block; empty for nothing."""
        return tuple(along.span(stage, at) for along, at in zip(self.axes, block, strict=True))

    def row_boxes(self) -> Iterator[tuple[int, Spans]]:
        """Yield the rows of blocks, and the output of each.

        They lie across the outermost axis.
        """
        outer, last = self.order[0], len(self.stages) - 1
        for row in range(self.rows):
            spans = [(along.ends[0][last], along.ends[-1][last]) for along in self.axes]
            spans[outer] = self.axes[outer].span(last, row)
            yield row, tuple(spans)

    def turns(self, row: int = 0) -> Iterator[tuple[tuple[int, ...], list[Spans | None]]]:
        """Yield every block, and what each stage computes in it.

        The rows before `row`, the first that is wanted, are gone through again only as far as it needs them.
        """
        first = self.axes[self.order[0]].needed_from(row)
        rows = range(min(first), self.rows)
        for turn in product(rows, *(range(self.axes[axis].blocks) for axis in self.order[1:])):
            block = tuple(turn[self.order.index(axis)] for axis in range(len(self.axes)))
            work: list[Spans | None] = []
            for i in range(len(self.stages)):
                spans = self.spans(i, block)
                work.append(spans if turn[0] >= first[i] and all(a < z for a, z in spans) else None)
            yield block, work

    def reads(self, row: int = 0) -> Iterator[Spans]:
        """Yield what a sweep reads, in this order."""
        return (spans for _, work in self.turns(row) if (spans := work[0]) is not None)
