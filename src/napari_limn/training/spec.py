"""How to train, as a frozen record."""

from __future__ import annotations

from dataclasses import dataclass, replace
from sys import float_info
from typing import TYPE_CHECKING, Literal, get_args

from napari_limn.annotation.classes import Zero  # noqa: TC001 from_json evaluates annotations
from napari_limn.errors import LimnError
from napari_limn.network.spec import PixelSpec, UNetSpec
from napari_limn.specs import DeviceName  # noqa: TC001 from_json evaluates annotations
from napari_limn.volume.intensity import IntensitySpec

if TYPE_CHECKING:
    from napari_limn.volume.volume import Volume

Loss = Literal["cross_entropy", "dice", "focal", "cross_entropy+dice", "focal+dice"]
Preset = Literal["fast", "balanced", "thorough"]

# voxels a side of a training patch, by the axes of the network: many small steps learn more in a minute than few large ones
PATCH = {2: 64, 3: 32}
CONTEXT = {2: 160, 3: 64}  # of what held-out strokes are scored in, where more is seen around them

# width and depth; measured in benchmarks/, see docs/networks.md
PRESETS = {
    ("fast", 2): (8, 3), ("balanced", 2): (16, 3), ("thorough", 2): (32, 3),
    ("fast", 3): (8, 3), ("balanced", 3): (16, 3), ("thorough", 3): (24, 3),
}  # fmt: skip


# standard deviations of the pixel classifier's Gaussians, by the axes of the network; measured in benchmarks/
SCALES = {2: (0.7, 1.0, 1.6, 3.5, 5.0, 10.0), 3: (0.7, 1.6, 3.5, 5.0)}
_WINDOWS = 3  # of them, the largest, in which intensity is also seen beside its neighbourhood


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentSpec:
    """How far patches vary from draw to draw; the defaults are measured in ``benchmarks/``.

    Parameters
    ----------
    warped
        Share of patches that are turned by any angle in the YX plane and stretched, 0–1; the others are only flipped
        and stay sharp.
    stretch
        Largest change of size, as a logarithm: 0.3 is up to 35 %.
    shear
        Largest shear, and change of the ratio of sides.
    elastic
        Standard deviation of displacements on a 3 × 3 grid over the patch, interpolated bicubically, in pixels
        (Ronneberger 2015, arXiv:1505.04597, section 3.1, with 10); 0 leaves them out.
    gain
        Largest change of contrast of a channel, as a logarithm.
    offset
        Largest change of brightness of a channel, in scaled intensities.
    noise
        Largest standard deviation of white noise, in scaled intensities.
    """

    warped: float = 0.75
    stretch: float = 0.3
    shear: float = 0.1
    elastic: float = 0.0
    gain: float = 0.22
    offset: float = 0.1
    noise: float = 0.1

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value, most = getattr(self, name), 1.0 if name == "warped" else float_info.max
            if not 0 <= value <= most:
                raise LimnError(
                    f"AugmentSpec.{name}: found {value}, expected 0 or more{', up to 1' * (most == 1)}."
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSpec:
    """How long and how to train; the defaults are measured in ``benchmarks/``.

    Parameters
    ----------
    seconds
        Time budget, in seconds of wall time.
    steps
        Number of optimiser steps instead of a time budget: the same result every time on one machine.
    seed
        Of everything random; 0 or more, below 2³².
    zero
        What a 0 in the labels means: ``"unlabelled"``, or ``"background"`` for full masks.
    dims
        2: a network over planes, slice by slice; 3: a network over volumes.
    objects
        Whether every value in the labels is an object of its own, of one class, and 0 background: objects that touch
        are then parted, and the background between them weighs more.
    preset
        How large a new network is, where `network` is None: ``"fast"`` learns in seconds, ``"thorough"`` needs minutes and then
        knows more.
    network
        The network to train; None takes the preset's. Its channel numbers are set to those of the data.
    patch
        Least extent of the output of a training patch along each axis of the network, in voxels; None chooses.
    batch
        Patches a step.
    rate
        Peak learning rate of AdamW.
    loss
        What is minimised: cross-entropy, soft Dice, focal loss, or a sum.
    class_weights
        Weight of each class in the loss, in the order of their values; None for 1.
    augment
        How patches vary.
    instant
        Whether a pixel classifier answers first, and the network joins it when held-out strokes allow; only for
        networks that are chosen here, not for one given in `network`.
    soft_targets
        Weight of what the pixel classifier says of voxels that nobody painted, beside the loss of the painted ones; it falls to a
        quarter as the network grows older. 0 leaves them out.
    held_out
        Share of the paint that scores and that the network is not trained on, 0–0.5; the first answer learns all of it.
    intensity
        How grey values are scaled.
    device
        Where to train.
    """

    seconds: float = 60.0
    steps: int | None = None
    seed: int = 0
    zero: Zero = "unlabelled"
    dims: Literal[2, 3] = 2
    objects: bool = False
    preset: Preset = "balanced"
    network: UNetSpec | None = None
    patch: tuple[int, ...] | None = None
    batch: int = 4
    rate: float = 2e-3
    loss: Loss = "cross_entropy"
    class_weights: tuple[float, ...] | None = None
    augment: AugmentSpec = AugmentSpec()
    instant: bool = True
    soft_targets: float = 0.5
    held_out: float = 0.1
    intensity: IntensitySpec = IntensitySpec()
    device: DeviceName = "auto"

    @property
    def ndim(self) -> int:
        """Axes of the network: of the given one, or `dims`."""
        return self.network.ndim if self.network else self.dims

    def __post_init__(self) -> None:
        if not self.seconds > 0 or (self.steps is not None and self.steps < 1):
            raise LimnError(
                f"found a budget of {self.seconds} s and {self.steps} steps, expected more than 0."
            )
        if self.zero not in ("unlabelled", "background"):
            raise LimnError(f"TrainSpec.zero: found {self.zero!r}, expected 'unlabelled' or 'background'.")
        if self.dims not in (2, 3):
            raise LimnError(f"TrainSpec.dims: found {self.dims!r}, expected 2 or 3.")
        if self.batch < 1 or not 0 < self.rate < float("inf") or not 0 <= self.held_out <= 0.5:
            raise LimnError(
                f"TrainSpec: found batch {self.batch}, rate {self.rate}, held_out {self.held_out}; "
                "expected a batch of 1 or more, a rate above 0 and a held-out share of 0 to 0.5."
            )
        if not 0 <= self.seed < 1 << 32:
            raise LimnError(f"TrainSpec.seed: found {self.seed}, expected 0 to {(1 << 32) - 1}.")
        if not 0 <= self.soft_targets < float("inf"):
            raise LimnError(f"TrainSpec.soft_targets: found {self.soft_targets}, expected 0 or more.")
        for name, choices in (("loss", get_args(Loss)), ("preset", get_args(Preset))):
            if (value := getattr(self, name)) not in choices:
                raise LimnError(f"TrainSpec.{name}: found {value!r}, expected one of {', '.join(choices)}.")
        if self.class_weights is not None and not (
            min(self.class_weights, default=0) >= 0 < sum(self.class_weights) < float("inf")
        ):
            raise LimnError(
                f"TrainSpec.class_weights: found {self.class_weights}, expected weights of 0 or more, not all 0."
            )
        if self.objects and self.zero != "background":
            raise LimnError(
                "TrainSpec.objects: found 0 as unlabelled, expected masks of every object; set zero to 'background'."
            )
        if self.patch is not None and (not self.patch or min(self.patch) < 1):
            raise LimnError(f"TrainSpec.patch: found {self.patch}, expected extents of 1 or more.")


def choose_network(spec: TrainSpec, image: Volume, classes: int) -> UNetSpec:
    """The network of the spec, or that of its preset for an image; with the channels of the data."""
    base = spec.network
    if base is None:
        base = preset_network(spec.preset, spec.dims, image.axes.spacing, image.grid[1])
        if spec.instant:
            base = replace(base, pixels=pixel_features(spec.dims, image.axes.spacing))
    fields = {name: getattr(base, name) for name in UNetSpec.__dataclass_fields__}
    return UNetSpec(**fields | {"in_channels": image.channels, "out_channels": classes})


def pixel_features(dims: int, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> PixelSpec:
    """The features of the pixel classifier for voxels of `spacing` (Z, Y, X); scales are in voxels along X.

    Examples
    --------
    >>> pixel_features(3, (4.0, 1.0, 1.0)).scales[1]
    (0.4, 1.6, 1.6)
    """
    ratios = [round(spacing[2] / step, 3) for step in spacing[3 - dims :]]
    return PixelSpec(
        scales=tuple(tuple(round(s * r, 3) for r in ratios) for s in SCALES[dims]), windows=_WINDOWS
    )


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


def preset_network(
    preset: Preset, dims: int, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0), planes: int = 1 << 16
) -> UNetSpec:
    """The U-Net of a preset.

    Parameters
    ----------
    dims
        2 over planes, 3 over volumes: these are pooled along z only where voxels have become about isotropic, and
        never below four samples.
    spacing, planes
        Voxel size (Z, Y, X), and extent along z.

    Examples
    --------
    >>> preset_network("balanced", 3, (4.0, 1.0, 1.0)).factors
    ((1, 2, 2), (1, 2, 2), (2, 2, 2))
    """
    width, depth = PRESETS[preset, dims]
    if dims == 2:
        return UNetSpec(width=width, factors=((2, 2),) * depth)
    return UNetSpec(width=width, factors=_within(pooling_factors(spacing, depth), planes))


def _within(factors: tuple[tuple[int, ...], ...], planes: int) -> tuple[tuple[int, ...], ...]:
    """The factors, but 1 along z as soon as fewer than four samples would be left of `planes`."""
    found, left = [], planes
    for z, y, x in factors:
        z = z if left // z >= 4 else 1
        left //= z
        found.append((z, y, x))
    return tuple(found)
