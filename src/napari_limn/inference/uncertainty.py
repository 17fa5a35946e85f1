"""How unsure a model is of each voxel, in bounded memory.

It is computed as a prediction is, block by block.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.evaluation.where_next import Pool
from napari_limn.inference.pipeline import PredictSpec, prediction_events
from napari_limn.volume.reading.open import open_volume
from napari_limn.volume.writing.array_output import ArrayOutput

if TYPE_CHECKING:
    import os
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_limn.model import Model
    from napari_limn.runs import Event
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.volume import Volume


def uncertainty(probabilities: NDArray[Any]) -> NDArray[np.float32]:
    """Compute how unsure class probabilities are.

    1 − (p₁ − p₂), of the two most likely classes.

    Parameters
    ----------
    probabilities
        Of shape (K, …), over K ≥ 2 classes.

    Returns
    -------
    0 for a certain class, 1 where the best two are equal (the margin of Scheffer 2001, doi:10.1007/3-540-44816-0_31).

    Examples
    --------
    >>> uncertainty(np.array([[0.5, 1.0], [0.5, 0.0]])).tolist()
    [1.0, 0.0]
    """
    second, first = np.partition(np.asarray(probabilities, np.float32), -2, axis=0)[-2:]
    margin: NDArray[np.float32] = first - second
    return (1 - margin).clip(0, 1)


class UncertaintyOutput:
    """Takes the blocks of a prediction, and keeps how unsure they are.

    Parameters
    ----------
    image
        What is predicted.
    pool
        Takes the means over its cells.
    array
        Takes 255 × the uncertainty of each voxel, in the axes of the image; None to keep the pool only.
    """

    def __init__(self, image: Volume, pool: Pool, array: Any = None) -> None:
        self._pool = pool
        self._array = None if array is None else ArrayOutput(image, array)

    def write(self, box: Box, labels: NDArray[Any], probabilities: NDArray[Any] | None = None) -> list[int]:
        """Take a block, as :meth:`LabelOutput.write` does."""
        unsure = uncertainty(np.asarray(probabilities))
        self._pool.add(box, unsure)
        if self._array is not None:
            self._array.write(box, np.rint(unsure * 255).astype(np.uint8))
        return []

    def missing(self, box: Box) -> bool:
        """Return True: nothing is kept from one run to the next."""
        return True

    @property
    def held_bytes(self) -> int:
        """Return the bytes of the array; the pool is small."""
        return 0 if self._array is None else self._array.held_bytes

    def forget_unfinished(self) -> None:
        """Start again: blocks come again, and each may count once only."""
        self._pool.sums[:] = 0

    def finish(self) -> Pool:
        """Return the pool."""
        return self._pool


def uncertainty_events(
    model: Model | str | os.PathLike[str],
    image: Any,
    array: Any = None,
    spec: PredictSpec | None = None,
) -> Generator[Event, None, Pool]:
    """Predict, and keep only how unsure the model is.

    Returns the means over the cells of a coarse grid.

    Parameters
    ----------
    model, image, spec
        And errors, as of :func:`napari_limn.predict`.
    array
        Takes 255 × the uncertainty of each voxel, in the axes of the image without channels; None for the means only:
        then nothing is kept that is as large as the image.
    """
    volume, spec = open_volume(image), replace(spec or PredictSpec(), probabilities="float16")
    output = UncertaintyOutput(volume, Pool(volume.grid), array)
    result: Pool = yield from prediction_events(model, volume, output, spec)
    return result
