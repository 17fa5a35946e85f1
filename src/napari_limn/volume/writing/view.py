"""A label file in the making, seen from another process.

By its path and its levels, read from the disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from napari_limn.errors import LimnError
from napari_limn.files.working import unfinished
from napari_limn.volume.axes import Axes
from napari_limn.volume.boxes import Grid, whole
from napari_limn.volume.reading.lazy import LazyLabels
from napari_limn.volume.reading.open import open_volume
from napari_limn.volume.volume import Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_limn.volume.boxes import Box


@dataclass(frozen=True, slots=True)
class LevelView:
    """One level of an output.

    Its extent (T, Z, Y, X), and that of what is stored in one piece.
    """

    shape: Grid
    chunk: Grid


@dataclass(frozen=True, slots=True)
class OutputView:
    """What a listener needs of an output of another process.

    Plain values, so that it can be sent.

    Parameters
    ----------
    file
        The name that the output will have when it is complete.
    folder
        Where the levels lie below it, as folders named by their number.
    names
        Axes of the image without channels, in its order.
    dtype
        Of a label, as numpy names it.
    geometry
        Extent and pieces of each level, finest first.
    """

    file: str
    folder: str
    names: str
    dtype: str
    geometry: tuple[LevelView, ...]

    @property
    def path(self) -> Path:
        """Give the path that the output will have."""
        return Path(self.file)

    @property
    def levels(self) -> tuple[LazyLabels, ...]:
        """Show the labels that are on the disk by now, finest first.

        Zeros elsewhere.

        Nothing is read before voxels are asked for. Shards that wait in the memory of the process that writes are not seen.
        """
        return tuple(
            LazyLabels(
                partial(self._read, number), whole(at.shape), self.names, np.dtype(self.dtype), at.chunk
            )
            for number, at in enumerate(self.geometry)
        )

    def view(self) -> OutputView:
        """Return this view, which may be sent on."""
        return self

    def _read(self, number: int, box: Box) -> NDArray[Any]:
        labels: NDArray[Any] = self._level(number).read(box)[0]
        return labels

    def _level(self, number: int) -> Volume:
        """Open a level where it lies now.

        It moves when the output is complete.
        """
        for root in (unfinished(self.path), self.path):
            if (place := root / self.folder / str(number)).is_dir():
                array = zarr.open_array(place, mode="r")
                given = getattr(array.metadata, "dimension_names", None) or ()
                return Volume(array, Axes.of("".join(given).upper()), self.path.name)
        if self.path.is_file():
            return open_volume(self.path)
        raise LimnError(
            f"{self.path}: found neither the output nor what is written of it, expected one of them; "
            "use a disk that both computers see, under the same path."
        )
