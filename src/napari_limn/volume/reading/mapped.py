"""A contiguous array inside a file, mapped anew for every access."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class MappedArray:
    """An array that starts `offset` bytes into the file at `path`.

    Every access maps the file, copies and unmaps: the pages it touched do not stay in the process, as they would with
    one :class:`numpy.memmap`, whose resident size grows to that of the file. It can be pickled.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: Any, offset: int) -> None:
        self.path, self.shape, self.dtype, self.offset = path, tuple(shape), np.dtype(dtype), offset

    @property
    def ndim(self) -> int:
        """Return the number of dimensions."""
        return len(self.shape)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        mapped = np.memmap(self.path, self.dtype, "r", self.offset, self.shape)
        return np.array(mapped[index])
