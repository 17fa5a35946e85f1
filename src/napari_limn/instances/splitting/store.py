"""What a run knows of each block.

It is kept for later passes, and for a run that goes on.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

from napari_limn.files.durable import disk_faults
from napari_limn.files.working import whole_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_LEVEL = 1  # of zstd: what is kept is read twice, and then removed


class BlockStore:
    """Arrays by the number of their block, compressed.

    Parameters
    ----------
    folder
        Where they lie, a file a block, which is there only when whole; None to keep them in memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._kept: dict[int, bytes] = {}

    def save(self, number: int, arrays: dict[str, NDArray[Any]]) -> None:
        """Keep the arrays of a block."""
        plain = io.BytesIO()
        np.savez(plain, **arrays)  # type: ignore[arg-type]
        packed = bytes(imagecodecs.zstd_encode(plain.getvalue(), level=_LEVEL))
        if self._folder is None:
            self._kept[number] = packed
            return
        with disk_faults(self._folder), whole_file(self._path(number)) as file:
            file.write(packed)

    def load(self, number: int) -> dict[str, NDArray[Any]] | None:
        """Return the arrays of a block; None if there are none."""
        if self._folder is None:
            packed = self._kept.get(number)
        else:
            path = self._path(number)
            packed = path.read_bytes() if path.is_file() else None
        if packed is None:
            return None
        with np.load(io.BytesIO(imagecodecs.zstd_decode(packed)), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def _path(self, number: int) -> Path:
        assert self._folder is not None  # noqa: S101 - for mypy
        return self._folder / f"block-{number}.zst"
