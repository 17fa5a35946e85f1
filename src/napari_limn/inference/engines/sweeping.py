"""A sweep over a whole volume, which computes every activation once."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.concurrency import Prefetch, in_parallel
from napari_limn.inference.streaming.cost import planned_macs
from napari_limn.inference.streaming.extents import readers, swept_extent
from napari_limn.inference.streaming.kernels import kernels_of
from napari_limn.inference.streaming.sweep import Sweep
from napari_limn.network.graph import graph_of, trace
from napari_limn.volume.boxes import blocks
from napari_limn.volume.reading.reflect import read_reflected

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    import torch
    from numpy.typing import NDArray

    from napari_limn.inference.engines.evaluator import Evaluator
    from napari_limn.volume.boxes import Box


class SweepEngine:
    """Computes a whole volume, each activation once.

    Parameters
    ----------
    ready
        The model and the volume.
    block
        Extent (T, Z, Y, X) of a block, a multiple of the network's stride.
    column
        Extent of the columns that are swept one after the other; the whole frame where not given. Smaller columns keep
        less, and compute what lies around them again.
    """

    def __init__(
        self, ready: Evaluator, block: tuple[int, ...], column: tuple[int, ...] | None = None
    ) -> None:
        self._ready = ready
        weights = dict(ready.network.named_parameters()) | dict(ready.network.named_buffers())
        kernels = kernels_of(ready.network)
        graph = trace(ready.network, ready.spec.in_channels, graph_of(ready.spec).traced)
        grid, ndim = ready.volume.grid, ready.spec.ndim
        extent = swept_extent(ready.spec, grid)
        self._readers = readers(prod(block) * ready.spec.in_channels)
        self._sweeps: dict[Box, Sweep] = {}
        for window in blocks(grid[-ndim:], (column or grid)[-ndim:]):
            sweep = Sweep(graph, weights, extent, block[-ndim:], window, kernels)
            sweep.check = ready.check
            self._sweeps[window] = sweep
        self.macs = 0  # multiply-accumulates so far

    def planned_macs(self) -> int:
        """Predict the multiply-accumulates of a whole run."""
        frames = prod(self._ready.volume.grid[: -self._ready.spec.ndim])
        return frames * sum(planned_macs(sweep.schedule) for sweep in self._sweeps.values())

    def logits(self) -> Iterator[tuple[Box, NDArray[np.float32]]]:
        """Yield every block and its logits (K, T, Z, Y, X)."""
        return ((box, self._ready.on_grid(logits)) for box, logits in self.batches())

    def share(self, done: int) -> float:
        """Return the share of the work that is done: of the multiply-accumulates."""
        return self.macs / self.planned_macs()

    def to_labels(self, scores: torch.Tensor) -> NDArray[Any]:
        """Return the paint values (T, Z, Y, X) of logits."""
        return self._ready.labels(scores)

    def to_probabilities(self, scores: torch.Tensor) -> NDArray[np.float32]:
        """Return the probabilities (K, T, Z, Y, X) of logits."""
        return self._ready.probabilities(scores)

    def batches(
        self, missing: Callable[[Box], bool] = lambda _: True
    ) -> Generator[tuple[Box, torch.Tensor], None, None]:
        """Yield every missing block and its logits; reading goes on meanwhile."""
        legs = list(self._legs(missing))  # decided once: what is missing changes while blocks are written
        with Prefetch(lambda check: self._read_all(legs, check)) as parts:
            given = iter(parts)
            for frame, window, row in legs:
                sweep = self._sweeps[window]
                before = sweep.macs
                for spans, logits in sweep.run(lambda _: self._ready.on_device(next(given)), row):
                    self.macs += sweep.macs - before
                    before, box = sweep.macs, (*frame, *spans)
                    if missing(box):
                        yield box, logits

    def _legs(self, missing: Callable[[Box], bool]) -> Iterator[tuple[Box, Box, int]]:
        """Yield frames and columns with something missing, and their first row."""
        grid, ndim = self._ready.volume.grid, self._ready.spec.ndim
        for frame in blocks(grid[:-ndim], (1,) * (4 - ndim)):
            for window, sweep in self._sweeps.items():
                row = next((n for n, box in sweep.schedule.row_boxes() if missing((*frame, *box))), None)
                if row is not None:
                    yield frame, window, row

    def _read_all(
        self, legs: Iterable[tuple[Box, Box, int]], check: Callable[[], None]
    ) -> Iterator[NDArray[np.float32]]:
        """Read what the sweeps are going to ask for, in this order."""

        def places() -> Iterator[tuple[Box, Box]]:
            for frame, window, row in legs:
                for spans in self._sweeps[window].schedule.reads(row):
                    check()
                    yield frame, spans

        return in_parallel(lambda place: self._read(*place), places(), self._readers)

    def _read(self, frame: Box, spans: Box) -> NDArray[np.float32]:
        return read_swept(self._ready, (*frame, *spans))


def read_swept(ready: Evaluator, box: Box) -> NDArray[np.float32]:
    """Read the input of a sweep.

    Beyond the border it is reflected where the network cuts its context off, else the last voxel is repeated.
    """
    volume, footprints = ready.volume, ready.footprints
    if ready.spec.padding == "valid":
        moved = tuple((a - f.shrink, b - f.shrink) for (a, b), f in zip(box, footprints, strict=True))
        return ready.scaled(read_reflected(volume, moved))
    inside = tuple((min(a, n - 1), min(b, n)) for (a, b), n in zip(box, volume.grid, strict=True))
    part = volume.read(inside)
    for axis, ((a, b), (start, _)) in enumerate(zip(box, inside, strict=True), start=1):
        if b - a != part.shape[axis] or a != start:
            part = part.take(np.clip(np.arange(a - start, b - start), 0, part.shape[axis] - 1), axis)
    return ready.scaled(part)
