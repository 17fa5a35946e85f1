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
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from napari_limn.inference.engines.evaluator import Evaluator
    from napari_limn.network.spec import UNetSpec
    from napari_limn.volume.boxes import Box


class BlockEngine:
    """Evaluates a model on any block of a volume, by itself.

    Parameters
    ----------
    ready
        The model and the volume.
    network
        What computes in the place of the evaluator's network: (N, C, …) to logits (N, K, …).
    """

    def __init__(
        self, ready: Evaluator, network: Callable[[torch.Tensor], torch.Tensor] | None = None
    ) -> None:
        self._ready, self._spec, self._volume, self._feet = ready, ready.spec, ready.volume, ready.footprints
        self._network = network or ready.network

    def labels(self, box: Box) -> NDArray[Any]:
        """Paint values (T, Z, Y, X) of a block whose origin lies on multiples of the network's stride."""
        return self._ready.labels(self._forward(box, self._read(box)))

    def logits(self, box: Box) -> NDArray[np.float32]:
        """Logits (K, T, Z, Y, X) of such a block."""
        return self._ready.on_grid(self._forward(box, self._read(box)))

    def batches(
        self, boxes: Iterable[Box], missing: Callable[[Box], bool] = lambda _: True
    ) -> Iterator[tuple[Box, torch.Tensor]]:
        """Every block of `boxes` that is missing and its logits (N, K, …); reading goes on meanwhile."""
        wanted = [box for box in boxes if missing(box)]
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
        first = [start + f.shrink for (start, _), f in zip(window, self._feet, strict=True)]
        keep = slices(shifted(box, first))[-self._spec.ndim :]
        found: torch.Tensor = logits[(slice(None), slice(None), *keep)]
        return found

    def _window(self, box: Box) -> Box:
        return window_of(self._spec, self._volume.grid, box)


def window_of(spec: UNetSpec, grid: tuple[int, ...], box: Box) -> Box:
    """What a network must see of a volume of extent `grid` (T, Z, Y, X) for a block."""
    footprints = footprints_on_grid(spec)
    if spec.padding == "same":
        return clipped(grown(box, [f.halo for f in footprints]), grid)
    window = []
    for (start, _), n, f in zip(box, shape_of(box), footprints, strict=True):
        window.append((start - f.shrink, start - f.shrink + fitting(n, f)))
    return tuple(window)
