"""Tiles that overlap by half, blended by Gaussian weights: not exact.

For networks that look at the whole tile.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import torch

from napari_limn.inference.engines.evaluator import without_score
from napari_limn.inference.engines.overlap import lines_of, order
from napari_limn.inference.streaming.extents import fitting
from napari_limn.volume.boxes import shape_of, within
from napari_limn.volume.reading.reflect import read_reflected

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from napari_limn.inference.engines.evaluator import Evaluator
    from napari_limn.volume.boxes import Box, Grid, TileIndex


class BlendEngine:
    """Computes tiles that overlap by half, each once.

    Tiles are added up in the cells of a grid of half tiles; a cell is given away as soon as its last tile is in, so
    what is kept is about one layer of cells, whatever the length of the volume.

    Parameters
    ----------
    ready
        The model and the volume.
    tile
        Extent (T, Z, Y, X) of a tile of the output: multiples of the network's stride, at least two strides where the
        volume is longer; T is 1. A network without padding reads as much more as it cuts off, reflected at the border.

    Raises
    ------
    LimnError
        For tiles of another extent.
    """

    def __init__(self, ready: Evaluator, tile: Grid) -> None:
        self._ready = ready
        self._lines = lines_of(ready.volume.grid, tile, ready.footprints, ready.spec.ndim)
        self._order = order(self._lines)
        self._tiles = [line.spans() for line in self._lines]
        self._cells = [line.cells() for line in self._lines]
        self._touched = [[*map(line.touched, line.spans())] for line in self._lines]
        self._shares = [[torch.from_numpy(s) for s in line.shares()] for line in self._lines]

    def blended(self) -> Iterator[tuple[Box, NDArray[np.float32]]]:
        """Yield every cell and its probabilities (K, T, Z, Y, X)."""
        for box, blended in self.batches():
            yield box, self.to_probabilities(blended)

    def to_labels(self, scores: torch.Tensor) -> NDArray[Any]:
        """Return the paint values (T, Z, Y, X) of blended probabilities."""
        return self._ready.labels(scores)

    def to_probabilities(self, scores: torch.Tensor) -> NDArray[np.float32]:
        """Return blended probabilities as (K, T, Z, Y, X).

        All 0 where one is not finite.
        """
        if (unscored := without_score(scores)) is not None:
            scores = scores.masked_fill(unscored[:, None], 0)
        return self._ready.on_grid(scores)

    def share(self, done: int) -> float:
        """Return the share of the work that is done: of the cells."""
        return done / prod(map(len, self._cells))

    def batches(
        self, missing: Callable[[Box], bool] = lambda _: True
    ) -> Generator[tuple[Box, torch.Tensor], None, None]:
        """Yield every missing cell and its probabilities (N, K, …)."""
        sums: dict[TileIndex, torch.Tensor] = {}
        beginning = [_by_first(touched) for touched in self._touched]
        for turned in product(*(range(len(self._cells[axis])) for axis in self._order)):
            cell = tuple(turned[self._order.index(axis)] for axis in range(4))
            for tile in product(*(begin.get(i, []) for begin, i in zip(beginning, cell, strict=True))):
                if any(missing(_box(self._cells, other)) for other in self._cells_of(tile)):
                    self._add(tile, sums)
            if missing(box := _box(self._cells, cell)):
                yield box, sums[cell]
            sums.pop(cell, None)

    def _cells_of(self, tile: TileIndex) -> Iterator[TileIndex]:
        """List the cells that a tile lies on."""
        return product(*(touched[i] for touched, i in zip(self._touched, tile, strict=True)))

    @torch.inference_mode()
    def _add(self, tile: TileIndex, sums: dict[TileIndex, torch.Tensor]) -> None:
        """Add the weighted probabilities of a tile to its cells."""
        place = _box(self._tiles, tile)
        # probabilities, not logits: both come equally near to one pass (measured: labels within .1 %), but a probability
        # counts by its weight at most, where one tile's large logits would outvote its neighbours
        weighted = self._forward(place).float().softmax(1)
        for back in range(1, self._ready.spec.ndim + 1):
            share = self._shares[-back][tile[-back]].to(weighted.device)
            weighted *= share.reshape(-1, *(1,) * (back - 1))
        for cell in self._cells_of(tile):
            box = _box(self._cells, cell)
            if cell not in sums:
                sums[cell] = weighted.new_zeros(
                    (*weighted.shape[:2], *shape_of(box)[-self._ready.spec.ndim :])
                )
            part = tuple((max(a, c), min(b, d)) for (a, b), (c, d) in zip(place, box, strict=True))
            sums[cell][self._index(part, box)] += weighted[self._index(part, place)]

    def _forward(self, place: Box) -> torch.Tensor:
        """Compute the logits of a tile.

        (1, K, Z, Y, X), or (Z, K, Y, X) for a network over planes.
        """
        ready, window = self._ready, place
        if ready.spec.padding == "valid":
            window = tuple(
                (a - f.shrink, a - f.shrink + fitting(b - a, f))
                for (a, b), f in zip(place, ready.footprints, strict=True)
            )
        logits: torch.Tensor = ready.network(ready.tensor(read_reflected(ready.volume, window)))
        return logits[self._index(place, place)]

    def _index(self, part: Box, box: Box) -> tuple[slice, ...]:
        """Return a part of a box as an index into its batch."""
        inner = within(part, box)
        return (slice(None), slice(None), *inner[-self._ready.spec.ndim :])


def _by_first(touched: list[range]) -> dict[int, list[int]]:
    """Group the tiles along an axis by their first cell."""
    tiles: dict[int, list[int]] = {}
    for tile, cells in enumerate(touched):
        tiles.setdefault(cells[0], []).append(tile)
    return tiles


def _box(spans: list[list[tuple[int, int]]], place: TileIndex) -> Box:
    return tuple(along[i] for along, i in zip(spans, place, strict=True))
