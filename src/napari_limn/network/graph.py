"""The operations of a network, and which voxels each of them needs.

One forward pass over an empty tensor records the operations; each maps intervals of its output to the intervals of
its input that it needs, one axis at a time. Whatever tiles, plans or explains a network asks this graph.

Why: geometry is written down nowhere else. An operation that is not known counts as one that looks at the whole tile, which
costs speed but never a wrong label. See docs/design/0003-exact-blocks.md.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from napari_limn.errors import LimnError
from napari_limn.network.intervals import NORMS, STILL, AxisMap, Call
from napari_limn.network.unet import UNet

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_limn.network.spec import UNetSpec


@dataclass(frozen=True, slots=True)
class Slot:
    """Stands for the output of an operation in the arguments of another."""

    index: int


@dataclass(frozen=True, slots=True)
class Weight:
    """Stands for a parameter or buffer among the arguments of an operation."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Op:
    """One operation: a torch function and what it was called with."""

    name: str
    inputs: tuple[int, ...]  # the operations whose output it needs, place by place
    intervals: tuple[AxisMap, ...]  # what it does along each axis
    channels: int  # of its output
    func: Callable[..., Any] | None = None  # None for the input
    args: tuple[Any, ...] = ()  # tensors replaced by Slot and Weight
    kwargs: dict[str, Any] = field(default_factory=dict)

    def named(self) -> dict[str, Any]:
        """Return the arguments by name, where names matter."""
        return Call(self.name, self.args, self.kwargs).given

    def each(self, name: str, default: int) -> list[int]:
        """Return an argument along each axis."""
        return Call(self.name, self.args, self.kwargs, (0, 0, *(0 for _ in self.intervals))).each(
            name, default
        )


@dataclass(frozen=True, slots=True)
class Graph:
    """The operations of a network in the order of computation.

    The first is the input, the last gives the output.

    Parameters
    ----------
    ops
        Of them, those that look at the whole tile or are not known have no inputs here.
    traced
        Extent of an input that it takes.
    not_local
        Names of operations whose output depends on the extent of the tile, with the module that they are in; with any,
        tiles differ from the whole image.
    """

    ops: tuple[Op, ...]
    traced: tuple[int, ...]
    not_local: tuple[str, ...] = ()

    def sizes(self, axis: int, n: int) -> list[int] | None:
        """Return every operation's output extent for an input of extent `n`.

        None where something does not fit.
        """
        sizes: list[int] = []
        for op in self.ops:
            ends = {sizes[i] for i in op.inputs}
            if len(ends) > 1 or min(ends, default=1) < 1:
                return None
            sizes.append(op.intervals[axis].size(ends.pop() if ends else n))
        return sizes if sizes[-1] > 0 else None

    def cut_off(self, axis: int, n: int) -> int | None:
        """Return by how much the output is smaller than the input.

        None where the network does not take an input of extent `n`.
        """
        sizes = self.sizes(axis, n)
        return n - sizes[-1] if sizes else None

    def needed(self, axis: int, low: int, high: int) -> list[tuple[int, int] | None]:
        """Return what the output interval [low, high) needs of every operation.

        These are hulls, borders ignored; None for nothing.
        """
        hulls: list[tuple[int, int] | None] = [None] * len(self.ops)
        hulls[-1] = low, high
        for i in reversed(range(len(self.ops))):
            if (own := hulls[i]) is not None:
                start, stop = self.ops[i].intervals[axis].need(*own)
                for j in self.ops[i].inputs:
                    a, b = hulls[j] or (start, stop)
                    hulls[j] = min(a, start), max(b, stop)
        return hulls

    def strides(self, axis: int) -> list[Fraction]:
        """Return the input voxels between two samples, for every operation."""
        strides: list[Fraction] = []
        for op in self.ops:
            strides.append(strides[op.inputs[0]] * op.intervals[axis].stride if op.inputs else Fraction(1))
        return strides


@lru_cache(maxsize=256)
def graph_of(spec: UNetSpec) -> Graph:
    """Trace the operations of a U-Net."""
    with torch.device("meta"):
        network = UNet(spec)
    bottom = 4 * spec.depth + 5  # samples left at the coarsest level: enough for what the way up cuts off
    size = []
    for axis in range(spec.ndim):
        n = bottom
        for level in reversed(range(spec.depth + 1)):
            n += 2 * (network.kernels[level][axis] - 1) if spec.padding == "valid" else 0
            n *= spec.factors[level - 1][axis] if level else 1
        size.append(n)
    return trace(network, spec.in_channels, tuple(size))


def trace(network: nn.Module, channels: int, size: tuple[int, ...]) -> Graph:
    """Trace the operations of any network, in eval mode.

    Parameters
    ----------
    network
        From (N, channels, [Z,] Y, X) to (N, classes, [Z,] Y, X). It stays as it is; nothing is computed.
    channels
        Of the input.
    size
        Extent of an input that the network takes without padding it up, such as 256 by 256.

    Raises
    ------
    LimnError
        If it does not take such an input, or gives no single tensor with as many axes.

    Examples
    --------
    >>> graph = trace(nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.MaxPool2d(2), nn.Upsample(scale_factor=2)), 1, (64, 64))
    >>> [op.name for op in graph.ops]
    ['input', 'conv2d', 'max_pool2d', 'interpolate']
    """
    network = deepcopy(network).to("meta").float().eval()
    x = torch.zeros(1, channels, *size, device="meta")
    named = dict(network.named_parameters()) | dict(network.named_buffers())
    recorder = _Recorder(x, {id(tensor): Weight(name, tuple(tensor.shape)) for name, tensor in named.items()})
    for name, module in network.named_modules():
        module.register_forward_pre_hook(lambda *_, name=name: recorder.enter(name))
    try:
        with torch.no_grad(), recorder:
            out = network(x)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise LimnError(f"the network does not take {channels} × {size}: {error}") from error
    if not isinstance(out, Tensor) or out.ndim != x.ndim or not recorder.knows(out):
        shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise LimnError(f"found an output {shape}, expected one tensor of {x.ndim} axes.")
    return recorder.graph(out)


@dataclass
class _Recorder(TorchFunctionMode):
    """Records every torch function called on the input or its results."""

    x: Tensor
    weights: dict[int, Weight]
    ops: list[Op] = field(default_factory=list)
    not_local: list[str] = field(default_factory=list)
    module: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self._at: dict[int, int] = {}
        self._kept: list[Tensor] = []  # so that no identity is given out twice
        self._still = (STILL,) * (self.x.ndim - 2)
        self._add(Op("input", (), self._still, self.x.shape[1]), self.x)

    def enter(self, name: str) -> None:
        self.module = name

    def knows(self, out: Tensor) -> bool:
        return id(out) in self._at

    def graph(self, out: Tensor) -> Graph:
        """Return what was recorded, up to the operation that gave `out`."""
        ops = tuple(self.ops[: self._at[id(out)] + 1])
        return Graph(ops, tuple(self.x.shape[2:]), tuple(dict.fromkeys(self.not_local)))

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        given = _tensors((args, kwargs))
        before = tuple(given[0].shape) if given else ()
        out = func(*args, **kwargs)
        if any(id(t) in self._at for t in given):
            call = Call(func.__name__.strip("_"), args, kwargs, before)
            for result in _tensors(out):
                self._record(call, given, result, (func, self._replaced(args), self._replaced(kwargs)))
        return out

    def _record(self, call: Call, given: list[Tensor], out: Tensor, again: tuple[Any, Any, Any]) -> None:
        ends = tuple(self._at[id(t)] for t in given if id(t) in self._at)
        foreign = any(t.ndim == out.ndim > 2 and max(t.shape[2:]) > 1 for t in given if id(t) not in self._at)
        intervals = call.intervals(tuple(out.shape))
        if intervals and intervals == self._still and not foreign:
            # what has shrunk to one value a channel is the same everywhere: nothing of its place is needed
            ends = tuple(i for i in ends if self._kept[i].shape[2:] == out.shape[2:] or len(ends) == 1)
        elif intervals is None or (foreign and intervals == self._still):
            self.not_local.append(f"{call.name} in {self.module}" if self.module else call.name)
            keeps = call.name in NORMS and tuple(out.shape) == call.before
            intervals, ends = self._still, ends[:1] if keeps else ()
        self._add(Op(call.name, ends, intervals, out.shape[1] if out.ndim > 1 else 1, *again), out)

    def _replaced(self, value: Any) -> Any:
        """Replace the tensors in arguments."""
        if isinstance(value, Tensor):
            known = id(value) in self._at
            return Slot(self._at[id(value)]) if known else self.weights.get(id(value), value)
        if isinstance(value, dict):
            return {name: self._replaced(item) for name, item in value.items()}
        return type(value)(map(self._replaced, value)) if type(value) in (list, tuple) else value

    def _add(self, op: Op, out: Tensor) -> None:
        self._at[id(out)] = len(self.ops)
        self._kept.append(out)
        self.ops.append(op)


def _tensors(value: Any) -> list[Tensor]:
    """Collect the tensors in nested arguments."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return []
    return [tensor for item in value for tensor in _tensors(item)]
