"""How long a check-up takes, by the size of image and labels: Zarr of 1 to 30 GB, sparse, made in a folder that is removed.

Run with ``tox -- python benchmarks/checkup.py``.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr

from napari_limn.annotation.checkup import checkup
from napari_limn.volume.volume import Volume


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        for planes in (32, 256, 960):
            image = _zarr(folder / f"image{planes}", (planes, 4096, 4096), np.uint16)
            labels = _zarr(folder / f"labels{planes}", (planes, 4096, 4096), np.uint8)
            for z in (3, planes - 5):  # what is stored of the image, and the paint
                image[z, 1024:2048, 1024:2048] = np.random.default_rng(z).integers(0, 4000, (1024, 1024))
                labels[z, 1100:1120, 1100:1400], labels[z, 1200:1220, 1100:1400] = 1, 2
            report(f"Zarr, {image.nbytes / 1e9:.0f} GB", image, labels)
    finally:
        shutil.rmtree(folder)
    rng = np.random.default_rng(0)
    dense = rng.integers(0, 4000, (64, 1024, 1024), np.uint16)
    masks = (dense > 3000).astype(np.uint8)
    report("in memory, 0.1 GB, full masks", dense, masks, zero="background")
    strokes = np.zeros_like(masks)
    strokes[3, :20], strokes[50, 100:120] = 1, 2
    report("in memory, 0.1 GB, strokes", dense, strokes)


def _zarr(path: Path, shape: tuple[int, ...], dtype: type) -> zarr.Array:
    return zarr.create_array(path, shape=shape, chunks=(16, 256, 256), dtype=dtype, fill_value=0)


def report(what: str, image: object, labels: object, **facts: str) -> None:
    took = []
    for _ in range(5):
        began = time.perf_counter()
        found = checkup(Volume.of(image, "ZYX"), Volume.of(labels, "ZYX"), **facts)
        took.append(time.perf_counter() - began)
    kinds = ", ".join(f.kind for f in found) or "nothing"
    print(f"{what}: {statistics.median(took):.2f} s (longest {max(took):.2f}); found {kinds}", flush=True)


if __name__ == "__main__":
    main()
