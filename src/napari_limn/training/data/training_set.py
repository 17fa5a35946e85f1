"""What is drawn at a step: patches around the paint, and others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_limn.annotation.classes import IGNORE
from napari_limn.training.data.augment import Batch, augmented
from napari_limn.training.data.patches import PatchSampler
from napari_limn.training.data.regions import RegionReader, tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_limn.training.data.painted import LabelledImages
    from napari_limn.training.data.soft_targets import SoftTargets
    from napari_limn.training.planning.resolve import Resolved

    # image, targets, weights and soft targets of a patch
    _Parts = tuple[
        NDArray[np.float32], NDArray[np.int16], NDArray[np.float32] | None, NDArray[np.float32] | None
    ]


class TrainingSet:
    """Draws batches to train on.

    Parameters
    ----------
    painted
        Images with their paint.
    resolved
        What the run goes by.
    after
        What came before of the same images: patches are drawn on from there, soft targets stay until there are others.
    """

    def __init__(self, painted: LabelledImages, resolved: Resolved, after: TrainingSet | None = None) -> None:
        self._resolved = resolved
        self.regions: RegionReader = RegionReader(painted, resolved, after.regions if after else None)
        self.soft_targets: SoftTargets | None = after.soft_targets if after else None
        self._rng: np.random.Generator = after._rng if after else np.random.default_rng(resolved.spec.seed)
        self._turn: int = after._turn if after else 0
        self._sampler = PatchSampler(self.regions.paints, self.regions.held, painted.classes, resolved.patch)

    def batch(self) -> Batch:
        """Draw the next batch.

        It has weights where there are objects, and soft targets where these are there.
        """
        spec = self._resolved.spec
        known = self.soft_targets if spec.batch > 1 else None
        elsewhere = [self._elsewhere(known)] if known and known.elsewhere else []
        patches = [self._around_paint() for _ in range(spec.batch - len(elsewhere))] + elsewhere
        images, targets, weights, soft = zip(*patches, strict=True)
        more = [torch.from_numpy(np.stack(part)) if part[0] is not None else None for part in (weights, soft)]
        return augmented(Batch(*tensors(images, targets), *more), self._rng, spec.augment)

    def _around_paint(self) -> _Parts:
        """Read the next patch that holds paint."""
        patch = self._sampler.draw(self._turn, self._rng)
        self._turn += 1
        source, box, regions = patch.source, patch.box, self.regions
        target = regions.labels_in(source, box)
        regions.held[source].blank(box, target, IGNORE)
        weights = regions.weights_of(source, box) if regions.weighted else None
        if self.soft_targets is None:
            return regions.image_of(source, box), regions.flat(target), weights, None
        soft = self.soft_targets.at(source, box)
        regions.held[source].blank(box, soft, 0)
        return regions.image_of(source, box), regions.flat(target), weights, regions.flat(soft)

    def _elsewhere(self, known: SoftTargets) -> _Parts:
        """Draw a patch of a plane without paint.

        Only soft targets are known of it.
        """
        image, soft = known.elsewhere[int(self._rng.integers(len(known.elsewhere)))]
        target = self.regions.flat(np.full(soft.shape[1:], IGNORE, np.int16))
        return image, target, None, self.regions.flat(soft.astype(np.float32))
