"""Small files that unpack to much: refused in a sentence, within the memory of their chunk."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import google_crc32c
import imagecodecs
import numcodecs
import numpy as np
import pytest
import tifffile
import zarr
import zarr.codecs.numcodecs as more_codecs
from tests.helpers.fuzz import bounded
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

from napari_limn.errors import LimnError
from napari_limn.volume.boxes import whole
from napari_limn.volume.decoding.bounded import unpacked
from napari_limn.volume.reading.open import open_volume

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BOMB = 64 << 20
MOST = 24 << 20  # bytes that reading such a file may take
SIDE = 64


def _lzma(data: bytes) -> bytes:
    return lzma.compress(data, preset=0)


def _bz2(data: bytes) -> bytes:
    piece = bz2.compress(data[: 4 << 20], 9)
    return piece * -(-len(data) // (4 << 20))  # streams one after the other


def _gzip(data: bytes) -> bytes:
    piece = gzip.compress(data[: 4 << 20])
    return piece * -(-len(data) // (4 << 20))


def _zstd_without_size(data: bytes) -> bytes:
    """Compress so that the frame says nothing of its size, as a stream is written."""
    sized = imagecodecs.zstd_encode(data, level=1)
    described, width = sized[4], (0, 2, 4, 8)[sized[4] >> 6]
    single = described >> 5 & 1
    window = b"\x88" if single else sized[5:6]  # 128 MB
    return (
        sized[:4] + bytes([described & 0b00011111]) + window + sized[5 + (not single) + (width or single) :]
    )


def _plain(codec: Any) -> Callable[[bytes], bytes]:
    return lambda data: bytes(codec.encode(np.frombuffer(data, np.uint8)))


ZSTD, LZ4 = numcodecs.Zstd(), numcodecs.LZ4()
BLOSC = numcodecs.Blosc(cname="zstd", clevel=1, shuffle=0)
IN_ZARR: dict[str, tuple[dict[str, Any], Callable[[bytes], bytes]]] = {
    "3 zstd": ({"zarr_format": 3, "compressors": ZstdCodec()}, _plain(ZSTD)),
    "3 zstd as a stream": ({"zarr_format": 3, "compressors": ZstdCodec()}, _zstd_without_size),
    "3 gzip": ({"zarr_format": 3, "compressors": GzipCodec()}, _gzip),
    "3 blosc": ({"zarr_format": 3, "compressors": BloscCodec()}, _plain(BLOSC)),
    "3 bz2": ({"zarr_format": 3, "compressors": more_codecs.BZ2()}, _bz2),
    "3 gzip in zstd": (
        {"zarr_format": 3, "compressors": [GzipCodec(), ZstdCodec()]},
        lambda data: _plain(ZSTD)(_gzip(data)),
    ),
    "2 zlib": ({"zarr_format": 2, "compressors": numcodecs.Zlib()}, lambda data: zlib.compress(data, 1)),
    "2 gzip": ({"zarr_format": 2, "compressors": numcodecs.GZip()}, _gzip),
    "2 bz2": ({"zarr_format": 2, "compressors": numcodecs.BZ2()}, _bz2),
    "2 lzma": ({"zarr_format": 2, "compressors": numcodecs.LZMA()}, _lzma),
    "2 zstd": ({"zarr_format": 2, "compressors": ZSTD}, _plain(ZSTD)),
    "2 lz4": ({"zarr_format": 2, "compressors": LZ4}, _plain(LZ4)),
    "2 blosc": ({"zarr_format": 2, "compressors": BLOSC}, _plain(BLOSC)),
    "2 filters": (
        {
            "zarr_format": 2,
            "compressors": numcodecs.Zlib(),
            "filters": [numcodecs.Delta("u1", astype="i8")],
        },
        lambda data: zlib.compress(data, 1),
    ),
}


@pytest.fixture(scope="module", autouse=True)
def _warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Load the decoders, so that their own size does not count."""
    folder = tmp_path_factory.mktemp("warm")
    for number, (kind, _) in enumerate(IN_ZARR.values()):
        _stored(folder / f"{number}.zarr", kind)
        _read(folder / f"{number}.zarr")


def _stored(path: Path, kind: dict[str, Any]) -> Path:
    """Write an image of one chunk; return the file of the chunk."""
    array = zarr.create_array(path, shape=(SIDE, SIDE), chunks=(SIDE, SIDE), dtype="u1", **kind)
    array[:] = np.tile(np.arange(SIDE, dtype=np.uint8), (SIDE, 1))
    return next(
        file for file in path.rglob("*") if file.is_file() and not file.name.startswith((".z", "zarr"))
    )


def _read(path: Path) -> Any:
    volume = open_volume(path)
    return volume.read(whole(volume.grid))


@pytest.mark.parametrize("kind", IN_ZARR)
def test_a_chunk_that_unpacks_to_more(kind: str, tmp_path: Path) -> None:
    options, compress = IN_ZARR[kind]
    chunk = _stored(tmp_path / "a.zarr", options)
    chunk.write_bytes(compress(bytes(BOMB)))
    with bounded(growth=MOST), pytest.raises(LimnError, match=r"a\.zarr.*box .*cannot be read"):
        _read(tmp_path / "a.zarr")


@pytest.mark.parametrize("kind", IN_ZARR)
def test_an_honest_chunk(kind: str, tmp_path: Path) -> None:
    _stored(tmp_path / "a.zarr", IN_ZARR[kind][0])
    assert (_read(tmp_path / "a.zarr").reshape(SIDE, SIDE) == np.arange(SIDE)).all()


def test_a_chunk_in_a_shard(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    array = zarr.create_array(
        path, shape=(SIDE, SIDE), shards=(SIDE, SIDE), chunks=(32, 32), dtype="u1", compressors=ZstdCodec()
    )
    array[:] = 1
    bomb = _plain(ZSTD)(bytes(BOMB))
    index = np.full((4, 2), 2**64 - 1, "<u8")
    index[0] = 0, len(bomb)
    table = index.tobytes()
    (path / "c/0/0").write_bytes(bomb + table + google_crc32c.value(table).to_bytes(4, "little"))
    with bounded(growth=MOST), pytest.raises(LimnError, match=r"a\.zarr.*unpacks to more"):
        _read(path)


@pytest.mark.parametrize("file", ["c/0/0", "zarr.json"])
def test_a_file_that_is_absurdly_large(file: str, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    _stored(path, {"zarr_format": 3})
    with (path / file).open("r+b") as opened:
        opened.truncate(2 << 30)  # takes no room on the disk
    with bounded(growth=MOST), pytest.raises(LimnError, match="2147 MB, expected at most"):
        _read(path)


PICTURES = {
    "jpeg": imagecodecs.jpeg8_encode,
    "jpeg2000": imagecodecs.jpeg2k_encode,
    "png": imagecodecs.png_encode,
    "jpegxr": imagecodecs.jpegxr_encode,
    "jpegxl": lambda image: imagecodecs.jpegxl_encode(image, effort=1),
    "webp": lambda image: imagecodecs.webp_encode(np.stack([image] * 3, -1), lossless=True, level=0),
}
BYTES = {
    "zlib": lambda data: zlib.compress(data, 1),
    "zstd": lambda data: imagecodecs.zstd_encode(data, level=1),
    "lzma": _lzma,
    "lzw": imagecodecs.lzw_encode,
    "packbits": lambda data: b"\x81\x00" * (len(data) // 128),
}


def _tiled(path: Path, tile: bytes, compression: str) -> Path:
    """Write a TIFF of one tile, stored as given."""
    colour = compression == "webp"
    shape = (SIDE, SIDE, 3) if colour else (SIDE, SIDE)
    tifffile.imwrite(
        path, iter([tile]), shape=shape, dtype="uint8", tile=(SIDE, SIDE), compression=compression,
        photometric="rgb" if colour else "minisblack",
    )  # fmt: skip
    return path


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_larger_than_its_tile(kind: str, tmp_path: Path) -> None:
    small = np.tile(np.arange(SIDE, dtype=np.uint8), (SIDE, 1))
    honest = _read(_tiled(tmp_path / "honest.tif", PICTURES[kind](small), kind))
    assert honest.size in (SIDE * SIDE, 3 * SIDE * SIDE)
    side = 3000 if kind in ("webp", "jpegxl") else 6000
    path = _tiled(tmp_path / "a.tif", PICTURES[kind](np.zeros((side, side), np.uint8)), kind)
    with (
        bounded(growth=MOST),
        pytest.raises(LimnError, match=rf"a\.tif.*(a picture of {side} × {side} pixels|MB for one tile)"),
    ):
        _read(path)


@pytest.mark.parametrize("kind", BYTES)
def test_a_tile_that_unpacks_to_more(kind: str, tmp_path: Path) -> None:
    """TIFF's decoders get memory of the size of a tile, and end there."""
    path = _tiled(tmp_path / "a.tif", BYTES[kind](bytes(BOMB)), kind)
    with bounded(growth=MOST), suppress(LimnError):
        assert not _read(path).any()  # the tile itself is there


def test_a_strip_longer_in_the_file_than_in_memory(tmp_path: Path) -> None:
    path = _tiled(tmp_path / "a.tif", zlib.compress(bytes(SIDE * SIDE)), "zlib")
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[0].tags["TileByteCounts"].overwrite(1 << 30)
    with path.open("r+b") as opened:
        opened.truncate(2 << 30)
    with bounded(growth=MOST), pytest.raises(LimnError, match=r"a\.tif.* 1074 MB for one tile"):
        _read(path)


def test_a_stream_may_end_early_or_be_of_two() -> None:
    data = bytes(range(200))
    assert unpacked("gzip", memoryview(gzip.compress(data) * 2), 400, {}) == data * 2
    with pytest.raises(ValueError, match="truncated"):
        unpacked("zlib", memoryview(zlib.compress(data)[:-5]), 200, {})
    assert unpacked("zstd", memoryview(_zstd_without_size(data * 9)), 1800, {}) == data * 9
