"""How unsure a model is of each voxel, computed as a prediction is: block by block, in bounded memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_limn.annotation.places import Pool
from napari_limn.inference.pipeline import PredictSpec, prediction_events
from napari_limn.volume.open import open_volume
from napari_limn.volume.output import ArrayOutput
from napari_limn.volume.volume import Volume

if TYPE_CHECKING:
    import os
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_limn.events import Event
    from napari_limn.model import Model
    from napari_limn.volume.boxes import Box

Measure = Literal["margin", "entropy"]
"""How class probabilities become an uncertainty of 0 to 1, see :func:`uncertainty`."""


def uncertainty(probabilities: NDArray[Any], measure: Measure = "margin") -> NDArray[np.float32]:
    """How unsure class probabilities are: 0 for a certain class, 1 where the best ones are equal.

    Parameters
    ----------
    probabilities
        Of shape (K, …), over K ≥ 2 classes.
    measure
        ``"margin"``: 1 − (p₁ − p₂), of the two most likely classes (Scheffer 2001, doi:10.1007/3-540-44816-0_31).
        ``"entropy"``: that of Shannon over ln K.

    Examples
    --------
    >>> uncertainty(np.array([[0.5, 1.0], [0.5, 0.0]])).tolist()
    [1.0, 0.0]
    """
    given = np.asarray(probabilities, np.float32)
    if measure == "entropy":
        logs = np.log(given, where=given > 0, out=np.zeros_like(given))
        found: NDArray[np.float32] = -(given * logs).sum(0) / np.float32(np.log(len(given)))
        return found.clip(0, 1)
    second, first = np.partition(given, -2, axis=0)[-2:]
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
    measure
        See :func:`uncertainty`.
    other
        Labels that another model gave; a voxel is then as unsure as the two disagree: 1 where they differ, else 0.
    """

    def __init__(
        self,
        image: Volume,
        pool: Pool,
        array: Any = None,
        measure: Measure = "margin",
        other: Volume | None = None,
    ) -> None:
        self._pool, self._measure, self._other = pool, measure, other
        self._array = None if array is None else ArrayOutput(image, array)

    def write(self, box: Box, labels: NDArray[Any], probabilities: NDArray[Any] | None = None) -> list[int]:
        """See :meth:`napari_limn.volume.output.LabelOutput.write`."""
        found: NDArray[Any]
        if self._other is not None:
            found = (self._other.read(box)[0] != labels).astype(np.float32)
        else:
            found = uncertainty(np.asarray(probabilities), self._measure)
        self._pool.add(box, found)
        if self._array is not None:
            self._array.write(box, np.rint(found * 255).astype(np.uint8))
        return []

    def missing(self, box: Box) -> bool:
        """Always: nothing is kept from one run to the next."""
        return True

    def forget_unfinished(self) -> None:
        """Start anew: blocks come again, and each may count once only."""
        self._pool.sums[:] = 0

    def finish(self) -> Pool:
        """The pool."""
        return self._pool


def uncertainty_events(
    model: Model | str | os.PathLike[str],
    image: Any,
    array: Any = None,
    spec: PredictSpec | None = None,
    *,
    measure: Measure = "margin",
    rival: Model | None = None,
) -> Generator[Event, None, Pool]:
    """Predict, and keep only how unsure the model is; returns the means over patches.

    Parameters
    ----------
    model, image, spec
        And errors, as of :func:`napari_limn.predict`.
    array
        Takes 255 × the uncertainty of each voxel, in the axes of the image without channels; None for the means only.
    measure
        See :func:`uncertainty`.
    rival
        A second model: what counts is then where the two give different labels.
    """
    volume, spec = open_volume(image), replace(spec or PredictSpec(), probabilities=None)
    other = None
    if rival is not None:
        labels = yield from prediction_events(rival, volume, None, spec)
        other = Volume(labels, volume.axes.without("C"), "labels of the other model")
    else:
        spec = replace(spec, probabilities="float16")
    output = UncertaintyOutput(volume, Pool(volume.grid), array, measure, other)
    found: Pool = yield from prediction_events(model, volume, output, spec)
    return found
