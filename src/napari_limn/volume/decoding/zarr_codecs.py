"""Chunks of a Zarr array, unpacked no further than allowed."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numcodecs.abc import Codec as Compressor
from numcodecs.compat import ensure_contiguous_ndarray
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import ShardingCodec
from zarr.storage import LocalStore

from napari_limn.volume.decoding.bounded import is_stream, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from zarr.abc.codec import Codec
    from zarr.abc.store import ByteRequest
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, BufferPrototype

_LARGEST_FILE = 5 << 28  # bytes of a chunk that is read as a whole
_LARGEST_METADATA = 1 << 26
_METADATA = frozenset({"zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"})
_MORE = 1 << 16  # bytes that checksums, and compressions in each other, add to a chunk


class CheckedStore(LocalStore):
    """A folder whose files are not read where they are absurdly large."""

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return what a file holds, or a part of it."""
        if byte_range is None:
            metadata = key.rsplit("/", 1)[-1] in _METADATA
            most = _LARGEST_METADATA if metadata else _LARGEST_FILE
            with suppress(OSError):  # there is none
                if (size := os.stat(self.root / key).st_size) > most:
                    raise ValueError(f"{key} has {size / 1e6:.0f} MB, expected at most {most / 1e6:.0f} MB")
        return await super().get(key, prototype, byte_range)


def bounded(array: zarr.Array[Any]) -> zarr.Array[Any]:
    """Return the array with decoders that know how large a chunk is.

    Its voxels are the same. A chunk that unpacks to more is refused as soon as that shows.
    """
    metadata: Any = array.metadata
    if metadata.zarr_format == 2:
        if metadata.compressor is None:
            return array
        most = _most(prod(map(int, metadata.chunks)) * _widest(metadata))
        metadata = replace(metadata, compressor=_BoundedCompressor(metadata.compressor, most))
    else:
        metadata = replace(metadata, codecs=_each_bounded(metadata.codecs))
    own = array.async_array
    return zarr.Array(zarr.AsyncArray(metadata=metadata, store_path=own.store_path, config=own.config))


def _most(chunk: int) -> int:
    return chunk + chunk // 8 + _MORE


def _widest(metadata: Any) -> int:
    """Return the bytes of a voxel.

    Or of what a filter makes of it.
    """
    kinds = [metadata.dtype.to_native_dtype()]
    for each in metadata.filters or ():
        kinds += [
            np.dtype(kind) for key in ("astype", "encode_dtype") if (kind := each.get_config().get(key))
        ]
    return max(int(kind.itemsize) for kind in kinds)


def _each_bounded(codecs: Iterable[Codec]) -> tuple[Codec, ...]:
    """Bound every compression, also those of the chunks in a shard."""
    made: list[Codec] = []
    for codec in codecs:
        if isinstance(codec, ShardingCodec):
            made.append(replace(codec, codecs=_each_bounded(codec.codecs)))
        elif isinstance(codec, BytesBytesCodec):
            made.append(_BoundedCodec(codec))
        else:
            made.append(codec)
    return tuple(made)


class _BoundedCompressor(Compressor):  # type: ignore[misc]
    """A compression of Zarr 2 that unpacks `most` bytes at most."""

    codec_id = "bounded"  # never written

    def __init__(self, inner: Any, most: int) -> None:
        self._inner, self._most = inner, most

    def get_config(self) -> dict[str, Any]:
        """Return the parameters of the compression."""
        config: dict[str, Any] = self._inner.get_config()
        return config

    def encode(self, buf: Any) -> Any:
        """Compress."""
        return self._inner.encode(buf)

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Unpack."""
        data = memoryview(ensure_contiguous_ndarray(buf)).cast("B")
        result = unpacked(self._inner.codec_id, data, self._most, self.get_config())
        return self._inner.decode(buf, out) if result is None else result


@dataclass(frozen=True)
class _BoundedCodec(BytesBytesCodec):
    """A compression of Zarr 3 that knows the size of a chunk."""

    inner: BytesBytesCodec
    is_fixed_size = False

    def to_dict(self) -> dict[str, Any]:
        """Return name and parameters of the compression."""
        described: dict[str, Any] = self.inner.to_dict()
        return described

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> _BoundedCodec:
        """Fill in what the array decides."""
        return _BoundedCodec(self.inner.evolve_from_array_spec(array_spec))

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Return the bytes that are stored, where that is known."""
        return self.inner.compute_encoded_size(input_byte_length, chunk_spec)

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        described: Mapping[str, Any] = self.to_dict()
        name = str(described["name"]).removeprefix("numcodecs.")
        kind = chunk_spec.dtype.to_native_dtype()
        most = _most(prod(map(int, chunk_spec.shape)) * int(kind.itemsize))
        stored: Any = np.ascontiguousarray(chunk_bytes.as_numpy_array())
        data = memoryview(stored).cast("B")
        # what says its size is looked at here; to change the thread would take longer
        here = not is_stream(name)
        asked = name, data, most, described.get("configuration") or {}
        result = unpacked(*asked) if here else await asyncio.to_thread(unpacked, *asked)
        if result is not None:
            return chunk_spec.prototype.buffer.from_bytes(result)
        (decoded,) = await self.inner.decode([(chunk_bytes, chunk_spec)])
        if decoded is None:
            raise ValueError("found nothing to decode")
        return decoded

    async def _encode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer | None:
        (encoded,) = await self.inner.encode([(chunk_bytes, chunk_spec)])
        return encoded
