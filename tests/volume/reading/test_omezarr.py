from __future__ import annotations

import json

import numpy as np
import pytest
import zarr

from napari_limn.errors import LimnError
from napari_limn.volume.boxes import whole
from napari_limn.volume.reading.omezarr import open_zarr
from napari_limn.volume.reading.open import open_volume

DATA = np.arange(2 * 4 * 8 * 10, dtype=np.uint16).reshape(2, 4, 8, 10)
CZYX = [
    {"name": "c", "type": "channel"},
    {"name": "z", "type": "space", "unit": "micrometer"},
    {"name": "y", "type": "space", "unit": "nanometer"},
    {"name": "x", "type": "space", "unit": "nanometer"},
]
SCALE = {"type": "scale", "scale": [1, 2.0, 0.5, 0.25]}


def image(datasets=None, **more):
    if datasets is None:
        datasets = [{"path": "0", "coordinateTransformations": [SCALE]}]
    return {"axes": CZYX, "datasets": datasets, **more}


def write(path, multiscale, version="0.5", levels=(1,), data=DATA, **more):
    """An OME-Zarr group with one array for each downsampling step of `levels`."""
    group = zarr.create_group(path, zarr_format=3 if version == "0.5" else 2)
    for number, step in enumerate(levels):
        part = data[..., ::step, ::step]
        group.create_array(
            str(number), shape=part.shape, chunks=(1, 2, 4, 5)[-part.ndim :], dtype=part.dtype
        )[:] = part
    meta = {"multiscales": [multiscale], **more}
    group.attrs.update({"ome": {"version": "0.5", **meta}} if version == "0.5" else meta)
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_scale_units_and_values(tmp_path, version):
    volume = open_zarr(write(tmp_path / "brain.zarr", image(), version))
    assert (volume.name, volume.axes.names, volume.channels, volume.grid) == (
        "brain.zarr",
        "CZYX",
        2,
        (1, 4, 8, 10),
    )
    assert volume.axes.scale == (1.0, 2.0, 0.5, 0.25)
    assert volume.axes.units == ("pixel", "micrometer", "nanometer", "nanometer")
    assert volume.axes.translate == (0.0, 0.0, 0.0, 0.0)
    assert volume.colors is None
    assert isinstance(volume.data, zarr.Array)
    np.testing.assert_array_equal(volume.read(whole(volume.grid))[:, 0], DATA)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_translation_and_what_is_common_to_all_levels(tmp_path, version):
    own = [SCALE, {"type": "translation", "translation": [0, 1.0, 2.0, 3.0]}]
    common = [
        {"type": "scale", "scale": [1, 10, 10, 10]},
        {"type": "translation", "translation": [0, 0.5, 0.5, 0.5]},
    ]
    datasets = [{"path": "0", "coordinateTransformations": own}]
    axes = open_zarr(
        write(tmp_path / "a.zarr", image(datasets, coordinateTransformations=common), version)
    ).axes
    assert axes.scale == (1.0, 20.0, 5.0, 2.5)
    assert axes.translate == (0.0, 10.5, 20.5, 30.5)


def test_levels_are_in_the_order_of_the_metadata(tmp_path):
    datasets = [{"path": str(n), "coordinateTransformations": [SCALE]} for n in range(3)]
    volume = open_zarr(write(tmp_path / "a.zarr", image(datasets), levels=(1, 2, 4)))
    assert volume.data.shape == DATA.shape
    assert [level.shape for level in volume.levels] == [(2, 4, 4, 5), (2, 4, 2, 3)]


def test_a_level_that_is_missing_is_named(tmp_path):
    datasets = [{"path": str(n), "coordinateTransformations": [SCALE]} for n in range(2)]
    with pytest.raises(
        LimnError, match=r"a\.zarr: level '1' is named in the metadata but missing.*copy it again"
    ):
        open_zarr(write(tmp_path / "a.zarr", image(datasets)))


def test_a_level_that_is_a_group_is_refused(tmp_path):
    path = write(tmp_path / "a.zarr", image([{"path": "deep"}]))
    zarr.open_group(path).create_group("deep")
    with pytest.raises(LimnError, match=r"a\.zarr: level 'deep' is a group, expected an array"):
        open_zarr(path)


def test_a_level_in_a_subfolder(tmp_path):
    path = write(
        tmp_path / "a.zarr", image([{"path": "s0/data", "coordinateTransformations": [SCALE]}]), levels=()
    )
    zarr.open_group(path).create_array("s0/data", shape=DATA.shape, dtype=DATA.dtype)[:] = DATA
    np.testing.assert_array_equal(open_zarr(path).read(((0, 1), (0, 4), (0, 8), (0, 10)))[:, 0], DATA)


def test_label_colours_come_as_shares_of_one(tmp_path):
    colors = [{"label-value": 1, "rgba": [255, 0, 51, 255]}, {"label-value": 7, "rgba": [0, 255, 0, 0]}]
    path = write(tmp_path / "a.zarr", image(), **{"image-label": {"colors": colors}})
    assert open_zarr(path).colors == {1: (1.0, 0.0, 0.2, 1.0), 7: (0.0, 1.0, 0.0, 0.0)}


def test_a_label_image_without_colours_is_still_a_label_image(tmp_path):
    assert open_zarr(write(tmp_path / "a.zarr", image(), "0.4", **{"image-label": {}})).colors == {}
    rows = [{"label-value": 2}, {"label-value": 3, "rgba": [1, 2, 3]}]
    path = write(tmp_path / "b.zarr", image(), **{"image-label": {"colors": rows}})
    assert open_zarr(path).colors == {}


def test_before_0_3_the_axes_were_fixed(tmp_path):
    data = np.zeros((1, 2, 4, 8, 10), np.uint8)
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    group.create_array("0", shape=data.shape, dtype=data.dtype)
    group.attrs.update({"multiscales": [{"version": "0.2", "datasets": [{"path": "0"}]}]})
    volume = open_zarr(tmp_path / "a.zarr")
    assert (volume.axes.names, volume.channels, volume.grid) == ("TCZYX", 2, (1, 4, 8, 10))
    assert volume.axes.units == ("pixel",) * 5


def test_in_0_3_axes_were_plain_letters(tmp_path):
    path = write(tmp_path / "a.zarr", {"axes": ["c", "z", "y", "x"], "datasets": [{"path": "0"}]}, "0.4")
    assert open_zarr(path).axes.names == "CZYX"


def test_long_axis_names_count_by_their_first_letter(tmp_path):
    axes = [{"name": "time"}, {"name": "channel"}, {"name": "y"}, {"name": "x"}]
    assert open_zarr(write(tmp_path / "a.zarr", image() | {"axes": axes})).axes.names == "TCYX"


def test_the_persons_axes_override_those_of_the_metadata(tmp_path):
    volume = open_zarr(write(tmp_path / "a.zarr", image()), "tzyx")
    assert (volume.grid, volume.axes.scale) == ((2, 4, 8, 10), (1.0, 2.0, 0.5, 0.25))
    with pytest.raises(LimnError, match="name 4 axes"):
        open_zarr(tmp_path / "a.zarr", "ZYX")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_plain_array(tmp_path, zarr_format):
    path = tmp_path / "plain.zarr"
    zarr.create_array(path, shape=(4, 8, 10), dtype="uint16", zarr_format=zarr_format)[:] = DATA[0]
    volume = open_zarr(path)
    assert (volume.axes.names, volume.name) == ("ZYX", "plain.zarr")
    np.testing.assert_array_equal(volume.read(whole(volume.grid))[0, 0], DATA[0])
    assert open_zarr(path, "CYX").channels == 4


@pytest.mark.parametrize(
    ("named", "names", "channels"),
    [
        (("c", "y", "x"), "CYX", 4),
        (("time", "y", "x"), "TYX", 1),
        (None, "ZYX", 1),
        ((None, "y", "x"), "ZYX", 1),
        (("dim_0", "dim_1", "dim_2"), "ZYX", 1),
        (("channel", "row", "column"), "ZYX", 1),
    ],
)
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_plain_array_may_name_its_axes(tmp_path, named, names, channels, zarr_format):
    told = {"dimension_names": named} if zarr_format == 3 else {"attributes": {"_ARRAY_DIMENSIONS": named}}
    zarr.create_array(tmp_path / "a.zarr", shape=(4, 8, 10), dtype="uint16", zarr_format=zarr_format, **told)
    volume = open_zarr(tmp_path / "a.zarr")
    assert (volume.axes.names, volume.channels) == (names, channels)


def test_a_size_in_a_unit_that_nobody_knows_says_nothing(tmp_path):
    steps = [SCALE, {"type": "translation", "translation": [0, 1.0, 2.0, 3.0]}]
    known = [*CZYX[:2], CZYX[2] | {"unit": "picometer"}, CZYX[3] | {"unit": "furlong"}]
    meta = {"axes": known, "datasets": [{"path": "0", "coordinateTransformations": steps}]}
    axes = open_zarr(write(tmp_path / "a.zarr", meta)).axes
    assert axes.units == ("pixel", "micrometer", "picometer", "pixel")
    assert axes.scale == (1.0, 2.0, 0.5, 1.0)
    assert axes.translate == (0.0, 1.0, 2.0, 0.0)


def test_a_scale_of_another_length_is_refused(tmp_path):
    step = {"type": "scale", "scale": [0.5, 0.5]}
    path = write(tmp_path / "a.zarr", image([{"path": "0", "coordinateTransformations": [step]}]))
    with pytest.raises(LimnError, match=r"a\.zarr: found broken.*a scale of 2 numbers for 4 axes"):
        open_zarr(path)


def test_a_group_without_an_image_names_its_members(tmp_path):
    group = zarr.create_group(tmp_path / "a.zarr")
    with pytest.raises(
        LimnError, match=r"a\.zarr: found a Zarr group without multiscale metadata.*it has none"
    ):
        open_zarr(tmp_path / "a.zarr")
    group.create_array("raw", shape=(4, 4), dtype="uint8")
    with pytest.raises(LimnError, match=r"choose one of its members \(raw\)"):
        open_zarr(tmp_path / "a.zarr")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_series_0_of_a_bioformats2raw_layout(tmp_path, version):
    outer = zarr.create_group(tmp_path / "a.zarr", zarr_format=3 if version == "0.5" else 2)
    outer.attrs.update({"bioformats2raw.layout": 3})
    write(tmp_path / "a.zarr" / "0", image(), version)
    volume = open_zarr(tmp_path / "a.zarr")
    assert volume.name == "a.zarr"
    np.testing.assert_array_equal(volume.read(whole(volume.grid))[:, 0], DATA)


def test_a_folder_that_is_no_zarr_is_refused(tmp_path):
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(LimnError, match=r"empty\.zarr: found no readable Zarr .*expected an OME-Zarr folder"):
        open_zarr(tmp_path / "empty.zarr")
    (tmp_path / "empty.zarr" / "zarr.json").write_text("{")
    with pytest.raises(LimnError, match=r"empty\.zarr: found no readable Zarr"):
        open_zarr(tmp_path / "empty.zarr")


def test_a_damaged_chunk_is_told_when_it_is_read(tmp_path):
    path = write(tmp_path / "a.zarr", image())
    chunk = path / "0" / "c" / "1" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:10])
    volume = open_zarr(path)
    with pytest.raises(LimnError, match=r"a\.zarr: the file is damaged or cut off, box"):
        volume.read(((0, 1), (0, 1), (0, 1), (0, 1)))
    np.testing.assert_array_equal(volume.read(((0, 1), (2, 4), (0, 8), (0, 10)))[:, 0], DATA[:, 2:])


BROKEN = {
    "no datasets": {"axes": CZYX},
    "no levels": {"axes": CZYX, "datasets": []},
    "level without path": {"axes": CZYX, "datasets": [{}]},
    "path that climbs": {"axes": CZYX, "datasets": [{"path": "../b"}]},
    "unit that is a number": image() | {"axes": [{"name": "c", "unit": 3}, *CZYX[1:]]},
    "scale of words": image(
        [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": list("abcd")}]}]
    ),
    "no transformations": image([{"path": "0", "coordinateTransformations": None}]),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_metadata_open_or_are_refused_by_name(tmp_path, what):
    path = write(tmp_path / "a.zarr", BROKEN[what])
    try:
        told = str(open_zarr(path).data.shape)
    except LimnError as error:
        told = str(error)
    assert told == str(DATA.shape) or "a.zarr" in told


@pytest.mark.parametrize(
    "labels",
    [
        None,
        {"colors": [{"rgba": [1, 2, 3, 4]}]},
        {"colors": [5]},
        {"properties": 5},
        {"properties": [5, {"label-value": "x", "class": "a"}, {"class": "b"}]},
    ],
)
def test_broken_label_metadata_do_not_keep_an_image_from_opening(tmp_path, labels):
    assert open_zarr(write(tmp_path / "a.zarr", image(), **{"image-label": labels})).data.shape == DATA.shape


def test_metadata_of_the_wrong_kind_are_refused(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "zarr.json").write_text("[]")
    with pytest.raises(LimnError, match=r"a\.zarr"):
        open_zarr(tmp_path / "a.zarr")


@pytest.mark.parametrize("scale", [[1, 0, 1, 1], [1, 1e300, 1, 1], [1, float("nan"), 1, 1]])
def test_a_voxel_size_that_makes_no_sense_is_not_known_and_said(tmp_path, scale):
    step = {"type": "scale", "scale": scale}
    volume = open_zarr(
        write(tmp_path / "a.zarr", image([{"path": "0", "coordinateTransformations": [step]}]), "0.4")
    )
    assert volume.axes.scale == (1, 1, 1, 1)
    assert volume.axes.units[1] == "pixel"
    assert any("along Z, which no image has" in note for note in volume.notes)


def test_fewer_axes_than_dimensions_are_refused(tmp_path):
    with pytest.raises(LimnError, match="expected"):
        open_zarr(write(tmp_path / "a.zarr", image([{"path": "0"}]) | {"axes": CZYX[1:]}))


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "names", "grid", "channels", "levels"),
    [
        ("fractal_cardiomyocytes_v04.zarr", "CZYX", (1, 1, 1080, 1280), 3, 2),
        ("viv_blobs_v04.ome.zarr", "CYX", (1, 1, 12, 12), 3, 0),
        ("viv_blobs_v05.ome.zarr", "CYX", (1, 1, 12, 12), 3, 0),
        ("ome_zarr_py_v1", "TCZYX", (1, 1, 16, 16), 2, 0),
        ("ome_zarr_py_v2", "TCZYX", (1, 1, 16, 16), 2, 0),
        ("viv_bioformats2raw/data.zarr", "TCZYX", (1, 1, 167, 439), 3, 1),
        ("fractal_cardiomyocytes_v04.zarr/labels/nuclei", "ZYX", (1, 1, 1080, 1280), 1, 2),
    ],
)
def test_real_ome_zarrs(real_data, name, names, grid, channels, levels):
    volume = open_volume(real_data / "files" / "zarr" / name)
    found = (volume.axes.names, volume.grid, volume.channels, len(volume.levels))
    assert found == (names, grid, channels, levels)
    assert volume.read(tuple((0, min(n, 32)) for n in grid)).any()


@pytest.mark.real
def test_real_voxel_size_and_label_kind(real_data):
    path = real_data / "files/zarr/fractal_cardiomyocytes_v04.zarr"
    assert open_zarr(path).axes.spacing == (1.0, 0.65, 0.65)
    assert open_zarr(path).axes.units[1:] == ("micrometer",) * 3
    assert open_zarr(path).colors is None
    assert open_zarr(path / "labels/nuclei").colors == {}


@pytest.mark.real
def test_real_group_of_plain_arrays_says_which_to_choose(real_data):
    path = real_data / "files/zarr/dimension_order.zarr"
    with pytest.raises(LimnError, match="c-order, f-order"):
        open_zarr(path)
    declared = json.loads((path / "f-order" / ".zarray").read_text())
    assert declared["order"] == "F"
    one, two = (open_zarr(path / name) for name in ("c-order", "f-order"))
    np.testing.assert_array_equal(one.read(whole(one.grid)), two.read(whole(two.grid)))
