"""`info` in process: images, models, their networks and plans."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
import zarr
from commands import FAST, run, train
from PIL import Image

from napari_limn.annotation.classes import Classes
from napari_limn.cli import main
from napari_limn.model import Model, ModelSpec
from napari_limn.network.spec import UNetSpec
from napari_limn.network.unet import UNet
from napari_limn.volume.volume import Volume

pytestmark = pytest.mark.usefixtures("small_classifier")


def test_info_on_an_image_with_negative_values_says_what_it_is(capsys, tmp_path):
    tifffile.imwrite(tmp_path / "ct.tif", np.full((8, 8), -1000, np.int16))
    code, said, err = run(capsys, "info", tmp_path / "ct.tif", "--json")
    assert (code, err) == (0, "")
    assert said["dtype"] == "int16"


def test_info_does_not_read_an_image_to_its_end(capsys, tmp_path, monkeypatch):
    read = []
    reading = Volume.read
    monkeypatch.setattr(Volume, "read", lambda self, box: read.append(box) or reading(self, box))
    noise = np.random.default_rng(0).integers(0, 1 << 16, (40, 2000, 2000), np.uint16)
    zarr.create_array(tmp_path / "a.zarr", data=noise, chunks=(1, 500, 500))
    code, said, _ = run(capsys, "info", tmp_path / "a.zarr", "--json")
    assert code == 0
    assert "values" not in said
    assert len(read) == 1


def test_info_draws_the_network_of_a_model(capsys, files):
    train(capsys, files)
    code, said, _ = run(capsys, "info", files / "model.limn", "--figure", files / "net.png", "--json")
    assert code == 0
    assert said["size"] == [160, 160]
    with Image.open(files / "net.png") as picture:
        assert picture.size[0] > 300
    code, _, err = run(capsys, "info", files / "model.limn", "--figure", files / "net.png")
    assert code == 1
    assert "exists already" in err
    code, said, _ = run(
        capsys,
        "info",
        files / "model.limn",
        "--figure",
        files / "net.png",
        "--size",
        64,
        96,
        "--overwrite",
        "--json",
    )
    assert (code, said["size"]) == (0, [64, 96])
    code, _, err = run(capsys, "info", files / "model.limn", "--figure", files / "b.png", "--size", 64)
    assert code == 1
    assert "expected 2 extents for a 2D network" in err
    code, _, err = run(capsys, "info", files / "image.ome.tif", "--figure", files / "b.png")
    assert code == 1
    assert "image.ome.tif" in err


def test_info_certifies_a_model_on_an_image(capsys, files):
    train(capsys, files)
    code, said, _ = run(capsys, "info", files / "model.limn", "--certify", files / "image.ome.tif", "--json")
    assert (code, said["exact"], said["labels_changed"], said["swept"]) == (0, True, 0, True)
    assert said["size"] == [1, 1, 96, 80]
    assert 0 < max(said["reach"]) <= max(said["halo"])
    tifffile.imwrite(files / "rgb.tif", np.zeros((40, 40, 3), np.uint8), photometric="rgb")
    code, _, err = run(capsys, "info", files / "model.limn", "--certify", files / "rgb.tif")
    assert code == 1
    assert "found 3 channels, the model was trained with 1" in err


@pytest.mark.exhaustive
def test_info_of_a_large_model_says_what_its_example_would_need(capsys, tmp_path):
    spec = ModelSpec(network=UNetSpec(width=4, factors=((2, 2),) * 2), classes=Classes((1, 2)))
    path = Model(spec, UNet(spec.network)).save(tmp_path / "m.limn")
    _, said, _ = run(capsys, "info", path, "--json")
    assert said["plan"]["limit"] == 2_000_000_000
    _, said, _ = run(capsys, "info", path, "--memory", "3GB", "--json")
    assert said["plan"]["limit"] == 3_000_000_000
    code, said, err = run(capsys, "info", path, "--memory", "30MB", "--json")
    assert (code, said["plan"], err) == (0, None, "")
    assert run(capsys, "info", path, "--memory", "30MB")[0] == 0
    main(["info", str(path), "--memory", "30MB"])
    [line] = [row for row in capsys.readouterr().out.splitlines() if row.startswith("plan for")]
    assert "2048 voxels in 0.03 GB: found a memory limit of 0.03 GB, the smallest block" in line


@pytest.mark.parametrize(("norm", "exact"), [("batch", True), ("instance", False)])
def test_info_says_whether_tiles_are_exact(capsys, files, norm, exact):
    (files / "spec.json").write_text(
        json.dumps(FAST | {"steps": 2, "network": FAST["network"] | {"norm": norm}})
    )
    _, _, err = train(capsys, files, quiet=False)
    assert ("instance normalisation looks at the whole tile" in err and "max difference" in err) is not exact
    _, said, _ = run(capsys, "info", files / "model.limn", "--json")
    assert said["tile_exact"] is exact
    assert any("instance_norm in encoder.0" in name for name in said["not_local"]) is not exact
    assert main(["info", str(files / "model.limn")]) == 0
    assert ("not tile-exact: instance_norm" in capsys.readouterr().out) is not exact
