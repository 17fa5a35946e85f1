"""Labels of any extent; only what was painted takes memory."""

from __future__ import annotations

import itertools
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from napari_limn.errors import LimnError
from napari_limn.volume.boxes import Box, clipped, overlap, shape_of, whole, within
from napari_limn.volume.reading.lazy import plain_entries

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_SIDE = 128  # voxels of a chunk along Y and X: a brush meets few of them, and a plane has not too many
# voxels up to which an index gives an array. Larger parts are read when asked for: napari asks for `data[0].dtype` at each touch of the
# brush
_AT_ONCE = 1 << 20
_READABLE = 4 << 30  # bytes that are put into one array at most


class PaintStore:
    """An array of labels, 0 where nobody painted.

    A chunk of it comes into being with its first voxel that is not 0.

    It takes what numpy takes where labels are painted: whole numbers, slices without step, and as many arrays of places as
    there are axes.

    Parameters
    ----------
    shape
        Extent along each axis, in voxels; of any size.
    dtype
        Integer type of a label.
    chunk
        Extent of a chunk along each axis, in voxels; squares of the last two axes where not given.

    Examples
    --------
    >>> store = PaintStore((1000, 4096, 4096))
    >>> store[7, 100:110, 200] = 3
    >>> int(store[7, 105, 200]), store.boxes()
    (3, [((7, 8), (0, 128), (128, 256))])
    """

    def __init__(
        self, shape: Sequence[int], dtype: Any = np.uint8, chunk: Sequence[int] | None = None
    ) -> None:
        self.shape = tuple(int(n) for n in shape)
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        sides = chunk or [_SIDE if i >= len(self.shape) - 2 else 1 for i in range(len(self.shape))]
        self.chunk = tuple(min(int(c), n) for c, n in zip(sides, self.shape, strict=True))
        self._chunks: dict[tuple[int, ...], NDArray[Any]] = {}

    @property
    def ndim(self) -> int:
        """Return the number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Return the number of voxels, painted or not."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Return the bytes that it takes in memory."""
        return len(self._chunks) * prod(self.chunk) * self.dtype.itemsize

    def boxes(self) -> list[Box]:
        """Return the boxes of its chunks, in raster order.

        All voxels outside of them are 0.
        """
        return [self._box(key) for key in sorted(self._chunks)]

    def cells(self, box: Box) -> list[Box]:
        """Return the boxes of chunks, existing or not, that meet a box."""
        return [self._box(key) for key in self._keys(box, new=True)]

    def copy(self) -> PaintStore:
        """Return another one with the same labels."""
        return self.astype(self.dtype)

    def astype(self, dtype: Any) -> PaintStore:
        """Return another one with the same labels in another type."""
        other = PaintStore(self.shape, dtype, self.chunk)
        other._chunks = {key: chunk.astype(other.dtype) for key, chunk in list(self._chunks.items())}
        return other

    def __repr__(self) -> str:
        return f"<PaintStore {self.shape} {self.dtype}, {self.nbytes / 1e6:.1f} MB painted>"

    # ---- boxes ---------------------------------------------------------------------------------------------------
    def read(self, box: Box) -> NDArray[Any]:
        """Return a copy of the labels in a box."""
        labels = np.zeros(shape_of(box), self.dtype)
        for key in self._keys(box):
            if (chunk := self._chunks.get(key)) is not None:
                own, shared = self._box(key), overlap(self._box(key), box)
                labels[within(shared, box)] = chunk[within(shared, own)]
        return labels

    def write(self, box: Box, labels: NDArray[Any]) -> None:
        """Write labels, of the extent of the box, into it."""
        for key in self._keys(box, new=True):
            own, shared = self._box(key), overlap(self._box(key), box)
            part = labels[within(shared, box)]
            if key in self._chunks or part.any():
                self._chunk(key)[within(shared, own)] = part

    def _keys(self, box: Box, *, new: bool = False) -> Iterator[tuple[int, ...]]:
        """Yield the numbers of the chunks that meet a box.

        Unless `new`, perhaps only of those that exist.
        """
        ranges = [
            range(a // c, -(-b // c) if b > a else a // c) for (a, b), c in zip(box, self.chunk, strict=True)
        ]
        if new or prod(len(r) for r in ranges) <= len(self._chunks):
            yield from itertools.product(*ranges)
        else:
            for key in list(self._chunks):  # at once: another thread may paint meanwhile
                if all(k in r for k, r in zip(key, ranges, strict=True)):
                    yield key

    def _box(self, key: tuple[int, ...]) -> Box:
        return clipped(tuple((k * c, k * c + c) for k, c in zip(key, self.chunk, strict=True)), self.shape)

    def _chunk(self, key: tuple[int, ...]) -> NDArray[Any]:
        if (chunk := self._chunks.get(key)) is None:
            chunk = self._chunks[key] = np.zeros(self.chunk, self.dtype)
        return chunk

    # ---- places --------------------------------------------------------------------------------------------------
    def take(self, positions: NDArray[np.integer[Any]]) -> NDArray[Any]:
        """Return labels at positions.

        They count through the whole array in C order.
        """
        return self._take(np.unravel_index(positions, self.shape))

    def put(self, positions: NDArray[np.integer[Any]], labels: Any) -> None:
        """Write labels, one or as many, at positions.

        They count through the whole array in C order.
        """
        self._put(np.unravel_index(positions, self.shape), labels)

    def _take(self, places: Sequence[NDArray[Any]]) -> NDArray[Any]:
        labels = np.zeros(len(places[0]), self.dtype)
        for key, which, inside in self._by_chunk(places):
            if (chunk := self._chunks.get(key)) is not None:
                labels[which] = chunk[inside]
        return labels

    def _put(self, places: Sequence[NDArray[Any]], labels: Any) -> None:
        given = np.broadcast_to(np.asarray(labels).astype(self.dtype), len(places[0]))
        for key, which, inside in self._by_chunk(places):
            if key in self._chunks or given[which].any():
                self._chunk(key)[inside] = given[which]

    def _by_chunk(
        self, places: Sequence[NDArray[Any]]
    ) -> Iterator[tuple[tuple[int, ...], NDArray[np.intp], tuple[NDArray[Any], ...]]]:
        """Yield the chunks that hold some of the places.

        The numbers of each, which places those are, and where in it they lie.
        """
        if not len(places[0]):
            return
        counts = tuple(-(-n // c) for n, c in zip(self.shape, self.chunk, strict=True))
        numbers = np.ravel_multi_index([p // c for p, c in zip(places, self.chunk, strict=True)], counts)
        order = np.argsort(numbers, kind="stable")
        cuts = np.flatnonzero(np.diff(numbers[order])) + 1
        for which in np.split(order, cuts):
            key = tuple(int(k) for k in np.unravel_index(numbers[which[0]], counts))
            yield key, which, tuple(p[which] % c for p, c in zip(places, self.chunk, strict=True))

    # ---- as an array ---------------------------------------------------------------------------------------------
    def __getitem__(self, index: Any) -> Any:
        """Return a voxel, a copy of a part, or a lazy part.

        A large part is read by ``numpy.asarray``.
        """
        if (entries := plain_entries(index, self.ndim)) is None:
            places, shape = self._places(index)
            return self._take(places).reshape(shape)
        box, dropped = self._cut(entries)
        if prod(shape_of(box)) > _AT_ONCE:
            return LazyPart(self, box, dropped)
        part = np.squeeze(self.read(box), axis=dropped)
        return part if len(dropped) < self.ndim else part[()]

    def __setitem__(self, index: Any, labels: Any) -> None:
        """Write what numpy would write."""
        if (entries := plain_entries(index, self.ndim)) is None:
            places, shape = self._places(index)
            self._put(places, np.broadcast_to(labels, shape).ravel())
            return
        box, dropped = self._cut(entries)
        sizes = shape_of(box)
        kept = tuple(n for i, n in enumerate(sizes) if i not in dropped)
        self.write(box, np.broadcast_to(np.asarray(labels).astype(self.dtype), kept).reshape(sizes))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all of it, as a numpy array.

        Refused as :meth:`LazyPart.__array__` is.
        """
        return np.asarray(LazyPart(self, whole(self.shape), ()), dtype)

    def _cut(self, entries: Sequence[int | slice]) -> tuple[Box, tuple[int, ...]]:
        """Return the box that plain entries mean.

        And the axes that they take away.
        """
        spans, dropped = [], []
        for axis, (entry, length) in enumerate(zip(entries, self.shape, strict=True)):
            if isinstance(entry, slice):
                start, stop, _ = entry.indices(length)
                spans.append((start, max(start, stop)))
            else:
                at = range(length)[entry]
                spans.append((at, at + 1))
                dropped.append(axis)
        return tuple(spans), tuple(dropped)

    def _places(self, index: Any) -> tuple[list[NDArray[Any]], tuple[int, ...]]:
        """Return the places that an array for each axis names.

        One after the other, and the shape of those arrays.
        """
        if (
            not isinstance(index, tuple)
            or len(index) != self.ndim
            or any(isinstance(e, slice) for e in index)
        ):
            raise IndexError(
                f"found an index {type(index).__name__}, expected whole numbers and slices without step, "
                f"or {self.ndim} arrays of places."
            )
        arrays = np.broadcast_arrays(*(np.asarray(entry) for entry in index))
        places = []
        for array, length in zip(arrays, self.shape, strict=True):
            if array.size and not -length <= int(array.min()) <= int(array.max()) < length:
                raise IndexError(f"found places outside of an axis of {length} voxels.")
            places.append(np.where(array < 0, array + length, array).ravel())
        return places, arrays[0].shape


class LazyPart(NDArrayOperatorsMixin):
    """A large part of a store, read when it is needed.

    ``numpy.asarray`` reads it, and so does whatever computes with it.
    """

    def __init__(self, store: PaintStore, box: Box, dropped: tuple[int, ...]) -> None:
        self._store, self._box, self._dropped = store, box, dropped
        self.dtype = store.dtype
        self.shape = tuple(n for i, n in enumerate(shape_of(box)) if i not in dropped)

    @property
    def ndim(self) -> int:
        """Return the number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Return the number of voxels."""
        return prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        return np.asarray(self)[index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read it.

        Raises
        ------
        LimnError
            If it is so large that nothing good could come of it.
        """
        if self.size * self.dtype.itemsize > _READABLE:
            raise LimnError(
                f"found {self.size / 1e9:.1f} billion voxels of strokes asked for at once, expected a plane of them; "
                "look at a volume of this size in 2D."
            )
        labels = np.squeeze(self._store.read(self._box), axis=self._dropped)
        return labels.astype(dtype or self.dtype, copy=False)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        read = (np.asarray(i) if isinstance(i, LazyPart) else i for i in inputs)
        return getattr(ufunc, method)(*read, **options)
