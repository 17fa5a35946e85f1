"""What cutting an image into blocks does to its labels, measured.

Blocks are compared with one pass on a piece of the image.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_limn.inference.engines.blend import BlendEngine
from napari_limn.inference.engines.blocks import BlockEngine
from napari_limn.inference.engines.evaluator import Evaluator
from napari_limn.inference.engines.sweeping import SweepEngine
from napari_limn.volume.axes import GRID, Axes
from napari_limn.volume.boxes import slices
from napari_limn.volume.volume import Volume

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from napari_limn.model import Model
    from napari_limn.volume.boxes import Grid
    from napari_limn.volume.intensity import Scaling

_ROUNDING = 1e-3  # of float32 logits; the labels count
_PIECE = {2: (1, 1, 512, 512), 3: (1, 32, 96, 96)}  # voxels at most along T, Z, Y and X


@dataclass(frozen=True, slots=True)
class Certificate:
    """How far blocks are from one pass on a piece.

    Parameters
    ----------
    size
        Extent (T, Z, Y, X) of the piece.
    blocks
        In how many it was cut.
    swept
        Whether they were those of a sweep; otherwise they were made of tiles, overlapped by half and blended.
    max_difference
        Largest difference of a logit; of a probability where tiles were blended.
    labels_changed
        Voxels with another label.
    reach
        How far a change of one voxel in the middle was seen, along T, Z, Y and X.
    halo
        How far it may be seen, by the network's graph.
    """

    size: tuple[int, ...]
    blocks: int
    swept: bool
    max_difference: float
    labels_changed: int
    reach: tuple[int, ...]
    halo: tuple[int, ...]

    @property
    def exact(self) -> bool:
        """Tell whether blocks equal one pass.

        No label differs, logits only by rounding, and no voxel reaches farther than the graph says.
        """
        near = all(r <= h for r, h in zip(self.reach, self.halo, strict=True))
        return near and self.labels_changed == 0 and self.max_difference < _ROUNDING

    def __str__(self) -> str:
        voxels = int(np.prod(self.size))
        share = f"{self.labels_changed / voxels:.2%} of the labels" if self.labels_changed else "0 labels"
        how = "swept blocks" if self.swept else "blocks blended from tiles that overlap by half"
        of = "" if self.swept else " of a probability"
        return (
            f"{'exact' if self.exact else 'not exact'}: {self.blocks} {how} against one "
            f"pass over {' × '.join(map(str, self.size))} voxels of this image: max difference"
            f"{of} {self.max_difference:.1e}, {share} differ; a voxel is seen {max(self.reach)} voxels away, by the graph at "
            f"most {max(self.halo)}"
        )


def certify(
    model: Model, volume: Volume, scaling: Scaling, device: torch.device, dtype: torch.dtype
) -> Certificate:
    """Compare blocks of the middle of an image with one pass.

    It is cut as a prediction would cut it.

    Parameters
    ----------
    volume
        With the channels that the model expects.
    scaling
        Intensity numbers fitted to the whole volume.
    device, dtype
        Where and in which precision to compute.
    """
    spec = model.spec.network
    piece = middle_piece(volume, _PIECE[spec.ndim])
    ready = Evaluator(model, piece, scaling, device, dtype)
    tiles = BlockEngine(ready)
    logits = tiles.logits(tuple((0, n) for n in piece.grid))
    if spec.tile_exact:
        whole, in_blocks = logits, SweepEngine(ready, _halved(ready, piece.grid)).logits()
    else:
        whole, in_blocks = _softmax(logits), BlendEngine(ready, _halved(ready, piece.grid)).blended()
    worst, changed, count = 0.0, 0, 0
    for place, values in in_blocks:
        expected = whole[(slice(None), *slices(place))]
        worst = max(worst, float(np.abs(values - expected).max()))
        changed += int((values.argmax(0) != expected.argmax(0)).sum())
        count += 1
    reach = _reach(ready, logits)
    halo = tuple(f.shrink + f.step if f.shrink else f.halo + f.step for f in ready.footprints)
    return Certificate(piece.grid, count, spec.tile_exact, worst, changed, reach, halo)


def middle_piece(volume: Volume, most: tuple[int, ...]) -> Volume:
    """Read the middle of a volume, at most `most` voxels.

    Along T, Z, Y and X, into memory.
    """
    box = tuple(
        ((n - min(n, m)) // 2, (n - min(n, m)) // 2 + min(n, m))
        for n, m in zip(volume.grid, most, strict=True)
    )
    return Volume(volume.read(box), Axes.of("C" + GRID), volume.name)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    scores = np.exp(logits - logits.max(0))
    probabilities: NDArray[np.float32] = scores / scores.sum(0)
    return probabilities


def _reach(ready: Evaluator, before: NDArray[np.float32]) -> tuple[int, ...]:
    """Measure how far a change of the middle voxel changes logits."""
    piece, changed = ready.volume, copy(ready)
    data = np.array(piece.data)
    middle = tuple(n // 2 for n in piece.grid)
    voxel = data.reshape(len(data), -1)[:, int(np.ravel_multi_index(middle, piece.grid))]
    voxel[:] = np.where(voxel > data.mean(), data.min(), data.max())
    changed.volume = Volume(data, piece.axes, piece.name)
    after = BlockEngine(changed).logits(tuple((0, n) for n in piece.grid))
    moved = np.argwhere((after != before).any(0))
    if not len(moved):
        return (0, 0, 0, 0)
    return tuple(int(np.abs(places - m).max()) for places, m in zip(moved.T, middle, strict=True))


def _halved(ready: Evaluator, grid: Grid) -> Grid:
    """Return blocks of which about two go side by side.

    Or tiles to blend; along each axis that the network sees.
    """
    spec = ready.spec
    if spec.tile_exact:
        units = [f.step if f.step > 1 else n for n, f in zip(grid, ready.footprints, strict=True)]
    else:  # of two strides, to be halved
        units = [2 * f.step if a >= 4 - spec.ndim else 1 for a, f in enumerate(ready.footprints)]
    t, z, y, x = (max(unit, -(-n // 2 // unit) * unit) for n, unit in zip(grid, units, strict=True))
    return t, z, y, x
