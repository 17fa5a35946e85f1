"""Make the sample images that ship with the package from the axon SEM data set.

    python docs/make_samples.py IMAGES MASKS STROKES_OF_RAT3

Pixel size 0.1 µm, as the data set's own metadata say for these two images.
"""

from __future__ import annotations

import sys
from pathlib import Path

import tifffile

DATA = Path(__file__).parents[1] / "src" / "napari_limn" / "data"
SOURCES = {"sem_rat3": "sub-rat3_sample-data9.tif", "sem_rat3b": "sub-rat3_sample-data10.tif"}


def write(name: str, data: object) -> None:
    tifffile.imwrite(
        DATA / f"{name}.tif", data, compression="zlib", predictor=2, photometric="minisblack",
        resolution=(1e5, 1e5), resolutionunit="CENTIMETER", metadata={"axes": "YX"},
    )  # fmt: skip


def main(images: Path, masks: Path, strokes: Path) -> None:
    for name, source in SOURCES.items():
        write(name, tifffile.imread(images / source))
        write(f"{name}_truth", tifffile.imread(masks / source) + 1)
    write("sem_rat3_strokes", tifffile.imread(strokes))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
