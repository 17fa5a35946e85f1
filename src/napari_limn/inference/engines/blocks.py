"""A model over any block of a volume, by itself."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import torch

from napari_limn.concurrency import Prefetch, in_parallel
from napari_limn.inference.streaming.extents import fitting, footprints_on_grid, readers
from napari_limn.volume.boxes import clipped, grown, shape_of, shifted, slices
from napari_limn.volume.reading.reflect import read_reflected

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    import numpy as np
    from numpy.typing import NDArray

    from napari_limn.inference.engines.evaluator import Evaluator
    from napari_limn.network.spec import UNetSpec
    from napari_limn.volume.boxes import Box


class BlockEngine:
    """Computes any block of a volume, by itself.

    Parameters
    ----------
    ready
        The model and the volume.
    network
        What computes in the place of the evaluator's network: (N, C, …) to logits (N, K, …).
    boxes
        All blocks of a run, in their order.
    """

    def __init__(
        self,
        ready: Evaluator,
        network: Callable[[torch.Tensor], torch.Tensor] | None = None,
        boxes: Iterable[Box] = (),
    ) -> None:
        self._ready, self._spec, self._volume = ready, ready.spec, ready.volume
        self._network, self._boxes = network or ready.network, tuple(boxes)

    @property
    def unscored(self) -> int:
        """Return how many voxels by now have no finite score."""
        return self._ready.unscored

    def labels(self, box: Box) -> NDArray[Any]:
        """Return the paint values (T, Z, Y, X) of a block.

        Its origin lies on multiples of the network's stride.
        """
        return self.to_labels(self.scores(box))

    def logits(self, box: Box) -> NDArray[np.float32]:
        """Return the logits (K, T, Z, Y, X) of such a block."""
        return self._ready.on_grid(self.scores(box))

    def scores(self, box: Box) -> torch.Tensor:
        """Return the logits (N, K, …) of such a block."""
        return self._forward(box, self._read(box))

    def to_labels(self, scores: torch.Tensor) -> NDArray[Any]:
        """Return the paint values (T, Z, Y, X) of logits."""
        return self._ready.labels(scores)

    def to_probabilities(self, scores: torch.Tensor) -> NDArray[np.float32]:
        """Return the probabilities (K, T, Z, Y, X) of logits."""
        return self._ready.probabilities(scores)

    def share(self, done: int) -> float:
        """Return the share of the work that is done: of the blocks."""
        return done / len(self._boxes)

    def batches(
        self, missing: Callable[[Box], bool] = lambda _: True
    ) -> Generator[tuple[Box, torch.Tensor], None, None]:
        """Yield every missing block and its logits; reading goes on meanwhile."""
        wanted = [box for box in self._boxes if missing(box)]
        most = max((prod(shape_of(self._window(box))) for box in wanted), default=1) * self._spec.in_channels
        with Prefetch(lambda _: in_parallel(self._read, wanted, readers(most))) as parts:
            for box, part in zip(wanted, parts, strict=True):
                yield box, self._forward(box, part)

    def _read(self, box: Box) -> NDArray[np.float32]:
        return self._ready.scaled(read_reflected(self._volume, self._window(box)))

    @torch.inference_mode()
    def _forward(self, box: Box, part: NDArray[np.float32]) -> torch.Tensor:
        window = self._window(box)
        logits = self._network(self._ready.on_device(part))
        first = [start + f.shrink for (start, _), f in zip(window, self._ready.footprints, strict=True)]
        keep = slices(shifted(box, first))[-self._spec.ndim :]
        kept: torch.Tensor = logits[(slice(None), slice(None), *keep)]
        return kept

    def _window(self, box: Box) -> Box:
        return input_box(self._spec, self._volume.grid, box)


def input_box(spec: UNetSpec, grid: tuple[int, ...], box: Box) -> Box:
    """Return what a network must see of a volume for a block."""
    footprints = footprints_on_grid(spec)
    if spec.padding == "same":
        return clipped(grown(box, [f.halo for f in footprints]), grid)
    window = []
    for (start, _), n, f in zip(box, shape_of(box), footprints, strict=True):
        window.append((start - f.shrink, start - f.shrink + fitting(n, f)))
    return tuple(window)
