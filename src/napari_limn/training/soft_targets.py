"""What the pixel classifier thinks of voxels that nobody painted, as soft targets for the network.

Few strokes leave a network free to say anything between them. Answering there about as the classifier does keeps it from that
(knowledge distillation, Hinton 2015, arXiv:1503.02531), while the strokes, which weigh more, teach it where the classifier errs.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_limn.events import Event, Working
from napari_limn.volume.boxes import overlap, shape_of, shifted, slices

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_limn.network.pixels import PixelClassifier
    from napari_limn.training.data import TrainingSet
    from napari_limn.volume.boxes import Box

TILE = {2: (1, 1, 256, 256), 3: (1, 32, 64, 64)}
_MOST = {2: 6_000_000, 3: 2_000_000}  # voxels that are looked at, margins included: a few seconds


class SoftTargets:
    """Probabilities of K classes in tiles of the images on one TZYX grid; nothing is known elsewhere.

    Parameters
    ----------
    classes
        K.
    extent
        Of a tile, along T, Z, Y and X; tiles begin at its multiples.
    """

    def __init__(self, classes: int, extent: tuple[int, int, int, int]) -> None:
        self.classes, self._extent = classes, extent
        self._tiles: dict[tuple[int, tuple[int, ...]], tuple[Box, NDArray[np.float16]]] = {}

    def add(self, source: int, box: Box, found: NDArray[np.float16]) -> None:
        """Remember the probabilities (K, T, Z, Y, X) in a tile of image number `source`."""
        corner = tuple(start // n for (start, _), n in zip(box, self._extent, strict=True))
        self._tiles[source, corner] = box, found

    def at(self, source: int, box: Box) -> NDArray[np.float32]:
        """Probabilities (K, T, Z, Y, X) in a box, which may leave the image; 0 for all classes where nothing is known."""
        found = np.zeros((self.classes, *shape_of(box)), np.float32)
        first = [start // n for (start, _), n in zip(box, self._extent, strict=True)]
        count = [-(-stop // n) - f for (_, stop), n, f in zip(box, self._extent, first, strict=True)]
        for step in np.ndindex(*count):
            tile = self._tiles.get((source, tuple(f + s for f, s in zip(first, step, strict=True))))
            if tile:
                both = overlap(tile[0], box)
                here, there = (slices(shifted(both, [a for a, _ in part])) for part in (box, tile[0]))
                found[(slice(None), *here)] = tile[1][(slice(None), *there)]
        return found


def guessing(
    classifier: PixelClassifier, data: TrainingSet, seed: int = 0
) -> Generator[Event, None, SoftTargets]:
    """Ask a fitted classifier in the tiles that hold paint, in an order chosen by `seed`, as many as there is time for."""
    found, left = SoftTargets(classifier.classes, TILE[data.ndim]), _MOST[data.ndim]
    tiles = data.painted_tiles(TILE[data.ndim])
    for i in np.random.default_rng(seed).permutation(len(tiles)):
        tile = tiles[i]
        extent = shape_of(tile.box)
        left -= prod(n + 2 * m for n, m in zip(extent[-data.ndim :], classifier.margin, strict=True))
        if left < 0:
            break
        yield Working()
        with torch.inference_mode():
            features = torch.from_numpy(data.features_of(tile.source, tile.box, classifier))[None]
            probabilities = torch.softmax(classifier.layers(classifier.standard(features)), 1)[0]
        found.add(tile.source, tile.box, probabilities.half().numpy().reshape(-1, *extent))
    return found
