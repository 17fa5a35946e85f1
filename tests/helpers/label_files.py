"""Label files of a small stack: created, filled block by block, and read back."""

from __future__ import annotations

import json

import numpy as np
from outputs import output_at

from napari_limn.volume.axes import Axes
from napari_limn.volume.boxes import blocks, slices, whole

COLORS = {1: (1.0, 0.0, 0.2, 1.0), 3: (0.0, 0.999, 0.4, 0.8)}
NAMES = {1: "cell", 3: "wall"}
MICRONS = Axes("CZYX", (1.0, 2.0, 0.5, 0.25), ("pixel",) + ("micrometer",) * 3, (0.0, 10.0, 20.0, 30.0))
BLOCK = (1, 2, 4, 5)
SUFFIXES = [".tif", ".tiff", ".ome.tif", ".zarr", ".ome.zarr"]


def create(path, image, dtype="u1", block=BLOCK, **options):
    return output_at(path, image, np.dtype(dtype), block, COLORS, NAMES, **options)


def finished(path, image, **options):
    """An output without a label."""
    output = create(path, image, **options)
    output.write(
        whole(image.grid), np.zeros(image.grid, np.uint8), options.get("probabilities") and none(image)
    )
    return output.finish()


def none(image):
    return np.zeros((2, *image.grid), np.float32)


def files(folder):
    """Content of every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def write_blocks(output, labels, block=BLOCK, order=1):
    for box in list(blocks(labels.shape, block))[::order]:
        output.write(box, labels[slices(box)])
    return output


def open_json(path):
    return json.loads((path / "zarr.json").read_text())
