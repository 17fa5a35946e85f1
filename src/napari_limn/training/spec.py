"""How to train, as a frozen record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from napari_limn.annotation.classes import Zero  # noqa: TC001 from_json evaluates annotations
from napari_limn.errors import LimnError
from napari_limn.network.spec import UNetSpec, pooling_factors
from napari_limn.specs import DeviceName  # noqa: TC001 from_json evaluates annotations
from napari_limn.volume.intensity import IntensitySpec

if TYPE_CHECKING:
    from napari_limn.volume.volume import Volume


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
        Of everything random.
    zero
        What a 0 in the labels means: ``"unlabelled"``, or ``"background"`` for full masks.
    dims
        2: a network over planes, slice by slice; 3: a network over volumes.
    network
        The network to train; None chooses one for the data. Its channel numbers are set to those of the data.
    patch
        Least extent of the output of a training patch along each axis of the network, in voxels; None chooses.
    batch
        Patches a step.
    rate
        Peak learning rate of AdamW.
    held_out
        Share of the paint that scores and never trains, 0–0.5.
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
    network: UNetSpec | None = None
    patch: tuple[int, ...] | None = None
    batch: int = 4
    rate: float = 2e-3
    held_out: float = 0.1
    intensity: IntensitySpec = IntensitySpec()
    device: DeviceName = "auto"

    def __post_init__(self) -> None:
        if not self.seconds > 0 or (self.steps is not None and self.steps < 1):
            raise LimnError(
                f"found a budget of {self.seconds} s and {self.steps} steps, expected more than 0."
            )
        if self.zero not in ("unlabelled", "background"):
            raise LimnError(f"TrainSpec.zero: found {self.zero!r}, expected 'unlabelled' or 'background'.")
        if self.dims not in (2, 3):
            raise LimnError(f"TrainSpec.dims: found {self.dims!r}, expected 2 or 3.")
        if self.batch < 1 or not self.rate > 0 or not 0 <= self.held_out <= 0.5:
            raise LimnError(
                f"TrainSpec: found batch {self.batch}, rate {self.rate}, held_out {self.held_out}; "
                "expected a batch of 1 or more, a rate above 0 and a held-out share of 0 to 0.5."
            )
        if self.patch is not None and (not self.patch or min(self.patch) < 1):
            raise LimnError(f"TrainSpec.patch: found {self.patch}, expected extents of 1 or more.")


def choose_network(spec: TrainSpec, image: Volume, classes: int) -> UNetSpec:
    """The network of the spec, or the default for an image; with the channels of the data.

    The default is a U-Net of width 16: depth 4 over planes; depth 3 over volumes, pooled along z only where voxels
    have become about isotropic and never below one sample.

    Raises
    ------
    LimnError
        If a network over volumes meets an image without z.
    """
    base = spec.network
    dims = base.ndim if base else spec.dims
    if dims == 3 and image.grid[1] == 1:
        raise LimnError(
            f"{image.name}: found a single plane, expected a stack for a 3D network; choose a 2D network."
        )
    if base is None:
        factors = (
            ((2, 2),) * 4 if dims == 2 else _within(pooling_factors(image.axes.spacing, 3), image.grid[1])
        )
        base = UNetSpec(factors=factors)
    fields = {name: getattr(base, name) for name in UNetSpec.__dataclass_fields__}
    return UNetSpec(**fields | {"in_channels": image.channels, "out_channels": classes})


def _within(factors: tuple[tuple[int, ...], ...], planes: int) -> tuple[tuple[int, ...], ...]:
    """The factors, but 1 along z as soon as fewer than four samples would be left of `planes`."""
    found, left = [], planes
    for z, y, x in factors:
        z = z if left // z >= 4 else 1
        left //= z
        found.append((z, y, x))
    return tuple(found)
