"""Large stored pieces: decoded few at a time, and counted before a run."""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np
import pytest

from napari_limn.errors import LimnError
from napari_limn.inference.planning.memory import MemoryBudget, refuse_reading
from napari_limn.network.spec import UNetSpec
from napari_limn.volume.boxes import whole
from napari_limn.volume.decoding import pieces
from napari_limn.volume.decoding.pieces import read_pieces, reading_bytes
from napari_limn.volume.intensity import fit_scaling
from napari_limn.volume.reading.sampling import sample_values
from napari_limn.volume.volume import Volume, stack_channels


class Stored:
    """An array in pieces, which counts how often and how many at once each is decoded."""

    def __init__(self, shape: tuple[int, ...], chunks: Any, *, damaged: tuple[int, ...] = ()) -> None:
        self.values = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
        self.shape, self.dtype, self.chunks, self.damaged = shape, self.values.dtype, chunks, damaged
        self.most = self.now = self.reads = 0
        self._lock = Lock()

    def __getitem__(self, index: tuple[slice, ...]) -> Any:
        spans = [each.indices(n)[:2] for each, n in zip(index, self.shape, strict=True)]
        if any(spans[0][0] <= plane < spans[0][1] for plane in self.damaged):
            raise ValueError("Zstd decompression error")
        count = np.prod([-(-b // c) - a // c for (a, b), c in zip(spans, self.chunks, strict=True)])
        with self._lock:
            self.now, self.reads = self.now + int(count), self.reads + 1
            self.most = max(self.most, self.now)
        part = self.values[index].copy()
        with self._lock:
            self.now -= int(count)
        return part


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pieces of more than 10 bytes be large, and 400 bytes be much."""
    monkeypatch.setattr(pieces, "_AT_ONCE", 400)


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("chunks", [(1, 12, 14), (3, 5, 14), (7, 12, 14), (2, 3, 4)])
def test_a_box_is_the_same_and_few_pieces_are_decoded_at_once(chunks: tuple[int, ...]) -> None:
    stored = Stored((7, 12, 14), chunks)
    part = read_pieces(stored, (slice(1, 6), slice(None), slice(2, 13)))
    np.testing.assert_array_equal(part, stored.values[1:6, :, 2:13])
    size = int(np.prod(chunks)) * 2
    assert stored.most * size <= max(400, size)


@pytest.mark.usefixtures("_small")
def test_threads_wait_for_each_other() -> None:
    stored = Stored((20, 16, 16), (1, 16, 16))
    sample_values(Volume.of(stored))
    assert stored.most == 1


def test_what_reading_takes_is_known() -> None:
    assert reading_bytes(np.zeros((3, 4))) == 0
    small, large = Stored((4, 64, 64), (1, 64, 64)), Stored((4, 64, 64), (1, 10_000, 9_000))
    dask = Stored((4, 64, 64), ((1, 1, 1, 1), (10_000, 4), (9_000,)))
    assert reading_bytes(small) == 0
    assert reading_bytes(large) == reading_bytes(dask) == 3 * 180_000_000
    assert reading_bytes(stack_channels([Volume.of(small), Volume.of(large)]).data) == 3 * 180_000_000


def test_a_limit_below_one_piece_is_refused() -> None:
    with pytest.raises(LimnError, match=r"^a\.tif: .* takes 0\.54 GB, .* limit of 0\.50 GB; .*--memory"):
        refuse_reading("a.tif", 540_000_000, 500_000_000)


def test_the_plan_counts_what_reading_takes() -> None:
    spec, grid = UNetSpec(), (1, 1, 512, 512)
    alone = MemoryBudget(2_000_000_000, lambda _: 0).plan(spec, grid)
    beside = MemoryBudget(2_000_000_000, lambda _: 0, reading=300_000_000).plan(spec, grid)
    assert beside.peak_bytes == alone.peak_bytes + 300_000_000
    with pytest.raises(LimnError, match="memory limit"):
        MemoryBudget(2_000_000_000, lambda _: 0, reading=1_990_000_000).plan(spec, grid)


def test_planes_that_cannot_be_read_are_left_out_and_said_once() -> None:
    whole_one, damaged = (
        Volume.of(Stored((9, 12, 14), (1, 12, 14))),
        Volume.of(Stored((9, 12, 14), (1, 12, 14), damaged=(4,))),
    )
    assert fit_scaling(whole_one).notes == ()
    scaling = fit_scaling(damaged)
    assert len(scaling.notes) == 1
    assert "1 of 9 planes" in scaling.notes[0]
    assert "Zstd" in scaling.notes[0]
    assert sample_values(damaged).size < sample_values(whole_one).size
    with pytest.raises(LimnError, match="cannot be read"):
        damaged.read(whole(damaged.grid))
    nothing = Volume.of(Stored((9, 12, 14), (1, 12, 14), damaged=tuple(range(9))))
    for refused in (fit_scaling, sample_values):
        with pytest.raises(LimnError, match="cannot be read"):
            refused(nothing)


@pytest.mark.usefixtures("_small")
def test_a_plane_of_one_piece_is_decoded_once_to_fit_intensities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_limn.volume.intensity._STRIP", 200)
    stored = Stored((9, 12, 14), (1, 12, 14))
    fit_scaling(Volume.of(stored))
    assert stored.reads == 9
