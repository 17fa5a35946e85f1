"""How to train, as a frozen record."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from sys import float_info
from typing import Literal, get_args

from napari_limn.annotation.classes import ZeroMeaning  # noqa: TC001 from_json evaluates annotations
from napari_limn.errors import LimnError
from napari_limn.network.spec import UNetSpec  # noqa: TC001 from_json evaluates annotations
from napari_limn.specs import DeviceName, check_fields
from napari_limn.specs import Preset as Preset
from napari_limn.volume.intensity import IntensitySpec

Loss = Literal["cross_entropy", "dice", "focal", "cross_entropy+dice", "focal+dice"]

# voxels a side of a training patch, by the axes of the network: many small steps learn more in a minute than few large ones
PATCH = {2: 64, 3: 32}
CONTEXT = {2: 160, 3: 64}  # of what held-out strokes are scored in, where more is seen around them

_MOST_VOXELS = 1 << 32  # of one batch


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentSpec:
    """How far patches vary from draw to draw.

    The defaults are measured in ``benchmarks/``.

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
        check_fields(self)
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
        Time budget, in seconds of wall time. A first answer is always finished, so a budget of a second can be exceeded; it is checked
        where there is time left.
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
        are then separated, and the background between them weighs more.
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
        Weight of what the pixel classifier answers for voxels that nobody painted, beside the loss of the painted ones; it falls to a
        quarter as the network matures. 0 leaves them out.
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
    zero: ZeroMeaning = "unlabelled"
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
        """Give the number of axes of the network."""
        return self.network.ndim if self.network else self.dims

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.seconds > 0 or (self.steps is not None and self.steps < 1):
            raise LimnError(
                f"found a budget of {self.seconds:g} s and {self.steps} steps, expected more than 0."
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
            raise LimnError(f"TrainSpec.soft_targets: found {self.soft_targets:g}, expected 0 or more.")
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
        if self.batch * prod(self.patch or (1,)) > _MOST_VOXELS:
            raise LimnError(
                f"TrainSpec: found a batch of {self.batch:.3g} patches of {prod(self.patch or (1,)):.3g} voxels, expected one that fits into "
                "memory; make it smaller."
            )

    def refuse_other_network(self, kept: UNetSpec | None) -> None:
        """Refuse a network that would be left out.

        Parameters
        ----------
        kept
            That of a model which is trained further, and keeps it; None for a new one.

        Raises
        ------
        LimnError
            If another network is asked for, or one over other axes than the spec.
        """
        if self.network is None:
            return
        if self.dims == 3 and self.network.ndim != 3:
            raise LimnError(
                "TrainSpec.dims: found 3 with a network over planes, expected one of the two; leave out dims, or the network."
            )
        if kept is not None and not self.network.is_alike(kept):
            raise LimnError(
                "TrainSpec.network: found another network than that of the model, expected one of the two: a model that is trained further "
                "keeps its network; leave out the network, or the model for a new one."
            )
