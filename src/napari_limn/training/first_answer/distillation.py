"""What the pixel classifier thinks of voxels that nobody painted, as soft targets for the network.

Few strokes leave a network free to say anything between them. Answering there about as the classifier does keeps it from that
(knowledge distillation, Hinton 2015, arXiv:1503.02531), while the strokes, which weigh more, teach it where the classifier errs.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_limn.runs import Event, Working
from napari_limn.training.first_answer.fit import TILE
from napari_limn.volume.boxes import clipped, overlap, shape_of, within

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_limn.network.pixels import PixelClassifier
    from napari_limn.training.data.training_set import TrainingSet
    from napari_limn.volume.boxes import Box

_MOST = {2: 6_000_000, 3: 2_000_000}  # voxels that are looked at, margins included: a few seconds
_ELSEWHERE, _PATCHES = 400_000, 16  # voxels, and patches, of planes without paint, at least


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
        self.classes, self.extent = classes, extent
        # patches of planes without paint: image (C, [Z,] Y, X) as the network needs it, probabilities (K, T, Z, Y, X)
        self.elsewhere: list[tuple[NDArray[np.float32], NDArray[np.float16]]] = []
        self._tiles: dict[tuple[int, tuple[int, ...]], tuple[Box, NDArray[np.float16]]] = {}

    def add(self, source: int, box: Box, found: NDArray[np.float16]) -> None:
        """Remember the probabilities (K, T, Z, Y, X) in a tile of image number `source`."""
        corner = tuple(start // n for (start, _), n in zip(box, self.extent, strict=True))
        self._tiles[source, corner] = box, found

    def at(self, source: int, box: Box) -> NDArray[np.float32]:
        """Probabilities (K, T, Z, Y, X) in a box, which may leave the image; 0 for all classes where nothing is known."""
        found = np.zeros((self.classes, *shape_of(box)), np.float32)
        first = [start // n for (start, _), n in zip(box, self.extent, strict=True)]
        count = [-(-stop // n) - f for (_, stop), n, f in zip(box, self.extent, first, strict=True)]
        for step in np.ndindex(*count):
            tile = self._tiles.get((source, tuple(f + s for f, s in zip(first, step, strict=True))))
            if tile:
                both = overlap(tile[0], box)
                here, there = (within(both, part) for part in (box, tile[0]))
                found[(slice(None), *here)] = tile[1][(slice(None), *there)]
        return found


def guessing(
    classifier: PixelClassifier, data: TrainingSet, seed: int = 0
) -> Generator[Event, None, SoftTargets]:
    """Ask a fitted classifier in the tiles that hold paint, as many as there is time for, and in some patches of other planes.

    Which they are is chosen by `seed`.
    """
    found, rng = SoftTargets(classifier.classes, TILE[data.ndim]), np.random.default_rng(seed)
    painted = data.painted_tiles(found.extent)
    for i in rng.permutation(len(painted))[: _affordable(found.extent, classifier)]:
        yield Working()
        tile = painted[i]
        found.add(tile.source, tile.box, _asked(classifier, data, tile.source, tile.box))
    wanted = max(_PATCHES, _ELSEWHERE // prod(data.size))
    for source, box in data.boxes_elsewhere(min(wanted, _affordable(data.size, classifier)), rng):
        yield Working()
        inside = clipped(box, data.grid(source))
        soft = np.zeros((classifier.classes, *shape_of(box)), np.float16)
        place = within(inside, box)
        soft[(slice(None), *place)] = _asked(classifier, data, source, inside)
        found.elsewhere.append((data.image_of(source, box), soft))
    return found


def _affordable(extent: tuple[int, ...], classifier: PixelClassifier) -> int:
    """How many boxes of an extent (T, Z, Y, X) can be asked about."""
    return max(1, _MOST[classifier.ndim] // classifier.looked_at(extent[-classifier.ndim :]))


@torch.inference_mode()
def _asked(classifier: PixelClassifier, data: TrainingSet, source: int, box: Box) -> NDArray[np.float16]:
    """Probabilities (K, T, Z, Y, X) in a box of image number `source`."""
    logits = classifier.logits_of(torch.from_numpy(data.features_of(source, box, classifier))[None])
    found: NDArray[np.float16] = torch.softmax(logits, 1).half().numpy().reshape(-1, *shape_of(box))
    return found
