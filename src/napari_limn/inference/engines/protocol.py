"""The contracts between a prediction and whatever computes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from napari_limn.volume.boxes import Box


class Engine(Protocol):
    """Computes a whole volume, block by block.

    A prediction asks for what is missing, and writes what it gets. Whether blocks come from a sweep, from tiles of
    themselves, from tiles that are blended, from another library or from another machine makes no difference to it, if

    - every block that is missing is given once, and blocks that were not missing when the call began are not given;
    - blocks come in the order of the raster that the plan names, so that few shards of the output are half full;
    - a block is the same to the last bit whatever else was missing, so that a run may go on where another one ended;
    - threads end with the iterator: closing it cancels what goes on, and frees what was kept;
    - what goes wrong is raised; an engine that ran out of memory is given up, and another is made for a smaller plan.
    """

    def batches(
        self, missing: Callable[[Box], bool] = ...
    ) -> Generator[tuple[Box, torch.Tensor], None, None]:
        """Yield every missing block and its scores.

        Parameters
        ----------
        missing
            Whether some of a box (T, Z, Y, X) has still to be computed. It is asked for blocks, and for larger boxes that
            hold several; in any thread; and its answer changes while blocks are written.

        Yields
        ------
        A box, and scores (N, K, …) on it that :meth:`to_labels` and :meth:`to_probabilities` take; they may be overwritten
        when the next block is asked for.
        """
        ...

    def share(self, done: int) -> float:
        """Return the share of the work that `done` blocks are.

        Of a whole run, 0 to 1, once so many blocks were given.
        """
        ...

    def to_labels(self, scores: torch.Tensor) -> NDArray[Any]:
        """Return the paint values (T, Z, Y, X) of a block."""
        ...

    def to_probabilities(self, scores: torch.Tensor) -> NDArray[np.float32]:
        """Return the class probabilities (K, T, Z, Y, X) of a block."""
        ...


class BlockLabeller(Protocol):
    """Labels one block at a time, in any order: for live mode."""

    @property
    def unscored(self) -> int:
        """Return how many voxels by now have no finite score."""
        ...

    def labels(self, box: Box) -> NDArray[Any]:
        """Return the paint values (T, Z, Y, X) of a block.

        Parameters
        ----------
        box
            Its origin lies on multiples of the network's stride.
        """
        ...
