"""Which input voxels an output voxel needs, one axis at a time.

This is what each function of torch does to positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING, Any

from napari_limn.network.bank import reach, window_reach

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class AxisMap:
    """What an operation does to the samples along one axis.

    Output sample o needs the input from ``o * stride + first`` to ``o * stride + last``; of n samples it makes
    ``n / stride + more``; all rounded down.
    """

    stride: Fraction = Fraction(1)
    first: Fraction = Fraction(0)
    last: Fraction = Fraction(0)
    more: Fraction = Fraction(0)

    def need(self, low: int, high: int) -> tuple[int, int]:
        """Return the input interval that the output interval [low, high) needs.

        It may reach beyond the border.
        """
        return floor(low * self.stride + self.first), floor((high - 1) * self.stride + self.last) + 1

    def size(self, n: int) -> int:
        """Return the output extent for an input of extent `n`."""
        return floor(n / self.stride + self.more)


STILL = AxisMap()  # each sample by itself


def _window(kernel: int, stride: int, padding: int) -> AxisMap:
    """Map a convolution or a pooling."""
    more = Fraction(2 * padding - kernel, stride) + 1
    return AxisMap(Fraction(stride), Fraction(-padding), Fraction(kernel - 1 - padding), more)


def _spread(kernel: int, stride: int, padding: int, extra: int) -> AxisMap:
    """Map a transposed convolution.

    Input sample i reaches ``kernel`` output samples from ``i * stride - padding``.
    """
    first, last = Fraction(stride + padding - kernel, stride), Fraction(padding, stride)
    return AxisMap(Fraction(1, stride), first, last, Fraction(kernel - stride - 2 * padding + extra))


def _resize(factor: int, taps: int) -> AxisMap:
    """Map an interpolation by a whole factor.

    It takes the nearest 1, 2 (linear) or 4 samples (cubic).
    """
    if taps == 1 or factor == 1:
        return AxisMap(Fraction(1, factor))
    middle = Fraction(1, 2 * factor) - Fraction(1, 2)
    up = Fraction(2 * factor - 1, 2 * factor)  # rounds up: a sample that lies on another needs no second one
    return AxisMap(Fraction(1, factor), middle - taps // 2 + 1, middle + taps // 2 - 1 + up)


def _cut(low: int, high: int) -> AxisMap:
    """Map what cuts samples off both ends, or adds some."""
    return AxisMap(first=Fraction(low), last=Fraction(low), more=Fraction(-low - high))


# operations whose output voxel depends on nothing but the same voxel of their inputs
_POINTWISE = frozenset(
    [
        "relu",
        "leaky_relu",
        "silu",
        "gelu",
        "elu",
        "selu",
        "mish",
        "hardswish",
        "hardtanh",
        "relu6",
        "sigmoid",
        "tanh",
        "softplus",
        "prelu",
        "threshold",
        "logit",
        "add",
        "radd",
        "iadd",
        "sub",
        "rsub",
        "isub",
        "mul",
        "rmul",
        "imul",
        "div",
        "truediv",
        "neg",
        "exp",
        "log",
        "sqrt",
        "rsqrt",
        "square",
        "pow",
        "abs",
        "clamp",
        "clip",
        "maximum",
        "minimum",
        "where",
        "zeros_like",
        "ones_like",
        "dropout",
        "dropout2d",
        "dropout3d",
        "alpha_dropout",
        "contiguous",
        "clone",
        "to",
        "float",
        "bfloat16",
        "half",
        "type",
        "detach",
        "channel_norm",
        "relative_intensities",
    ]
)
_OVER_CHANNELS = frozenset(
    {"softmax", "log_softmax", "logsumexp", "mean", "sum", "amax", "amin", "var", "std", "cat"}
)
NORMS = frozenset({"group_norm", "instance_norm", "layer_norm", "rms_norm", "batch_norm"})
_TAPS = {"nearest": 1, "nearest-exact": 1, "linear": 2, "bilinear": 2, "trilinear": 2, "bicubic": 4}

_ARGUMENTS = {
    "batch_norm": "input mean var weight bias training",
    "conv": "input weight bias stride padding dilation groups",
    "conv_transpose": "input weight bias stride padding output_padding groups dilation",
    "max_pool": "input kernel_size stride padding dilation ceil_mode",
    "avg_pool": "input kernel_size stride padding ceil_mode",
    "interpolate": "input size scale_factor mode align_corners",
    "pad": "input pad",
    "narrow": "input dim start length",
    "getitem": "input index",
    "pixel_shuffle": "input factor",
    "gaussian_features": "input sigma padding",
    "local_deviation": "input sigma padding",
}


class Call:
    """One call of a torch function, its arguments by name."""

    def __init__(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], before: tuple[int, ...] = ()
    ) -> None:
        self.name, self.before = name, before
        self.kind = name.removesuffix("2d").removesuffix("3d")
        names = _ARGUMENTS.get(self.kind, "input dim").split()
        self.given = dict(zip(names, args, strict=False)) | kwargs

    def each(self, name: str, default: int) -> list[int]:
        """Return an argument along each axis."""
        value, ndim = self.given.get(name), len(self.before) - 2
        value = default if value in (None, ()) else value
        return [value] * ndim if isinstance(value, int) else list(value) * (ndim // len(value))

    def intervals(self, after: tuple[int, ...]) -> tuple[AxisMap, ...] | None:
        """Map each axis; None where the call is not known as local."""
        if len(after) != len(self.before) or len(after) < 3:
            return None
        local = self.name in _POINTWISE or (
            self.name in _OVER_CHANNELS and self.given.get("dim") in (1, [1], (1,))
        )
        if local or (self.name == "batch_norm" and not self.given.get("training")):
            return (STILL,) * (len(after) - 2)
        rule = getattr(self, f"_{self.kind}", None)
        maps = rule(after) if rule is not None else None
        return maps if maps is None else tuple(maps)

    def _kernel(self, size: Sequence[int]) -> list[int]:
        return [(k - 1) * d + 1 for k, d in zip(size, self.each("dilation", 1), strict=True)]

    def _conv(self, after: tuple[int, ...]) -> list[AxisMap]:
        kernel = self._kernel(self.given["weight"].shape[2:])
        if self.given.get("padding") in ("same", "valid"):
            pads = [k // 2 if self.given["padding"] == "same" else 0 for k in kernel]
        else:
            pads = self.each("padding", 0)
        return list(map(_window, kernel, self.each("stride", 1), pads))

    def _conv_transpose(self, after: tuple[int, ...]) -> list[AxisMap]:
        kernel = self._kernel(self.given["weight"].shape[2:])
        steps, pads = self.each("stride", 1), self.each("padding", 0)
        return list(map(_spread, kernel, steps, pads, self.each("output_padding", 0)))

    def _max_pool(self, after: tuple[int, ...]) -> list[AxisMap] | None:
        size = self.each("kernel_size", 1)
        steps = self.each("stride", 0) if self.given.get("stride") else size
        return list(map(_window, self._kernel(size), steps, self.each("padding", 0)))

    _avg_pool = _max_pool

    def _gaussian_features(self, after: tuple[int, ...]) -> list[AxisMap]:
        return self._filter(reach(self.given["sigma"]))

    def _local_deviation(self, after: tuple[int, ...]) -> list[AxisMap]:
        return self._filter(window_reach(self.given["sigma"]))

    def _filter(self, radii: Sequence[int]) -> list[AxisMap]:
        pads = radii if self.given.get("padding") is None else self.each("padding", 0)
        return [_window(2 * r + 1, 1, p) for r, p in zip(radii, pads, strict=True)]

    def _interpolate(self, after: tuple[int, ...]) -> list[AxisMap] | None:
        sizes = list(zip(self.before[2:], after[2:], strict=True))
        taps = _TAPS.get(self.given.get("mode", "nearest"))
        if taps is None or self.given.get("align_corners") or any(m % n for n, m in sizes):
            return None  # corners that are aligned stretch with the tile
        return [_resize(m // n, taps) for n, m in sizes]

    def _pixel_shuffle(self, after: tuple[int, ...]) -> list[AxisMap]:
        return [_resize(self.given["factor"], 1)] * 2

    def _pad(self, after: tuple[int, ...]) -> list[AxisMap]:
        pads = list(self.given["pad"]) + [0] * (2 * len(self.before) - 4 - len(self.given["pad"]))
        return [_cut(-low, -high) for low, high in zip(pads[-2::-2], pads[-1::-2], strict=True)]

    def _narrow(self, after: tuple[int, ...]) -> list[AxisMap]:
        dim, start = self.given["dim"] % len(after), self.given["start"]
        intervals = [STILL] * len(after)
        intervals[dim] = _cut(start, self.before[dim] - after[dim] - start)
        return intervals[2:]

    def _getitem(self, after: tuple[int, ...]) -> list[AxisMap] | None:
        index = self.given["index"]
        index = index if isinstance(index, tuple) else (index,)
        if any(not isinstance(i, slice) or i.step not in (None, 1) for i in index):
            return None
        ends = [i.indices(n)[:2] for i, n in zip(index, self.before, strict=False)][2:]
        ends += [(0, n) for n in self.before[2 + len(ends) :]]
        return [_cut(start, n - stop) for (start, stop), n in zip(ends, self.before[2:], strict=True)]
