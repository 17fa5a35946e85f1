"""How to predict, as a frozen record."""

from __future__ import annotations

from dataclasses import dataclass

from napari_limn.specs import DeviceName, Precision, Probabilities, check_fields
from napari_limn.volume.intensity import Scaling  # noqa: TC001 - fields are held to their annotations


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictSpec:
    """How to predict.

    Parameters
    ----------
    memory
        Most memory to use: bytes, a text such as ``"2GB"``, or None for half of what is free, at most 4 GB.
    precision
        ``"float32"`` agrees with one pass over the whole image to rounding. Lower precisions are faster on processors made
        for them and change a few labels; ``"auto"`` takes one if it gives at least 99.95 % of the labels that float32
        gives, measured on a piece of the image.
    device
        Where to compute.
    prune
        Depth to which a nested network with deep supervision is cut down: faster, and less sharp-eyed for context.
    probabilities
        Whether to write a probability for each class too, as ``"uint8"`` (255 p) or ``"float16"``; OME-Zarr only.
    scaling
        Numbers that intensities are scaled with; None to fit them to the image.
    mixed
        Whether a run may go on on another kind of processor or card, or with another version of PyTorch, than it was begun
        with: labels may then differ where two classes tie.
    """

    memory: int | str | None = None
    precision: Precision = "auto"
    device: DeviceName = "auto"
    prune: int | None = None
    probabilities: Probabilities | None = None
    scaling: Scaling | None = None
    mixed: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
