"""Random variation of patches: image and labels move together, grey values alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def augmented(
    image: NDArray[np.float32], labels: NDArray[np.int16], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    """One random variant of a patch.

    Parameters
    ----------
    image
        (C, [Z,] Y, X), scaled intensities.
    labels
        ([Z,] Y, X), class indices; may be smaller than the image by the same amount on all sides.

    Returns
    -------
    Both, flipped along random axes and, if square, turned by a random multiple of 90° in the YX plane; each channel
    with a random gain (0.8–1.25) and offset (±0.1).
    """
    flips = tuple(axis for axis in range(labels.ndim) if rng.random() < 0.5)
    labels = np.flip(labels, flips)
    image = np.flip(image, tuple(axis + 1 for axis in flips))
    if image.shape[-1] == image.shape[-2]:
        turns = int(rng.integers(4))
        labels, image = np.rot90(labels, turns, (-2, -1)), np.rot90(image, turns, (-2, -1))
    each = (len(image),) + (1,) * labels.ndim
    gain = np.exp(rng.uniform(-0.22, 0.22, each)).astype(np.float32)
    offset = rng.uniform(-0.1, 0.1, each).astype(np.float32)
    return image * gain + offset, labels
