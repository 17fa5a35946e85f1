"""Soft targets for the network: the classifier's answers where nobody painted.

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
    from napari_limn.training.data.regions import RegionReader
    from napari_limn.volume.boxes import Box

_MOST = {2: 6_000_000, 3: 2_000_000}  # voxels that are looked at, margins included: a few seconds
_ELSEWHERE, _PATCHES = 400_000, 16  # voxels, and patches, of planes without paint, at least


def pseudo_labels(
    classifier: PixelClassifier, regions: RegionReader, seed: int = 0
) -> Generator[Event, None, SoftTargets]:
    """Compute soft targets around the paint, and in other planes.

    Namely in tiles that hold paint, and in some patches of planes that hold none. They are as many as there is time for;
    which ones is chosen by `seed`.
    """
    targets, rng = SoftTargets(classifier.classes, TILE[regions.ndim]), np.random.default_rng(seed)
    painted = regions.painted_tiles(targets.extent)
    for i in rng.permutation(len(painted))[: _affordable(targets.extent, classifier)]:
        yield Working()
        tile = painted[i]
        targets.add(tile.source, tile.box, _probabilities(classifier, regions, tile.source, tile.box))
    wanted = max(_PATCHES, _ELSEWHERE // prod(regions.patch))
    for source, box in regions.boxes_elsewhere(min(wanted, _affordable(regions.patch, classifier)), rng):
        yield Working()
        inside = clipped(box, regions.grid(source))
        soft = np.zeros((classifier.classes, *shape_of(box)), np.float16)
        soft[(slice(None), *within(inside, box))] = _probabilities(classifier, regions, source, inside)
        targets.elsewhere.append((regions.image_of(source, box), soft))
    return targets


def _affordable(extent: tuple[int, ...], classifier: PixelClassifier) -> int:
    """Give the number of boxes that there is time for.

    They are of an extent (T, Z, Y, X).
    """
    return max(1, _MOST[classifier.ndim] // classifier.looked_at(extent[-classifier.ndim :]))


@torch.inference_mode()
def _probabilities(
    classifier: PixelClassifier, regions: RegionReader, source: int, box: Box
) -> NDArray[np.float16]:
    """Compute probabilities (K, T, Z, Y, X) in a box.

    `source` is the number of the image.
    """
    logits = classifier.logits_of(torch.from_numpy(regions.features_of(source, box, classifier))[None])
    shares: NDArray[np.float16] = torch.softmax(logits, 1).half().numpy().reshape(-1, *shape_of(box))
    return shares
