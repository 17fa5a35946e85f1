"""What every output of labels can do, and the output in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from napari_limn.errors import LimnError
from napari_limn.volume.axes import GRID
from napari_limn.volume.boxes import overlap, size_of, slices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_limn.volume.boxes import Box
    from napari_limn.volume.volume import Volume


@runtime_checkable
class LabelOutput(Protocol):
    """Where the labels of a prediction go.

    Blocks may come in any order and of any extent; together they fill the grid.
    """

    def write(self, box: Box, labels: NDArray[Any], probabilities: NDArray[Any] | None = None) -> list[int]:
        """Take a block.

        Parameters
        ----------
        box
            Where it lies on the TZYX grid.
        labels
            Of shape (T, Z, Y, X).
        probabilities
            Of shape (K, T, Z, Y, X), 0 to 1; given if, and only if, the output was created for them.

        Returns
        -------
        Numbers of the shards that this block completed and that are on the disk now, come what may.
        """
        ...

    def missing(self, box: Box) -> bool:
        """Return whether a block at `box` has still to be computed.

        Then some of its voxels are not on the disk for good.
        """
        ...

    def forget_unfinished(self) -> None:
        """Drop what is not on the disk for good.

        Every block that :meth:`missing` reports will be written again.
        """
        ...

    def finish(self) -> Any:
        """Declare the output complete.

        Returns the array, or the path of the file.
        """
        ...

    @property
    def held_bytes(self) -> int:
        """Return the memory that it takes at most.

        It counts towards the limit of a run.
        """
        ...


class ArrayOutput:
    """Labels into an array in the axes of the image.

    numpy, or anything that takes slices.

    Parameters
    ----------
    image
        The image.
    array
        Of the image's shape without channels.
    there
        Boxes of the TZYX grid, disjoint, whose labels are in the array already.
    """

    def __init__(self, image: Volume, array: Any, there: Sequence[Box] = ()) -> None:
        self.array, self._image, self._there = array, image, there

    def place(self, box: Box) -> tuple[slice, ...]:
        """Return a box of the grid as an index of the array."""
        at = dict(zip(GRID, slices(box), strict=True))
        return tuple(at[name] for name in self._image.axes.without("C").names)

    def write(self, box: Box, labels: NDArray[Any], probabilities: NDArray[Any] | None = None) -> list[int]:
        """Take a block, as :meth:`LabelOutput.write`.

        An array does not outlive the process, so no shard is ever reported.
        """
        if probabilities is not None:
            raise LimnError("found class probabilities for an array of labels; write an .ome.zarr.")
        self.array[self.place(box)] = self._image.squeezed(labels)
        return []

    def missing(self, box: Box) -> bool:
        """Return whether a part of it was not there from the beginning.

        An array does not know what is written.
        """
        return sum(size_of(overlap(box, other)) for other in self._there) < size_of(box)

    def forget_unfinished(self) -> None:
        """Do nothing: no block waits."""

    def finish(self) -> Any:
        """Return the array."""
        return self.array

    @property
    def held_bytes(self) -> int:
        """Return the bytes of the array, unless it lies on the disk."""
        return self.array.nbytes if isinstance(self.array, np.ndarray) else 0


def labels_shape(image: Volume) -> tuple[int, ...]:
    """Return the shape of the labels of an image.

    Its own without the channel axis.
    """
    return tuple(int(n) for n, a in zip(image.data.shape, image.axes.names, strict=True) if a != "C")


def in_memory(image: Volume, dtype: Any) -> ArrayOutput:
    """Make an output that is a numpy array of zeros."""
    return ArrayOutput(image, np.zeros(labels_shape(image), dtype))
