"""A small stack, written as TIFF and read back whole."""

from __future__ import annotations

import numpy as np
import tifffile

from napari_limn.volume.boxes import whole

STACK = np.arange(5 * 32 * 48, dtype=np.uint16).reshape(5, 32, 48)


def write(path, data=STACK, **options):
    tifffile.imwrite(path, data, **({"photometric": "minisblack"} | options))
    return path


def everything(volume):
    return volume.read(whole(volume.grid))
