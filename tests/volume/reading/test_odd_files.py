"""Files that are odd or broken: each says what is odd, and its true cause."""

import json
import warnings

import numpy as np
import pytest
import tifffile
import zarr

from napari_limn.errors import LimnError
from napari_limn.volume.foreign import foreign
from napari_limn.volume.reading.open import open_volume

PLANE = np.arange(24, dtype=np.uint8).reshape(4, 6)
OME = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" '
    'DimensionOrder="XYZCT" Type="uint8" SizeX="6" SizeY="4" SizeZ="{planes}" SizeC="1" SizeT="1" {more}>'
    '<Channel ID="C:0" SamplesPerPixel="1"/>{files}</Pixels></Image></OME>'
)


def write_ome(path, planes=2, files="<TiffData/>", more="", xml=OME):
    text = xml.format(planes=planes, files=files, more=more)
    tifffile.imwrite(path, np.stack([PLANE] * 2), description=text, metadata=None, photometric="minisblack")
    return path


def rewritten(path, tag, value):
    """Put another number into a tag of the first page."""
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages.first.tags[tag].overwrite(value)
    return path


def refused(path):
    with pytest.raises(LimnError) as error:
        open_volume(path)
    assert str(error.value).startswith(path.name)
    assert str(error.value).endswith(".")
    return str(error.value)


@pytest.mark.parametrize("compression", [65000, 34676, 34661, 32766, 9, 40000])
def test_a_compression_that_is_missing_is_called_that_at_opening(tmp_path, compression):
    tifffile.imwrite(tmp_path / "a.tif", PLANE, compression="zlib")
    sentence = refused(rewritten(tmp_path / "a.tif", 259, compression))
    assert "compression that this installation cannot decode" in sentence
    assert "damaged" not in sentence


def test_a_predictor_that_is_missing_is_no_damage_either(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", PLANE, compression="zlib", predictor=True)
    assert "cannot decode" in refused(rewritten(tmp_path / "a.tif", 317, 77))


@pytest.mark.parametrize(
    "said", ["<COMPRESSION.JBIG: 34661> not supported", "codec not available: 'x'", "Unknown codec: 'x'"]
)
def test_what_libraries_say_of_a_missing_codec_is_understood(said):
    with (
        pytest.raises(LimnError, match="cannot decode"),
        foreign(lambda text: f"a.tif: damaged ({text}).", "a.tif"),
    ):
        raise ValueError(said)


def test_decoders_that_do_not_know_a_kind_of_data_are_no_damage():
    with pytest.raises(LimnError, match=r"a\.tif: .*cannot decode"), foreign(str, "a.tif"):
        raise NotImplementedError("JPEG with arithmetic coding")


def test_a_sentence_of_ours_that_names_no_file_gets_its_name(tmp_path):
    tifffile.imwrite(
        tmp_path / "six.tif",
        np.zeros((2, 2, 2, 2, 4, 4), "u1"),
        metadata={"axes": "QTCZYX"},
        photometric="minisblack",
    )
    assert refused(tmp_path / "six.tif").startswith("six.tif: found axes QTCZYX")


def test_a_header_without_an_image(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0\x08\0\0\0")
    assert "no image behind its header" in refused(tmp_path / "a.tif")


def test_the_file_of_a_set_that_is_missing_is_named(tmp_path):
    files = (
        '<TiffData FirstZ="{z}" IFD="0" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{z}</UUID></TiffData>'
    )
    both = files.format(z=0, name="a.ome.tif") + files.format(z=1, name="b.ome.tif")
    write_ome(tmp_path / "a.ome.tif", files=both, xml=OME.replace("<OME ", '<OME UUID="urn:uuid:0" '))
    assert "'b.ome.tif' beside it, which is missing" in refused(tmp_path / "a.ome.tif")


def test_planes_that_only_the_description_knows_are_no_missing_file(tmp_path):
    sentence = refused(write_ome(tmp_path / "a.ome.tif", planes=9))
    assert "7 planes fewer than its OME-XML describes" in sentence
    assert "beside" not in sentence


def test_a_description_that_cannot_be_read_is_reported(tmp_path):
    volume = open_volume(write_ome(tmp_path / "a.ome.tif", xml=OME.replace("</Image>", "")))
    assert volume.grid == (1, 2, 4, 6)
    assert [note for note in volume.notes if "OME-XML) that cannot be read" in note]


def test_a_unit_that_is_not_known_is_reported_alike_for_all_formats(tmp_path):
    size = 'PhysicalSizeX="0.5" PhysicalSizeXUnit="furlong" PhysicalSizeY="0.5" PhysicalSizeYUnit="furlong"'
    write_ome(tmp_path / "a.ome.tif", more=size)
    tifffile.imwrite(tmp_path / "b.tif", PLANE, imagej=True, resolution=(2, 2), metadata={"unit": "furlong"})
    axes = [{"name": a, "type": "space", "unit": "furlong"} for a in "yx"]
    scale = [{"type": "scale", "scale": [0.5, 0.5]}]
    group = zarr.create_group(tmp_path / "c.zarr", zarr_format=3)
    group.create_array("0", data=PLANE)
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    for name in ("a.ome.tif", "b.tif", "c.zarr"):
        volume = open_volume(tmp_path / name)
        assert volume.axes.scale[-2:] == (1.0, 1.0)
        assert volume.axes.units[-2:] == ("pixel", "pixel")
        (note,) = (note for note in volume.notes if "unit" in note)
        assert note.startswith(f"{name}: found the unit 'furlong', which is not known; its voxel size along ")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_to_be_shown_turned_are_reported(tmp_path, orientation):
    tifffile.imwrite(tmp_path / "a.tif", PLANE, extratags=[(274, "H", 1, orientation, True)])
    volume = open_volume(tmp_path / "a.tif")
    assert bool(volume.notes) == (orientation != 1)
    np.testing.assert_array_equal(volume.read(((0, 1), (0, 1), (0, 4), (0, 6)))[0, 0, 0], PLANE)


def test_axes_that_are_not_understood_are_reported(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", data=PLANE, dimension_names=["row", "col"])
    assert "found axes with the letters 'RC'" in open_volume(tmp_path / "a.zarr").notes[0]
    assert open_volume(tmp_path / "a.zarr", "YX").notes == ()
    zarr.create_array(tmp_path / "b.zarr", data=PLANE)
    assert open_volume(tmp_path / "b.zarr").notes == ()


def test_metadata_of_both_zarr_formats_are_reported_without_a_warning(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", data=PLANE)
    (tmp_path / "a.zarr/.zarray").write_text(json.dumps({"zarr_format": 2}))
    zarr.create_group(tmp_path / "b.zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "Zarr 2 and of Zarr 3" in open_volume(tmp_path / "a.zarr").notes[0]
