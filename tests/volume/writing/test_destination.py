"""Where labels may go: never over their image, nor into one of another size."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
import zarr
from outputs import output_at

from napari_limn.errors import LimnError
from napari_limn.files.durable import open_alone
from napari_limn.volume.axes import Axes
from napari_limn.volume.reading.open import identity, open_volume
from napari_limn.volume.volume import Volume
from napari_limn.volume.writing import zarr_output
from napari_limn.volume.writing.destination import refuse_misplaced
from napari_limn.volume.writing.zarr_output import list_labels

BLOCK = (1, 2, 4, 5)


def image_at(path, shape=(5, 8, 9), axes="zyx"):
    """An OME-Zarr 0.5 image of another writer."""
    group = zarr.create_group(path, zarr_format=3)
    group.create_array("0", shape=shape, dtype="u2", dimension_names=list(axes))
    steps = [{"type": "scale", "scale": [1.0] * len(shape)}]
    kinds = {"c": "channel", "t": "time"}
    meta = {
        "axes": [{"name": a, "type": kinds.get(a, "space")} for a in axes],
        "datasets": [{"path": "0", "coordinateTransformations": steps}],
    }
    group.attrs["ome"] = {"version": "0.5", "multiscales": [meta]}
    return path


def files(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def folder(tmp_path):
    tifffile.imwrite(tmp_path / "scan.tif", np.zeros((8, 9), np.uint8))
    image_at(tmp_path / "scan.ome.zarr")
    return tmp_path


@pytest.mark.parametrize(
    ("image", "out", "said"),
    [
        ("scan.tif", "scan.tif", "the labels would replace an image"),
        ("scan.tif", "x/../scan.tif", "the labels would replace an image"),
        ("scan.tif", "link.tif", "the labels would replace an image"),
        ("link.tif", "scan.tif", "the labels would replace an image"),
        ("scan.ome.zarr", "scan.ome.zarr", "the labels would replace an image"),
        ("scan.ome.zarr/0", "scan.ome.zarr", "the labels would replace an image"),
        ("linked/0", "scan.ome.zarr", "the labels would replace an image"),
        ("scan.ome.zarr", "scan.ome.zarr/a.ome.zarr", r"scan\.ome\.zarr, expected .* IMAGE/labels/NAME"),
        ("scan.ome.zarr", "scan.ome.zarr/0/c.zarr", "found a name inside the image"),
        ("scan.ome.zarr", "linked/a.tif", "found a name inside the image"),
    ],
)
def test_labels_never_replace_their_image_nor_lie_among_its_voxels(folder, image, out, said):
    (folder / "x").mkdir()
    (folder / "link.tif").symlink_to(folder / "scan.tif")
    (folder / "linked").symlink_to(folder / "scan.ome.zarr")
    before, volume = files(folder), open_volume(folder / image)
    with pytest.raises(LimnError, match=said):
        output_at(folder / out, volume, "u1", BLOCK, {}, {}, overwrite=True)
    assert files(folder) == before


def test_labels_do_not_replace_another_file_of_the_set_of_an_image(tmp_path):
    names = ("a.ome.tif", "b.ome.tif")
    uuids = [f"urn:uuid:0000000{n}-0000-0000-0000-000000000000" for n in range(2)]
    planes = "".join(
        f'<TiffData IFD="0" FirstZ="{n}" PlaneCount="1"><UUID FileName="{name}">{uuid}</UUID></TiffData>'
        for n, (name, uuid) in enumerate(zip(names, uuids, strict=True))
    )
    for name, uuid in zip(names, uuids, strict=True):
        text = (
            f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{uuid}"><Image ID="Image:0"><Pixels ID="Pixels:0" '
            'DimensionOrder="XYZCT" Type="uint8" SizeX="9" SizeY="8" SizeZ="2" SizeC="1" SizeT="1"><Channel ID="Channel:0:0" '
            f'SamplesPerPixel="1"/>{planes}</Pixels></Image></OME>'
        )
        tifffile.imwrite(tmp_path / name, np.zeros((8, 9), np.uint8), description=text, metadata=None)
    image = open_volume(tmp_path / "a.ome.tif")
    assert image.grid == (1, 2, 8, 9)
    with pytest.raises(LimnError, match="the labels would replace an image"):
        refuse_misplaced(tmp_path / "b.ome.tif", image)
    before = identity(image)
    os.utime(tmp_path / "b.ome.tif", ns=(1, 1))
    assert identity(image) != before


def test_another_name_of_the_same_file_is_the_same_image(folder):
    (folder / "other.tif").hardlink_to(folder / "scan.tif")
    with pytest.raises(LimnError, match="the labels would replace an image"):
        refuse_misplaced(folder / "other.tif", open_volume(folder / "scan.tif"))


@pytest.mark.parametrize("out", ["scan.ome.zarr/labels/a", "scan2.ome.zarr", "scan.tif", "scan.ome.zarr.tif"])
def test_labels_may_lie_beside_their_image_and_in_its_labels(folder, out):
    refuse_misplaced(folder / out, open_volume(folder / "scan.ome.zarr"))
    refuse_misplaced(folder / out, Volume.of(np.zeros((5, 8, 9))))


def test_labels_that_are_the_image_are_not_replaced_inside_another(folder):
    path, whole = folder / "out.ome.zarr", ((0, 1), (0, 5), (0, 8), (0, 9))
    output = output_at(path, open_volume(folder / "scan.ome.zarr"), "u1", BLOCK, {}, {})
    output.write(whole, np.zeros((1, 5, 8, 9), np.uint8))
    output.finish()
    for image in (open_volume(path), open_volume(zarr.open_array(path / "labels/classes/0"))):
        for out in (path / "labels/classes", path):
            with pytest.raises(LimnError, match="the labels would replace an image"):
                refuse_misplaced(out, image)
        refuse_misplaced(path / "labels/other", image)


def test_labels_of_another_extent_do_not_go_into_an_image(folder):
    before = files(folder)
    for shape, size in (((2, 6, 7), "(1, 2, 6, 7)"), ((5, 9, 8), "(1, 5, 9, 8)"), ((8, 9), "(1, 1, 8, 9)")):
        with pytest.raises(LimnError) as error:
            output_at(folder / "scan.ome.zarr/labels/a", Volume.of(np.zeros(shape)), "u1", BLOCK, {}, {})
        assert f"found labels of TZYX size {size} for the image scan.ome.zarr of size (1, 5, 8, 9)" in str(
            error.value
        )
    assert files(folder) == before


def test_what_a_person_calls_the_axes_of_an_image_does_not_keep_its_labels_out(folder):
    inside = folder / "scan.ome.zarr/labels/a"
    for axes in ("TYX", "ZXY"):
        refuse_misplaced(inside, open_volume(folder / "scan.ome.zarr", axes))
    refuse_misplaced(inside, Volume.of(np.zeros((5, 2, 8, 9)), "ZCYX"))
    refuse_misplaced(inside, Volume(np.zeros((8, 5, 9)), Axes.of("YZX")))


def test_no_entry_of_a_list_is_lost_to_another(tmp_path):
    folder, names = tmp_path / "labels", [f"n{i}" for i in range(6)]
    list_labels(folder)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda name: list_labels(folder, name), names))
    assert sorted(zarr.open_group(folder).attrs["ome"]["labels"]) == names
    assert [p.name for p in folder.iterdir()] == ["zarr.json"]


def test_who_keeps_a_list_for_too_long_is_told_of(tmp_path, monkeypatch):
    monkeypatch.setattr(zarr_output, "_PATIENCE", 0.05)
    folder = tmp_path / "labels"
    list_labels(folder, "a")
    with (
        open_alone(folder / ".list.lock"),
        pytest.raises(LimnError, match=r"another run has been changing the list.*wait for it"),
    ):
        list_labels(folder, "b")
    list_labels(folder, "b")  # what a killed run leaves holds nobody up
    assert zarr.open_group(folder).attrs["ome"]["labels"] == ["a", "b"]
