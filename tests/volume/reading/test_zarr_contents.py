"""What a Zarr folder holds besides is told; what is not known is refused by name; claims are asked before belief."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import zarr
from fuzz import damaged, damaged_json, outcome

from napari_limn import LimnError, open_volume
from napari_limn.report.info import volume_info
from napari_limn.volume.boxes import whole
from napari_limn.volume.reading.open import images_at
from napari_limn.volume.reading.sampling import sample_boxes

IMAGE = np.arange(6 * 40 * 48, dtype=np.uint16).reshape(6, 40, 48) + 1


def ngff(path, data=IMAGE, version="0.5", scale=(2.0, 0.5, 0.5), **changes):
    """Write an OME-Zarr image of two levels; `changes` go into its multiscales."""
    modern = version == "0.5"
    group = zarr.create_group(path, zarr_format=3 if modern else 2)
    for number in range(2):
        part = data[:, :: 2**number, :: 2**number]
        array = group.create_array(str(number), shape=part.shape, chunks=(2, 16, 16), dtype=part.dtype)
        array[:] = part
    image = {
        "axes": [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"],
        "datasets": [
            {
                "path": str(n),
                "coordinateTransformations": [
                    {"type": "scale", "scale": [scale[0], *(s * 2**n for s in scale[1:])]}
                ],
            }
            for n in range(2)
        ],
    } | changes
    if modern:
        group.attrs["ome"] = {"version": version, "multiscales": [image]}
    else:
        group.attrs["multiscales"] = [image | {"version": version}]
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_whole_image_has_no_notes(tmp_path, version):
    volume = open_volume(ngff(tmp_path / "a.zarr", version=version))
    assert volume.notes == ()
    assert len(volume.levels) == 1


def test_a_negative_scale_opens_with_its_size_and_zero_is_not_known(tmp_path):
    volume = open_volume(ngff(tmp_path / "a.zarr", scale=(2.0, -0.5, 0.5)))
    assert volume.axes.scale == (2.0, 0.5, 0.5)
    assert "negative scale along Y" in volume.notes[0]
    volume = open_volume(ngff(tmp_path / "b.zarr", scale=(0.0, 0.5, 1e300)))
    assert (volume.axes.scale, volume.axes.units) == ((1, 0.5, 1), ("pixel", "micrometer", "pixel"))
    assert "0 micrometer along Z, 1e+300 micrometer along X, which no image has" in volume.notes[0]


@pytest.mark.parametrize("version", ["0.6", "0.6.dev3", "1.0", 7])
def test_a_version_that_is_not_known_is_refused_by_name(tmp_path, version):
    path = ngff(tmp_path / "a.zarr")
    group = zarr.open_group(path, mode="a")
    group.attrs["ome"] = dict(group.attrs["ome"]) | {"version": version}
    with pytest.raises(
        LimnError, match=rf"a\.zarr: found OME-Zarr of version {version}, expected 0\.1 to 0\.5"
    ):
        open_volume(path)


def test_coordinate_systems_and_rotations_are_refused_by_name(tmp_path):
    systems = ngff(tmp_path / "a.zarr", coordinateSystems=[{"name": "world"}])
    with pytest.raises(LimnError, match=r"a\.zarr: found coordinate systems"):
        open_volume(systems)
    turned = ngff(
        tmp_path / "b.zarr", coordinateTransformations=[{"type": "rotation", "rotation": [1, 0, 0, 1]}]
    )
    with pytest.raises(LimnError, match=r"b\.zarr: found a coordinate transformation of type 'rotation'"):
        open_volume(turned)


def test_levels_that_are_no_copies_are_left_out_and_said(tmp_path):
    path = ngff(tmp_path / "a.zarr")
    shutil.rmtree(path / "1")
    zarr.open_group(path, mode="a").create_array("1", data=np.zeros((3, 20, 24), np.float32))
    volume = open_volume(path)
    assert volume.levels == ()
    assert "1 coarser levels of another type" in volume.notes[0]


def test_chunks_that_are_not_there_are_counted_and_labels_may_lack_them(tmp_path):
    path = ngff(tmp_path / "a.zarr")
    shutil.rmtree(path / "0" / "c" / "0")  # 1 of 3 layers of chunks
    (note,) = open_volume(path).notes
    assert note.startswith("a.zarr: found 33 % of the voxels never written, which are read as 0")
    assert volume_info(path)["notes"] == [note]
    group = zarr.open_group(path, mode="a")
    group.attrs["ome"] = dict(group.attrs["ome"]) | {"image-label": {"colors": []}}
    assert open_volume(path).notes == ()


def test_shards_are_counted_as_what_lies_on_the_disk(tmp_path):
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=(8, 64, 64), chunks=(1, 16, 16), shards=(2, 64, 64), dtype="u1"
    )
    array[2:] = 7
    (note,) = open_volume(tmp_path / "a.zarr").notes
    assert "25 % of the voxels never written" in note


def test_several_images_of_a_folder_are_listed_and_each_can_be_opened(tmp_path):
    root = zarr.create_group(tmp_path / "a.zarr", zarr_format=3)
    root.attrs["ome"] = {"version": "0.5", "bioformats2raw.layout": 3}
    for number in range(3):
        ngff(tmp_path / "a.zarr" / str(number), IMAGE + number)
    with pytest.raises(LimnError, match=r"found 3 images \(0: 6 × 40 × 48, 1: .*, 2: .*\), expected one"):
        open_volume(tmp_path / "a.zarr")
    for number, entry in enumerate(images_at(tmp_path / "a.zarr")):
        assert (entry.key, entry.axes, entry.path) == (str(number), "ZYX", tmp_path / "a.zarr" / str(number))
        for volume in (open_volume(tmp_path / "a.zarr", image=number), open_volume(entry.path)):
            np.testing.assert_array_equal(volume.read(whole(volume.grid))[0, 0], IMAGE + number)
            assert volume.notes == ()
    path = ngff(tmp_path / "b.zarr")
    group = zarr.open_group(path, mode="a")
    ome = dict(group.attrs["ome"])
    group.attrs["ome"] = ome | {"multiscales": ome["multiscales"] * 2}
    assert [entry.key for entry in images_at(path)] == ["0", "1"]
    assert open_volume(f"{path}#1").grid == (1, *IMAGE.shape)
    with pytest.raises(LimnError, match="found 2 images"):
        open_volume(path)


def test_the_images_of_a_plate_have_paths_of_their_own(tmp_path):
    plate = zarr.create_group(tmp_path / "plate.zarr", zarr_format=3)
    wells = ["A/1", "B/2"]
    plate.attrs["ome"] = {"version": "0.5", "plate": {"wells": [{"path": path} for path in wells]}}
    for at, path in enumerate(wells):
        well = plate.create_group(path)
        well.attrs["ome"] = {"version": "0.5", "well": {"images": [{"path": "0"}, {"path": "1"}]}}
        for field in range(2):
            ngff(tmp_path / "plate.zarr" / path / str(field), IMAGE + 10 * at + field)
    entries = images_at(tmp_path / "plate.zarr")
    assert [entry.key for entry in entries] == ["A/1/0", "A/1/1", "B/2/0", "B/2/1"]
    for volume in (open_volume(tmp_path / "plate.zarr", image="B/2/1"), open_volume(entries[3].path)):
        assert volume.read(whole(volume.grid))[0, 0, 0, 0, 0] == IMAGE[0, 0, 0] + 11
    assert [entry.key for entry in images_at(tmp_path / "plate.zarr" / "A" / "1")] == ["0", "1"]
    with pytest.raises(LimnError, match=r"found 'C/1/0' as the image to choose, expected one of A/1/0"):
        open_volume(tmp_path / "plate.zarr", image="C/1/0")


@pytest.mark.parametrize("version", [2, 3])
def test_a_chunk_that_fills_the_memory_and_an_image_of_nothing_are_refused(tmp_path, version):
    zarr.create_array(
        tmp_path / "a.zarr",
        shape=(1 << 17, 1 << 17),
        chunks=(1 << 16, 1 << 16),
        dtype="u1",
        zarr_format=version,
    )
    with pytest.raises(LimnError, match=r"a\.zarr: found a chunk that takes 4\.3 GB"):
        open_volume(tmp_path / "a.zarr")
    zarr.create_array(
        tmp_path / "b.zarr", shape=(10**9,) * 3, chunks=(64, 64, 64), dtype="u1", zarr_format=version
    )
    with pytest.raises(
        LimnError, match=r"b\.zarr: the metadata claim about 10\^27 voxels, which are not there"
    ):
        open_volume(tmp_path / "b.zarr")


@pytest.mark.parametrize("version", [2, 3])
def test_a_codec_that_is_not_there_is_called_that(tmp_path, version):
    path = tmp_path / "a.zarr"
    zarr.create_array(path, data=IMAGE, zarr_format=version)
    file = path / ("zarr.json" if version == 3 else ".zarray")
    meta = json.loads(file.read_text())
    if version == 3:
        meta["codecs"][-1] = {"name": "no-such-codec", "configuration": {}}
    else:
        meta["compressor"] = {"id": "no-such-codec"}
    file.write_text(json.dumps(meta))
    with pytest.raises(
        LimnError, match=r"a\.zarr: found a compression that this installation cannot decode .*no-such-codec"
    ):
        open_volume(path).read(((0, 1), (0, 1), (0, 8), (0, 8)))


def test_metadata_nested_without_end_and_numbers_without_end_are_refused(tmp_path):
    for name, text in {
        "deep": "[" * 100_000,
        "big": '{"zarr_format": 3, "shape": [' + "9" * 400 + "]}",
    }.items():
        (tmp_path / f"{name}.zarr").mkdir()
        (tmp_path / f"{name}.zarr" / "zarr.json").write_text(text)
        with pytest.raises(LimnError, match=rf"^{name}\.zarr: found no readable Zarr"):
            open_volume(tmp_path / f"{name}.zarr")


def used(path):
    volume = open_volume(path)
    few = volume.nbytes < 1 << 22
    for box in [whole(volume.grid)] if few else sample_boxes(volume.grid, 3):
        volume.read(box)
    if few:
        volume_info(path)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    ngff(folder / "ome 0.4.zarr", version="0.4")
    ngff(folder / "ome 0.5.zarr")
    zarr.create_array(folder / "plain 2.zarr", data=IMAGE, chunks=(2, 16, 16), zarr_format=2)
    zarr.create_array(folder / "shards.zarr", data=IMAGE, chunks=(2, 8, 16), shards=(6, 40, 48))
    return folder


@pytest.mark.parametrize(
    "seeds", [range(25), pytest.param(range(25, 540), marks=pytest.mark.exhaustive)], ids=["some", "many"]
)
@pytest.mark.parametrize("name", ["ome 0.4", "ome 0.5", "plain 2", "shards"])
@pytest.mark.filterwarnings("ignore")
def test_damaged_stores_are_read_or_refused(stores, tmp_path, name, seeds):
    path = tmp_path / f"{name}.zarr"
    shutil.copytree(stores / path.name, path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    texts = [file for file in files if file.name.startswith((".z", "zarr.json"))]
    refused = 0
    for seed in seeds:
        rng = np.random.default_rng(seed)
        file = (texts if seed % 3 else files)[int(rng.integers(len(texts if seed % 3 else files)))]
        original = file.read_bytes()
        if file in texts and seed % 5:
            file.write_text(json.dumps(damaged_json(json.loads(original), seed)))
        else:
            file.write_bytes(damaged(original, seed))
        refused += outcome(lambda: used(path)) != "read"
        file.write_bytes(original)
    assert refused, "nothing was damaged enough to be refused"
