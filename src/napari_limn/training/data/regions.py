"""What is known at a place: intensities, labels, weights, features."""

from __future__ import annotations

from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_limn.annotation.classes import IGNORE
from napari_limn.annotation.objects import REACH, border_weights, objects_in
from napari_limn.annotation.strokes import hull
from napari_limn.training.data.held_out import HoldOut, PriorHoldOut, hold_out_together
from napari_limn.training.data.painted import LabelledImages, PaintedTile
from napari_limn.training.planning.extents import on_tzyx
from napari_limn.volume.boxes import clipped, grown, shape_of, within
from napari_limn.volume.intensity import fit_scaling
from napari_limn.volume.reading.cache import cached_all
from napari_limn.volume.reading.reflect import read_reflected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_limn.network.pixels import PixelClassifier
    from napari_limn.training.planning.resolve import Resolved
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.intensity import Scaling


class RegionReader:
    """Reads what networks and classifiers learn from, in any box.

    Parameters
    ----------
    painted
        Images with their paint.
    resolved
        What the run goes by.
    after
        What came before of the same images: intensities are not looked at again, and held-out strokes stay so.
    """

    def __init__(
        self, painted: LabelledImages, resolved: Resolved, after: RegionReader | None = None
    ) -> None:
        self._resolved, self._classes, self._objects = resolved, painted.classes, painted.objects
        self.scalings: list[Scaling] = (
            after.scalings
            if after
            else [fit_scaling(image, resolved.spec.intensity) for image in painted.images]
        )
        self.paints = [paint.among(painted.classes.values) for paint in painted.paints]
        self.held = self._hold_out([image.grid for image in painted.images], after)
        self._tiles: dict[tuple[int, ...], list[PaintedTile]] = {}  # by their extent, once asked for
        margins = [
            max(sides) + cut
            for *sides, cut in zip(resolved.patch, resolved.window, resolved.shrink, strict=True)
        ]
        hulls = [
            hull(paint.where, tuple(margins), image.grid) if len(paint.where) else None
            for paint, image in zip(self.paints, painted.images, strict=True)
        ]
        self._images, self._labels = cached_all(painted.images, hulls), cached_all(painted.labels, hulls)

    def _hold_out(self, grids: list[tuple[int, ...]], after: RegionReader | None) -> list[HoldOut]:
        """Choose what is held out of each image."""
        spec = self._resolved.spec
        if not spec.held_out:
            return [HoldOut()] * len(self.paints)
        known = after.hold_outs if after else None
        cell, gap = self._resolved.cell, self._resolved.gap
        return hold_out_together(self.paints, grids, cell, gap, spec.held_out, spec.seed, known)

    @property
    def ndim(self) -> int:
        """Give the number of axes of the network."""
        return self._resolved.ndim

    @property
    def count(self) -> int:
        """Give the number of images."""
        return len(self._images)

    @property
    def patch(self) -> tuple[int, int, int, int]:
        """Give the extent (T, Z, Y, X) of a patch."""
        return self._resolved.patch

    def grid(self, source: int) -> tuple[int, ...]:
        """Give the extent (T, Z, Y, X) of an image."""
        return self._images[source].grid

    # ---- held-out strokes ----------------------------------------------------------------------------------------
    @property
    def holds_out(self) -> bool:
        """Say whether anything is held out to score by."""
        return any(held.boxes for held in self.held)

    @property
    def hold_outs(self) -> list[PriorHoldOut]:
        """Give what is painted on each image, and held out of it."""
        return [PriorHoldOut(held, paint.where) for held, paint in zip(self.held, self.paints, strict=True)]

    def unscored(self) -> list[str]:
        """Name the painted classes of which nothing is held out."""
        left = set().union(*(paint.counts for paint in self.paints))
        for paint, out in zip(self.paints, self.held, strict=True):
            for box in out.boxes if left else ():
                left -= set(paint.value[HoldOut((box,)).held(paint.where)].tolist())
        return [self._classes.name_of[value] for value in sorted(left)]

    def held_out_windows(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Read one batch of 1 for every held-out region.

        It is labelled only inside the region.
        """
        windows = []
        for source, held in enumerate(self.held):
            for region in held.boxes:
                inside = clipped(region, self.grid(source))
                box = _around(inside, self._resolved.window, self._resolved.step)
                target = self.flat(self.labels_in(source, box, inside))
                windows.append(tensors([self.image_of(source, box)], [target]))
        return windows

    # ---- in a box ------------------------------------------------------------------------------------------------
    def image_of(self, source: int, box: Box) -> NDArray[np.float32]:
        """Read the scaled image around `box`, as the network needs it.

        Reflected beyond the border.
        """
        part = read_reflected(self._images[source], grown(box, self._resolved.shrink))
        return self.scalings[source].apply(self._channels_first(part))

    def features_of(self, source: int, box: Box, classifier: PixelClassifier) -> NDArray[np.float32]:
        """Compute the features (F, [Z,] Y, X) of a box."""
        seen = clipped(grown(box, on_tzyx(classifier.margin, 0)), self.grid(source))
        part = self.scalings[source].apply(self._images[source].read(seen))
        with torch.inference_mode():
            bank = classifier.bank(torch.from_numpy(self._channels_first(part))[None])
        inside = within(box, seen)[-self.ndim :]
        features: NDArray[np.float32] = bank[0].numpy()[(slice(None), *inside)]
        return features

    def targets_of(self, source: int, box: Box) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
        """Read class indices in a box, and which are held out.

        Both are ([Z,] Y, X); training must not see what is held out.
        """
        target = self.labels_in(source, box)
        held = np.zeros(target.shape, bool)
        self.held[source].blank(box, held, True)
        return self.flat(target), self.flat(held)

    def labels_in(self, source: int, box: Box, inside: Box | None = None) -> NDArray[np.int16]:
        """Read class indices (T, Z, Y, X) of `box`.

        They are ignored outside the part `inside`, by default the image.
        """
        inside = clipped(box, self.grid(source)) if inside is None else inside
        target = np.full(shape_of(box), IGNORE, np.int16)
        target[within(inside, box)] = self._classes.to_indices(self._labels[source].read(inside)[0])
        return target

    @property
    def weighted(self) -> bool:
        """Say whether voxels have weights: where there are objects."""
        return bool(self._objects)

    def weights_of(self, source: int, box: Box) -> NDArray[np.float32]:
        """Compute the weights of the voxels of `box`.

        They follow from the objects in it and around it.
        """
        dims, voxel = self.ndim, self._resolved.voxel
        margin = [int(REACH / step) if axis >= 4 - dims else 0 for axis, step in enumerate(voxel)]
        objects = self.flat(objects_in(self._objects[source], grown(box, margin), dims))
        weights = border_weights(objects, voxel[-dims:])
        return weights[tuple(slice(m, n - m) for m, n in zip(margin[-dims:], weights.shape, strict=True))]

    def flat(self, values: NDArray[Any]) -> NDArray[Any]:
        """Reduce (…, T, Z, Y, X) to the axes of the network."""
        return np.asarray(values[..., 0, 0, :, :] if self.ndim == 2 else values[..., 0, :, :, :])

    def _channels_first(self, part: NDArray[Any]) -> NDArray[Any]:
        """Reduce (C, T, Z, Y, X) to the axes of the network."""
        return part[:, 0, 0] if self.ndim == 2 else part[:, 0]

    # ---- where paint is, and where it is not ---------------------------------------------------------------------
    def painted_tiles(self, extent: tuple[int, int, int, int]) -> list[PaintedTile]:
        """Find tiles with paint, and the classes to learn in each.

        They are of at most `extent` (T, Z, Y, X).
        """
        if extent not in self._tiles:
            self._tiles[extent] = [
                tile for source in range(self.count) for tile in self._tiles_of(source, extent)
            ]
        return self._tiles[extent]

    def _tiles_of(self, source: int, extent: tuple[int, int, int, int]) -> list[PaintedTile]:
        paint = self.paints[source]
        corners, inverse = np.unique(paint.where // extent, axis=0, return_inverse=True)
        index = self._classes.to_indices(paint.value)
        seen = ~self.held[source].excluded(paint.where)
        classes = [list[int]() for _ in corners]
        for number, one in np.unique(np.column_stack([inverse.ravel(), index])[seen], axis=0).tolist():
            classes[number].append(one)
        tiles = []
        for corner, own in zip((corners * extent).tolist(), classes, strict=True):
            box = tuple((c, c + n) for c, n in zip(corner, extent, strict=True))
            tiles.append(PaintedTile(source, clipped(box, self.grid(source)), tuple(own)))
        return tiles

    def boxes_elsewhere(self, count: int, rng: np.random.Generator) -> list[tuple[int, Box]]:
        """Draw patches that share no plane with any paint.

        They are at most `count`, each with the number of its image.
        """
        boxes, patch = [], self.patch
        for _ in range(4 * count):
            source = int(rng.integers(self.count))
            room = [g - n for g, n in zip(self.grid(source), patch, strict=True)]
            start = [int(rng.integers(min(0, more), max(0, more) + 1)) for more in room]
            box = tuple((a, a + n) for a, n in zip(start, patch, strict=True))
            first, stop = np.transpose(box[:2])
            planes = self._painted_planes[source]
            if not ((planes >= first) & (planes < stop)).all(1).any():
                boxes.append((source, box))
        return boxes[:count]

    @cached_property
    def _painted_planes(self) -> list[NDArray[np.intp]]:
        """Find T and Z (N, 2) of planes with paint, by image."""
        planes = []
        for source, paint in enumerate(self.paints):
            series = self.grid(source)[:2]
            number = np.unique(np.ravel_multi_index(tuple(paint.where[:, :2].T), series))
            planes.append(np.stack(np.unravel_index(number, series), 1))
        return planes


def _around(box: Box, size: tuple[int, ...], steps: tuple[int, ...]) -> Box:
    """Give a larger box with `box` in its middle.

    It is of `size`, or as many `steps` larger as it takes.
    """
    spans = []
    for (start, stop), n, step in zip(box, size, steps, strict=True):
        extent = n + step * max(0, ceil((stop - start - n) / step))
        first = (start + stop - extent) // 2
        spans.append((first, first + extent))
    return tuple(spans)


def tensors(
    images: Sequence[NDArray[np.float32]], targets: Sequence[NDArray[np.int16]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Stack images and class indices into a batch of each."""
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(targets).astype(np.int64))
