"""Which voxels the pixel classifier learns from, and their features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.annotation.classes import IGNORE
from napari_limn.runs import Event, Working
from napari_limn.training.data.painted import PaintedTile
from napari_limn.volume.boxes import shape_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_limn.network.pixels import PixelClassifier
    from napari_limn.training.data.regions import RegionReader
    from napari_limn.volume.boxes import Box

PAINTED_MOST = 20_000
"""Painted voxels of a class that are looked at, at most."""

_OTHERS = 60_000  # further voxels whose answer the perceptron learns
_IN_TILE = 4000  # painted voxels of a class in one tile
TILE = {2: (1, 1, 256, 256), 3: (1, 32, 64, 64)}
"""Extent (T, Z, Y, X) of a tile, by the axes of the network."""

_SEEN = {2: 3_000_000, 3: 1_000_000}  # voxels whose features are computed, at most: about two seconds
_QUICK = {2: 700_000, 3: 250_000}  # for an answer before that, where there is half as much again to look at


@dataclass(frozen=True, slots=True, eq=False)
class VoxelSample:
    """N voxels to fit a classifier to.

    Parameters
    ----------
    features
        (N, F).
    target
        Class indices (N,), IGNORE where nobody painted.
    held
        Which of them are held out (N,).
    """

    features: NDArray[np.float32]
    target: NDArray[np.int16]
    held: NDArray[np.bool_]

    def without_held(self) -> VoxelSample:
        """Give the sample as if held-out strokes were not painted."""
        return VoxelSample(
            self.features, np.where(self.held, IGNORE, self.target).astype(np.int16), self.held
        )

    def thinned(self, painted: int, others: int, rng: np.random.Generator) -> VoxelSample:
        """Draw at most so many painted voxels of each class, and others."""
        keep = []
        for value in np.unique(self.target):
            own = np.flatnonzero(self.target == value)
            keep.append(rng.permutation(own)[: others if value == IGNORE else painted])
        pick = np.concatenate(keep)
        return VoxelSample(self.features[pick], self.target[pick], self.held[pick])


@dataclass(frozen=True, slots=True, eq=False)
class TileFeatures:
    """Features of voxels of a tile, and their places in it.

    They are (M, F) and (M,). The first `others` were drawn, the rest is painted.
    """

    place: NDArray[np.int64]
    features: NDArray[np.float32]
    others: int


FeatureCache = dict[tuple[int, "Box"], TileFeatures]
"""What was computed for tiles: of the image of that number, in that box."""


def is_large(classifier: PixelClassifier, regions: RegionReader) -> bool:
    """Say whether part of the paint should be answered first.

    It is where so much is painted that this is worth its time.
    """
    seen = sum(_looked_at(tile, classifier) for tile in regions.painted_tiles(TILE[regions.ndim]))
    return seen > 1.5 * _QUICK[regions.ndim]


def sample_voxels(
    classifier: PixelClassifier,
    regions: RegionReader,
    seed: int = 0,
    known: FeatureCache | None = None,
    *,
    quick: bool = False,
) -> Generator[Event, None, VoxelSample]:
    """Choose voxels from tiles with paint: painted ones and others.

    They are chosen by `seed`, about as many others as are wanted. What is in `known` is not computed again; it is filled for
    the next time, when there are more strokes on the same images, or when all tiles are looked at after a `quick` look at a
    few.
    """
    known = {} if known is None else known
    tiles = _chosen(regions.painted_tiles(TILE[regions.ndim]), classifier, seed, known)
    others = _OTHERS // len(tiles) + 1
    if quick:
        tiles = _few(tiles, classifier)
    parts = []
    for tile in tiles:
        yield Working()
        target, held = (a.ravel() for a in regions.targets_of(tile.source, tile.box))
        order = _random(tile, seed).permutation(len(target))  # more paint changes nothing for what there was
        painted = _some_of_each(target, order)
        rows = known.get((tile.source, tile.box))
        if rows is None:
            rows = _drawn(tile, classifier, regions, order[:others], painted)
        rows = known[tile.source, tile.box] = _with(rows, painted, tile, classifier, regions)
        wanted = np.isin(rows.place, painted)
        wanted[: min(rows.others, others)] = True
        place = rows.place[wanted]
        parts.append((rows.features[wanted], target[place], held[place]))
    sample = VoxelSample(*map(np.concatenate, zip(*parts, strict=True)))
    return sample.thinned(PAINTED_MOST, len(sample.target), np.random.default_rng(seed))


def _some_of_each(target: NDArray[Any], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find places of painted voxels of a tile, some of each class.

    They are the first few thousand in this order. Features of all voxels of filled areas would need gigabytes.
    """
    ordered = target[order]
    each = [order[ordered == value][:_IN_TILE] for value in np.unique(ordered) if value != IGNORE]
    return np.sort(np.concatenate([order[:0], *each]))


def _drawn(
    tile: PaintedTile,
    classifier: PixelClassifier,
    regions: RegionReader,
    drawn: NDArray[np.int64],
    painted: NDArray[np.int64],
) -> TileFeatures:
    """Compute features of drawn and of painted voxels of a tile."""
    place = np.concatenate([drawn, np.setdiff1d(painted, drawn)])
    bank = regions.features_of(tile.source, tile.box, classifier)
    return TileFeatures(place, np.ascontiguousarray(bank.reshape(len(bank), -1)[:, place].T), len(drawn))


def _with(
    rows: TileFeatures,
    painted: NDArray[np.int64],
    tile: PaintedTile,
    classifier: PixelClassifier,
    regions: RegionReader,
) -> TileFeatures:
    """Add the features of painted voxels that are missing.

    Only around these something is computed.
    """
    new = np.setdiff1d(painted, rows.place)
    if not len(new):
        return rows
    at = np.stack(np.unravel_index(new, shape_of(tile.box)))
    first, extent = at.min(1), at.max(1) - at.min(1) + 1
    box = tuple(
        (start + int(f), start + int(f + n)) for (start, _), f, n in zip(tile.box, first, extent, strict=True)
    )
    bank = regions.features_of(tile.source, box, classifier).reshape(classifier.features, -1)
    features = bank[:, np.ravel_multi_index(tuple(at - first[:, None]), tuple(extent))].T
    return TileFeatures(
        np.concatenate([rows.place, new]), np.concatenate([rows.features, features]), rows.others
    )


def _random(tile: PaintedTile, seed: int) -> np.random.Generator:
    """Make the tile's own generator: more paint elsewhere changes nothing for it."""
    return np.random.default_rng((seed, tile.source, *(start for start, _ in tile.box)))


def _looked_at(tile: PaintedTile, classifier: PixelClassifier) -> int:
    """Count the voxels of a tile, margins included."""
    return classifier.looked_at(shape_of(tile.box)[-classifier.ndim :])


def _few(tiles: list[PaintedTile], classifier: PixelClassifier) -> list[PaintedTile]:
    """Take the first tiles, for a quick answer.

    As many as there is time for, and as show every class.
    """
    left, missing = _QUICK[classifier.ndim], {number for tile in tiles for number in tile.classes}
    for count, tile in enumerate(tiles):
        if left <= 0 and not missing:
            return tiles[:count]
        left, missing = left - _looked_at(tile, classifier), missing - set(tile.classes)
    return tiles


def _chosen(
    tiles: list[PaintedTile], classifier: PixelClassifier, seed: int, known: FeatureCache
) -> list[PaintedTile]:
    """Choose tiles in random order, as many as there is time for.

    Those that show a class for the first time come first.
    """
    first, later, seen = list[PaintedTile](), list[PaintedTile](), set[int]()
    for tile in sorted(tiles, key=lambda tile: _random(tile, seed).random()):
        (first if set(tile.classes) - seen else later).append(tile)
        seen |= set(tile.classes)
    chosen, left = list[PaintedTile](), _SEEN[classifier.ndim]
    for tile in first + later:
        if (new := (tile.source, tile.box) not in known) and left > 0:
            left -= _looked_at(tile, classifier)
        if left >= 0 or not new or len(chosen) < len(first):
            chosen.append(tile)
    return chosen
