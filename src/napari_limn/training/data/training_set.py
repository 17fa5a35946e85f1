"""What a training run draws from: patches around the paint, and windows that score."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_limn.annotation.classes import IGNORE
from napari_limn.annotation.objects import REACH, border_weights, objects_in
from napari_limn.annotation.strokes import hull
from napari_limn.device import choose_device
from napari_limn.network.graph import footprint
from napari_limn.training.data.augment import Batch, augmented
from napari_limn.training.data.geometry import around, on_grid, patch_size
from napari_limn.training.data.held_out import Before, HoldOut, hold_out_together
from napari_limn.training.data.painted import LabelledImages, PaintedTile
from napari_limn.training.data.patches import PatchSampler
from napari_limn.training.spec import CONTEXT
from napari_limn.volume.boxes import clipped, grown, shape_of, within
from napari_limn.volume.intensity import fit_scaling
from napari_limn.volume.reading.cache import cached_all
from napari_limn.volume.reading.reflect import read_reflected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_limn.network.pixels import PixelClassifier
    from napari_limn.network.spec import UNetSpec
    from napari_limn.training.data.soft_targets import SoftTargets
    from napari_limn.training.spec import TrainSpec
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.intensity import Scaling

    _Parts = tuple[
        NDArray[np.float32], NDArray[np.int16], NDArray[np.float32] | None, NDArray[np.float32] | None
    ]

_CELL = {2: (1, 1, 64, 64), 3: (1, 8, 32, 32)}
_GAP = {2: (0, 1, 8, 8), 3: (0, 2, 8, 8)}


class TrainingSet:
    """Batches to train on and windows to score by, for one network.

    Parameters
    ----------
    painted
        Images with their paint.
    network
        The network to feed; gives the geometry of a patch.
    spec
        Sampling, intensity, share held out, seed.
    after
        What came before of the same images: patches are drawn on from there, intensities are not looked at again, soft
        targets stay until there are others.
    """

    def __init__(
        self, painted: LabelledImages, network: UNetSpec, spec: TrainSpec, after: TrainingSet | None = None
    ) -> None:
        self._network, self._classes = network, painted.classes
        self._rng: np.random.Generator = after._rng if after else np.random.default_rng(spec.seed)
        self._turn: int = after._turn if after else 0
        self._batch, self._augment = spec.batch, spec.augment
        self._objects = painted.objects
        self.soft_targets: SoftTargets | None = after.soft_targets if after else None
        z, y, x = painted.images[0].axes.spacing
        self._pixels = (1.0, z / x, y / x, 1.0)  # extent of a voxel along T, Z, Y and X
        self._scored = patch_size(network, spec.patch, painted.images[0], CONTEXT, batch=spec.batch)
        # a graphics card is not busy with a small patch
        small = choose_device(spec.device).type == "cpu"
        self.size = (
            patch_size(network, spec.patch, painted.images[0], batch=spec.batch) if small else self._scored
        )
        footprints = footprint(network)
        self._shrink = on_grid([f.shrink for f in footprints], 0)
        self._steps = on_grid([f.step for f in footprints], 1)
        self._scalings: list[Scaling] = (
            after._scalings if after else [fit_scaling(image, spec.intensity) for image in painted.images]
        )
        paints = [paint.among(painted.classes.values) for paint in painted.paints]
        cell, gap = _CELL[network.ndim], _GAP[network.ndim]
        grids = [image.grid for image in painted.images]
        known = after.given if after else None
        self._held: list[HoldOut] = (
            hold_out_together(paints, grids, cell, gap, spec.held_out, spec.seed, known)
            if spec.held_out
            else [HoldOut()] * len(paints)
        )
        self._paints = paints
        self._tiles: dict[tuple[int, ...], list[PaintedTile]] = {}  # by their extent, once somebody asked
        self._sampler = PatchSampler(paints, self._held, painted.classes, self.size)
        margins = [max(sides) + g for *sides, g in zip(self.size, self._scored, self._shrink, strict=True)]
        hulls = [
            hull(p.where, tuple(margins), i.grid) if len(p.where) else None
            for p, i in zip(paints, painted.images, strict=True)
        ]
        self._images, self._labels = cached_all(painted.images, hulls), cached_all(painted.labels, hulls)

    def batch(self) -> Batch:
        """The next batch; with weights where there are objects, with soft targets once :attr:`soft_targets` are there."""
        known = self.soft_targets if self._batch > 1 else None
        elsewhere = [self._elsewhere(known)] if known and known.elsewhere else []
        patches = [self._around_paint() for _ in range(self._batch - len(elsewhere))] + elsewhere
        images, targets, weights, soft = zip(*patches, strict=True)
        more = [torch.from_numpy(np.stack(part)) if part[0] is not None else None for part in (weights, soft)]
        return augmented(Batch(*_tensors(images, targets), *more), self._rng, self._augment)

    def _around_paint(self) -> _Parts:
        """Image, targets, weights and soft targets of the next patch that holds paint."""
        patch = self._sampler.draw(self._turn, self._rng)
        self._turn += 1
        source, box = patch.source, patch.box
        target = self._target(source, box, clipped(box, self._labels[source].grid))
        self._held[source].blank(box, target, IGNORE)
        weights = self._weights(source, box) if self._objects else None
        if self.soft_targets is None:
            return self.image_of(source, box), self._flat(target), weights, None
        soft = self.soft_targets.at(source, box)
        self._held[source].blank(box, soft, 0)
        return self.image_of(source, box), self._flat(target), weights, self._flat(soft)

    def _elsewhere(self, known: SoftTargets) -> _Parts:
        """The same of a patch in a plane without paint, of which only soft targets are known."""
        image, soft = known.elsewhere[int(self._rng.integers(len(known.elsewhere)))]
        target = self._flat(np.full(soft.shape[1:], IGNORE, np.int16))
        return image, target, None, self._flat(soft.astype(np.float32))

    def windows(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """One batch of 1 for every held-out region; labelled only inside it. Empty where nothing is held out."""
        return [_tensors([image], [target]) for image, target in self._windows()]

    @property
    def holds_out(self) -> bool:
        """Whether anything is held out to score by."""
        return any(held.boxes for held in self._held)

    @property
    def given(self) -> list[Before]:
        """What is painted on each image, and held out of it."""
        return [Before(held, paint.where) for held, paint in zip(self._held, self._paints, strict=True)]

    def unscored(self) -> list[str]:
        """Names of the painted classes of which nothing is held out."""
        left = set().union(*(paint.counts for paint in self._paints))
        for paint, out in zip(self._paints, self._held, strict=True):
            for box in out.boxes if left else ():
                left -= set(paint.value[HoldOut((box,)).held(paint.where)].tolist())
        return [self._classes.name_of[value] for value in sorted(left)]

    # ---- for whoever fits a pixel classifier -------------------------------------------------------------------
    @property
    def ndim(self) -> int:
        """Axes of the network."""
        return self._network.ndim

    def painted_tiles(self, extent: tuple[int, int, int, int]) -> list[PaintedTile]:
        """Tiles of at most `extent` (T, Z, Y, X) that hold paint, and the class indices in each of what is not held out."""
        if extent not in self._tiles:
            self._tiles[extent] = self._tiles_of(extent)
        return self._tiles[extent]

    def _tiles_of(self, extent: tuple[int, int, int, int]) -> list[PaintedTile]:
        found = []
        for source, paint in enumerate(self._paints):
            place, inverse = np.unique(paint.where // extent, axis=0, return_inverse=True)
            index = self._classes.to_indices(paint.value)
            seen = ~self._held[source].excluded(paint.where)
            classes = [list[int]() for _ in place]
            for number, one in np.unique(np.column_stack([inverse.ravel(), index])[seen], axis=0).tolist():
                classes[number].append(one)
            for corner, own in zip((place * extent).tolist(), classes, strict=True):
                box = tuple((c, c + n) for c, n in zip(corner, extent, strict=True))
                found.append(PaintedTile(source, clipped(box, self._images[source].grid), tuple(own)))
        return found

    def grid(self, source: int) -> tuple[int, ...]:
        """Extent (T, Z, Y, X) of an image."""
        return self._images[source].grid

    def boxes_elsewhere(self, count: int, rng: np.random.Generator) -> list[tuple[int, Box]]:
        """At most `count` patches at random places, with the numbers of their images, that share no plane with any paint."""
        found = []
        for _ in range(4 * count):
            source = int(rng.integers(len(self._images)))
            room = [g - n for g, n in zip(self.grid(source), self.size, strict=True)]
            start = [int(rng.integers(min(0, more), max(0, more) + 1)) for more in room]
            box = tuple((a, a + n) for a, n in zip(start, self.size, strict=True))
            first, stop = np.transpose(box[:2])
            planes = self._painted_planes[source]
            if not ((planes >= first) & (planes < stop)).all(1).any():
                found.append((source, box))
        return found[:count]

    @cached_property
    def _painted_planes(self) -> list[NDArray[np.intp]]:
        """Of each image, the T and Z (N, 2) of planes that hold paint."""
        found = []
        for paint, image in zip(self._paints, self._images, strict=True):
            series = image.grid[:2]
            number = np.unique(np.ravel_multi_index(tuple(paint.where[:, :2].T), series))
            found.append(np.stack(np.unravel_index(number, series), 1))
        return found

    def features_of(self, source: int, box: Box, classifier: PixelClassifier) -> NDArray[np.float32]:
        """The features of a box in an image, (F, [Z,] Y, X)."""
        margin = on_grid(classifier.margin, 0)
        seen = clipped(grown(box, margin), self._images[source].grid)
        part = self._scalings[source].apply(self._images[source].read(seen))
        with torch.inference_mode():
            bank = classifier.bank(torch.from_numpy(part[:, 0, 0] if self.ndim == 2 else part[:, 0])[None])
        inside = within(box, seen)[-self.ndim :]
        found: NDArray[np.float32] = bank[0].numpy()[(slice(None), *inside)]
        return found

    def targets_of(self, source: int, box: Box) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
        """Class indices in a box of an image, and where training must not see them; both ([Z,] Y, X)."""
        target = self._target(source, box, box)
        held = np.zeros(target.shape, bool)
        self._held[source].blank(box, held, True)
        return self._flat(target), self._flat(held)

    def _windows(self) -> list[tuple[NDArray[np.float32], NDArray[np.int16]]]:
        found = []
        for source, held in enumerate(self._held):
            for region in held.boxes:
                inside = clipped(region, self._images[source].grid)
                box = around(inside, self._scored, self._steps)
                found.append((self.image_of(source, box), self._flat(self._target(source, box, inside))))
        return found

    def image_of(self, source: int, box: Box) -> NDArray[np.float32]:
        """Scaled image around `box`, as large as the network needs it; mirrored beyond the border."""
        part = read_reflected(self._images[source], grown(box, self._shrink))
        return self._scalings[source].apply(part[:, 0, 0] if self._network.ndim == 2 else part[:, 0])

    def _target(self, source: int, box: Box, inside: Box) -> NDArray[np.int16]:
        """Class indices (T, Z, Y, X) of `box`; ignored outside the part `inside`."""
        target = np.full(shape_of(box), IGNORE, np.int16)
        place = within(inside, box)
        target[place] = self._classes.to_indices(self._labels[source].read(inside)[0])
        return target

    def _weights(self, source: int, box: Box) -> NDArray[np.float32]:
        """Weights of the voxels of `box`, from the objects in it and around it."""
        dims = self._network.ndim
        margin = [int(REACH / step) if axis >= 4 - dims else 0 for axis, step in enumerate(self._pixels)]
        objects = self._flat(objects_in(self._objects[source], grown(box, margin), dims))
        weights = border_weights(objects, self._pixels[-dims:])
        return weights[tuple(slice(m, n - m) for m, n in zip(margin[-dims:], weights.shape, strict=True))]

    def _flat(self, target: NDArray[Any]) -> NDArray[Any]:
        """(…, T, Z, Y, X) to the axes of the network."""
        return np.asarray(target[..., 0, 0, :, :] if self._network.ndim == 2 else target[..., 0, :, :, :])


def _tensors(
    images: Sequence[NDArray[np.float32]], targets: Sequence[NDArray[np.int16]]
) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(targets).astype(np.int64))
