"""In which precision to compute, measured on the image itself.

A lower one only where it is faster and hardly a label changes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_limn.device import choose_precision, low_precisions
from napari_limn.inference.engines.blocks import BlockEngine
from napari_limn.inference.engines.evaluator import Evaluator
from napari_limn.inference.measured.certificate import middle_piece
from napari_limn.volume.boxes import size_of, whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_limn.model import Model
    from napari_limn.specs import Precision
    from napari_limn.volume.intensity import Scaling
    from napari_limn.volume.volume import Volume

AGREEMENT = 0.9995
"""Share of labels that a lower precision must give as float32 does."""

_PIECE = {2: (1, 1, 384, 384), 3: (1, 24, 96, 96)}  # voxels at most along T, Z, Y and X
_WORTH = 8  # pieces that an image must hold for the measurement to pay
_FASTER = 1.2


@dataclass(frozen=True, slots=True)
class Choice:
    """A precision, and what was measured for it.

    Parameters
    ----------
    dtype
        To compute in.
    tried
        The lower precision that was measured against float32; None if none was.
    agreement
        Share of the labels of the piece that it gives as float32 does.
    faster
        Time of float32 over its time.
    given_up
        The lower precision that gave scores that are not finite, so that the run began again; None if none did.
    """

    dtype: torch.dtype
    tried: torch.dtype | None = None
    agreement: float = 1.0
    faster: float = 1.0
    given_up: torch.dtype | None = None

    def __str__(self) -> str:
        name = name_of(self.dtype)
        if self.given_up is not None:
            return f"{name} from the beginning, since {name_of(self.given_up)} gave scores that are not finite (NaN or infinite)"
        if self.tried is None:
            return name
        tried = name_of(self.tried)
        measured = f"{tried} gives {self.agreement:.3%} of the labels as float32 does on a piece of this image, {self.faster:.1f} × as fast"
        return (
            f"{name}: {measured}; for float32 say --precision float32"
            if self.dtype == self.tried
            else f"{name}, since {measured}"
        )


def measured_precision(
    name: Precision, model: Model, volume: Volume, scaling: Scaling, device: torch.device
) -> Choice:
    """Choose the precision; "auto" takes a lower one where it pays.

    It pays if the device computes in it, it is at least 1.2 times as fast on a piece of the image, and it gives there at
    least 99.95 % of the labels that float32 gives. The first that pays is taken. Small images, and networks that cannot be exact anyway in tiles, are
    computed in float32.

    Raises
    ------
    LimnError
        For a precision that does not exist, or is slow on the device.
    """
    lower = low_precisions(device)
    grid, spec = volume.grid, model.spec.network
    if name != "auto" or not lower or size_of(whole(grid)) < _WORTH * size_of(whole(_PIECE[spec.ndim])):
        return Choice(choose_precision(name, device))
    piece = middle_piece(volume, _PIECE[spec.ndim])
    expected, slow = _timed(Evaluator(model, piece, scaling, device, torch.float32))
    choice = Choice(torch.float32)
    for dtype in lower:
        labels, fast = _timed(Evaluator(model, piece, scaling, device, dtype))
        agreement, faster = float(np.mean(labels == expected)), slow / fast
        pays = agreement >= AGREEMENT and faster >= _FASTER
        choice = Choice(dtype if pays else torch.float32, dtype, agreement, faster)
        if pays:
            break
    return choice


def _timed(ready: Evaluator) -> tuple[NDArray[Any], float]:
    """Compute the labels of the whole volume; time a second pass.

    The first one sets things up.
    """
    engine, box = BlockEngine(ready), whole(ready.volume.grid)
    labels = engine.labels(box)
    began = time.perf_counter()
    engine.labels(box)
    return labels, time.perf_counter() - began


def name_of(dtype: torch.dtype) -> str:
    """Return the name of a precision, as specs have it.

    Examples
    --------
    >>> name_of(torch.bfloat16)
    'bfloat16'
    """
    return str(dtype).removeprefix("torch.")
