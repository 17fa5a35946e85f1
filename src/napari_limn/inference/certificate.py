"""What tiling does to the labels of an image: measured on a piece of it, one pass against tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_limn.inference.engine import BlockEngine
from napari_limn.inference.plan import feet_on_grid
from napari_limn.volume.axes import GRID, Axes
from napari_limn.volume.boxes import blocks, slices
from napari_limn.volume.volume import Volume

if TYPE_CHECKING:
    import torch

    from napari_limn.model import Model
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.intensity import Scaling

_PIECE = {2: (1, 1, 512, 512), 3: (1, 32, 96, 96)}  # voxels at most along T, Z, Y and X


@dataclass(frozen=True, slots=True)
class Certificate:
    """How far tiles are from one pass, on a piece of an image.

    Parameters
    ----------
    size
        Extent (T, Z, Y, X) of the piece.
    tiles
        In how many it was cut.
    max_difference
        Largest difference of a logit.
    labels_changed
        Voxels with another label.
    """

    size: tuple[int, ...]
    tiles: int
    max_difference: float
    labels_changed: int

    def __str__(self) -> str:
        voxels = int(np.prod(self.size))
        share = (
            f"{self.labels_changed} labels"
            if not self.labels_changed
            else f"{self.labels_changed / voxels:.2%} of the labels"
        )
        return (
            f"{self.tiles} tiles against one pass over {' × '.join(map(str, self.size))} voxels of this image: "
            f"max difference {self.max_difference:.1e}, {share} differ"
        )


def certify(
    model: Model, volume: Volume, scaling: Scaling, device: torch.device, dtype: torch.dtype
) -> Certificate:
    """Cut the middle of an image into tiles and compare them with one pass over it.

    Parameters
    ----------
    volume
        With the channels that the model expects.
    scaling
        Intensity numbers fitted to the whole volume.
    device, dtype
        Where and in which precision to compute.
    """
    box = _middle(volume.grid, _PIECE[model.spec.network.ndim])
    piece = Volume(volume.read(box), Axes.of("C" + GRID), volume.name)
    engine = BlockEngine(model, piece, scaling, device, dtype)
    whole = engine.logits(tuple((0, n) for n in piece.grid))
    worst, changed, tiles = 0.0, 0, _tiles(model, piece.grid)
    for tile in tiles:
        found, expected = engine.logits(tile), whole[(slice(None), *slices(tile))]
        worst = max(worst, float(np.abs(found - expected).max()))
        changed += int((found.argmax(0) != expected.argmax(0)).sum())
    return Certificate(piece.grid, len(tiles), worst, changed)


def _middle(grid: tuple[int, ...], most: tuple[int, ...]) -> Box:
    return tuple(
        ((n - min(n, m)) // 2, (n - min(n, m)) // 2 + min(n, m)) for n, m in zip(grid, most, strict=True)
    )


def _tiles(model: Model, grid: tuple[int, ...]) -> list[Box]:
    """About two tiles along each axis that the network looks along."""
    feet = feet_on_grid(model.spec.network)
    size = [
        max(f.step, -(-n // 2 // f.step) * f.step) if f.step > 1 else n
        for n, f in zip(grid, feet, strict=True)
    ]
    return list(blocks(grid, tuple(size)))
