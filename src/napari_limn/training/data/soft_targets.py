"""Probabilities of a fitted classifier, in tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_limn.volume.boxes import overlap, shape_of, within

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_limn.volume.boxes import Box


class SoftTargets:
    """Probabilities of K classes in tiles of the images.

    Tiles are on one TZYX grid; nothing is known elsewhere.

    Parameters
    ----------
    classes
        K.
    extent
        Of a tile, along T, Z, Y and X; tiles begin at its multiples.
    """

    def __init__(self, classes: int, extent: tuple[int, int, int, int]) -> None:
        self.classes, self.extent = classes, extent
        # patches of planes without paint: image (C, [Z,] Y, X) as the network needs it, probabilities (K, T, Z, Y, X)
        self.elsewhere: list[tuple[NDArray[np.float32], NDArray[np.float16]]] = []
        self._tiles: dict[tuple[int, tuple[int, ...]], tuple[Box, NDArray[np.float16]]] = {}

    def add(self, source: int, box: Box, shares: NDArray[np.float16]) -> None:
        """Remember the probabilities (K, T, Z, Y, X) in a tile.

        `source` is the number of the image.
        """
        corner = tuple(start // n for (start, _), n in zip(box, self.extent, strict=True))
        self._tiles[source, corner] = box, shares

    def at(self, source: int, box: Box) -> NDArray[np.float32]:
        """Give probabilities (K, T, Z, Y, X) in a box.

        It may leave the image. They are 0 for all classes where nothing is known.
        """
        shares = np.zeros((self.classes, *shape_of(box)), np.float32)
        first = [start // n for (start, _), n in zip(box, self.extent, strict=True)]
        count = [-(-stop // n) - f for (_, stop), n, f in zip(box, self.extent, first, strict=True)]
        for step in np.ndindex(*count):
            tile = self._tiles.get((source, tuple(f + s for f, s in zip(first, step, strict=True))))
            if tile:
                both = overlap(tile[0], box)
                here, there = (within(both, part) for part in (box, tile[0]))
                shares[(slice(None), *here)] = tile[1][(slice(None), *there)]
        return shares
