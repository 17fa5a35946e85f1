"""Which patches to train on: around the paint, the classes in turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_limn.annotation.classes import Classes
    from napari_limn.annotation.strokes import Paint
    from napari_limn.training.data.held_out import HoldOut
    from napari_limn.volume.boxes import Box


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """One patch to train on.

    Parameters
    ----------
    source
        Number of its volume.
    box
        On the TZYX grid; it may leave the volume.
    """

    source: int
    box: Box


class PatchSampler:
    """Draws patches with paint, every class equally often.

    Parameters
    ----------
    paints, held
        Paint and held-out regions of each volume; what is held out, or in the gap around it, is never a seed.
    classes
        Whose values count.
    size
        Extent of a patch, in voxels (T, Z, Y, X).

    Notes
    -----
    A patch lies so that its seed, a random painted voxel of the class whose turn it is, falls anywhere in its middle
    half: near the rim of a patch the network sees too little around it.
    """

    def __init__(
        self, paints: list[Paint], held: list[HoldOut], classes: Classes, size: tuple[int, ...]
    ) -> None:
        self.size = np.asarray(size)
        where, source, value = [], [], []
        for number, (paint, out) in enumerate(zip(paints, held, strict=True)):
            keep = ~out.excluded(paint.where)
            where.append(paint.where[keep])
            source.append(np.full(int(keep.sum()), number))
            value.append(paint.value[keep])
        self._where, self._source = np.concatenate(where), np.concatenate(source)
        every = np.concatenate(value)
        self._seeds: list[NDArray[np.intp]] = [
            seeds for v in classes.values if len(seeds := np.flatnonzero(every == v))
        ]

    def draw(self, turn: int, rng: np.random.Generator) -> Patch:
        """Draw patch number `turn`; the classes take turns."""
        seeds = self._seeds[turn % len(self._seeds)]
        seed = seeds[rng.integers(len(seeds))]
        offset = rng.integers(self.size // 4, self.size - self.size // 4)
        start = self._where[seed] - offset
        box = tuple((int(a), int(a + n)) for a, n in zip(start, self.size, strict=True))
        return Patch(int(self._source[seed]), box)
