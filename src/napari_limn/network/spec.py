"""What a U-Net is made of, as a frozen record. No torch.

Enough to rebuild it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Literal, get_args

from napari_limn.errors import LimnError
from napari_limn.specs import check_fields

Padding = Literal["same", "valid"]
Norm = Literal["none", "batch", "channel", "rms", "group", "instance"]
Down = Literal["max", "strided", "max_1x1"]
Up = Literal["transposed", "interpolate"]
Skip = Literal["concat", "attention", "nested"]
BlockKind = Literal["plain", "residual"]
Head = Literal["softmax", "sigmoid"]

_DEEPEST = 16  # levels: the coarsest voxel is 65,536 of the finest wide
_LARGEST_FACTOR = 64
_MOST_UNITS = 1 << 15
_MOST_WEIGHTS = 1 << 31  # of one layer: 8 GB

CHOICES: dict[str, tuple[str, ...]] = {
    "padding": get_args(Padding), "norm": get_args(Norm), "down": get_args(Down), "up": get_args(Up),
    "skip": get_args(Skip), "block": get_args(BlockKind), "head": get_args(Head),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelSpec:
    """A pixel classifier: local features at several scales, and a perceptron.

    Parameters
    ----------
    scales
        Standard deviations of the Gaussians along each axis (Y, X or Z, Y, X), in voxels, one tuple a scale.
    hidden
        Units of the layers between features and classes; none makes it linear.
    windows
        As many of the last scales are also windows, in whose deviations from its neighbourhood intensity is a feature.
    """

    scales: tuple[tuple[float, ...], ...]
    hidden: tuple[int, ...] = (32,)
    windows: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if len({len(s) for s in self.scales}) != 1 or any(
            not 0 <= x < float("inf") for s in self.scales for x in s
        ):
            raise LimnError(
                f"PixelSpec.scales: found {self.scales}, expected one tuple of 2 or 3 values of 0 or more a scale."
            )
        if max(self.hidden, default=1) > _MOST_UNITS or len(self.hidden) > _DEEPEST:
            raise LimnError(
                f"PixelSpec.hidden: found {len(self.hidden)} layers of up to {max(self.hidden):.3g} units, expected up to {_DEEPEST} layers "
                f"of {_MOST_UNITS}; make it smaller."
            )
        if any(n < 1 for n in self.hidden):
            raise LimnError(f"PixelSpec.hidden: found {self.hidden}, expected numbers of units of 1 or more.")
        if not 0 <= self.windows <= len(self.scales):
            raise LimnError(
                f"PixelSpec.windows: found {self.windows}, expected 0 to {len(self.scales)}, the number of scales."
            )


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
        Normalisation behind each convolution: none; batch; over the channels of each voxel, as layer norm
        (``"channel"``, Ba 2016, arXiv:1607.06450) or by their root mean square (``"rms"``, Zhang 2019,
        arXiv:1910.07467); ``"group"`` and ``"instance"`` depend on the tile: such a network cannot be tiled exactly.
    down
        Max pooling, strided convolution, or max pooling and a 1×1 convolution.
    up
        Transposed convolution, or 1×1 convolution and linear interpolation.
    skip
        Concatenation (Ronneberger 2015, arXiv:1505.04597), attention gates (Oktay 2018, arXiv:1804.03999), or nested
        (U-Net++, Zhou 2018, arXiv:1807.10165).
    block
        Two convolutions, or the same with a shortcut past them (He 2015, arXiv:1512.03385).
    head
        One score a class, for softmax; or one score in all, for the sigmoid of the second of two classes.
    supervised
        Deep supervision: every node of the finest level of a nested network has a head and learns, so that the
        network can be pruned to any depth afterwards.
    dropout
        Share of values dropped at the end of the contracting path while training, 0–1.
    pruned
        Depth that a supervised network was cut down to after training; None leaves it whole.
    pixels
        A pixel classifier beside the network, which answers before the network has learnt; None for none.
    share
        Weight of the classifier's logits in the sum, 0–1; at 1 only the classifier is computed, at 0 only the network.

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
    up: Up = "transposed"
    skip: Skip = "concat"
    block: BlockKind = "plain"
    head: Head = "softmax"
    supervised: bool = False
    dropout: float = 0.0
    pruned: int | None = None
    pixels: PixelSpec | None = None
    share: float = 0.5

    def _refuse_too_large(self) -> None:
        """Refuse a network that no memory holds."""
        ndim, levels = len(self.factors[0]), len(self.factors)
        widest = min(self.width << min(levels, _DEEPEST), self.max_width)
        weights = 3**ndim * widest**2
        if (
            levels > _DEEPEST
            or max(weights, self.in_channels, self.out_channels) > _MOST_WEIGHTS
            or max(map(max, self.factors)) > _LARGEST_FACTOR
        ):
            raise LimnError(
                f"UNetSpec: found {levels} levels, factors up to {max(map(max, self.factors)):.3g}, {widest:.3g} channels at the coarsest level, "
                f"{self.in_channels:.3g} of the image and {self.out_channels:.3g} classes, expected a network that fits into memory; make it smaller."
            )

    def __post_init__(self) -> None:
        check_fields(self)
        for name, choices in CHOICES.items():
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
        self._refuse_too_large()
        if self.head == "sigmoid" and self.out_channels != 2:
            raise LimnError(
                f"UNetSpec.head: found 'sigmoid' for {self.out_channels} classes, expected 2; choose 'softmax'."
            )
        if self.supervised and self.skip != "nested":
            raise LimnError(
                f"UNetSpec.supervised: found it with skip {self.skip!r}, expected 'nested'; only there every "
                "depth has an output to supervise."
            )
        if not 0 <= self.dropout < 1:
            raise LimnError(f"UNetSpec.dropout: found {self.dropout}, expected a share of 0 to below 1.")
        if self.pruned is not None and not (self.supervised and 1 <= self.pruned <= len(self.factors)):
            raise LimnError(
                f"UNetSpec.pruned: found {self.pruned}, expected 1 to {len(self.factors)} in a supervised network; "
                "a depth that had no output in training gives none afterwards."
            )
        if self.pixels is not None and (
            {len(s) for s in self.pixels.scales} != sizes or self.padding != "same"
        ):
            raise LimnError(
                f"UNetSpec.pixels: found scales {self.pixels.scales} beside a {self.ndim}D network with padding "
                f"{self.padding!r}, expected one value an axis and padding 'same'."
            )
        if not 0 <= self.share <= 1:
            raise LimnError(f"UNetSpec.share: found {self.share}, expected a share of 0 to 1.")

    @property
    def ndim(self) -> int:
        """Return 2 for a network over planes, 3 for volumes."""
        return len(self.factors[0])

    @property
    def depth(self) -> int:
        """Return how many times the network goes down."""
        return self.pruned or len(self.factors)

    @property
    def convolves(self) -> bool:
        """Tell whether more than the pixel classifier is computed."""
        return self.pixels is None or self.share < 1

    @property
    def tile_exact(self) -> bool:
        """Tell whether tiles can equal the whole image.

        They do if no operation looks at the extent of the tile.
        """
        return not self.convolves or self.norm not in ("group", "instance")

    @property
    def isolates_channels(self) -> bool:
        """Tell whether each channel is normalised by itself at the coarsest level.

        Of a single voxel nothing is left then. Groups are eight at most, so of so few channels each is its own.
        """
        return self.norm == "instance" or (self.norm == "group" and 8 % self.channels(self.depth) == 0)

    def channels(self, level: int) -> int:
        """Return the feature channels at `level`, 0 the finest."""
        return min(self.width << level, self.max_width)

    def stride(self, level: int, axis: int) -> int:
        """Return the input voxels between two samples at `level` along `axis`."""
        return int(prod(f[axis] for f in self.factors[:level]))

    def kernel(self, level: int) -> tuple[int, ...]:
        """Return the kernel at `level`.

        It is 3 along every axis, but 1 along one not pooled at this or a finer level.

        Along a coarsely sampled z the network so begins to look around only where voxels have become about isotropic.
        """
        upto = self.factors[: level + 1]
        return tuple(3 if any(f[axis] > 1 for f in upto) else 1 for axis in range(self.ndim))

    def nodes(self) -> tuple[tuple[int, int], ...]:
        """List decoder nodes (level, column) in the order of computation."""
        every = [(i, j) for j in range(1, self.depth + 1) for i in range(self.depth + 1 - j)]
        return tuple(every if self.skip == "nested" else [(i, j) for i, j in every if i + j == self.depth])

    def below(self, level: int, column: int) -> tuple[int, int]:
        """Return the node whose output is upsampled into this one."""
        return level + 1, column - 1

    def skips(self, level: int, column: int) -> tuple[tuple[int, int], ...]:
        """List the nodes of the level that this one concatenates."""
        return tuple((level, k) for k in range(column if self.skip == "nested" else 1))

    def is_alike(self, other: UNetSpec) -> bool:
        """Return whether two networks differ only in what data decide.

        Those decide channels and classes; the share of the classifier is learnt.
        """
        decided = {name: getattr(other, name) for name in ("in_channels", "out_channels", "head", "share")}
        return replace(self, **decided) == other
