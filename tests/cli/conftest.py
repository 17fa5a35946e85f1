"""What tests of the command line share."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from commands import FAST


@pytest.fixture
def files(tmp_path):
    """An image of two halves with a voxel size, strokes on each, the truth, and a fast spec."""
    image = np.random.default_rng(0).normal(50, 5, (96, 80)).astype(np.float32)
    image[48:] += 100
    truth = np.full(image.shape, 3, np.uint8)
    truth[48:] = 7
    strokes = np.zeros_like(truth)
    strokes[10:12, 5:70], strokes[30:32, 5:70] = 3, 3
    strokes[60:62, 5:70], strokes[80:82, 5:70] = 7, 7
    metadata = {
        "axes": "YX",
        "PhysicalSizeX": 0.2,
        "PhysicalSizeY": 0.3,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeYUnit": "µm",
    }
    tifffile.imwrite(tmp_path / "image.ome.tif", image, metadata=metadata)
    tifffile.imwrite(tmp_path / "truth.tif", truth)
    tifffile.imwrite(tmp_path / "strokes.tif", strokes)
    (tmp_path / "spec.json").write_text(json.dumps(FAST))
    return tmp_path
