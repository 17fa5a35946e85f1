"""Unpacking that ends where a piece ends.

Why: a few kilobytes can unpack to gigabytes. The decoders of NumCodecs unpack all there is, and only then is it compared with
the size of the chunk.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from typing import TYPE_CHECKING, Any

import imagecodecs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ZSTD = 0xFD2FB528  # begins a frame
_ZSTD_SKIPPABLE = 0x184D2A50  # or 15 numbers more


def unpacked(name: str, data: memoryview, most: int, config: Mapping[str, Any]) -> bytes | None:
    """Unpack a piece, no further than `most` bytes.

    Parameters
    ----------
    name
        Of the compression, as NumCodecs has it.
    data
        What is stored.
    most
        Bytes that the piece may have.
    config
        Of the compression.

    Returns
    -------
    The bytes; None where the decoder may be asked, since it allocates what the piece says, which is not too much.

    Raises
    ------
    ValueError
        If there are more bytes.

    Examples
    --------
    >>> unpacked("zlib", memoryview(zlib.compress(b"abc")), 3, {})
    b'abc'
    >>> unpacked("zlib", memoryview(zlib.compress(bytes(10**6))), 100, {})
    Traceback (most recent call last):
    ValueError: it unpacks to more than 100 bytes, which is all that it may hold
    """
    if (claimed := _CLAIMED.get(name)) is not None:
        size = claimed(data)
        if size is None:  # written as a stream; the size is not known before
            return bytes(imagecodecs.zstd_decode(bytes(data), out=most))
        if size > most:
            raise _too_much(most)
        return None
    if (opened := _STREAMS.get(name)) is None:
        return None
    result = opened(data, most + 1, config)
    if len(result) > most:
        raise _too_much(most)
    return result


def is_stream(name: str) -> bool:
    """Return whether a compression only shows its size as it is unpacked."""
    return name in _STREAMS


def _too_much(most: int) -> ValueError:
    return ValueError(f"it unpacks to more than {most} bytes, which is all that it may hold")


# ---- what is read as a stream ------------------------------------------------------------------------------------
def _zlib(data: memoryview, most: int, _: Mapping[str, Any]) -> bytes:
    stream = zlib.decompressobj()
    result = stream.decompress(data, most)
    if len(result) < most and not stream.eof:
        raise ValueError("incomplete or truncated stream")
    return result


def _gzip(data: memoryview, most: int, _: Mapping[str, Any]) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data), mode="rb") as stream:
        return stream.read(most)


def _bz2(data: memoryview, most: int, _: Mapping[str, Any]) -> bytes:
    with bz2.BZ2File(io.BytesIO(data)) as stream:
        return stream.read(most)


def _lzma(data: memoryview, most: int, config: Mapping[str, Any]) -> bytes:
    kind, filters = config.get("format", lzma.FORMAT_XZ), config.get("filters")
    with lzma.LZMAFile(io.BytesIO(data), format=kind, filters=filters) as stream:
        return stream.read(most)


_STREAMS: dict[str, Callable[[memoryview, int, Mapping[str, Any]], bytes]] = {
    "zlib": _zlib, "gzip": _gzip, "bz2": _bz2, "lzma": _lzma,
}  # fmt: skip


# ---- what says its size ------------------------------------------------------------------------------------------
def _lz4(data: memoryview) -> int:
    return int.from_bytes(data[:4], "little")


def _blosc(data: memoryview) -> int:
    return int.from_bytes(data[4:8], "little")


def _zstd(data: memoryview) -> int | None:
    """Read the size that the first frame gives.

    None if it gives none.

    See RFC 8878, 3.1.1.1.
    """
    at = 0
    while (number := int.from_bytes(data[at : at + 4], "little")) & 0xFFFFFFF0 == _ZSTD_SKIPPABLE:
        at += 8 + int.from_bytes(data[at + 4 : at + 8], "little")
    if number != _ZSTD or len(data) < at + 5:
        return 0  # no frame; the decoder says what is wrong
    described = data[at + 4]
    single, width = described >> 5 & 1, (0, 2, 4, 8)[described >> 6]
    if not width and not single:
        return None
    start = at + 5 + (not single) + (0, 1, 2, 4)[described & 3]
    size = int.from_bytes(data[start : start + (width or 1)], "little")
    return size + 256 if width == 2 else size


_CLAIMED: dict[str, Callable[[memoryview], int | None]] = {"lz4": _lz4, "blosc": _blosc, "zstd": _zstd}
