"""What tests of label files share."""

from __future__ import annotations

import numpy as np
import pytest
from label_files import MICRONS

from napari_limn.files import durable
from napari_limn.volume.volume import Volume


@pytest.fixture(autouse=True, scope="module")
def _quick():
    """These tests do not wait for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(durable.os, "fsync", lambda handle: None)
        yield


@pytest.fixture
def image():
    return Volume(np.zeros((2, 5, 8, 9), np.uint16), MICRONS, "brain.tif")


@pytest.fixture
def labels():
    return np.random.default_rng(0).integers(0, 4, (1, 5, 8, 9)).astype(np.uint8)
