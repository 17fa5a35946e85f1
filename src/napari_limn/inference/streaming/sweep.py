"""A whole image in blocks, each activation computed once.

What the next blocks still need of every layer is kept.

A tile with a halo computes its halo again in the next tile, eight times over in a volume. Here each layer goes on
where it stopped: a block computes of every layer the samples that the input read so far allows and that are not there
yet, and keeps of them the margin that later blocks will look at: two rows for a 3×3 convolution, a queue as long as
the way down and up again for a skip. The geometry comes from the network's graph alone; results equal one pass.
(Depth-first, or line-buffered, evaluation: Alwani 2016, doi:10.1109/MICRO.2016.7783725.)
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from napari_limn.device import channels_last
from napari_limn.inference.streaming.pieces import Piece, remaining
from napari_limn.inference.streaming.schedule import SweepSchedule
from napari_limn.inference.streaming.stages import (
    FILTERS,
    SPREADS,
    WINDOWS,
    NotStreamableError,
)
from napari_limn.network.graph import Slot, Weight

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor

    from napari_limn.inference.streaming.kernels import Kernel
    from napari_limn.inference.streaming.stages import Edge, Spans, Stage
    from napari_limn.network.graph import Graph, Op


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
    block, window
        Of the output, as of :class:`~napari_limn.inference.streaming.schedule.SweepSchedule`.
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
        self.schedule = SweepSchedule(graph, extent, block, window)
        self._kept: dict[Edge, list[Piece]] = {}
        self._workspace = torch.empty(0)  # inputs put together from pieces, one after the other
        self.check: Callable[[], object] = int  # called before every layer; may raise
        self.macs = 0  # multiply-accumulates so far

    @torch.inference_mode()
    def run(self, read: Callable[[Spans], Tensor], row: int = 0) -> Iterator[tuple[Spans, Tensor]]:
        """Yield every block of the output from `row` on.

        (1 or N, K, …) on its spans.

        `read` is asked for each voxel once.
        """
        stages, order = self.schedule.stages, self.schedule.order
        self._kept = {edge: [] for stage in stages for edge in stage.readers}
        for block, work in self.schedule.turns(row):
            for i, (stage, spans) in enumerate(zip(stages, work, strict=True)):
                self.check()
                if spans is not None:
                    data = read(spans) if i == 0 else self._compute(stage, spans)
                    if i == len(stages) - 1:
                        yield spans, data
                    for edge in stage.readers:
                        self._kept[edge].append(Piece(spans, data))
                    del data
                for edge in stage.edges():
                    self._kept[edge] = remaining(self._kept[edge], edge.starts, block, order)

    @property
    def kept_values(self) -> int:
        """Count the numbers kept between blocks at this moment."""
        pieces = (piece for kept in self._kept.values() for piece in kept)
        storages = {piece.data.untyped_storage()._cdata: piece.data for piece in pieces}
        return sum(data.untyped_storage().nbytes() // data.itemsize for data in storages.values())

    # ---- one stage -----------------------------------------------------------------------------------------------
    def _compute(self, stage: Stage, spans: Spans) -> Tensor:
        """Compute a stage's output on `spans`."""
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
        """Return the extent of what a stage reads, cuts taken off."""
        edge = stage.operands[0][0]
        return [n - 2 * shift for n, shift in zip(self.schedule.sizes[edge.source], edge.shift, strict=True)]

    def _gathered(
        self, operand: list[Edge], needed: Spans, sizes: list[int], fill: float, *, once: bool
    ) -> Tensor:
        """Gather the samples that are needed of an operand.

        Its channels side by side; filled up beyond the border.
        """
        inside = tuple((max(a, 0), min(b, n)) for (a, b), n in zip(needed, sizes, strict=True))
        gathered = [self._pieces(edge, inside) for edge in operand]
        if len(gathered) == 1 and len(gathered[0]) == 1 and inside == needed:
            return gathered[0][0].data
        first = gathered[0][0].data
        channels = [pieces[0].data.shape[1] for pieces in gathered]
        shape = (first.shape[0], sum(channels), *(b - a for a, b in needed))
        buffer = self._room(first, shape) if once else _room(first.new_empty(prod(shape)), shape)
        if inside != needed:
            buffer.fill_(fill)
        begin = 0
        for pieces, count in zip(gathered, channels, strict=True):
            for piece in pieces:
                view = buffer.narrow(1, begin, count)
                for axis, ((a, b), (start, _)) in enumerate(zip(piece.spans, needed, strict=True), start=2):
                    view = view.narrow(axis, a - start, b - a)
                view.copy_(piece.data)
            begin += count
        return buffer

    def _room(self, like: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Give memory for a tensor of `shape`, always the same.

        Pages of new memory cost as much as filling them.
        """
        if self._workspace.numel() < prod(shape):
            self._workspace = like.new_empty(0)
            self._workspace = like.new_empty(prod(shape))
        return _room(self._workspace, shape)

    def _pieces(self, edge: Edge, inside: Spans) -> list[Piece]:
        """Return the pieces of an edge on `inside`.

        In the coordinates of the stage that reads them.
        """
        shifted = tuple((a + s, b + s) for (a, b), s in zip(inside, edge.shift, strict=True))
        pieces = [piece for kept in self._kept[edge] if (piece := kept.within(shifted)) is not None]
        return [
            Piece(
                tuple((a - s, b - s) for (a, b), s in zip(piece.spans, edge.shift, strict=True)), piece.data
            )
            for piece in pieces
        ]

    def _convolved(self, op: Op, x: Tensor, *, relu: bool) -> Tensor:
        """Convolve; the padding is in the input already.

        With ReLU where it is wanted.
        """
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
        """Pool; the padding is in the input already."""
        call = op.named()
        stride = call.get("stride") or call["kernel_size"]
        if op.name.startswith("max"):
            pool: Any = F.max_pool2d if self._ndim == 2 else F.max_pool3d
            return pool(x, call["kernel_size"], stride, 0, call.get("dilation", 1))  # type: ignore[no-any-return]
        pool = F.avg_pool2d if self._ndim == 2 else F.avg_pool3d
        return pool(x, call["kernel_size"], stride)  # type: ignore[no-any-return]

    def _spread(self, op: Op, x: Tensor, needed: Spans, spans: Spans) -> Tensor:
        """Convolve transposed, cut to `spans`."""
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
        """Interpolate; beyond the border the last sample is repeated."""
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
        """Call any pointwise function, with this block's tensors.

        In the place of its own.
        """
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
        """Fill the slots of an argument with the next tensors.

        A function that called itself would keep them in a circle.
        """
        if isinstance(value, Slot):
            tensor = next(left)
            return tensor.clone() if copied else tensor
        if type(value) in (list, tuple):
            return type(value)(self._filled(item, left, copied) for item in value)
        return self._weight(value)

    def _weight(self, value: Any) -> Any:
        return self._weights[value.name] if isinstance(value, Weight) else value


def _room(memory: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Shape a tensor (N, C, …), channels last, from `memory`."""
    return memory[: prod(shape)].view(shape[0], *shape[2:], shape[1]).movedim(-1, 1)


def _cut(data: Tensor, starts: Sequence[int], spans: Spans) -> Tensor:
    """Cut `data`, which begins at `starts`, to `spans`."""
    for axis, (start, (a, b)) in enumerate(zip(starts, spans, strict=True), start=2):
        if a != start or b - a != data.shape[axis]:
            data = data.narrow(axis, a - start, b - a)
    return data
