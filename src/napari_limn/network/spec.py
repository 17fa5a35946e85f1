"""What a U-Net is made of, as a frozen record: enough to rebuild it. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

from napari_limn.errors import LimnError

Padding = Literal["same", "valid"]
Norm = Literal["none", "batch", "group", "instance"]
Down = Literal["max", "strided", "max_1x1"]
Skip = Literal["concat", "attention", "nested"]

_CHOICES = {
    "padding": ("same", "valid"),
    "norm": ("none", "batch", "group", "instance"),
    "down": ("max", "strided", "max_1x1"),
    "skip": ("concat", "attention", "nested"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UNetSpec:
    """Everything needed to rebuild the network; saved beside the weights.

    Parameters
    ----------
    in_channels, out_channels
        Channels of the image, and classes.
    factors
        Pooling factor along each axis (Y, X or Z, Y, X), one tuple a level from fine to coarse; 1 leaves an axis alone.
    width
        Channels of the finest level; doubled with every level, up to `max_width`.
    padding
        ``"same"``: the output has the size of the input; ``"valid"``: unpadded convolutions, the output is smaller.
    norm
        Normalisation behind each convolution. ``"group"`` and ``"instance"`` depend on the tile: such a network
        cannot be tiled exactly.
    down
        Max pooling, strided convolution, or max pooling and a 1×1 convolution.
    skip
        Concatenation (Ronneberger 2015, arXiv:1505.04597), attention gates (Oktay 2018, arXiv:1804.03999), or nested
        (U-Net++, Zhou 2018, arXiv:1807.10165).

    Examples
    --------
    >>> UNetSpec(width=64, factors=((2, 2),) * 4).channels(4)
    512
    """

    in_channels: int = 1
    out_channels: int = 2
    factors: tuple[tuple[int, ...], ...] = ((2, 2),) * 4
    width: int = 16
    max_width: int = 512
    padding: Padding = "same"
    norm: Norm = "batch"
    down: Down = "max"
    skip: Skip = "concat"

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise LimnError(f"UNetSpec.{name}: found {value!r}, expected one of {', '.join(choices)}.")
        for name in ("in_channels", "out_channels", "width", "max_width"):
            if not isinstance(value := getattr(self, name), int) or value < 1:
                raise LimnError(f"UNetSpec.{name}: found {value!r}, expected a whole number of 1 or more.")
        sizes = {len(f) for f in self.factors}
        if not self.factors or len(sizes) != 1 or not sizes <= {2, 3}:
            raise LimnError(
                f"UNetSpec.factors: found {self.factors}, expected one tuple of 2 or 3 factors a level."
            )
        if any(not isinstance(n, int) or n < 1 for f in self.factors for n in f):
            raise LimnError(f"UNetSpec.factors: found {self.factors}, expected whole numbers of 1 or more.")

    @property
    def ndim(self) -> int:
        """2 for a network over planes, 3 for one over volumes."""
        return len(self.factors[0])

    @property
    def depth(self) -> int:
        """How many times the network goes down."""
        return len(self.factors)

    @property
    def tile_exact(self) -> bool:
        """Whether tiles can equal the whole image: no operation looks at the extent of the tile."""
        return self.norm in ("none", "batch")

    def channels(self, level: int) -> int:
        """Feature channels at `level`, 0 the finest."""
        return min(self.width << level, self.max_width)

    def stride(self, level: int, axis: int) -> int:
        """Voxels of the input from one sample to the next at `level` along `axis`."""
        return int(prod(f[axis] for f in self.factors[:level]))

    def kernel(self, level: int) -> tuple[int, ...]:
        """Kernel at `level`: 3 along every axis, but 1 along one not pooled at this or a finer level.

        Along a coarsely sampled z the network so begins to look around only where voxels have become about isotropic.
        """
        upto = self.factors[: level + 1]
        return tuple(3 if any(f[axis] > 1 for f in upto) else 1 for axis in range(self.ndim))

    def nodes(self) -> tuple[tuple[int, int], ...]:
        """Decoder nodes (level, column) in the order of computation."""
        every = [(i, j) for j in range(1, self.depth + 1) for i in range(self.depth + 1 - j)]
        return tuple(every if self.skip == "nested" else [(i, j) for i, j in every if i + j == self.depth])

    def below(self, level: int, column: int) -> tuple[int, int]:
        """The node whose output is upsampled into node (level, column)."""
        return level + 1, column - 1

    def skips(self, level: int, column: int) -> tuple[tuple[int, int], ...]:
        """The nodes of the same level whose outputs are concatenated into node (level, column)."""
        return tuple((level, k) for k in range(column if self.skip == "nested" else 1))


def pooling_factors(spacing: tuple[float, ...], depth: int) -> tuple[tuple[int, ...], ...]:
    """Factors of 2 that make voxels of `spacing` about isotropic on the way down.

    An axis is pooled when its voxel is at most √2 times the finest voxel of that level.

    Examples
    --------
    >>> pooling_factors((4.0, 1.0, 1.0), 3)
    ((1, 2, 2), (1, 2, 2), (2, 2, 2))
    """
    size = list(spacing)
    factors = []
    for _ in range(depth):
        finest = min(size)
        factor = tuple(2 if s <= 1.42 * finest else 1 for s in size)
        size = [s * f for s, f in zip(size, factor, strict=True)]
        factors.append(factor)
    return tuple(factors)
