"""TIFFs of every kind: read piece by piece, as they are, or refused."""

from __future__ import annotations

import csv
import gc
import warnings

import numpy as np
import pytest
import tifffile
import zarr
from tiffs import STACK, everything, write

from napari_limn.errors import LimnError
from napari_limn.volume.reading.mapped import MappedArray
from napari_limn.volume.reading.open import open_volume
from napari_limn.volume.reading.tiff import open_tiff

NOISE = np.random.default_rng(0).integers(0, 255, (5, 64, 64)).astype(np.uint8)

SPLIT_XML = """<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{own}">
<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8"
 SizeX="8" SizeY="8" SizeZ="2" SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>
<TiffData IFD="0" FirstZ="0" PlaneCount="1"><UUID FileName="a.tif">urn:uuid:1</UUID></TiffData>
<TiffData IFD="{ifd}" FirstZ="1" PlaneCount="1"><UUID {name}>urn:uuid:2</UUID></TiffData>
</Pixels></Image></OME>"""


def cut(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def split_set(folder, second_name, ifd=0):
    """a.tif, an OME-TIFF of two planes, the second of which is in the file that `second_name` names."""
    folder.mkdir(exist_ok=True)
    for name, own, values in (("a.tif", 1, (3, 4)), ("b.tif", 2, (5, 6))):
        xml = SPLIT_XML.format(own=own, ifd=ifd, name=second_name)
        planes = np.stack([np.full((8, 8), v, np.uint8) for v in values[: ifd + 1]])
        tifffile.imwrite(folder / name, planes, description=xml, metadata=None, photometric="minisblack")
    return folder / "a.tif"


def test_contiguous_data_are_mapped(tmp_path):
    volume = open_tiff(write(tmp_path / "a.tif"))
    assert isinstance(volume.data, MappedArray)
    assert (volume.name, volume.axes.names, volume.dtype) == ("a.tif", "ZYX", np.uint16)
    np.testing.assert_array_equal(everything(volume)[0, 0], STACK)


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zlib"},
        {"compression": "lzw"},
        {"compression": "zstd", "predictor": True},
        {"tile": (16, 16)},
        {"tile": (16, 16), "compression": "zlib", "ome": True, "metadata": {"axes": "ZYX"}},
        {"bigtiff": True, "compression": "deflate", "rowsperstrip": 7},
    ],
)
def test_compressed_and_tiled_data_come_through_a_chunked_store(tmp_path, options):
    volume = open_tiff(write(tmp_path / "a.tif", **options))
    assert isinstance(volume.data, zarr.Array)
    np.testing.assert_array_equal(everything(volume)[0, 0], STACK)
    part = volume.read(((0, 1), (1, 3), (5, 30), (17, 18)))
    np.testing.assert_array_equal(part[0, 0], STACK[1:3, 5:30, 17:18])


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_big_endian_files(tmp_path, compression):
    volume = open_tiff(write(tmp_path / "a.tif", byteorder=">", compression=compression))
    read = everything(volume)
    assert read.dtype.isnative
    np.testing.assert_array_equal(read[0, 0], STACK)


def test_opening_and_walking_through_200_mb_does_not_fill_the_memory(tmp_path):
    psutil = pytest.importorskip("psutil")
    path = tmp_path / "large.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(None, shape=(200, 1024, 1024), dtype="uint8", photometric="minisblack")
    process = psutil.Process()
    open_tiff(write(tmp_path / "small.tif"))
    before = process.memory_info().rss
    volume = open_tiff(path)
    assert isinstance(volume.data, MappedArray)
    assert volume.nbytes == 200 << 20
    opened = process.memory_info().rss
    assert opened - before < 10 << 20
    for z in range(200):
        assert volume.read(((0, 1), (z, z + 1), (0, 1024), (0, 1024))).shape == (1, 1, 1, 1024, 1024)
    assert process.memory_info().rss - before < 40 << 20


@pytest.mark.parametrize(("ome", "shape"), [(True, (3, 64, 64)), (False, (64, 64))])
def test_pyramid_levels_from_subifds(tmp_path, ome, shape):
    path = tmp_path / "a.tif"
    base = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    options = {"tile": (16, 16), "photometric": "minisblack"}
    with tifffile.TiffWriter(path, ome=ome) as writer:
        writer.write(base, subifds=2, metadata={"axes": "ZYX"[-base.ndim :]}, **options)
        for step in (2, 4):
            writer.write(base[..., ::step, ::step], subfiletype=1, **options)
    volume = open_tiff(path)
    assert volume.data.shape == shape
    assert len(volume.levels) == 2
    np.testing.assert_array_equal(everything(volume)[0, 0].reshape(shape), base)
    for level, step in zip(volume.levels, (2, 4), strict=True):
        np.testing.assert_array_equal(level[:], base[..., ::step, ::step])


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_rgb_samples_are_channels(tmp_path, planar):
    data = np.arange(3 * 20 * 30, dtype=np.uint8).reshape(20, 30, 3)
    stored = data if planar == "contig" else data.transpose(2, 0, 1)
    volume = open_tiff(write(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar))
    assert (volume.channels, volume.grid) == (3, (1, 1, 20, 30))
    np.testing.assert_array_equal(everything(volume)[:, 0, 0], data.transpose(2, 0, 1))


def test_the_persons_axes_override_and_keep_the_voxel_size_of_their_letters(tmp_path):
    path = write(tmp_path / "a.ome.tif", metadata={"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeZ": 3.0})
    axes = open_tiff(path, "tyx").axes
    assert (axes.names, axes.scale) == ("TYX", (1.0, 1.0, 0.5))
    with pytest.raises(LimnError, match="name 3 axes"):
        open_tiff(path, "YX")


def test_an_image_of_another_program_has_no_label_colours(tmp_path):
    assert open_tiff(write(tmp_path / "a.ome.tif", metadata={"axes": "ZYX"})).colors is None


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6])
def test_a_contiguous_file_that_is_cut_off_is_refused_with_both_sizes(tmp_path, share):
    path = cut(write(tmp_path / "short.tif", NOISE), share)
    size = path.stat().st_size
    with pytest.raises(
        LimnError, match=rf"short\.tif: the file is cut off: found {size} bytes.*copy it again"
    ):
        open_tiff(path)


@pytest.mark.parametrize("share", [0.1, 0.4, 0.97])
def test_a_compressed_plane_that_is_cut_off_is_refused(tmp_path, share):
    path = cut(write(tmp_path / "short.tif", NOISE[0], compression="zlib"), share)
    with pytest.raises(LimnError, match=r"short\.tif: the file is cut off"):
        open_tiff(path)


@pytest.mark.parametrize("size", [1, *(pytest.param(n) for n in range(2, 8)), *range(8, 16)])
def test_a_file_cut_off_within_its_header_is_refused(tmp_path, size):
    path = write(tmp_path / "short.tif")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(LimnError, match=r"short\.tif: found no readable TIFF"):
        open_tiff(path)


@pytest.mark.parametrize(
    "options", [{"compression": "zlib"}, {"tile": (32, 32)}, {"metadata": None}, {"imagej": True}]
)
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_a_stack_that_is_cut_off_does_not_lose_planes_silently(tmp_path, options, share):
    path = cut(write(tmp_path / "short.tif", NOISE, **options), share)
    with pytest.raises(LimnError, match=r"short\.tif.*cut off"):
        open_tiff(path)


def test_damage_within_a_compressed_file_is_told_when_it_is_read(tmp_path):
    path = write(tmp_path / "damaged.tif", NOISE, compression="zlib", metadata=None)
    with tifffile.TiffFile(path) as tif:
        start, count = tif.pages[2].dataoffsets[0], tif.pages[2].databytecounts[0]
    content = bytearray(path.read_bytes())
    content[start : start + count] = b"\xff" * count
    path.write_bytes(content)
    volume = open_tiff(path)
    np.testing.assert_array_equal(volume.read(((0, 1), (1, 2), (0, 64), (0, 64)))[0, 0, 0], NOISE[1])
    with pytest.raises(LimnError, match=r"damaged\.tif: the file is damaged or cut off, box"):
        volume.read(((0, 1), (2, 3), (0, 64), (0, 64)))


@pytest.mark.parametrize(
    "content", [b"", b"x,y\n1,2\n", b"\x89PNG\r\n\x1a\n" + bytes(50), b"II*\0" + bytes(4)]
)
def test_what_is_no_tiff_is_refused_by_name(tmp_path, content):
    path = tmp_path / "notes.tif"
    path.write_bytes(content)
    with pytest.raises(LimnError, match=r"notes\.tif: found no readable TIFF .*expected one"):
        open_tiff(path)


def test_a_file_that_is_not_there_keeps_its_own_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_tiff(tmp_path / "none.tif")


def test_an_ome_set_beside_each_other_is_one_volume(tmp_path):
    volume = open_tiff(split_set(tmp_path, 'FileName="b.tif"'))
    assert volume.grid == (1, 2, 8, 8)
    assert everything(volume)[0, 0, :, 0, 0].tolist() == [3, 5]


def test_an_ome_set_with_a_missing_file_is_refused(tmp_path):
    path = split_set(tmp_path, 'FileName="b.tif"')
    (tmp_path / "b.tif").unlink()
    with pytest.raises(
        LimnError,
        match=r"a\.tif: found one file of an OME-TIFF set, expected 'b\.tif' beside it, which is missing",
    ):
        open_tiff(path)


def test_an_ome_set_whose_planes_are_taken_for_one_piece_is_refused(tmp_path):
    with pytest.raises(LimnError, match="save it as one file"):
        open_tiff(split_set(tmp_path, 'FileName="b.tif"', ifd=1))


@pytest.mark.parametrize(
    "name",
    [
        'FileName="../secret.tif"',
        'FileName = "../secret.tif"',
        'FileName="..\\secret.tif"',
        'FileName="{folder}/secret.tif"',
        'FileName="sub/../../secret.tif"',
        pytest.param("FileName='../secret.tif'"),
        pytest.param('FileName="..&#47;secret.tif"'),
        pytest.param('FileName="..&#x2f;secret.tif"'),
    ],
)
def test_an_ome_set_that_names_files_outside_its_folder_is_refused(tmp_path, name):
    write(tmp_path / "secret.tif", np.full((8, 8), 77, np.uint8))
    path = split_set(tmp_path / "set", name.format(folder=tmp_path))
    with pytest.raises(LimnError, match=r"a\.tif: refers to the file .*secret\.tif' outside its folder"):
        open_tiff(path)


@pytest.mark.parametrize("refused", [False, True])
def test_no_file_handle_is_left_behind(tmp_path, refused):
    path = write(tmp_path / "a.tif")
    gc.collect()
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", ResourceWarning)
        if refused:
            with pytest.raises(LimnError):
                open_tiff(cut(path, 0.5))
        else:
            open_tiff(path)
        gc.collect()
    assert [str(w.message) for w in heard if issubclass(w.category, ResourceWarning)] == []


@pytest.mark.real
def test_real_odd_files_open_as_the_index_says_or_say_why_not(real_data):
    files = real_data / "files"
    with (files / "INDEX.csv").open() as index:
        rows = [row for row in csv.DictReader(index) if row["file"].startswith("tiff/")]
    assert len(rows) > 150
    refused, wrong = {}, []
    for row in rows:
        name = row["file"].rsplit("/", 1)[1]
        try:
            volume = open_volume(files / row["file"])
            t, z, y, x = volume.grid
            part = volume.read(((t // 2, t // 2 + 1), (z // 2, z // 2 + 1), (0, y), (0, x)))
            assert part.shape == (volume.channels, 1, 1, y, x)
        except LimnError as error:
            refused[name] = str(error)
            continue
        shape = "x".join(map(str, volume.data.shape))
        letters = row["axes"].replace("S", "C").replace("I", "Z")
        found = (shape, volume.axes.names, part.dtype.name)
        if found != (row["shape"], letters, row["dtype"]):
            wrong.append((row["file"], *found))
    assert wrong == []
    assert all(name in message for name, message in refused.items())
    assert sorted(refused) == ["logluv-3c-16b.tiff", "multifile.companion.ome", "zero_gi.tif"]


@pytest.mark.real
def test_real_calibrated_stack_equals_what_tifffile_reads(real_data):
    path = real_data / "files/tiff/neubias/xyz_8bit__mitotic_plate_calibrated.tif"
    volume = open_tiff(path)
    np.testing.assert_array_equal(everything(volume)[0, 0], tifffile.imread(path))
    assert set(volume.axes.units) == {"micrometer"}
    assert all(0 < s < 5 for s in volume.axes.spacing)
