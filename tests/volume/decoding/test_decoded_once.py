"""What is decoded for a block serves the next blocks, too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from runs import model_of, plan_of, planned

from napari_limn import PredictSpec, open_volume, predict
from napari_limn.volume.decoding import pieces
from napari_limn.volume.decoding.pieces import decoded_once, read_pieces
from napari_limn.volume.intensity import fit_scaling


class Stored:
    """An array in pieces that counts what is decoded of it."""

    def __init__(self, data, chunks):
        self._data, self.chunks, self.decoded = data, chunks, 0
        self.shape, self.dtype, self.ndim = data.shape, data.dtype, data.ndim

    def __getitem__(self, index):
        touched = [-(-each.stop // n) - each.start // n for each, n in zip(index, self.chunks, strict=True)]
        self.decoded += int(np.prod(touched))
        return self._data[index]


@pytest.fixture
def small(monkeypatch):
    """Pieces of 1 kB are large."""
    monkeypatch.setattr(pieces, "_AT_ONCE", 1000)
    monkeypatch.setattr(pieces, "_CONCURRENT", 1)


@pytest.mark.parametrize("most", [0, 2000, 10**9])
def test_what_is_read_is_the_same_and_pieces_are_decoded_once(small, most):
    data = np.random.default_rng(0).integers(0, 99, (6, 40, 40), np.uint8)
    stored = Stored(data, (1, 40, 40))
    with decoded_once(stored, most):
        for z in range(6):
            for y in range(0, 40, 8):
                box = (slice(z, z + 1), slice(y, y + 8), slice(3, 33))
                np.testing.assert_array_equal(read_pieces(stored, box), data[box])
    assert stored.decoded == 6, "one after the other: also where only the last one is kept"
    read_pieces(stored, (slice(0, 1), slice(0, 8), slice(0, 8)))
    assert stored.decoded == 7, "afterwards nothing is kept"


def test_pieces_that_are_used_again_and_again_are_decoded_once_where_memory_allows(small):
    stored = Stored(np.arange(4 * 1600, dtype=np.uint16).reshape(4, 40, 40), (1, 40, 40))
    with decoded_once(stored, 4 * 3200):
        for y in range(0, 40, 4):
            read_pieces(stored, (slice(0, 4), slice(y, y + 4), slice(0, 40)))
    assert stored.decoded == 4


@pytest.mark.parametrize("options", [{"tile": (256, 224)}, {"rowsperstrip": 256}], ids=["tiles", "strips"])
def test_a_prediction_decodes_each_plane_once(tmp_path, options, monkeypatch):
    data = np.random.default_rng(0).integers(0, 5000, (3, 256, 224)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", data, compression="zlib", photometric="minisblack", **options)
    model = model_of(((2, 2),))
    grid = (1, 3, 256, 224)
    planned(monkeypatch.setattr, replace(plan_of(model, grid, "swept", (1, 1, 32, 32)), limit=10**9))
    volume, decoded = open_volume(tmp_path / "a.tif", "ZYX"), []
    scaling = fit_scaling(volume)
    read = type(volume.data).__getitem__
    monkeypatch.setattr(
        type(volume.data), "__getitem__", lambda self, index: decoded.append(index) or read(self, index)
    )
    spec = PredictSpec(precision="float32", device="cpu", scaling=scaling)
    labels = predict(model, volume, spec=spec)
    planes = [index for index in decoded if index[1:] == (slice(0, 256), slice(0, 224))]
    assert len(planes) == 3, "of 168 blocks"
    assert len(decoded) - len(planes) < 30, "samples that are looked at before"
    np.testing.assert_array_equal(labels, predict(model, open_volume(data, "ZYX"), spec=spec))
