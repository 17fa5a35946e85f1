"""A whole image in blocks, each activation computed once: what the next blocks still need of every layer is kept.

A tile with a halo computes its halo again in the next tile, eight times over in a volume. Here each layer goes on
where it stopped: a block computes of every layer the samples that the input read so far allows and that are not there
yet, and keeps of them the margin that later blocks will look at: two rows for a 3×3 convolution, a queue as long as
the way down and up again for a skip. The geometry comes from the network's graph alone; results equal one pass.
(Depth-first, or line-buffered, evaluation: Alwani 2016, doi:10.1109/MICRO.2016.7783725.)
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from napari_limn.device import channels_last
from napari_limn.inference.streaming.extents import bank_gaps
from napari_limn.inference.streaming.schedule import Schedule
from napari_limn.inference.streaming.stages import (
    FILTERS,
    SPREADS,
    WINDOWS,
    NotStreamableError,
    Part,
    stages_of,
)
from napari_limn.network.bank import bank_values
from napari_limn.network.graph import Slot, Weight

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor

    from napari_limn.inference.streaming.kernels import Kernel
    from napari_limn.inference.streaming.stages import Edge, Spans, Stage
    from napari_limn.network.graph import Graph, Op

_GAPS = 1.3  # of the room for features that the heap keeps, where blocks are of several extents (benchmarks/memory.py)


class Sweep:
    """Evaluates a network block by block over images of one extent.

    Parameters
    ----------
    graph
        Of the network, local operations only.
    weights
        Its parameters and buffers by name, on the device and in the precision to compute in.
    extent
        Of the input along each axis of the network; one that the network takes.
    block
        Of the output along each axis. The longest axis of the image becomes the outermost loop: what is kept spans the others.
    window
        The part of the output that is wanted, one (start, stop) an axis; the whole where not given. What lies outside is
        only computed as far as the window needs it.
    kernels
        Of convolutions, by the names of their weights; others are computed by PyTorch's own call.

    Raises
    ------
    NotStreamableError
        For an operation that no sweep is written for; it is named.
    """

    def __init__(
        self,
        graph: Graph,
        weights: Mapping[str, Tensor],
        extent: Sequence[int],
        block: Sequence[int],
        window: Spans | None = None,
        kernels: Mapping[str, Kernel] | None = None,
    ) -> None:
        self._weights, self._kernels = weights, kernels or {}
        self._ndim = len(extent)
        self._layout = channels_last(self._ndim)
        self._stages = stages_of(graph)
        sizes = [graph.sizes(axis, n) or [] for axis, n in enumerate(extent)]
        self._sizes = [tuple(each[stage.index] for each in sizes) for stage in self._stages]
        self.output = self._sizes[-1]
        window = window or tuple((0, n) for n in self.output)
        self._axes = [
            Schedule(self._stages, axis, [size[axis] for size in self._sizes], block[axis], window[axis])
            for axis in range(self._ndim)
        ]
        # from the outermost loop inwards
        self._order = sorted(range(self._ndim), key=lambda axis: -extent[axis])
        for i, stage in enumerate(self._stages):
            for edge in stage.edges():
                edge.starts = [along.starts(i, edge) for along in self._axes]
        self._workspace = torch.empty(0)  # inputs put together from pieces, one after the other
        self.check: Callable[[], object] = int  # called before every layer; may raise
        self.macs = 0  # multiply-accumulates so far

    @property
    def rows(self) -> int:
        """Number of blocks along the outermost loop."""
        return self._axes[self._order[0]].blocks

    def row_boxes(self) -> Iterator[tuple[int, Spans]]:
        """The rows of blocks across the outermost axis, and what of the output each gives."""
        outer, last = self._order[0], len(self._stages) - 1
        for row in range(self.rows):
            spans = [(along.ends[0][last], along.ends[-1][last]) for along in self._axes]
            spans[outer] = self._axes[outer].span(last, row)
            yield row, tuple(spans)

    def turns(self, row: int = 0) -> Iterator[tuple[tuple[int, ...], list[Spans | None]]]:
        """Every block by its place, and what each stage computes in it; `row` is the first row that is wanted.

        The rows before it are gone through again only as far as the wanted ones need them.
        """
        first = self._axes[self._order[0]].needed_from(row)
        rows = range(min(first), self.rows)
        for turn in product(rows, *(range(self._axes[axis].blocks) for axis in self._order[1:])):
            block = tuple(turn[self._order.index(axis)] for axis in range(self._ndim))
            work: list[Spans | None] = []
            for i in range(len(self._stages)):
                spans = tuple(along.span(i, b) for along, b in zip(self._axes, block, strict=True))
                work.append(spans if turn[0] >= first[i] and all(a < z for a, z in spans) else None)
            yield block, work

    def reads(self, row: int = 0) -> Iterator[Spans]:
        """What a run reads, in this order."""
        return (spans for _, work in self.turns(row) if (spans := work[0]) is not None)

    @torch.inference_mode()
    def run(self, read: Callable[[Spans], Tensor], row: int = 0) -> Iterator[tuple[Spans, Tensor]]:
        """Every block of the output from `row` on, (1 or N, K, …) on its spans; `read` is asked for each voxel once."""
        for block, work in self.turns(row):
            for i, (stage, spans) in enumerate(zip(self._stages, work, strict=True)):
                self.check()
                if spans is not None:
                    data = read(spans) if i == 0 else self._compute(stage, spans)
                    if i == len(self._stages) - 1:
                        yield spans, data
                    for edge in stage.readers:
                        edge.take(Part(spans, data))
                    del data
                for edge in stage.edges():
                    edge.forget(block, self._order)

    def most_kept(self) -> int:
        """Numbers kept between blocks at most, predicted."""
        return sum(self._margin(edge) for stage in self._stages for edge in stage.readers)

    def _margin(self, edge: Edge) -> int:
        """Numbers that an edge keeps: along each axis its margin, over a block of the outer and all of the inner axes."""
        total, outer = 0, 1
        for place, axis in enumerate(self._order):
            inner = prod(self._axes[other].extent(edge.source) for other in self._order[place + 1 :])
            total += outer * self._axes[axis].margin(edge) * inner
            outer *= self._axes[axis].longest(edge)
        return total * self._stages[edge.source].op.channels

    def planned_macs(self) -> int:
        """Multiply-accumulates of a whole run, predicted."""
        return sum(round(each) for each in self._macs())

    def _macs(self) -> Iterator[float]:
        for i, stage in enumerate(self._stages):
            if "conv" in stage.op.name:
                weight = self._weight(stage.op.named()["weight"])
                samples = prod(along.extent(i) for along in self._axes)
                yield (
                    samples
                    * weight.numel()
                    * float(prod(m.stride for m in stage.op.intervals if m.stride < 1))
                )

    def most_alive(self, itemsize: int = 4) -> int:
        """Numbers of `itemsize` bytes in tensors at once at most, predicted: during the first block, which reads ahead, or a later one."""
        places = product(*({0, min(1, along.blocks - 1)} for along in self._axes))
        kept = self.most_kept()
        return max(self._alive(place, itemsize) + (kept if any(place) else 0) for place in places)

    def _alive(self, block: tuple[int, ...], itemsize: int) -> int:
        """Numbers in tensors at once at most during a block, without what was kept before it."""
        fresh: dict[int, int] = {}
        last = {e.source: i for i, stage in enumerate(self._stages) for e in stage.edges()}
        most, gaps = 0, 0.0
        for i, stage in enumerate(self._stages):
            spans = tuple(along.span(i, b) for along, b in zip(self._axes, block, strict=True))
            made = prod(b - a for a, b in spans) * stage.op.channels
            needed = prod(
                high - low
                for low, high in (m.need(*s) for m, s in zip(stage.op.intervals, spans, strict=True))
            )
            read = needed * sum(self._stages[edge.source].op.channels for edge in stage.edges())
            fresh[i] = made
            inner = self._inner(stage, spans, itemsize) if stage.op.name == "gaussian_features" else 0
            gaps = max(gaps, _GAPS * bank_gaps([b - a for a, b in spans], inner))
            most = max(most, sum(fresh.values()) + (read if made else 0) + int(max(inner, gaps)))
            fresh = {source: size for source, size in fresh.items() if last.get(source, 0) > i}
        return most

    def _inner(self, stage: Stage, spans: Spans, itemsize: int) -> int:
        """Numbers alive while features are computed, in float32 whatever the network is in."""
        image = stage.operands[0][0].source  # where there is image has an edge of its own
        channels = self._stages[image].op.channels
        return bank_values([b - a for a, b in spans], stage.op.named()["sigma"], channels) * 4 // itemsize

    @property
    def kept_values(self) -> int:
        """Numbers kept between blocks at this moment."""
        parts = (part for stage in self._stages for edge in stage.readers for part in edge.parts)
        storages = {part.data.untyped_storage()._cdata: part.data for part in parts}
        return sum(data.untyped_storage().nbytes() // data.itemsize for data in storages.values())

    # ---- one stage -----------------------------------------------------------------------------------------------
    def _compute(self, stage: Stage, spans: Spans) -> Tensor:
        """A stage's output on `spans`."""
        op, intervals = stage.op, stage.op.intervals
        needed = tuple(move.need(*span) for move, span in zip(intervals, spans, strict=True))
        fill = float("-inf") if op.name.startswith("max_pool") else 0.0
        sizes = self._input_size(stage)
        then = stage.then
        once = op.name in WINDOWS or op.name in SPREADS  # what it reads is of no use after it
        given = [self._gathered(operand, needed, sizes, fill, once=once) for operand in stage.operands]
        if op.name in ("conv2d", "conv3d"):
            relu = bool(then) and then[0].name == "relu"
            data, then = self._convolved(op, given[0], relu=relu), then[relu:]
        elif op.name in FILTERS:
            data = FILTERS[op.name](given[0], op.named()["sigma"], 0)
        elif op.name in WINDOWS:
            data = self._pooled(op, given[0])
        elif op.name in SPREADS:
            data = self._spread(op, given[0], needed, spans)
        elif op.name == "interpolate":
            data = self._interpolated(op, given[0], needed, sizes, spans)
        elif op.name == "output":
            data = given[0]
        else:
            data = self._call(op, given)
        given.clear()  # pointwise functions that follow need room of their own
        for each in then:
            data = torch.relu_(data) if each.name == "relu" else self._call(each, [data])
        return data

    def _input_size(self, stage: Stage) -> list[int]:
        """Extent of what a stage reads, cuts taken off."""
        edge = stage.operands[0][0]
        return [n - 2 * shift for n, shift in zip(self._sizes[edge.source], edge.shift, strict=True)]

    def _gathered(
        self, operand: list[Edge], needed: Spans, sizes: list[int], fill: float, *, once: bool
    ) -> Tensor:
        """The samples that are needed of an operand, its channels side by side; filled up beyond the border."""
        inside = tuple((max(a, 0), min(b, n)) for (a, b), n in zip(needed, sizes, strict=True))
        found = [self._pieces(edge, inside) for edge in operand]
        if len(found) == 1 and len(found[0]) == 1 and inside == needed:
            return found[0][0].data
        first = found[0][0].data
        channels = [pieces[0].data.shape[1] for pieces in found]
        shape = (first.shape[0], sum(channels), *(b - a for a, b in needed))
        buffer = self._room(first, shape) if once else _room(first.new_empty(prod(shape)), shape)
        if inside != needed:
            buffer.fill_(fill)
        begin = 0
        for pieces, count in zip(found, channels, strict=True):
            for piece in pieces:
                view = buffer.narrow(1, begin, count)
                for axis, ((a, b), (start, _)) in enumerate(zip(piece.spans, needed, strict=True), start=2):
                    view = view.narrow(axis, a - start, b - a)
                view.copy_(piece.data)
            begin += count
        return buffer

    def _room(self, like: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Memory for a tensor of `shape`: the same again and again, since pages of new memory cost as much as filling them."""
        if self._workspace.numel() < prod(shape):
            self._workspace = like.new_empty(0)
            self._workspace = like.new_empty(prod(shape))
        return _room(self._workspace, shape)

    def _pieces(self, edge: Edge, inside: Spans) -> list[Part]:
        """Parts of an edge on `inside`, in the coordinates of who reads them."""
        shifted = tuple((a + s, b + s) for (a, b), s in zip(inside, edge.shift, strict=True))
        found = [piece for part in edge.parts if (piece := part.within(shifted)) is not None]
        return [
            Part(tuple((a - s, b - s) for (a, b), s in zip(piece.spans, edge.shift, strict=True)), piece.data)
            for piece in found
        ]

    def _convolved(self, op: Op, x: Tensor, *, relu: bool) -> Tensor:
        """A convolution whose padding is in its input already, and ReLU where it is wanted."""
        call = op.named()
        weight, kernel = self._weight(call["weight"]), self._kernels.get(getattr(call["weight"], "name", ""))
        if kernel is not None:
            out = kernel(x, (0,) * self._ndim, relu=relu)
        else:
            func: Any = F.conv2d if self._ndim == 2 else F.conv3d
            bias, dilation, groups = (
                self._weight(call.get("bias")),
                call.get("dilation", 1),
                call.get("groups", 1),
            )
            out = func(x, weight, bias, call.get("stride", 1), 0, dilation, groups)
            out = torch.relu_(out) if relu else out
        self.macs += out[:, 0].numel() * weight.numel()
        return out

    def _pooled(self, op: Op, x: Tensor) -> Tensor:
        """A pooling whose padding is in its input already."""
        call = op.named()
        stride = call.get("stride") or call["kernel_size"]
        if op.name.startswith("max"):
            pool: Any = F.max_pool2d if self._ndim == 2 else F.max_pool3d
            return pool(x, call["kernel_size"], stride, 0, call.get("dilation", 1))  # type: ignore[no-any-return]
        pool = F.avg_pool2d if self._ndim == 2 else F.avg_pool3d
        return pool(x, call["kernel_size"], stride)  # type: ignore[no-any-return]

    def _spread(self, op: Op, x: Tensor, needed: Spans, spans: Spans) -> Tensor:
        """A transposed convolution, cut to `spans`."""
        call = op.named()
        weight, kernel = self._weight(call["weight"]), self._kernels.get(getattr(call["weight"], "name", ""))
        stride, padding = op.each("stride", 1), op.each("padding", 0)
        if kernel is not None:
            out = kernel(x, (0,) * self._ndim)
        else:
            func: Any = F.conv_transpose2d if self._ndim == 2 else F.conv_transpose3d
            bias = self._weight(call.get("bias"))
            out = func(x, weight, bias, stride, 0, 0, call.get("groups", 1), call.get("dilation", 1))
        self.macs += x[:, 0].numel() * weight.numel()
        starts = [a * s - p for (a, _), s, p in zip(needed, stride, padding, strict=True)]
        return _cut(out, starts, spans)

    def _interpolated(self, op: Op, x: Tensor, needed: Spans, sizes: list[int], spans: Spans) -> Tensor:
        """Interpolation; beyond the border the last sample is repeated."""
        beyond = [(max(0, -a), max(0, b - n)) for (a, b), n in zip(needed, sizes, strict=True)]
        for axis, (low, high) in enumerate(beyond, start=2):
            if low:
                x.narrow(axis, 0, low).copy_(x.narrow(axis, low, 1))
            if high:
                x.narrow(axis, x.shape[axis] - high, high).copy_(x.narrow(axis, x.shape[axis] - high - 1, 1))
        factors = [int(1 / move.stride) for move in op.intervals]
        align = False if "linear" in op.named().get("mode", "nearest") else None
        out = F.interpolate(
            x,
            scale_factor=[float(f) for f in factors],
            mode=op.named().get("mode", "nearest"),
            align_corners=align,
        )
        return _cut(out, [a * f for (a, _), f in zip(needed, factors, strict=True)], spans)

    def _call(self, op: Op, given: list[Tensor]) -> Tensor:
        """Any pointwise function, with the tensors of this block in the place of its own."""
        left, name = iter(given), getattr(op.func, "__name__", "")
        changes = (name.endswith("_") and not name.endswith("__")) or name.startswith("__i")  # works in place
        args = [self._filled(value, left, changes) for value in op.args]
        kwargs = {
            name: self._filled(value, left, changes) for name, value in op.kwargs.items() if name != "inplace"
        }
        if op.func is None:
            raise NotStreamableError(op.name)
        result: Tensor = op.func(*args, **kwargs)
        return result

    def _filled(self, value: Any, left: Iterator[Tensor], copied: bool) -> Any:
        """An argument with the next tensors of `left` in its slots; a function that called itself would keep them in a circle."""
        if isinstance(value, Slot):
            tensor = next(left)
            return tensor.clone() if copied else tensor
        if type(value) in (list, tuple):
            return type(value)(self._filled(item, left, copied) for item in value)
        return self._weight(value)

    def _weight(self, value: Any) -> Any:
        return self._weights[value.name] if isinstance(value, Weight) else value


def _room(memory: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A tensor of `shape` (N, C, …), channels last, at the beginning of `memory`."""
    return memory[: prod(shape)].view(shape[0], *shape[2:], shape[1]).movedim(-1, 1)


def _cut(data: Tensor, starts: Sequence[int], spans: Spans) -> Tensor:
    """`data`, which begins at `starts`, on `spans`."""
    for axis, (start, (a, b)) in enumerate(zip(starts, spans, strict=True), start=2):
        if a != start or b - a != data.shape[axis]:
            data = data.narrow(axis, a - start, b - a)
    return data
