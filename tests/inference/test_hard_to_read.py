"""Images that are hard to read: a damaged chunk, and chunks larger than the memory limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import zarr
from zarr.codecs import ZstdCodec

from napari_limn import Classes, Model, ModelSpec, PredictSpec, UNetSpec
from napari_limn.errors import LimnError
from napari_limn.inference.pipeline import predict
from napari_limn.network.unet import UNet
from napari_limn.runs import Warned
from napari_limn.volume.volume import Volume

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def model() -> Model:
    spec = ModelSpec(network=UNetSpec(width=2, factors=((2, 2),)), classes=Classes((1, 2)))
    return Model(spec, UNet(spec.network))


def _image(path: Path) -> zarr.Array:
    array = zarr.create_array(
        path, shape=(9, 20, 30), chunks=(1, 20, 30), dtype="u1", compressors=ZstdCodec()
    )
    array[:] = np.random.default_rng(0).integers(0, 255, array.shape, np.uint8)
    return array


def test_a_damaged_chunk_stops_a_run_where_it_lies_and_not_before(model: Model, tmp_path: Path) -> None:
    _image(tmp_path / "a.zarr")
    chunk = tmp_path / "a.zarr" / "c" / "6" / "0" / "0"
    sound = chunk.read_bytes()
    chunk.write_bytes(b"damaged" * 9)
    out, events = tmp_path / "b.tif", []
    with pytest.raises(LimnError, match=r"a\.zarr: .*cannot be read"):
        predict(model, tmp_path / "a.zarr", out, listen=events.append)
    said = [event.message for event in events if isinstance(event, Warned)]
    assert sum("planes, from which intensities are fitted" in text for text in said) == 1
    chunk.write_bytes(sound)
    assert predict(model, tmp_path / "a.zarr", out, overwrite=True) == out


def test_pieces_above_the_limit_are_refused_before_anything_is_read(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zarr.create_array(tmp_path / "a.zarr", shape=(30_000, 30_000), chunks=(30_000, 30_000), dtype="u1")
    monkeypatch.setattr(Volume, "read", lambda *_: pytest.fail("read"))
    with pytest.raises(LimnError, match=r"a\.zarr: .*decoding one takes 2\.70 GB.*--memory"):
        predict(model, tmp_path / "a.zarr", tmp_path / "b.ome.zarr", PredictSpec(memory="2GB"))
