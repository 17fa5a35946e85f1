"""What a TIFF holds besides the image that is opened is told; sizes are read along each axis."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile

from napari_limn import LimnError, open_volume
from napari_limn.annotation.checkup import checkup
from napari_limn.report.info import volume_info
from napari_limn.volume.reading.open import identity, images_at
from napari_limn.volume.volume import Volume, stack_channels

STACK = np.arange(4 * 30 * 40, dtype=np.uint16).reshape(4, 30, 40)


def pages(path, *arrays, metadata=(), **options):
    more = {"metadata": None} if metadata is None else {}
    with tifffile.TiffWriter(path, **options) as writer:
        for array in arrays:
            writer.write(array, contiguous=False, photometric="minisblack", **more)
    return path


def test_one_image_has_no_notes(tmp_path):
    for name, options in {"a.tif": {}, "b.ome.tif": {}, "c.tif": {"imagej": True}}.items():
        tifffile.imwrite(tmp_path / name, STACK, **options)
        assert open_volume(tmp_path / name).notes == ()


@pytest.mark.parametrize("ome", [False, True])
def test_several_images_are_listed_and_each_can_be_opened(tmp_path, ome):
    arrays = STACK[0, :10], STACK, STACK[0, :5, :7]
    path = pages(tmp_path / ("a.ome.tif" if ome else "a.tif"), *arrays, ome=ome)
    with pytest.raises(
        LimnError, match=r"found 3 images \(0: 10 × 40.*, 1: 4 × 30 × 40.*, 2: 5 × 7.*--image 2"
    ):
        open_volume(path)
    said = volume_info(path)
    assert [one["shape"] for one in said["images"]] == [list(array.shape) for array in arrays]
    assert "choose one with --image" in said["text"]
    for number, array in enumerate(arrays):
        for chosen in (open_volume(path, image=number), open_volume(f"{path}#{number}")):
            np.testing.assert_array_equal(np.asarray(chosen.data[...]), array)
            assert chosen.notes == ()
            assert identity(chosen).count(f"#{number}") == 1
    with pytest.raises(LimnError, match="found '3' as the image to choose, expected one of 0:"):
        open_volume(f"{path}#3")


def test_a_file_that_is_called_like_a_choice_is_that_file(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK, photometric="minisblack")
    tifffile.imwrite(tmp_path / "a.tif#0.tif", STACK[:2], photometric="minisblack")
    assert open_volume(tmp_path / "a.tif#0.tif").grid == (1, 2, 30, 40)
    assert open_volume(tmp_path / "a.tif#0").grid == (1, 4, 30, 40)
    assert images_at(tmp_path / "a.tif")[0].path == tmp_path / "a.tif"


def test_planes_that_count_on_without_a_page_of_another_size_are_told(tmp_path):
    path = pages(tmp_path / "a.tif", *STACK[:2], STACK[2, 3:], STACK[3], metadata=None)
    volume = open_volume(path, image=0)
    assert volume.grid == (1, 3, 30, 40)
    assert "found pages of other sizes between the planes" in volume.notes[0]
    assert (
        open_volume(pages(tmp_path / "b.tif", *STACK[:3], STACK[3, 3:], metadata=None), image=0).notes == ()
    )


def test_a_checkup_reports_what_is_in_the_file_and_training_warns(tmp_path):
    pages(tmp_path / "a.tif", *STACK[:2], STACK[2, 3:], STACK[3], metadata=None)
    volume = open_volume(tmp_path / "a.tif", image=0)
    painted = np.zeros((3, 30, 40), np.uint8)
    painted[:, 2:8], painted[:, 12:18] = 1, 2
    (finding,) = [f for f in checkup(volume, Volume.of(painted)) if f.kind == "file"]
    assert not finding.stops
    assert "pages of other sizes" in finding.sentence


def test_strips_that_were_never_written_are_counted(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK, compression="zlib", rowsperstrip=3, photometric="minisblack")
    with tifffile.TiffFile(path) as tif:
        tags = [page.tags["StripByteCounts"] for page in tif.pages]
        places = [(tag.valueoffset, {3: 2, 4: 4}[int(tag.dtype)]) for tag in tags]
    data = bytearray(path.read_bytes())
    start, width = places[1]
    data[start : start + 4 * width] = bytes(4 * width)  # 4 of 4 × 10 strips
    path.write_bytes(data)
    assert open_volume(path).notes == (
        "a.tif: found 10 % of the voxels never written, which are read as 0; if they should be there, copy or save the image again.",
    )


@pytest.mark.parametrize(("ramp", "count"), [(True, 0), (False, 1)])
def test_only_indexed_colour_that_is_no_grey_ramp_is_told(tmp_path, ramp, count):
    table = np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))
    if not ramp:
        table[1] = table[1, ::-1]
    tifffile.imwrite(tmp_path / "a.tif", STACK[0].astype(np.uint8), photometric="palette", colormap=table)
    assert sum("indexed colour" in note for note in open_volume(tmp_path / "a.tif").notes) == count


@pytest.mark.parametrize(
    ("metadata", "scale", "units"),
    [
        (
            {"unit": "nm", "zunit": "\\u00B5m", "spacing": 0.5},
            (0.5, 100, 100),
            ("micrometer", "nanometer", "nanometer"),
        ),
        (
            {"unit": "\\u00B5m", "yunit": "nm", "spacing": 2.0},
            (2, 100, 100),
            ("micrometer", "nanometer", "micrometer"),
        ),
        ({"unit": "\\u03BCm", "spacing": -0.25}, (0.25, 100, 100), ("micrometer",) * 3),
        ({"unit": "\\u00C5", "spacing": 5.0}, (5, 100, 100), ("angstrom",) * 3),
        ({"unit": "furlong", "zunit": "mm", "spacing": 5.0}, (5, 1, 1), ("millimeter", "pixel", "pixel")),
    ],
)
def test_imagej_has_a_unit_for_each_axis(tmp_path, metadata, scale, units):
    tifffile.imwrite(
        tmp_path / "a.tif", STACK, imagej=True, resolution=(0.01, 0.01), metadata=metadata | {"axes": "ZYX"}
    )
    axes = open_volume(tmp_path / "a.tif").axes
    np.testing.assert_allclose(axes.scale, scale)
    assert axes.units == units


def test_sizes_that_no_image_has_are_not_known_and_said_once(tmp_path):
    sizes = {"PhysicalSizeX": 1e300, "PhysicalSizeY": 1e-300, "PhysicalSizeZ": 0.7}
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK, metadata=sizes | {"axes": "ZYX"})
    volume = open_volume(tmp_path / "a.ome.tif")
    assert (volume.axes.scale, volume.axes.units) == ((0.7, 1, 1), ("micrometer", "pixel", "pixel"))
    (note,) = volume.notes
    assert "1e-300 micrometer along Y, 1e+300 micrometer along X, which no image has" in note


@pytest.mark.parametrize(
    ("shape", "names"), [((1, 1, 1, 9, 8), "CTZYX"), ((1, 5, 1, 9, 8), "CZTYX"), ((3, 5, 1, 9, 8), "TZCYX")]
)
def test_axes_of_one_need_no_name(tmp_path, shape, names):
    path = tmp_path / "b.tif"
    tifffile.imwrite(path, np.ones(shape, np.uint8), photometric="minisblack")
    volume = open_volume(path)
    assert volume.axes.names == names
    assert volume.data.shape == shape


def test_more_strips_than_the_file_has_bytes_and_tiles_that_fill_the_memory_are_refused(tmp_path):
    def tiff(*tags):
        body = b"".join(struct.pack("<HHII", *tag) for tag in tags)
        return (
            struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(tags)) + body + bytes(4) + bytes(200)
        )

    shape = [(256, 4, 1, 8), (257, 4, 1, 60_000), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1)]
    (tmp_path / "a.tif").write_bytes(
        tiff(*shape, (273, 4, 60_000, 90), (277, 3, 1, 1), (278, 3, 1, 1), (279, 4, 60_000, 90))
    )
    with pytest.raises(LimnError, match=r"^a\.tif: ") as refused:
        open_volume(tmp_path / "a.tif")
    assert "60,000 tiles or strips" in str(refused.value)
    big = [(256, 4, 1, 40_000), (257, 4, 1, 40_000), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1)]
    (tmp_path / "b.tif").write_bytes(
        tiff(*big, (273, 4, 1, 130), (277, 3, 1, 1), (278, 4, 1, 40_000), (279, 4, 1, 60))
    )
    with pytest.raises(LimnError, match=r"b\.tif: found a tile or strip that takes 1\.6 GB"):
        open_volume(tmp_path / "b.tif")


def test_notes_go_with_channels_that_are_stacked(tmp_path):
    one = open_volume(pages(tmp_path / "a.tif", STACK[0], STACK[1, 3:], STACK[2], metadata=None), image=0)
    assert one.notes
    assert stack_channels([one, one]).notes == one.notes


def test_complex_numbers_stop_a_checkup_as_they_stop_training_and_nan_are_counted():
    painted = np.zeros((40, 40), np.uint8)
    painted[2:8], painted[12:18] = 1, 2
    image = np.random.default_rng(0).random((40, 40))
    findings = checkup(Volume.of(image + 1j), Volume.of(painted))
    assert [f.kind for f in findings if f.stops] == ["numbers"]
    assert "complex128" in findings[0].sentence
    image[:4], image[5] = np.nan, np.inf
    (finding,) = [f for f in checkup(Volume.of(image), Volume.of(painted)) if f.kind == "numbers"]
    assert "12 % of the voxels without a finite number" in finding.sentence
    assert not finding.stops


@pytest.mark.parametrize("name", ["a.svs", "a.lsm", "scan"])
def test_a_tiff_is_one_whatever_it_is_called(tmp_path, name):
    tifffile.imwrite(tmp_path / "a.tif", STACK, photometric="minisblack", bigtiff=name == "a.svs")
    (tmp_path / "a.tif").rename(tmp_path / name)
    np.testing.assert_array_equal(np.asarray(open_volume(tmp_path / name).data[...]), STACK)
    (tmp_path / "b.czi").write_bytes(b"ZISRAWFILE")
    with pytest.raises(LimnError, match=r"b\.czi: found suffix '\.czi', expected \.tif"):
        open_volume(tmp_path / "b.czi")
    (tmp_path / "c.companion.ome").write_text("<OME/>")
    with pytest.raises(LimnError, match="description of an OME-TIFF set.*choose a TIFF of the set"):
        open_volume(tmp_path / "c.companion.ome")


def test_a_list_of_pages_without_an_end_is_called_that(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK, photometric="minisblack", metadata=None)
    with tifffile.TiffFile(path) as tif:
        first, last = tif.pages[0].offset, tif.pages[-1].offset
        count = len(tif.pages[-1].tags)
    data = bytearray(path.read_bytes())
    data[last + 2 + 12 * count : last + 6 + 12 * count] = first.to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(LimnError, match="leads back to its beginning"):
        open_volume(path)


def test_info_says_what_keeps_an_image_from_being_used(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK.astype(np.complex64), photometric="minisblack")
    said = volume_info(tmp_path / "a.tif")
    assert any("complex" in note for note in said["notes"])
    assert "complex" in said["text"].splitlines()[-1]
