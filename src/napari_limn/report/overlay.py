"""A picture of labels over the image, beside the image itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from napari_limn.files.durable import disk_faults
from napari_limn.files.working import whole_file
from napari_limn.volume.boxes import whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_limn.volume.volume import RGBA, Volume

_FILL, _OUTLINE = 0.35, 0.9  # opacities
_GAP = 8  # pixels between the two
_DARKEST, _BRIGHTEST = 1, 99  # percentiles


def draw_overlay(
    path: Path, image: Volume, labels: Volume, colors: Mapping[int, RGBA], *, overwrite: bool = False
) -> Path:
    """Draw the first plane of an image, and its labels.

    Labels are a light fill within an outline, so that the image can be judged under them.

    Parameters
    ----------
    path
        Of the PNG.
    image, labels
        Of one grid.
    colors
        Label value → colour (RGBA, 0–1); values without one stay clear.
    overwrite
        Whether a file of that name may be replaced.

    Raises
    ------
    LimnError
        If the disk refuses.
    """
    box = whole((1, 1, *image.grid[2:]))
    plain = _grey(image.read(box)[:, 0, 0])
    painted = _painted(plain, labels.read(box).reshape(image.grid[2:]), colors)
    gap = np.full((len(plain), _GAP, 3), 255.0)
    both = Image.fromarray(np.concatenate([plain, gap, painted], axis=1).astype(np.uint8))
    with disk_faults(path, "the picture was not saved"), whole_file(path, replace=overwrite) as file:
        both.save(file, format="PNG", optimize=True)
    return path


def _grey(channels: NDArray[Any]) -> NDArray[np.float64]:
    """Scale the first channel to 0–255, as RGB."""
    plane = channels[0].astype(np.float64)
    low, high = np.percentile(plane, (_DARKEST, _BRIGHTEST))
    scaled = np.clip((plane - low) / max(high - low, 1e-12), 0, 1) * 255
    return np.repeat(scaled[..., None], 3, axis=2)


def _painted(
    plain: NDArray[np.float64], values: NDArray[Any], colors: Mapping[int, RGBA]
) -> NDArray[np.float64]:
    """Put the colours of labels over a picture."""
    edges = np.zeros(values.shape, bool)
    edges[1:] |= values[1:] != values[:-1]
    edges[:, 1:] |= values[:, 1:] != values[:, :-1]
    result = plain.copy()
    for value, (*color, _) in colors.items():
        for part, opacity in ((~edges, _FILL), (edges, _OUTLINE)):
            at = (values == value) & part
            result[at] = (1 - opacity) * plain[at] + opacity * 255 * np.asarray(color)
    return result
