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
from napari_limn.training.data.soft_targets import SoftTargets
from napari_limn.training.first_answer.sample import TILE
from napari_limn.volume.boxes import clipped, shape_of, within

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_limn.network.pixels import PixelClassifier
    from napari_limn.training.data.training_set import TrainingSet
    from napari_limn.volume.boxes import Box

_MOST = {2: 6_000_000, 3: 2_000_000}  # voxels that are looked at, margins included: a few seconds
_ELSEWHERE, _PATCHES = 400_000, 16  # voxels, and patches, of planes without paint, at least


def pseudo_labels(
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
