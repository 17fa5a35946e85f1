"""A model on single blocks of a view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.inference.engines.blocks import BlockEngine
from napari_limn.inference.engines.sweeping import read_swept
from napari_limn.inference.streaming.extents import swept_extent
from napari_limn.inference.streaming.kernels import kernels_of
from napari_limn.inference.streaming.sweep import Sweep
from napari_limn.volume.boxes import shape_of, within

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from napari_limn.inference.engines.evaluator import Evaluator
    from napari_limn.network.graph import Graph
    from napari_limn.volume.boxes import Box, Grid


class Tiles:
    """Labels any block, computing every layer only as far as needed.

    Where the network does not allow that, a block is computed with its context.

    Parameters
    ----------
    ready
        The model and the volume.
    dtype
        Of the labels.
    block
        Extent (T, Z, Y, X) of the blocks, a multiple of the network's stride.
    graph
        Of a network with local operations only; None for others, of which blocks are then not exact.
    """

    def __init__(self, ready: Evaluator, dtype: np.dtype[Any], block: Grid, graph: Graph | None) -> None:
        self._ready, self._dtype, self._block, self._graph = ready, dtype, block, graph
        self._weights = dict(ready.network.named_parameters()) | dict(ready.network.named_buffers())
        self._kernels = kernels_of(ready.network)
        self._extent = swept_extent(ready.spec, ready.volume.grid)

    @property
    def unscored(self) -> int:
        """Return how many voxels by now have no finite score."""
        return self._ready.unscored

    def labels(self, box: Box) -> NDArray[Any]:
        """Return the paint values (T, Z, Y, X) of a block.

        Its origin lies on multiples of the network's stride.
        """
        if self._graph is None:
            return BlockEngine(self._ready).labels(box)
        ndim = self._ready.spec.ndim
        frame, window = box[:-ndim], box[-ndim:]
        tile = Sweep(self._graph, self._weights, self._extent, self._block[-ndim:], window, self._kernels)
        tile.check = self._ready.check
        labels = np.zeros(shape_of(box), self._dtype)
        for spans, logits in tile.run(lambda spans: self._read((*frame, *spans))):
            place = within((*frame, *spans), box)
            labels[place] = self._ready.labels(logits)
        return labels

    def _read(self, box: Box) -> torch.Tensor:
        return self._ready.on_device(read_swept(self._ready, box))
